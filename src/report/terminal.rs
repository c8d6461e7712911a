//! The live view on a terminal: troubles scroll by above it, the view below is drawn anew at most every 100 ms.
//!
//! indicatif was tried on paper and left out: a view that folds hosts is drawn as a whole, and its bars are not used. The screen is
//! given back, with the cursor below the last line that was told, when the run is over or the reporter is dropped.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;

use super::narrator::{Narrator, Telling};
use super::reporter::Reporter;
use super::view::{Scene, view};
use crate::model::run::event::{Event, Fact};
use crate::model::run::summary::{Summary, elapsed};

/// Time between two drawings: faster than the eye asks for, slower than a host prints.
const REDRAW: Duration = Duration::from_millis(100);

/// Lines that wait for the next drawing at most.
const ABOVE: usize = 500;

/// Height and width of the screen; none while it has not shown yet what was drawn before. Asked before each drawing, because people resize
/// their windows, and stop them with Ctrl-S.
pub type ScreenSize = Box<dyn Fn() -> Option<(usize, usize)> + Send>;

pub struct Terminal<W: Write> {
    out: W,
    size: ScreenSize,
    narrator: Narrator,
    /// Rows of the view that is on the screen.
    drawn: usize,
    drawn_at: Option<Timestamp>,
    /// Lines that will scroll by above the view when it is drawn next.
    above: Vec<String>,
    over: bool,
}

impl<W: Write> Terminal<W> {
    /// Shows it on `out`, which leads to standard error. With [`Detail::Trouble`](super::narrator::Detail::Trouble) only troubles scroll by, and the view shows what
    /// goes well; with [`Detail::Normal`](super::narrator::Detail::Normal) all output does, as people want it for an ad-hoc command.
    /// While `is_behind`, nothing is drawn: what is told in the meantime is told later.
    pub fn stderr(out: W, is_behind: impl Fn() -> bool + Send + 'static, telling: Telling) -> Self {
        let term = console::Term::stderr();
        let size = move || {
            let (height, width) = term.size();
            (!is_behind()).then(|| (usize::from(height), usize::from(width)))
        };
        Self::new(out, Box::new(size), telling)
    }

    /// Shows it on `out`, a terminal of that size.
    pub fn new(out: W, size: ScreenSize, telling: Telling) -> Self {
        Self { out, size, narrator: Narrator::new(telling), drawn: 0, drawn_at: None, above: Vec::new(), over: false }
    }

    /// One write: what was drawn is wiped, what was told scrolls by, and the view is drawn below.
    fn draw(&mut self, now: Timestamp, summary: &Summary) -> io::Result<()> {
        let Some((height, width)) = (self.size)() else { return Ok(()) };
        let mut frame = self.above_the_view();
        if !self.over {
            let color = self.narrator.telling.color;
            // One column stays free, so that nothing wraps; the last row is the cursor's, and the first one keeps the latest line above
            // the view in sight.
            let scene = Scene { summary, agenda: &self.narrator.agenda, now };
            for line in view(&scene, width.saturating_sub(1), height.saturating_sub(2)) {
                self.drawn += 1;
                frame.push_str(&line.tone.paint(&line.text, color));
                frame.push_str("\r\n");
            }
        }
        self.drawn_at = Some(now);
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    /// The view is wiped and the lines above it are told: the beginning of a frame.
    fn above_the_view(&mut self) -> String {
        let mut frame = wipe(std::mem::take(&mut self.drawn));
        for line in self.above.drain(..) {
            frame.push_str(&line);
            frame.push_str("\r\n");
        }
        frame
    }

    fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not freeze the screen.
        self.drawn_at.is_none_or(|before| now < before || elapsed(before, now) >= REDRAW)
    }
}

impl<W: Write + Send> Reporter for Terminal<W> {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn report(&mut self, event: &Event, summary: &Summary) -> io::Result<()> {
        self.above.extend(self.narrator.tell(event, summary));
        self.over |= matches!(event.fact, Fact::RunFinished { .. });
        let full = self.above.len() >= ABOVE;
        if self.over || full || self.is_due(event.at) { self.draw(event.at, summary) } else { Ok(()) }
    }

    fn tick(&mut self, now: Timestamp, summary: &Summary) -> io::Result<()> {
        self.above.extend(self.narrator.tick(now));
        if !self.over && self.is_due(now) { self.draw(now, summary) } else { Ok(()) }
    }
}

impl<W: Write> Drop for Terminal<W> {
    fn drop(&mut self) {
        self.above.extend(self.narrator.rest());
        let frame = self.above_the_view();
        if !frame.is_empty() {
            // Nothing can be done about a terminal that has gone.
            _ = self.out.write_all(frame.as_bytes());
            _ = self.out.flush();
        }
    }
}

/// Clears this many rows above the cursor, one by one from below, and leaves the cursor in the topmost.
///
/// Not with `ESC [ J`: from the first column of the first row, tmux and others move the whole screen into their scrollback, and ten copies of
/// the view a second push everything else out of it.
///
/// When the window gets narrower, some terminals wrap long lines into several rows, others cut them. In both, the rows that were drawn
/// belong to the view: parts of an old view may remain above the new one, but no other line is ever cleared.
fn wipe(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\r\x1b[K{}", "\x1b[A\x1b[2K".repeat(rows)) }
}

#[cfg(test)]
mod tests;
