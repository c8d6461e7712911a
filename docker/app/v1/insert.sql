INSERT INTO orders (item) VALUES (%(item)s)
