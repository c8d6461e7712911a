ALTER TABLE note ADD COLUMN author TEXT;
UPDATE note SET author = substr(text, 1, instr(text, ': ') - 1), text = substr(text, instr(text, ': ') + 2);
