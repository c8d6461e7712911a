INSERT INTO orders (item, customer) VALUES (%(item)s, %(customer)s)
