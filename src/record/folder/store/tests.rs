use std::io;

use jiff::tz::TimeZone;

use super::*;
use crate::model::plan::planner::Overrides;
use crate::model::run::event::{OutputData, Stream};
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::scripted::{Script, rolling_deployment};
use crate::model::run::summary::Summary;
use crate::model::text::name::{HostName, SiteName, TaskName, UserName};
use crate::record::folder::record::tests::{Folder, plan};
use crate::report::logs::{LogQuery, LogStyle};
use crate::report::table::table;
use crate::report::{listing, logs};

fn id(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

/// Records the events as that run.
fn record(runs: &Path, run: &str, events: &[Event]) -> PathBuf {
    let mut record = FolderRecord::create(runs, &id(run), &plan(), None).unwrap();
    for event in events {
        record.append(&Event { run: id(run), ..event.clone() }).unwrap();
        record.commit().unwrap();
    }
    record.folder().to_owned()
}

fn store(folder: &Folder) -> FolderStore {
    FolderStore::new(folder.path())
}

fn proving(value: &str) -> Vec<Event> {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).settle("web1", HostOutcome::Succeeded, None, &[]);
    script.finish(0, Some(value)).events.clone()
}

fn append(path: &Path, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    content.extend_from_slice(bytes);
    crate::files::replace(path, 0o600, &content).unwrap();
}

fn query(host: Option<&'static str>, step: Option<&'static str>) -> LogQuery<'static> {
    LogQuery { run: "last", host, step }
}

fn read(runs: &Path, query: LogQuery<'_>, style: &LogStyle) -> Result<String, HistoryError> {
    let mut out = Vec::new();
    logs::logs(&FolderStore::new(runs), query, style, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn what_is_read_back_is_what_the_screen_showed() {
    let folder = Folder::new();
    let events = rolling_deployment();
    record(folder.path(), "20261122-084512-7f3a", &events);
    let (read_plan, summary) = store(&folder).shown("last").unwrap();
    assert_eq!(read_plan, plan());
    assert_eq!(table(&plan().into(), &summary, false), table(&plan().into(), &Summary::of(&events), false));
}

#[test]
fn a_run_is_shown_in_full() {
    let folder = Folder::new();
    record(folder.path(), "20261122-084512-7f3a", &rolling_deployment());
    let (plan, summary) = store(&folder).shown("2026").unwrap();
    insta::assert_snapshot!(listing::show(&plan.into(), &summary, &TimeZone::UTC, false), @r#"
    run         20261122-084512-7f3a
    site        mysite
    task        deploy
    by          alice@desk
    started     2026-11-22 08:45
    on failure  undo, when more than 0 fail
    stopped     1 host failed, and the rollout bears 0

    STEP                  DONE  SKIPPED  FAILED  CANCELLED  UNDONE
    close/maintenance-on  1     -        -       -          1
    roll/pull             3     -        -       -          2
    roll/migrate          -     -        1       1          -
    roll/health           -     -        -       -          -

    HOST  OUTCOME      TIME    FAILED STEP
    web1  rolled back  21.1 s
    web2  rolled back  16.9 s  roll/migrate: exit status 3
    web3  held         16.7 s  undo of roll/pull: exit status 1
    web4  unreachable  15.5 s
    web5  untouched

    web1: rolled back: the rollout was stopped
      undone: roll/pull, close/maintenance-on
    web2: rolled back: roll/migrate: exit status 3
      last lines of roll/migrate:
        | applying 0042_person
        | \x1b[31mERROR\x1b[0m: column "initials" does not exist
      undone: roll/pull
    web3: held: the undo of roll/pull failed
      not undone: roll/pull: exit status 1
      still in force: roll/pull
    web4: unreachable: no TCP connection to 192.0.2.14:22 in 10 s

    mysite deploy failed after 21.2 s: 1 untouched, 2 rolled back, 1 unreachable, 1 held (exit code 10)
    "#);
}

#[test]
fn runs_are_listed_the_newest_first() {
    let folder = Folder::new();
    assert_eq!(FolderStore::new(&folder.path().join("none")).list().unwrap(), []);
    record(folder.path(), "20261121-100000-aaaa", &proving("3f2a91c"));
    record(folder.path(), "20261122-084512-7f3a", &rolling_deployment());
    record(folder.path(), "20261123-100000-bbbb", &rolling_deployment()[..9]);
    // Died before its first event; not a run at all; damaged.
    record(folder.path(), "20261124-100000-cccc", &[]);
    std::fs::create_dir(folder.path().join(".trash")).unwrap();
    let damaged = record(folder.path(), "20261125-100000-dddd", &[]);
    append(&damaged.join(EVENTS_FILE), b"\xff\xfe garbage\n");
    let listed = listing::runs(&store(&folder).list().unwrap(), &TimeZone::UTC, false);
    insta::assert_snapshot!(listed.replace(folder.path().to_str().unwrap(), "RUNS"), @r"
    RUN                   STARTED           SITE    TASK    HOSTS  BY          RESULT
    20261125-100000-dddd                                                       damaged: RUNS/20261125-100000-dddd/events.jsonl:1: not written by fleet, or damaged
    20261124-100000-cccc                                                       not started
    20261123-100000-bbbb  2026-11-22 08:45  mysite  deploy  5      alice@desk  unfinished
    20261122-084512-7f3a  2026-11-22 08:45  mysite  deploy  5      alice@desk  failed
    20261121-100000-aaaa  2026-11-22 08:45  mysite  deploy  1      alice@desk  succeeded
    ");
}

#[test]
fn a_run_is_found_by_its_beginning() {
    let folder = Folder::new();
    assert!(matches!(store(&folder).find("last"), Err(HistoryError::Empty { .. })));
    for run in ["20261121-100000-aaaa", "20261122-084512-7f3a", "20261122-100000-bbbb"] {
        record(folder.path(), run, &[]);
    }
    assert_eq!(store(&folder).find("20261121").unwrap(), id("20261121-100000-aaaa"));
    assert_eq!(store(&folder).find("last").unwrap(), id("20261122-100000-bbbb"));
    assert_eq!(store(&folder).find("20261122-084512-7f3a").unwrap(), id("20261122-084512-7f3a"));
    let told = |typed| store(&folder).find(typed).unwrap_err().to_string();
    insta::assert_snapshot!(told("20261122"), @"`20261122` could be 2 runs, among them 20261122-084512-7f3a and 20261122-100000-bbbb");
    insta::assert_snapshot!(told("20261122-084512-7f3b"), @"no run `20261122-084512-7f3b` is on record; did you mean `20261122-084512-7f3a`?");
    insta::assert_snapshot!(told("../../etc"), @"no run `../../etc` is on record");
    insta::assert_snapshot!(told(""), @"no run `` is on record");
}

#[test]
fn a_torn_last_line_is_what_a_crash_leaves() {
    let folder = Folder::new();
    let events = &rolling_deployment()[..12];
    let run = record(folder.path(), "20261122-084512-7f3a", events);
    append(&run.join(EVENTS_FILE), br#"{"v":1,"at":"2026-11-22T08:4"#);
    let (_, summary) = store(&folder).shown("last").unwrap();
    assert_eq!(summary.finished, None);
    assert_eq!(summary.started, Some(events[0].at));
    assert_eq!(store(&folder).list().unwrap()[0].result, RunResult::Unfinished);
}

#[test]
fn damage_is_told_with_file_and_line() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &rolling_deployment()[..1]);
    let path = run.join(EVENTS_FILE);
    append(&path, b"{\"v\":1,\"at\":\"20\n");
    let told = store(&folder).shown("last").unwrap_err().to_string();
    assert!(told.ends_with("events.jsonl:2: not written by fleet, or damaged"), "{told}");
    // Also where only the end of the record is looked at: what cannot be read could be what ended it.
    append(&path, format!("{}\n", serde_json::to_string(&proving("x")[0]).unwrap()).as_bytes());
    let [listed] = store(&folder).list().unwrap().try_into().unwrap();
    let RunResult::Damaged(told) = listed.result else { panic!("{listed:?}") };
    assert!(told.ends_with("events.jsonl:2: not written by fleet, or damaged"), "{told}");

    crate::files::replace(&run.join(PLAN_FILE), 0o600, b"{\n\"v\": }").unwrap();
    let told = store(&folder).shown("last").unwrap_err().to_string();
    assert!(told.ends_with("plan.json:2: not written by fleet, or damaged"), "{told}");
}

/// What a run became that a newer fleet has gone on with is not what the events before say.
#[test]
fn events_and_plans_of_a_newer_fleet_are_refused_everywhere() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &proving("3f2a91c"));
    append(&run.join(EVENTS_FILE), b"{\"v\":99,\"what\":\"ever\"}\n");
    assert_eq!(store(&folder).list().unwrap()[0].result, RunResult::Newer);
    let told = store(&folder).shown("last").unwrap_err().to_string();
    assert!(told.contains("events.jsonl was written by a newer fleet (format 99, this one reads up to 3)"), "{told}");
    assert!(matches!(store(&folder).known(&id("20261122-084512-7f3a")), Err(HistoryError::Newer { .. })));

    let run = record(folder.path(), "20261123-084512-7f3a", &proving("3f2a91c"));
    let plan = std::fs::read_to_string(run.join(PLAN_FILE)).unwrap();
    let newer = plan.replacen("\"v\": 4", "\"v\": 5, \"unheard-of\": true", 1);
    crate::files::replace(&run.join(PLAN_FILE), 0o600, newer.as_bytes()).unwrap();
    for told in
        [store(&folder).shown("last").unwrap_err(), read(folder.path(), query(None, None), &LogStyle::Raw).unwrap_err()]
    {
        assert!(told.to_string().contains("plan.json was written by a newer fleet (format 5"), "{told}");
    }
}

/// Fields and facts that this fleet does not know may be what matters: half of a step, or the end of a run.
#[test]
fn what_is_not_known_is_refused_and_not_passed_over() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &rolling_deployment());
    let line = serde_json::to_string(&proving("x")[0]).unwrap();
    let whole = std::fs::read_to_string(run.join(EVENTS_FILE)).unwrap();
    let finished = whole.lines().last().unwrap();
    for unknown in [
        format!("{},\"colour\":\"blue\"}}", line.strip_suffix('}').unwrap()),
        line.replace("run-started", "run-deferred"),
        finished.replace("run-finished", "run-handed-over"),
        finished.replacen("\"exit-code\"", "\"proven\":{\"name\":\"a\",\"value\":\"b\",\"until\":1},\"exit-code\"", 1),
        whole
            .lines()
            .find(|line| line.contains("\"result\":\"failed\""))
            .unwrap()
            .replace("\"status\"", "\"core\":1,\"status\""),
    ] {
        crate::files::replace(&run.join(EVENTS_FILE), 0o600, format!("{whole}{unknown}\n").as_bytes()).unwrap();
        assert!(matches!(store(&folder).list().unwrap()[0].result, RunResult::Damaged(_)), "{unknown}");
        assert!(matches!(store(&folder).shown("last"), Err(HistoryError::Damaged { .. })), "{unknown}");
    }
    crate::files::replace(&run.join(EVENTS_FILE), 0o600, whole.as_bytes()).unwrap();
    let plan = std::fs::read_to_string(run.join(PLAN_FILE)).unwrap();
    for (known, unknown) in [
        ("\"task\":", "\"unheard-of\": 1, \"task\":"),
        ("\"port\":", "\"jump\": \"gate\", \"port\":"),
        ("\"soak\":", "\"watch\": {}, \"soak\":"),
        ("\"path\":", "\"upload\": \"a\", \"path\":"),
        ("\"class\":", "\"jump\": \"a\", \"class\":"),
        ("\"on-failure\": \"undo\"", "\"on-failure\": \"wait\""),
    ] {
        let other = plan.replacen(known, unknown, 1);
        assert_ne!(other, plan);
        crate::files::replace(&run.join(PLAN_FILE), 0o600, other.as_bytes()).unwrap();
        assert!(matches!(store(&folder).shown("last"), Err(HistoryError::Damaged { .. })), "{unknown}");
    }
    // The events of the version before read as they are; in its plans a user is a name and no text.
    let old = plan.replacen("\"v\": 4", "\"v\": 3", 1);
    crate::files::replace(&run.join(PLAN_FILE), 0o600, old.as_bytes()).unwrap();
    assert!(matches!(store(&folder).shown("last"), Err(HistoryError::Older { .. })));
    crate::files::replace(&run.join(PLAN_FILE), 0o600, plan.as_bytes()).unwrap();
    crate::files::replace(&run.join(EVENTS_FILE), 0o600, whole.replace("{\"v\":3", "{\"v\":1").as_bytes()).unwrap();
    assert_eq!(store(&folder).shown("last").unwrap().0, self::plan());
}

#[test]
fn a_request_with_what_is_not_known_is_refused() {
    let folder = Folder::new();
    let asked = Asked {
        site: SiteName::parse("mysite").unwrap(),
        hosts: vec![HostName::parse("web1").unwrap()],
        tasks: vec![TaskName::parse("deploy").unwrap()],
        overrides: Overrides::default(),
        login: UserName::parse("release").unwrap(),
        proof: None,
        unproven: false,
    };
    let run = id("20261122-084512-7f3a");
    let record = FolderRecord::create(folder.path(), &run, &plan(), Some(&asked)).unwrap();
    let path = record.folder().join(REQUEST_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(store(&folder).request(&run).unwrap().unwrap().login, asked.login);
    for known in ["\"site\":", "\"user\":", "\"start-at\":"] {
        let other = text.replacen(known, &format!("\"unheard-of\": 1, {known}"), 1);
        assert_ne!(other, text);
        crate::files::replace(&path, 0o600, other.as_bytes()).unwrap();
        assert!(matches!(store(&folder).request(&run), Err(HistoryError::Damaged { .. })), "{known}");
    }
}

/// Its controller was killed while it made the record. It hung about as unfinished for ever, and `undo` took it for the last run.
#[test]
fn a_run_that_was_not_started_is_told_as_such() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &[]);
    for left in ["events.jsonl", "request.json", "controller", "plan.json"] {
        assert_eq!(store(&folder).list().unwrap()[0].result, RunResult::NotStarted);
        let told = [
            store(&folder).shown("last").unwrap_err(),
            store(&folder).known(&id("20261122-084512-7f3a")).unwrap_err(),
            read(folder.path(), query(None, None), &LogStyle::Raw).unwrap_err(),
        ];
        assert!(told.iter().all(|told| matches!(told, HistoryError::NotStarted { .. })), "{told:?}");
        _ = std::fs::remove_file(run.join(left));
    }
    crate::files::create_new(&run.join(EVENTS_FILE), 0o600, b"{\"v\":3,\"at\":").unwrap();
    assert_eq!(store(&folder).list().unwrap()[0].result, RunResult::NotStarted);
}

#[test]
fn logs_are_raw_for_a_pipe_and_escaped_for_a_terminal() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &rolling_deployment());
    let raw = read(folder.path(), query(Some("web2"), None), &LogStyle::Raw).unwrap();
    assert_eq!(raw, std::fs::read_to_string(run.join("web2.log")).unwrap());
    let shown = LogStyle::Terminal(TimeZone::UTC);
    insta::assert_snapshot!(read(folder.path(), query(Some("web2"), Some("migrate")), &shown).unwrap(), @r#"
    08:45:17 migrate > started
    08:45:17 migrate | applying 0042_person
    08:45:17 migrate | \x1b[31mERROR\x1b[0m: column "initials" does not exist
    08:45:21 migrate > exit status 3 after 3.5 s
    "#);
    insta::assert_snapshot!(read(folder.path(), query(None, Some("roll/migrate")), &shown).unwrap(), @r#"
    web2 08:45:17 migrate > started
    web2 08:45:17 migrate | applying 0042_person
    web2 08:45:17 migrate | \x1b[31mERROR\x1b[0m: column "initials" does not exist
    web2 08:45:21 migrate > exit status 3 after 3.5 s
    web3 08:45:17 migrate > started
    web3 08:45:17 migrate | applying 0042_person
    web3 08:45:31 migrate > cancelled after 13.5 s
    "#);
}

#[test]
fn what_the_logs_do_not_hold_is_said() {
    let folder = Folder::new();
    let run = record(folder.path(), "20261122-084512-7f3a", &rolling_deployment());
    let told = |host, step| read(folder.path(), query(host, step), &LogStyle::Raw).unwrap_err().to_string();
    insta::assert_snapshot!(told(Some("wb2"), None), @"run 20261122-084512-7f3a has no host `wb2`; did you mean `web2`?");
    insta::assert_snapshot!(told(Some("web2"), Some("migrat")), @"the logs of run 20261122-084512-7f3a hold no step `migrat`; did you mean `migrate`?");
    std::fs::remove_file(run.join("web5.log")).unwrap();
    insta::assert_snapshot!(told(Some("web5"), None), @"run 20261122-084512-7f3a did nothing on web5: there is no log");
    assert!(read(folder.path(), query(None, None), &LogStyle::Raw).is_ok());
}

/// Counts what is written, and keeps nothing.
struct Sink {
    bytes: usize,
    largest: usize,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        self.largest = self.largest.max(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_of_many_megabytes_is_streamed_in_parts() {
    let folder = Folder::new();
    let mut script = Script::default();
    script.begin("web1", "a/b");
    for _ in 0..160 {
        let data = OutputData(vec![b'x'; 64 * 1024]);
        let (host, step) = (crate::model::run::scripted::host("web1"), crate::model::run::scripted::step("a/b"));
        script.fact(Fact::Output { host, step, stream: Stream::Stdout, data });
    }
    script.end("web1", "a/b", StepOutcome::Succeeded, 1);
    let run = record(folder.path(), "20261122-084512-7f3a", &script.events);
    let size = usize::try_from(run.join("web1.log").metadata().unwrap().len()).unwrap();
    assert!(size > 10 << 20);
    let mut sink = Sink { bytes: 0, largest: 0 };
    logs::logs(&store(&folder), query(Some("web1"), None), &LogStyle::Raw, &mut sink).unwrap();
    assert_eq!(sink.bytes, size);
    assert!(sink.largest <= 64 * 1024);
    let mut sink = Sink { bytes: 0, largest: 0 };
    let terminal = LogStyle::Terminal(TimeZone::UTC);
    logs::logs(&store(&folder), query(Some("web1"), None), &terminal, &mut sink).unwrap();
    assert!(sink.bytes > 10 << 20);
}
