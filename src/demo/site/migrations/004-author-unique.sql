CREATE UNIQUE INDEX note_author ON note (author);
