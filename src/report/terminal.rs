//! The live view on a terminal: troubles scroll by above it, the view below is drawn anew at most every 100 ms.
//!
//! indicatif was tried on paper and left out: a view that folds hosts is drawn as a whole, and its bars are not used. The screen is
//! given back, with the cursor below the last line that was told, when the run is over or the reporter is dropped.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;

use super::Reporter;
use super::narrator::{Narrator, Telling};
use super::view::view;
use crate::model::event::{Event, Fact};
use crate::model::summary::Summary;
use crate::model::summary::elapsed;

/// Time between two drawings: faster than the eye asks for, slower than a host prints.
const REDRAW: Duration = Duration::from_millis(100);

/// Lines that wait for the next drawing at most.
const ABOVE: usize = 500;

/// Height and width of the screen. Asked before each drawing, because people resize their windows.
pub type ScreenSize = Box<dyn Fn() -> (usize, usize) + Send>;

/// Shows the run on a terminal.
pub struct Terminal<W: Write> {
    out: W,
    size: ScreenSize,
    narrator: Narrator,
    /// Widths of the lines that are on the screen.
    drawn: Vec<usize>,
    drawn_at: Option<Timestamp>,
    /// Lines that will scroll by above the view when it is drawn next.
    above: Vec<String>,
    over: bool,
}

impl<W: Write> Terminal<W> {
    /// Shows it on `out`, which leads to standard error. With [`Detail::Trouble`](super::Detail::Trouble) only troubles scroll by, and the view shows what
    /// goes well; with [`Detail::Normal`](super::Detail::Normal) all output does, as people want it for an ad-hoc command.
    pub fn stderr(out: W, telling: Telling) -> Self {
        let term = console::Term::stderr();
        let size = move || {
            let (height, width) = term.size();
            (usize::from(height), usize::from(width))
        };
        Self::new(out, Box::new(size), telling)
    }

    /// Shows it on `out`, a terminal of that size.
    pub fn new(out: W, size: ScreenSize, telling: Telling) -> Self {
        let narrator = Narrator::new(telling);
        Self { out, size, narrator, drawn: Vec::new(), drawn_at: None, above: Vec::new(), over: false }
    }

    /// One write: what was drawn is wiped, what was told scrolls by, and the view is drawn below.
    fn draw(&mut self, now: Timestamp) -> io::Result<()> {
        let (height, width) = (self.size)();
        let mut frame = self.above_the_view(width);
        if !self.over {
            let color = self.narrator.telling().color;
            // A column and a line stay free, so that nothing wraps or scrolls.
            for line in view(self.narrator.summary(), now, width.saturating_sub(1), height.saturating_sub(1)) {
                self.drawn.push(console::measure_text_width(&line.text));
                frame.push_str(&line.tone.paint(&line.text, color));
                frame.push_str("\r\n");
            }
        }
        self.drawn_at = Some(now);
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    /// The view is wiped and the lines above it are told: the beginning of a frame.
    fn above_the_view(&mut self, width: usize) -> String {
        let mut frame = wipe(&self.drawn, width);
        self.drawn.clear();
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

    fn recall(&mut self, past: &Summary) {
        self.narrator.recall(past);
    }

    fn report(&mut self, event: &Event) -> io::Result<()> {
        let lines = self.narrator.tell(event);
        self.above.extend(lines);
        self.over |= matches!(event.fact, Fact::RunFinished { .. });
        let full = self.above.len() >= ABOVE;
        if self.over || full || self.is_due(event.at) { self.draw(event.at) } else { Ok(()) }
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if !self.over && self.is_due(now) { self.draw(now) } else { Ok(()) }
    }
}

impl<W: Write> Drop for Terminal<W> {
    fn drop(&mut self) {
        let (_, width) = (self.size)();
        let frame = self.above_the_view(width);
        if !frame.is_empty() {
            // Nothing can be done about a terminal that has gone.
            _ = self.out.write_all(frame.as_bytes());
            _ = self.out.flush();
        }
    }
}

/// Puts the cursor where the drawn lines begin and clears from there. Lines wrap when the window became narrower.
fn wipe(drawn: &[usize], width: usize) -> String {
    let rows: usize = drawn.iter().map(|line| line.div_ceil(width.max(1)).max(1)).sum();
    if rows == 0 { String::new() } else { format!("\x1b[{rows}A\r\x1b[J") }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::scripted::{Script, after, rolling_deployment};
    use crate::report::Detail;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        /// What people see in the end: a terminal that knows the three sequences that are used.
        fn shown(&self) -> String {
            let mut lines: Vec<String> = vec![String::new()];
            let all = self.0.lock().unwrap().concat();
            let mut rest = all.as_str();
            while let Some(c) = rest.chars().next() {
                if let Some(tail) = rest.strip_prefix("\x1b[J") {
                    rest = tail;
                } else if let Some(tail) = rest.strip_prefix("\x1b[") {
                    let (up, tail) = tail.split_once("A\r").unwrap();
                    let up: usize = up.parse().unwrap();
                    lines.truncate(lines.len() - up);
                    *lines.last_mut().unwrap() = String::new();
                    rest = tail;
                } else if let Some(tail) = rest.strip_prefix("\r\n") {
                    lines.push(String::new());
                    rest = tail;
                } else {
                    assert!(!c.is_control(), "{c:?}");
                    lines.last_mut().unwrap().push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
            lines.join("\n")
        }

        fn drawings(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    fn terminal(screen: &Screen, width: usize) -> Terminal<Screen> {
        detailed(screen, width, Detail::Trouble)
    }

    fn detailed(screen: &Screen, width: usize, detail: Detail) -> Terminal<Screen> {
        let telling = Telling { detail, color: false, zone: TimeZone::UTC };
        Terminal::new(screen.clone(), Box::new(move || (24, width)), telling)
    }

    #[test]
    fn troubles_stay_above_and_the_view_is_below() {
        let screen = Screen::default();
        let mut terminal = terminal(&screen, 90);
        for event in rolling_deployment().iter().filter(|event| event.at < after(19.3)) {
            terminal.report(event).unwrap();
        }
        terminal.tick(after(20.0)).unwrap();
        insta::assert_snapshot!(screen.shown(), @r#"
        web2 > migrate > 08:45:21 FAILED: exit status 3 after 3.5 s
        web2 | migrate | applying 0042_person
        web2 | migrate | \x1b[31mERROR\x1b[0m: column "initials" does not exist
        ==> 08:45:21 the rollout stops: 1 host failed, and the rollout bears 0
        web4 > 08:45:31 unreachable: no TCP connection to 192.0.2.14:22 in 10 s
        mysite deploy  20 s  phase roll, batch 2 of 3  5 hosts: 1 undoing, 1 unreachable, 3 wait…
        the rollout stops: 1 host failed, and the rollout bears 0
          web1  waiting
          web2  undoing      roll/pull         0 s
          web3  waiting      roll/migrate
          web4  unreachable                   15 s  no TCP connection to 192.0.2.14:22 in 10 s
          web5  waiting
        "#);
    }

    #[test]
    fn when_the_run_is_over_only_the_troubles_are_left() {
        let screen = Screen::default();
        let mut terminal = terminal(&screen, 90);
        for event in &rolling_deployment() {
            terminal.report(event).unwrap();
        }
        terminal.tick(after(100.0)).unwrap();
        drop(terminal);
        insta::assert_snapshot!(screen.shown(), @r#"
        web2 > migrate > 08:45:21 FAILED: exit status 3 after 3.5 s
        web2 | migrate | applying 0042_person
        web2 | migrate | \x1b[31mERROR\x1b[0m: column "initials" does not exist
        ==> 08:45:21 the rollout stops: 1 host failed, and the rollout bears 0
        web4 > 08:45:31 unreachable: no TCP connection to 192.0.2.14:22 in 10 s
        web3 > undo pull > 08:45:32 FAILED: exit status 1 after 0.5 s
        web3 > 08:45:32 held: the undo of roll/pull failed; still in force: roll/pull
        web2 > 08:45:32 rolled back: roll/migrate: exit status 3
        web1 > 08:45:33 rolled back: the rollout was stopped
        "#);
    }

    #[test]
    fn a_flood_of_output_is_drawn_ten_times_a_second() {
        let screen = Screen::default();
        let mut terminal = terminal(&screen, 80);
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "a/b");
        for n in 0..1000 {
            script.wait(0.001).print("web1", "a/b", &format!("line {n}\n"));
        }
        for event in &script.events {
            terminal.report(event).unwrap();
        }
        assert!((10..=13).contains(&screen.drawings()), "{}", screen.drawings());
        // A reporter that is dropped gives the screen back.
        drop(terminal);
        assert_eq!(screen.shown(), "");
    }

    #[test]
    fn the_output_of_an_ad_hoc_command_scrolls_by_and_none_is_lost() {
        let screen = Screen::default();
        let mut terminal = detailed(&screen, 80, Detail::Normal);
        let mut script = Script::default();
        script.start("mysite", "run", &["web1"]).connect("web1").begin("web1", "run/run");
        for n in 0..5000 {
            script.print("web1", "run/run", &format!("line {n}\n"));
        }
        for event in &script.events {
            terminal.report(event).unwrap();
        }
        assert!(screen.drawings() <= 20, "{}", screen.drawings());
        drop(terminal);
        let shown = screen.shown();
        assert_eq!(shown.lines().filter(|line| line.starts_with("web1 | run | line ")).count(), 5000);
        assert!(shown.ends_with("line 4999\n"), "{}", &shown[shown.len() - 200..]);
    }

    #[test]
    fn a_window_that_became_narrower_is_wiped_whole() {
        assert_eq!(wipe(&[80, 10, 0], 40), "\x1b[4A\r\x1b[J");
        assert_eq!(wipe(&[], 40), "");
    }
}
