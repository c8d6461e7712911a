use crate::model::text::hint::Advise as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::model::run::event::{OutputData, Stream};
use crate::model::run::scripted::{self, Script, host, rolling_deployment, run, step};
use crate::record::folder::controller::CONTROLLER_FILE;
use crate::record::folder::store::FolderStore;
use crate::record::store::Store as _;

/// A plan for the scripted deployment; what its steps do does not matter to a record.
pub(crate) fn plan() -> Plan {
    let steps = ["close/maintenance-on", "roll/pull", "roll/migrate", "roll/health"].map(|path| (path, "true", ""));
    scripted::plan(&["web1", "web2", "web3", "web4", "web5"], &steps)
}

/// A folder for runs, with nothing of anybody beside it.
pub(crate) struct Folder {
    _around: tempfile::TempDir,
    runs: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let around = tempfile::tempdir().unwrap();
        let runs = around.path().join("runs");
        files::private_dir(&runs).unwrap();
        Self { _around: around, runs }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.runs
    }
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_deployment_is_written_down() {
    let folder = Folder::new();
    let runs = folder.path().join(".fleet/runs");
    let mut record = FolderRecord::create(&runs, &run(), &plan(), None).unwrap();
    let events = rolling_deployment();
    for event in &events {
        record.append(event).unwrap();
        record.commit().unwrap();
    }
    let read: Plan = serde_json::from_slice(&std::fs::read(record.folder().join(PLAN_FILE)).unwrap()).unwrap();
    assert_eq!(read, plan());
    let lines = std::fs::read_to_string(record.folder().join(EVENTS_FILE)).unwrap();
    let read: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let without_output: Vec<Event> =
        events.into_iter().filter(|event| !matches!(event.fact, Fact::Output { .. })).collect();
    assert_eq!(read, without_output);

    assert_eq!(mode(&runs), 0o700);
    assert_eq!(mode(record.folder()), 0o700);
    let mut names: Vec<String> = Vec::new();
    for entry in record.folder().read_dir().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let logs = ["web1.log", "web2.log", "web3.log", "web4.log", "web5.log"];
    assert_eq!(names, ["controller", "events.jsonl", "plan.json"].into_iter().chain(logs).collect::<Vec<_>>());
    let log = std::fs::read_to_string(record.folder().join("web2.log")).unwrap();
    insta::assert_snapshot!(log.replace('\x1b', "ESC").replace('\r', "CR"), @r#"
    2026-11-22T08:45:15.623Z - fleet| connected
    2026-11-22T08:45:15.823Z roll/pull fleet| started
    2026-11-22T08:45:16.823Z roll/pull fleet| succeeded after 1.0 s
    2026-11-22T08:45:17.823Z roll/migrate fleet| started
    2026-11-22T08:45:17.823Z roll/migrate out| 10 %CR50 %CRapplying 0042_person
    2026-11-22T08:45:17.823Z roll/migrate err| ESC[31mERRORESC[0m: column "initials" does not exist
    2026-11-22T08:45:21.323Z roll/migrate fleet| exit status 3 after 3.5 s
    2026-11-22T08:45:31.323Z roll/pull fleet| undo started
    2026-11-22T08:45:31.823Z roll/pull fleet| undo succeeded after 0.5 s
    2026-11-22T08:45:32.323Z - fleet| rolled back: roll/migrate: exit status 3
    "#);
}

#[test]
fn a_line_is_there_before_the_command_is_sent() {
    let folder = Folder::new();
    let mut record = FolderRecord::create(folder.path(), &run(), &plan(), None).unwrap();
    let mut script = Script::default();
    script.begin("web1", "roll/migrate");
    record.append(&script.events[0]).unwrap();
    assert!(record.dirty);
    record.commit().unwrap();
    assert!(!record.dirty);
    let lines = std::fs::read_to_string(record.folder().join(EVENTS_FILE)).unwrap();
    assert_eq!(serde_json::from_str::<Event>(lines.trim_end()).unwrap(), script.events[0]);
}

#[test]
fn a_run_is_never_written_over_another() {
    let folder = Folder::new();
    drop(FolderRecord::create(folder.path(), &run(), &plan(), None).unwrap());
    let error = FolderRecord::create(folder.path(), &run(), &plan(), None).err().unwrap();
    assert!(matches!(error, RecordError::Exists { .. }), "{error}");
    // Nor through a link that somebody put there.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let other = RunId::parse("20261122-090000-0000").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path().join(other.as_str())).unwrap();
    assert!(FolderRecord::create(folder.path(), &other, &plan(), None).is_err());
    assert_eq!(elsewhere.read_dir().unwrap().count(), 0);
}

/// Whoever cancels, attaches or resumes may come at any moment.
#[test]
fn a_run_that_can_be_found_is_whole_and_has_a_controller_that_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    let own = i32::try_from(std::process::id()).unwrap();
    for n in 0..100 {
        let run = RunId::parse(&format!("20261122-084512-{n:08}")).unwrap();
        std::thread::scope(|scope| {
            let making = scope.spawn(|| FolderRecord::create(runs, &run, &plan(), None).unwrap());
            while !runs.join(run.as_str()).exists() {
                std::thread::yield_now();
            }
            assert_eq!(controller(&runs.join(run.as_str())), Some(own));
            FolderStore::new(runs).plan(&run).unwrap();
            drop(making.join().unwrap());
        });
        // A process that another test starts at this moment has the locks, too, until it has become another program.
        while controller(&runs.join(run.as_str())).is_some() {
            std::thread::yield_now();
        }
        // Left by a controller that was killed, and whose number another process has by now.
        files::replace(&runs.join(run.as_str()).join(CONTROLLER_FILE), 0o600, b"1\n").unwrap();
        std::thread::scope(|scope| {
            let reopening = scope.spawn(|| FolderRecord::reopen(runs, &run).unwrap());
            let told = std::iter::repeat_with(|| controller(&runs.join(run.as_str()))).find_map(|pid| pid);
            assert_eq!(told, Some(own));
            drop(reopening.join().unwrap());
        });
    }
    let names: Vec<_> = runs.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 100, "{names:?}");
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_anything_is_contacted() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    files::create_new(&file, 0o600, b"").unwrap();
    let error = FolderRecord::create(&file.join("runs"), &run(), &plan(), None).err().unwrap();
    assert!(error.to_string().contains("file/runs"), "{error}");
    assert_eq!(error.hints().len(), 1, "{error}");
}

#[test]
fn a_disk_that_fills_up_drops_the_record_and_says_where() {
    let folder = Folder::new();
    let mut record = FolderRecord::create(folder.path(), &run(), &plan(), None).unwrap();
    record.events = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut reporters = crate::report::reporters::Reporters::new(vec![Box::new(Box::new(record) as Box<dyn Record>)]);
    let mut summary = crate::model::run::summary::Summary::default();
    for event in rolling_deployment() {
        summary.apply(&event);
        reporters.report(&event, &mut summary);
    }
    let [(reporter, reason)] = summary.dropped.as_slice() else { panic!("{:?}", summary.dropped) };
    assert_eq!(reporter, "record");
    assert!(reason.starts_with(folder.path().to_str().unwrap()) && reason.contains("No space left"), "{reason}");
    // The run went on.
    assert_eq!(summary.exit_code(), 10);
}

#[test]
fn a_log_has_no_name_outside_its_folder() {
    assert_eq!(log_name(&host("mysite:web1")).as_deref(), Some("mysite:web1.log"));
    assert_eq!(log_name(&host("w.1_-")).as_deref(), Some("w.1_-.log"));
    assert_eq!(log_name(&host(&"x".repeat(251))), None);
    assert!(HostLabel::parse("../../x").is_err());
}

#[test]
fn many_hosts_do_not_exhaust_the_descriptors() {
    let folder = Folder::new();
    let mut record = FolderRecord::create(folder.path(), &run(), &plan(), None).unwrap();
    for round in 0..2 {
        for n in 0..OPEN_LOGS * 2 {
            let label = host(&format!("web{n}"));
            let mut script = Script::default();
            let data = OutputData(format!("round {round}\n").into_bytes());
            let path = step("a/b");
            script.fact(Fact::Output { host: label, step: path, stream: Stream::Stdout, data });
            record.append(&script.events[0]).unwrap();
            assert!(record.logs.values().filter(|log| log.is_open()).count() <= OPEN_LOGS);
        }
    }
    let log = std::fs::read_to_string(record.folder().join("web7.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}
