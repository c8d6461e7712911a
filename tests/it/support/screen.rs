//! A terminal emulator with a scrollback, for tests here and beside the code.
//!
//! It knows the sequences that fleet writes, and fails on any other. Terminals differ in three ways that matter here: hence its two kinds.

/// How a terminal treats a cleared screen and a resized window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As `tmux`, `kitty` and `VTE`: a screen that is cleared from its first cell moves into the scrollback, lines wrap again when the
    /// width changes, and a window that gets higher shows lines of the scrollback again.
    Modern,
    /// As `xterm`, `PuTTY` and the Linux console: none of these.
    Plain,
}

/// The screen, and what scrolled off it.
#[derive(Debug)]
pub struct Screen {
    kind: Kind,
    rows: usize,
    columns: usize,
    scrolled: Vec<Row>,
    grid: Vec<Row>,
    row: usize,
    /// As many as there are columns: the next character wraps.
    column: usize,
}

#[derive(Debug, Clone, Default)]
struct Row {
    text: Vec<char>,
    /// Its line goes on in the next row.
    wraps: bool,
}

impl Screen {
    /// An empty one.
    pub fn new(kind: Kind, rows: usize, columns: usize) -> Self {
        let grid = vec![Row::default(); rows];
        Self { kind, rows, columns, scrolled: Vec::new(), grid, row: 0, column: 0 }
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// All lines, from the first that scrolled off to the last that is shown, without the empty ones at the end.
    pub fn history(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut open = false;
        for row in self.scrolled.iter().chain(&self.grid) {
            if !open {
                lines.push(String::new());
            }
            lines.last_mut().unwrap().extend(&row.text);
            open = row.wraps;
        }
        lines.remove(0);
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines.truncate(used);
        lines
    }

    /// Takes what a program writes.
    pub fn feed(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.line_feed(),
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['), "not a sequence that fleet writes: {:?}", rest.as_str());
                    let end = rest.as_str().find(|c: char| !c.is_ascii_digit() && c != ';').unwrap();
                    let (number, tail) = rest.as_str().split_at(end);
                    let number = number.parse().ok();
                    rest = tail.chars();
                    self.control(rest.next().unwrap(), number);
                }
                c => {
                    assert!(!c.is_control(), "{c:?}");
                    self.put(c);
                }
            }
        }
    }

    fn control(&mut self, order: char, number: Option<usize>) {
        // A wrap that is due does not survive.
        self.column = self.column.min(self.columns - 1);
        match (order, number) {
            ('A', up) => self.row = self.row.saturating_sub(up.unwrap_or(1)),
            ('K', None) => {
                self.grid[self.row].text.truncate(self.column);
                self.grid[self.row].wraps = false;
            }
            ('K', Some(2)) => self.grid[self.row] = Row::default(),
            ('J', None) => {
                if self.kind == Kind::Modern && (self.row, self.column) == (0, 0) {
                    let used = self.grid.iter().rposition(|row| !row.text.is_empty()).map_or(0, |last| last + 1);
                    self.scrolled.extend_from_slice(&self.grid[..used]);
                }
                self.grid[self.row].text.truncate(self.column);
                self.grid[self.row + 1..].fill(Row::default());
            }
            ('m', _) => {}
            _ => panic!("not a sequence that fleet writes: {number:?}{order}"),
        }
    }

    fn put(&mut self, c: char) {
        if self.column == self.columns {
            self.grid[self.row].wraps = true;
            self.line_feed();
            self.column = 0;
        }
        let text = &mut self.grid[self.row].text;
        text.resize(text.len().max(self.column + 1), ' ');
        text[self.column] = c;
        self.column += 1;
    }

    fn line_feed(&mut self) {
        if self.row + 1 < self.rows {
            self.row += 1;
        } else {
            self.scrolled.push(self.grid.remove(0));
            self.grid.push(Row::default());
        }
    }

    /// The window gets another size.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        let used = self.grid.iter().rposition(|row| !row.text.is_empty()).map_or(0, |last| last + 1);
        let used = used.max(self.row + 1);
        let mut all: Vec<Row> = self.scrolled.drain(..).collect();
        let (mut cursor, mut top) = (all.len() + self.row, all.len());
        all.extend(self.grid.drain(..).take(used));
        if self.kind == Kind::Modern && columns != self.columns {
            (all, cursor, self.column) = wrapped_anew(&all, (cursor, self.column), columns);
            top = all.len();
        }
        self.column = self.column.min(columns - 1);
        (self.rows, self.columns) = (rows, columns);
        // The last rows stay in sight; a plain terminal fetches none back.
        let last_rows = all.len().saturating_sub(rows);
        let top = if self.kind == Kind::Modern { last_rows } else { top.max(last_rows) }.min(cursor);
        self.grid = all.split_off(top);
        self.grid.resize(rows, Row::default());
        self.scrolled = all;
        self.row = (cursor - top).min(rows - 1);
    }
}

/// The lines of these rows in rows of another width, and row and column of the cursor.
fn wrapped_anew(rows: &[Row], (row, column): (usize, usize), columns: usize) -> (Vec<Row>, usize, usize) {
    let (mut all, mut line, mut cursor) = (Vec::new(), Vec::new(), None);
    let mut at = (0, 0);
    for (place, old) in rows.iter().enumerate() {
        if place == row {
            cursor = Some(line.len() + column);
        }
        line.extend(&old.text);
        if old.wraps && place + 1 < rows.len() {
            continue;
        }
        let parts = line.len().div_ceil(columns).max(cursor.map_or(1, |cursor| cursor / columns + 1));
        if let Some(cursor) = cursor.take() {
            at = (all.len() + cursor / columns, cursor % columns);
        }
        for part in 0..parts {
            let text = line.iter().skip(part * columns).take(columns).copied().collect();
            all.push(Row { text, wraps: part + 1 < parts });
        }
        line.clear();
    }
    (all, at.0, at.1)
}
