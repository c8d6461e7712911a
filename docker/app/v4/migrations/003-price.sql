-- No transaction: the first statement stays when the second one fails.
ALTER TABLE orders DROP customer, ADD price numeric NOT NULL DEFAULT 0;
ALTER TABLE order_lines ADD price numeric;
