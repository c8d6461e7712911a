use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::model::run::event::Signal;
use crate::model::run::scripted::{Script, after, plan, rolling_deployment};
use crate::report::narrator::Detail;
use crate::report::screen::{Kind, Screen};

/// A screen that the reporter writes to, and asks for its size.
#[derive(Clone)]
struct Shared {
    screen: Arc<Mutex<Screen>>,
    drawings: Arc<Mutex<usize>>,
    /// Stopped with Ctrl-S.
    still: Arc<Mutex<bool>>,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.screen.lock().unwrap().feed(std::str::from_utf8(bytes).unwrap());
        *self.drawings.lock().unwrap() += 1;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn new(kind: Kind, rows: usize, columns: usize) -> Self {
        Self {
            screen: Arc::new(Mutex::new(Screen::new(kind, rows, columns))),
            drawings: Arc::default(),
            still: Arc::default(),
        }
    }

    /// What people find who scroll up.
    fn shown(&self) -> String {
        self.screen.lock().unwrap().history().join("\n")
    }

    fn drawings(&self) -> usize {
        *self.drawings.lock().unwrap()
    }

    fn reporter(&self, detail: Detail) -> Told {
        let telling = Telling { detail, color: false, zone: TimeZone::UTC, plan: Arc::new(plan(&[], &[])) };
        let screen = Arc::clone(&self.screen);
        let still = Arc::clone(&self.still);
        let size = move || (!*still.lock().unwrap()).then(|| screen.lock().unwrap().size());
        Told { terminal: Terminal::new(self.clone(), Box::new(size), telling), summary: Summary::default() }
    }
}

/// A terminal with the fold over the events that it gets.
struct Told {
    terminal: Terminal<Shared>,
    summary: Summary,
}

impl Told {
    fn report(&mut self, event: &Event) -> io::Result<()> {
        self.summary.apply(event);
        self.terminal.report(event, &self.summary)
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.terminal.tick(now, &self.summary)
    }
}

const KINDS: [Kind; 2] = [Kind::Modern, Kind::Plain];

fn screen(columns: usize) -> Shared {
    Shared::new(Kind::Modern, 24, columns)
}

#[test]
fn troubles_stay_above_and_the_view_is_below() {
    let screen = screen(90);
    let mut terminal = screen.reporter(Detail::Trouble);
    for event in rolling_deployment().iter().filter(|event| event.at < after(19.3)) {
        terminal.report(event).unwrap();
    }
    terminal.tick(after(20.7)).unwrap();
    insta::assert_snapshot!(screen.shown(), @r#"
    web2 > migrate > 08:45:21 FAILED: exit status 3 after 3.5 s
    web2 | migrate | applying 0042_person
    web2 | migrate | \x1b[31mERROR\x1b[0m: column "initials" does not exist
    ==> 08:45:21 the rollout stops: 1 host failed, and the rollout bears 0
    web4 > 08:45:31 unreachable: no TCP connection to 192.0.2.14:22 in 10 s
    mysite deploy  20 s  phase roll, batch 2 of 3  5 hosts: 1 undoing, 1 unreachable, 3 wait…
    the rollout stops: 1 host failed, and the rollout bears 0
      web1  waiting
      web2  undoing      roll/pull         1 s
      web3  waiting      roll/migrate
      web4  unreachable                   15 s  no TCP connection to 192.0.2.14:22 in 10 s
      web5  waiting
    "#);
}

#[test]
fn when_the_run_is_over_only_the_troubles_are_left() {
    let screen = screen(90);
    let mut terminal = screen.reporter(Detail::Trouble);
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
    let screen = screen(80);
    let mut terminal = screen.reporter(Detail::Trouble);
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
    let screen = screen(80);
    let mut terminal = screen.reporter(Detail::Normal);
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
    assert!(shown.ends_with("line 4999"), "{}", &shown[shown.len() - 200..]);
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("web{n:02}")).collect()
}

/// The lines that were told are there once and in order, whatever was drawn below them.
#[track_caller]
fn assert_all_is_kept(history: &[String], told: usize) {
    // A rest of an old view may stand before it in the row.
    let lines = history.iter().filter_map(|line| Some(line.split_once("web01 | run | line ")?.1)).collect::<Vec<_>>();
    assert_eq!(lines, (0..told).map(|n| n.to_string()).collect::<Vec<_>>(), "{history:#?}");
}

#[test]
fn a_terminal_that_stands_still_is_not_drawn_on_and_loses_nothing_but_output() {
    let screen = screen(90);
    let mut terminal = screen.reporter(Detail::Trouble);
    *screen.still.lock().unwrap() = true;
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).begin("web1", "a/b");
    for _ in 0..100 {
        script.print("web1", "a/b", &"x".repeat(64 << 10));
    }
    script.events.extend(rolling_deployment());
    for event in &script.events {
        terminal.report(event).unwrap();
        terminal.tick(event.at).unwrap();
    }
    assert_eq!(screen.drawings(), 0);
    drop(terminal);
    let shown = screen.shown();
    assert_eq!(shown.lines().count(), 9, "{shown}");
    assert!(shown.ends_with("web1 > 08:45:33 rolled back: the rollout was stopped"), "{shown}");
}

/// tmux and others keep what was on a screen that is cleared from its first character on: with a view as high as the screen, each
/// drawing pushed another copy of it into the scrollback, and all else out of it.
#[test]
fn a_view_of_forty_hosts_leaves_nothing_behind_and_loses_nothing() {
    for kind in KINDS {
        for rows in [1, 2, 3, 24] {
            let screen = Shared::new(kind, rows, 80);
            screen.screen.lock().unwrap().feed("$ fleet mysite run\r\n");
            let mut terminal = screen.reporter(Detail::Normal);
            let mut script = Script::default();
            let names = names(40);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            script.start("mysite", "run", &names);
            for name in &names {
                script.connect(name);
            }
            script.begin("web01", "run/run");
            // More in one frame than the screen has lines, none, and some.
            for n in 0..200 {
                if n == 60 || n == 61 || n > 150 {
                    script.wait(0.2);
                }
                script.print("web01", "run/run", &format!("line {n}\n"));
            }
            for event in &script.events {
                terminal.report(event).unwrap();
                terminal.tick(event.at).unwrap();
            }
            terminal.tick(after(60.0)).unwrap();
            let history = screen.screen.lock().unwrap().history();
            assert_all_is_kept(&history, 200);
            let views = history.iter().filter(|line| line.starts_with("mysite run")).count();
            assert_eq!(views, usize::from(rows > 2), "{kind:?}, {rows} rows: {history:#?}");
            drop(terminal);
            let history = screen.screen.lock().unwrap().history();
            assert_all_is_kept(&history, 200);
            assert!(!history.iter().any(|line| line.starts_with("mysite run") || line.starts_with("  web")));
            assert_eq!(history.first().unwrap(), "$ fleet mysite run");
        }
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Print(usize),
    Tick,
    NewHost,
    Interrupt,
    Resize(usize, usize),
}

fn anything() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        (1usize..60).prop_map(Happens::Print),
        Just(Happens::Tick),
        Just(Happens::NewHost),
        Just(Happens::Interrupt),
        (1usize..30, 20usize..100).prop_map(|(rows, columns)| Happens::Resize(rows, columns)),
    ];
    prop::collection::vec(one, 0..40)
}

proptest! {
    /// A terminal that wraps lines anew when it gets narrower may keep parts of a view that was drawn before. What was told stays.
    #[test]
    fn nothing_that_was_told_is_lost_whatever_becomes_of_the_window(
        happens in anything(), rows in 1usize..30, modern: bool
    ) {
        let screen = Shared::new(if modern { Kind::Modern } else { Kind::Plain }, rows, 80);
        let mut terminal = screen.reporter(Detail::Normal);
        let mut script = Script::default();
        script.start("mysite", "run", &["web01"]).begin("web01", "run/run");
        let (mut reported, mut told) = (0, 0);
        for (n, what) in happens.iter().enumerate() {
            script.wait(0.15);
            match what {
                Happens::Print(count) => {
                    for line in told..told + count {
                        script.print("web01", "run/run", &format!("line {line}\n"));
                    }
                    told += count;
                }
                Happens::Tick => terminal.tick(script.events.last().unwrap().at).unwrap(),
                Happens::NewHost => drop(script.connect(&format!("host{n}"))),
                Happens::Interrupt => drop(script.fact(Fact::Interrupted { level: 1, signal: Signal::Int })),
                Happens::Resize(rows, columns) => screen.screen.lock().unwrap().resize(*rows, *columns),
            }
            for event in &script.events[reported..] {
                terminal.report(event).unwrap();
            }
            reported = script.events.len();
        }
        drop(terminal);
        assert_all_is_kept(&screen.screen.lock().unwrap().history(), told);
    }
}
