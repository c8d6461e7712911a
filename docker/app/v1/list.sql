SELECT id, item FROM orders ORDER BY id
