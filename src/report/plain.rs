//! Lines for pipes, logs and continuous integration: each with its host and step, each written at once, so that none is ever torn.

use std::io::{self, Write};

use jiff::Timestamp;

use super::narrator::{Narrator, Telling};
use super::reporter::Reporter;
use crate::model::run::event::Event;
use crate::model::run::summary::Summary;

pub struct Plain<W: Write> {
    out: W,
    narrator: Narrator,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`, which is standard error in a run.
    pub fn new(out: W, telling: Telling) -> Self {
        Self { out, narrator: Narrator::new(telling) }
    }

    fn write(&mut self, lines: Vec<String>) -> io::Result<()> {
        for mut line in lines {
            line.push('\n');
            self.out.write_all(line.as_bytes())?;
        }
        self.out.flush()
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn report(&mut self, event: &Event, summary: &Summary) -> io::Result<()> {
        let lines = self.narrator.tell(event, summary);
        self.write(lines)
    }

    fn tick(&mut self, now: Timestamp, _: &Summary) -> io::Result<()> {
        let lines = self.narrator.tick(now);
        if lines.is_empty() { Ok(()) } else { self.write(lines) }
    }
}

impl<W: Write> Drop for Plain<W> {
    fn drop(&mut self) {
        let lines = self.narrator.rest();
        // Nothing can be done about a reader that has gone.
        _ = self.write(lines);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::run::event::Fact;
    use crate::model::run::outcome::{HostOutcome, StepOutcome};
    use crate::model::run::scripted::{Script, host, plan, rolling_deployment};
    use crate::model::run::summary::any_events;
    use crate::report::narrator::Detail;
    use proptest::prelude::*;

    /// Counts writes, as a pipe would see them.
    #[derive(Default)]
    struct Pipe(Vec<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(events: &[Event], detail: Detail, color: bool) -> Vec<String> {
        told_as(events, Telling { detail, color, zone: TimeZone::UTC, plan: Arc::new(plan(&[], &[])) })
    }

    fn told_as(events: &[Event], telling: Telling) -> Vec<String> {
        let mut pipe = Pipe::default();
        let mut plain = Plain::new(&mut pipe, telling);
        let mut summary = Summary::default();
        for event in events {
            summary.apply(event);
            plain.report(event, &summary).unwrap();
        }
        drop(plain);
        pipe.0
    }

    #[test]
    fn a_rolling_deployment_that_fails() {
        insta::assert_snapshot!(told(&rolling_deployment(), Detail::Normal, false).concat(), @r#"
        ==> 08:45:12 mysite deploy on 5 hosts, run 20261122-084512-7f3a by alice@desk
        ==> 08:45:12 phase close
        web1 > maintenance-on > 08:45:12 started
        web1 > maintenance-on > 08:45:13 succeeded after 1.0 s
        ==> 08:45:13 phase roll, batch 1 of 3: web1
        web1 > pull           > 08:45:13 started
        web1 | pull           | HEAD is now at 3f2a91c
        web1 > pull           > 08:45:15 succeeded after 2.0 s
        ==> 08:45:15 phase roll, batch 2 of 3: web[2-4]
        web2 > pull           > 08:45:15 started
        web2 > pull           > 08:45:16 succeeded after 1.0 s
        web3 > pull           > 08:45:16 started
        web3 > pull           > 08:45:17 succeeded after 1.0 s
        web2 > migrate        > 08:45:17 started
        web3 > migrate        > 08:45:17 started
        web2 | migrate        | applying 0042_person
        web2 | migrate        | \x1b[31mERROR\x1b[0m: column "initials" does not exist
        web3 | migrate        | applying 0042_person
        web2 > migrate        > 08:45:21 FAILED: exit status 3 after 3.5 s
        ==> 08:45:21 the rollout stops: 1 host failed, and the rollout bears 0
        web4 > 08:45:31 unreachable: no TCP connection to 192.0.2.14:22 in 10 s
        web3 > migrate        > 08:45:31 cancelled after 13.5 s
        web2 > undo pull      > 08:45:31 started
        web2 > undo pull      > 08:45:31 succeeded after 0.5 s
        web3 > undo pull      > 08:45:31 started
        web3 > undo pull      > 08:45:32 FAILED: exit status 1 after 0.5 s
        web3 > 08:45:32 held: the undo of roll/pull failed; still in force: roll/pull
        web2 > 08:45:32 rolled back: roll/migrate: exit status 3
        web1 > undo pull      > 08:45:32 started
        web1 > undo pull      > 08:45:32 succeeded after 0.5 s
        web1 > undo maintenance-on > 08:45:32 started
        web1 > undo maintenance-on > 08:45:33 succeeded after 0.5 s
        web1 > 08:45:33 rolled back: the rollout was stopped
        web5 > 08:45:33 untouched: the rollout was stopped
        ==> 08:45:33 failed after 21.2 s (exit code 10)
        "#);
    }

    #[test]
    fn quiet_tells_only_what_went_wrong() {
        insta::assert_snapshot!(told(&rolling_deployment(), Detail::Trouble, false).concat(), @r#"
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
    fn what_goes_wrong_on_many_hosts_at_the_same_time_is_told_once() {
        let names: Vec<String> = (1..=40).map(|n| format!("web{n:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut script = Script::default();
        script.start("mysite", "deploy", &names);
        for (n, name) in names.iter().enumerate().skip(30) {
            let reason = format!("cannot connect to 192.0.2.{}:22: connection refused\nhint: look", n + 11);
            script.wait(0.05).settle(name, HostOutcome::Unreachable, Some(&reason), &[]);
        }
        for name in &names[..30] {
            script.begin(name, "roll/health");
        }
        for (n, name) in names[..20].iter().enumerate() {
            script.wait(0.04).print(name, "roll/health", &format!("502 from {name}\n"));
            script.end(name, "roll/health", StepOutcome::Failed { status: 22 }, 400 + n as u64 * 50);
            script.settle(name, HostOutcome::Failed, Some("roll/health: exit status 22"), &[]);
        }
        // Not at the same time, and in the order in which it happened to each.
        for seconds in [10.0, 0.1, 0.1] {
            for name in &names[20..30] {
                let (host, reason) = (host(name), "no answer".into());
                script.fact(Fact::ConnectionLost { host, reason, step_goes_on: true });
            }
            script.wait(seconds);
            for name in &names[20..25] {
                script.fact(Fact::Reattached { host: host(name) });
            }
        }
        script.finish(11, None);
        let plan = Arc::new(plan(&names, &[]));
        let telling = Telling { detail: Detail::Trouble, color: false, zone: TimeZone::UTC, plan };
        insta::assert_snapshot!(told_as(&script.events, telling).concat(), @r"
        web[31-40] > 08:45:12 unreachable: cannot connect to its address: connection refused
        web[31-40] > 08:45:12 hint: look
        web[01-13] > health > 08:45:12 FAILED: exit status 22 after 0.4 s .. 1.0 s
        web01 | health | 502 from web01
        web[01-13] > 08:45:12 failed: roll/health: exit status 22
        web[14-20] > health > 08:45:13 FAILED: exit status 22 after 1.0 s .. 1.3 s
        web14 | health | 502 from web14
        web[14-20] > 08:45:13 failed: roll/health: exit status 22
        web[21-30] > 08:45:13 connection lost, step goes on, retrying: no answer
        web21 > 08:45:23 connected again
        web[22-25] > 08:45:23 connected again
        web[21-30] > 08:45:23 connection lost, step goes on, retrying: no answer
        web[21-25] > 08:45:23 connected again
        web[21-30] > 08:45:23 connection lost, step goes on, retrying: no answer
        web[21-25] > 08:45:23 connected again
        ");
    }

    #[test]
    fn a_few_hosts_that_differ_have_lines_of_their_own() {
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1", "web2", "web3", "web4"]);
        for (n, name) in ["web1", "web2"].iter().enumerate() {
            let reason = format!("cannot connect to 192.0.2.{}:22: no route to host", n + 11);
            script.settle(name, HostOutcome::Unreachable, Some(&reason), &[]);
        }
        for name in ["web3", "web4"] {
            script.begin(name, "roll/health").print(name, "roll/health", &format!("502 from {name}\n"));
            script.end(name, "roll/health", StepOutcome::Failed { status: 22 }, 400);
            script.settle(name, HostOutcome::Failed, Some("roll/health: exit status 22"), &[]);
        }
        let plan = Arc::new(plan(&["web1", "web2", "web3", "web4"], &[]));
        let telling = Telling { detail: Detail::Trouble, color: false, zone: TimeZone::UTC, plan };
        insta::assert_snapshot!(told_as(&script.events, telling).concat(), @r"
        web1 > 08:45:12 unreachable: cannot connect to 192.0.2.11:22: no route to host
        web2 > 08:45:12 unreachable: cannot connect to 192.0.2.12:22: no route to host
        web3 > health > 08:45:12 FAILED: exit status 22 after 0.4 s
        web3 | health | 502 from web3
        web4 > health > 08:45:12 FAILED: exit status 22 after 0.4 s
        web4 | health | 502 from web4
        web[3,4] > 08:45:12 failed: roll/health: exit status 22
        ");
    }

    #[test]
    fn a_line_is_one_write() {
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1"]).begin("web1", "a/b").print("web1", "a/b", "one\ntwo\n\nthree");
        for write in told(&script.events, Detail::Normal, false) {
            assert_eq!(write.matches('\n').count(), 1, "{write:?}");
            assert!(write.ends_with('\n'), "{write:?}");
        }
    }

    #[test]
    fn colour_only_when_it_is_wanted() {
        let events = rolling_deployment();
        assert!(!told(&events, Detail::Verbose, false).concat().contains('\x1b'));
        let colored = told(&events, Detail::Normal, true).concat();
        assert!(colored.contains('\x1b'));
        assert_eq!(console::strip_ansi_codes(&colored), told(&events, Detail::Normal, false).concat());
    }

    proptest! {
        #[test]
        fn whatever_hosts_say_is_harmless(events in any_events()) {
            for line in told(&events, Detail::Verbose, false) {
                let text = line.strip_suffix('\n').unwrap();
                prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t'), "{text:?}");
            }
        }
    }
}
