//! The scripts of a site's book, through the shells that hosts have.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fleet::model::plan::blob::Blobs;
use fleet::model::plan::book::{Book, Effect, EffectChange, Proof};
use fleet::model::plan::file::PlanFile;
use fleet::model::plan::plan::HostIndex;
use fleet::model::text::name::{RunId, SiteName, StepName, UserName, VarName};
use fleet::remote::{Claim, Farewell, FilesAnswer, HostFiles, HostProof, HostReport, Question};

use crate::support::files;
use crate::support::tools::{PATH, tool};

const SHELLS: [&[&str]; 4] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"], &["ksh"]];
const FIRST: &str = "20261122-084512-7f3a";
const SECOND: &str = "20261122-084513-7f3a";

/// A host of which only the shell is there.
struct Host {
    home: tempfile::TempDir,
    shell: &'static [&'static str],
}

impl Host {
    fn ask(&self, question: &Question) -> String {
        let mut shell = Command::new(tool(self.shell[0]));
        shell.args(&self.shell[1..]).arg("-s").current_dir(self.home.path());
        shell.env_clear().env("PATH", PATH).env("HOME", self.home.path());
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let wire = question.wire("abc");
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(wire.setup.concat().as_bytes()).unwrap();
        stdin.write_all(&wire.stdin).unwrap();
        drop(stdin);
        let output = shell.wait_with_output().unwrap();
        let stream = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let rest = text.strip_prefix(&format!("{} ", wire.begin)).unwrap_or_else(|| panic!("{text}"));
            let (said, end) = rest.split_once('\n').unwrap().1.split_once(&format!("{} ", wire.end)).unwrap();
            assert!(end.trim_end().parse::<u8>().is_ok(), "{end}");
            said.to_owned()
        };
        assert_eq!(stream(output.stderr), "", "{:?}", self.shell);
        stream(output.stdout)
    }

    fn book(&self) -> Book {
        let login = UserName::parse("me").unwrap();
        let folder = Some(self.home.path().join("its book").display().to_string());
        Book { site: SiteName::parse("mysite").unwrap(), folder, login, lost: false }
    }

    fn report(&self) -> HostReport {
        HostReport::parse(&self.ask(&Question::inspect(&self.book())))
    }

    fn claim(&self, run: &str) -> Claim {
        Claim {
            run: RunId::parse(run).unwrap(),
            host: HostIndex(0),
            book: self.book(),
            since: "2026-11-22 by ann@desk: deploy".to_owned(),
            resumed: false,
            whole: true,
            users: Vec::new(),
        }
    }

    fn lock(&self, claim: &Claim) -> HostReport {
        HostReport::parse(&self.ask(&claim.lock()))
    }
}

fn proof(value: &str) -> Proof {
    Proof {
        name: VarName::parse("revision").unwrap(),
        value: value.to_owned(),
        also: BTreeMap::from([(VarName::parse("fixes").unwrap(), "two\nlines \\ 100%".to_owned())]),
        accepted: std::collections::BTreeMap::new(),
        run: RunId::parse(FIRST).unwrap(),
        sequence: 7,
        by: "ann@desk".to_owned(),
        age: None,
    }
}

#[test]
fn a_book_keeps_what_a_run_writes_into_it_whatever_the_shell() {
    for shell in SHELLS {
        let host = Host { home: tempfile::tempdir().unwrap(), shell };
        let (first, second) = (host.claim(FIRST), host.claim(SECOND));
        let report = host.lock(&first);
        assert!(report.ready && report.sequence == 0 && report.exposed().is_none(), "{shell:?}: {report:?}");
        let report = host.lock(&second);
        let holder = report.holder.unwrap();
        assert!(!report.ready && holder.run == FIRST && holder.since == first.since, "{shell:?}: {holder:?}");

        let words = "closed, for 'all' $visitors; * ";
        let name = StepName::parse("maintenance-on").unwrap();
        let effect = Effect { name: name.clone(), words: words.trim().to_owned() };
        let begun = EffectChange { begin: vec![effect.clone()], strike: Vec::new() };
        assert_eq!(host.ask(&first.note(&begun)), "noted\n");
        assert_eq!(host.report().effects.iter().map(|found| &found.effect).collect::<Vec<_>>(), [&effect]);
        // Who has the lock is told to those whose users may not read it, and nobody else begins anything.
        let holds = |run: &str| host.ask(&Question::holds(&RunId::parse(run).unwrap(), &host.book()));
        assert_eq!((holds(FIRST).as_str(), holds(SECOND).as_str()), ("held\n", "taken\n"), "{shell:?}");
        let other = Effect { name: StepName::parse("cron-off").unwrap(), words: "no cron".to_owned() };
        assert_eq!(host.ask(&second.note(&EffectChange { begin: vec![other], strike: Vec::new() })), "taken\n");
        assert_eq!(host.report().effects.len(), 1, "{shell:?}");
        // While a run has the lock, what is in force is its own.
        assert_eq!(host.ask(&Question::strike(&host.book(), std::slice::from_ref(&name), "forgotten")), "");

        let value = "first line\n  'second' $line \\t \\";
        let farewell =
            Farewell { line: "the first is over".to_owned(), sequence: 7, proof: Some(proof(value)), keep: false };
        assert_eq!(host.ask(&first.release(&farewell)), "released\n");
        assert_eq!(host.ask(&first.release(&farewell)), "released\n", "asked again, because nobody heard the answer");
        let report = host.report();
        assert_eq!((report.sequence, report.holder.is_none()), (7, true), "{shell:?}");
        assert_eq!(report.history, ["the first is over"]);
        let Some(HostProof::Proven(told)) = report.proof else { panic!("{shell:?}") };
        assert!(told.age.is_some());
        assert_eq!(Proof { age: None, ..told }, proof(value), "{shell:?}");
        assert_eq!(host.ask(&Question::strike(&host.book(), &[name], "forgotten")), "released\n");
        assert!(host.report().effects.is_empty());
        assert_eq!(holds(FIRST), "taken\n", "{shell:?}: nobody has it");
        // The next run learns what was proven before it.
        let Some(HostProof::Proven(former)) = host.lock(&second).proof else { panic!("{shell:?}") };
        assert_eq!(former, proof(value), "{shell:?}");
        assert_eq!(host.ask(&Question::unlock(&host.book(), &second.run, "unlocked")), "released\n");
        files::write(&host.home.path().join("its book/last"), format!("{FIRST}\n"), 0o660);

        // Whoever takes the first one up again withdraws what it has proven.
        assert!(host.lock(&Claim { resumed: true, ..first.clone() }).ready);
        assert_eq!(host.report().proof, Some(HostProof::Withdrawn(7)), "{shell:?}");
        // Its lock goes to another: it leaves that one's alone, and proves nothing.
        assert_eq!(host.ask(&Question::unlock(&host.book(), &first.run, "unlocked")), "released\n");
        let report = host.lock(&second);
        assert!(report.ready && report.sequence == 7, "{shell:?}: {report:?}");
        let late = Farewell { line: "late".to_owned(), ..farewell };
        assert_eq!(host.ask(&first.release(&late)), format!("taken {SECOND}\n"), "{shell:?}");
        assert_eq!(host.report().holder.unwrap().run, SECOND);
        assert!(matches!(host.report().proof, Some(HostProof::Withdrawn(_))));
    }
}

/// Whoever may write to the folder of a site may write to its book.
#[test]
fn a_book_is_its_folder_s_group_s_where_the_folder_is() {
    use std::os::unix::fs::PermissionsExt as _;
    for (mode, wanted) in [(0o755, 0o700), (0o775, 0o2770), (0o2775, 0o2770)] {
        let host = Host { home: tempfile::tempdir().unwrap(), shell: SHELLS[0] };
        std::fs::set_permissions(host.home.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(host.lock(&host.claim(FIRST)).ready);
        let mode_of = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let book = host.home.path().join("its book");
        assert_eq!(mode_of(&book), wanted, "{mode:o}");
        assert_eq!(mode_of(&book.join("lock")), 0o660);
    }
}

/// A connection that breaks before the answer has the part of a file brought once more.
#[test]
fn files_of_a_recipe_arrive_whole_in_every_shell_though_a_part_comes_twice() {
    let contents: [(&str, Vec<u8>); 4] = [
        ("deep er/it's.bin", (0..=u8::MAX).cycle().take(300_001).collect()),
        ("text", "a line, 'quoted' $HOME\\\n".repeat(20_000).into_bytes()),
        ("empty", Vec::new()),
        ("no-newline", b"#!/bin/sh".to_vec()),
    ];
    let mut blobs = Blobs::default();
    let planned: Vec<PlanFile> = contents
        .iter()
        .map(|(path, bytes)| PlanFile { path: (*path).to_owned(), blob: blobs.add(bytes.clone()), executable: false })
        .collect();
    let run = RunId::parse(FIRST).unwrap();
    for shell in SHELLS {
        let host = Host { home: tempfile::tempdir().unwrap(), shell };
        let sent = HostFiles { run: &run, host: HostIndex(0), beside: true, files: &planned, blobs: &blobs };
        let questions = sent.put(None, &[]).unwrap();
        assert!(questions.len() > 4);
        let mut answer = String::new();
        for question in questions {
            host.ask(&question);
            answer = host.ask(&question);
        }
        let FilesAnswer::There { folder, have } = FilesAnswer::parse(&answer) else { panic!("{shell:?}: {answer}") };
        assert!(FilesAnswer::is_whole(&have, &planned), "{shell:?}: {answer}");
        for (path, bytes) in &contents {
            assert!(std::fs::read(Path::new(&folder).join(path)).unwrap() == *bytes, "{shell:?}: {path}");
        }
        assert!(sent.put(None, &have).unwrap().len() == 1, "what is there is not sent again");
        host.ask(&sent.removed(None));
        assert!(!Path::new(&folder).exists(), "{shell:?}");
    }
}
