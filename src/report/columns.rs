//! Text in columns.

use console::measure_text_width;

use super::paint::Tone;

pub struct Cell {
    pub tone: Tone,
    /// One line, without colour.
    pub text: String,
}

impl Cell {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { tone: Tone::Plain, text: text.into() }
    }

    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// Rows as lines, each column as wide as its widest cell, two spaces between; nothing is cut, and no line ends with spaces.
pub fn columns(rows: &[Vec<Cell>], color: bool) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(&cell.text));
        }
    }
    let mut out = String::new();
    for row in rows {
        let used = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        for (place, (cell, width)) in row.iter().zip(&widths).take(used).enumerate() {
            out.push_str(&cell.tone.paint(&cell.text, color));
            if place + 1 < used {
                let gap = width.saturating_sub(measure_text_width(&cell.text)) + 2;
                out.extend(std::iter::repeat_n(' ', gap));
            }
        }
        out.push('\n');
    }
    out
}

pub fn headings(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::toned(Tone::Heading, *name)).collect()
}
