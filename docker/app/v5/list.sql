SELECT id, item, color FROM orders ORDER BY id
