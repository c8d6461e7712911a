CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
INSERT INTO note (text) VALUES ('Ada: it weaves algebraic patterns'), ('Grace: it is easier to ask forgiveness'), ('Grace: a ship in port is safe');
