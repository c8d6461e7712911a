ALTER TABLE orders ADD customer text NOT NULL DEFAULT 'somebody';
