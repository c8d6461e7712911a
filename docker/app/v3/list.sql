SELECT id, item, customer FROM orders ORDER BY id DESC
