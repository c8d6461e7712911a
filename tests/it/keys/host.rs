//! The edit of `authorized_keys`, through the shells that hosts have.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use fleet::keys::distribute::{Change, DistributeError, Distributed, Refusal, Warning, distribute};
use fleet::model::text::hint::Advise as _;
use fleet::ssh::key::PublicKeyLine;

use super::local::{Shell, ShellSession, TOOLS, busybox_tools, shells};
use super::public_key;

const FOREIGN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti theirs";

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a file of that content, and modes as `ssh-keygen` and people make them.
    fn with_file(content: impl AsRef<[u8]>) -> Self {
        let home = Self::new();
        fs::create_dir(home.dot_ssh()).unwrap();
        set_mode(&home.dot_ssh(), 0o700);
        home.write(content);
        home
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        fleet::files::replace(&self.file(), 0o644, content.as_ref()).unwrap();
    }

    fn dot_ssh(&self) -> PathBuf {
        self.folder.path().join(".ssh")
    }

    fn file(&self) -> PathBuf {
        self.dot_ssh().join("authorized_keys")
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(self.dot_ssh()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn session(&self, shell: &Shell) -> ShellSession {
        ShellSession::local(shell.command, self.folder.path(), &shell.path)
    }

    async fn distribute(&self, shell: &Shell, key: &PublicKeyLine) -> Result<Distributed, DistributeError> {
        distribute(&mut self.session(shell), key).await
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const ADDED: Result<Distributed, DistributeError> = Ok(Distributed { change: Change::Added, warnings: Vec::new() });

const ALREADY: Result<Distributed, DistributeError> =
    Ok(Distributed { change: Change::AlreadyThere, warnings: Vec::new() });

fn refused(result: Result<Distributed, DistributeError>) -> Refusal {
    match result {
        Err(DistributeError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_foreign_byte_is_kept_and_the_second_time_nothing_is_done() {
    let key = public_key("it's ours");
    for shell in shells() {
        for before in [
            b"".to_vec(),
            format!("{FOREIGN}\n").into(),
            format!("# no newline at the end\n{FOREIGN}").into(),
            format!("{FOREIGN}\r\n\r\n").into(),
            (0..=255).collect(),
            b"\n\n\0\0\xff".to_vec(),
        ] {
            let home = Home::with_file(&before);
            assert_eq!(home.distribute(&shell, &key).await, ADDED, "{}", shell.command);
            let newline = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
            let after = [before, format!("{newline}{key}\n").into_bytes()].concat();
            assert_eq!(home.content(), after, "{}", shell.command);
            let inode = home.file().metadata().unwrap().ino();

            assert_eq!(home.distribute(&shell, &key).await, ALREADY);
            assert_eq!((home.content(), home.file().metadata().unwrap().ino()), (after, inode));
            assert_eq!(home.names(), ["authorized_keys"]);
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_made_private_and_what_is_there_keeps_its_mode() {
    let key = public_key("ours");
    for shell in shells() {
        let home = Home::new();
        assert_eq!(home.distribute(&shell, &key).await, ADDED, "{}", shell.command);
        assert_eq!((mode(&home.dot_ssh()), mode(&home.file())), (0o700, 0o600));
        assert_eq!(home.content(), format!("{key}\n").as_bytes());

        for kept in [0o644, 0o600, 0o400] {
            let home = Home::with_file(FOREIGN);
            set_mode(&home.file(), kept);
            set_mode(&home.dot_ssh(), 0o755);
            assert_eq!(home.distribute(&shell, &key).await, ADDED);
            assert_eq!((mode(&home.dot_ssh()), mode(&home.file())), (0o755, kept), "{}", shell.command);
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_options_are_told() {
    let key = public_key("ours");
    let shell = &shells()[0];
    let home = Home::with_file(format!("\u{feff}{key}\n"));
    let result = home.distribute(shell, &key).await.unwrap();
    assert_eq!(result, Distributed { change: Change::Added, warnings: vec![Warning::ByteOrderMark] });
    assert_eq!(home.content(), format!("\u{feff}{key}\n{key}\n").as_bytes());

    let home = Home::with_file(format!("{FOREIGN}\nfrom=\"10.0.0.1\u{1b}\" {key}\n"));
    let result = home.distribute(shell, &key).await.unwrap();
    let options = Warning::Options { line: 2, options: "from=\"10.0.0.1\\x1b\"".into() };
    assert_eq!(result, Distributed { change: Change::AlreadyThere, warnings: vec![options] });
}

#[tokio::test]
async fn a_link_is_followed_inside_dot_ssh_only() {
    let key = public_key("ours");
    for shell in shells() {
        let home = Home::with_file("");
        fs::rename(home.file(), home.dot_ssh().join("real")).unwrap();
        symlink("real", home.file()).unwrap();
        assert_eq!(home.distribute(&shell, &key).await, ADDED, "{}", shell.command);
        assert!(home.file().is_symlink());
        assert_eq!(home.content(), format!("{key}\n").as_bytes());

        let elsewhere = home.folder.path().join("elsewhere");
        fleet::files::replace(&elsewhere, 0o600, FOREIGN.as_bytes()).unwrap();
        for target in ["../elsewhere", "/etc/passwd", "nothing"] {
            fs::remove_file(home.file()).unwrap();
            symlink(target, home.file()).unwrap();
            assert!(matches!(refused(home.distribute(&shell, &key).await), Refusal::Link { .. }), "{target}");
        }
        assert_eq!(fs::read(&elsewhere).unwrap(), FOREIGN.as_bytes());
    }
}

#[tokio::test]
async fn what_sshd_would_not_read_is_refused_untouched() {
    let key = public_key("ours");
    for shell in shells() {
        let home = Home::with_file(FOREIGN);
        for (path, bad, good) in [
            (home.file(), 0o646, 0o644),
            (home.dot_ssh(), 0o702, 0o700),
            (home.dot_ssh(), 0o1777, 0o700),
            (home.folder.path().to_owned(), 0o777, 0o700),
        ] {
            set_mode(&path, bad);
            match refused(home.distribute(&shell, &key).await) {
                Refusal::Writable { path: named, .. } => assert_eq!(Path::new(&named), path.canonicalize().unwrap()),
                other => panic!("{other:?}"),
            }
            set_mode(&path, good);
        }
        assert_eq!(home.content(), FOREIGN.as_bytes());

        fs::remove_file(home.file()).unwrap();
        fs::create_dir(home.file()).unwrap();
        assert!(matches!(refused(home.distribute(&shell, &key).await), Refusal::NotAFile { .. }));
        fs::remove_dir_all(home.dot_ssh()).unwrap();
        fleet::files::replace(&home.dot_ssh(), 0o600, b"a file").unwrap();
        assert!(matches!(refused(home.distribute(&shell, &key).await), Refusal::NotAFolder { .. }));
    }
}

/// Tools that lie in a chosen way, before the real ones.
fn with_tool(shell: &mut Shell, folder: &Path, name: &str, script: &str) {
    fleet::files::replace(&folder.join(name), 0o755, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    shell.path = format!("{}:{}", folder.display(), shell.path);
}

#[tokio::test]
async fn the_group_may_write_only_where_it_is_the_users_own() {
    let key = public_key("ours");
    for (group, name) in [("$(/usr/bin/id -g)", "me"), ("$(/usr/bin/id -g)", "staff"), ("77777", "me")] {
        let mut shell = shells().remove(0);
        let tools = tempfile::tempdir().unwrap();
        let id =
            format!("case $1 in -un) echo me ;; -gn) echo {name} ;; -u) /usr/bin/id -u ;; -g) echo {group} ;; esac");
        with_tool(&mut shell, tools.path(), "id", &id);
        let home = Home::with_file(FOREIGN);
        set_mode(&home.dot_ssh(), 0o770);
        let result = home.distribute(&shell, &key).await;
        if (group, name) == ("$(/usr/bin/id -g)", "me") {
            let warnings = result.unwrap().warnings;
            assert!(matches!(&warnings[..], [Warning::GroupWritable { mode, .. }] if mode.starts_with("drwxrwx---")));
        } else {
            assert!(matches!(refused(result), Refusal::Writable { .. }), "{group} {name}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_a_stranger_is_refused() {
    let key = public_key("ours");
    let mut shell = shells().remove(0);
    let home = Home::with_file(FOREIGN);
    // Root owns what it likes, so as root the file is given away; as anybody else it is enough to be told to be another.
    let tools = tempfile::tempdir().unwrap();
    if home.file().metadata().unwrap().uid() == 0 {
        std::os::unix::fs::chown(home.file(), Some(4242), None).unwrap();
    } else {
        with_tool(&mut shell, tools.path(), "id", "echo 77777");
    }
    assert!(matches!(refused(home.distribute(&shell, &key).await), Refusal::Foreign { .. }));
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let key = public_key("ours");
    for shell in shells() {
        // The limit is 512 bytes: the copy fails, or what comes after it.
        for length in [2000, 500] {
            let before = "#".repeat(length);
            let home = Home::with_file(&before);
            let mut session = home.session(&shell);
            let limit = "trap '' XFSZ; ulimit -f 1; exec /bin/sh -c \"$0\"";
            session.prefix = ["/usr/bin/dash", "-c", limit].map(Into::into).to_vec();
            match distribute(&mut session, &key).await {
                Err(DistributeError::Failed { message, .. }) => {
                    assert!(message.contains("cannot copy") || message.contains("cannot write"), "{message}");
                }
                other => panic!("{} {length}: {other:?}", shell.command),
            }
            assert_eq!((home.content(), home.names()), (before.into_bytes(), vec!["authorized_keys".to_owned()]));
        }
    }
}

#[tokio::test]
async fn a_change_in_between_is_seen_and_kept() {
    let key = public_key("ours");
    let shell = &shells()[0];
    let home = Home::with_file(FOREIGN);
    let mut session = home.session(shell);
    let file = home.file();
    session.before = Box::new(move |command| {
        if command == 1 {
            fleet::files::replace(&file, 0o600, b"# somebody else\n").unwrap();
        }
    });
    assert_eq!(distribute(&mut session, &key).await, ADDED);
    assert_eq!(home.content(), format!("# somebody else\n{key}\n").as_bytes());
    assert_eq!(session.commands, 4);

    // The file appears, and then changes each time.
    let home = Home::new();
    let mut session = home.session(shell);
    let file = home.file();
    session.before = Box::new(move |command| {
        if command % 2 == 1 {
            fleet::files::private_dir(file.parent().unwrap()).unwrap();
            fleet::files::replace(&file, 0o600, format!("# {command}\n").as_bytes()).unwrap();
        }
    });
    assert_eq!(distribute(&mut session, &key).await, Err(DistributeError::Changing));
    assert_eq!(home.content(), b"# 19\n");
}

#[tokio::test]
async fn fleets_that_race_lose_no_key() {
    for shell in shells() {
        let home = Home::with_file(FOREIGN);
        let keys: Vec<_> = (0..4).map(|n| public_key(&format!("fleet {n}"))).collect();
        let results = futures::future::join_all(keys.iter().map(|key| home.distribute(&shell, key))).await;
        assert!(results.iter().all(|result| *result == ADDED), "{}: {results:?}", shell.command);
        let content = String::from_utf8(home.content()).unwrap();
        let mut lines: Vec<_> = content.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        let mut expected: Vec<_> = keys.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(lines, expected);
        assert_eq!(home.names(), ["authorized_keys"]);
    }
}

#[tokio::test]
async fn a_lock_that_stays_is_told() {
    let key = public_key("ours");
    // No flock, and a sleep that does not sleep.
    let tools = tempfile::tempdir().unwrap();
    let path = busybox_tools(tools.path(), &TOOLS);
    fs::remove_file(tools.path().join("sleep")).unwrap();
    symlink("/usr/bin/true", tools.path().join("sleep")).unwrap();
    let home = Home::with_file(FOREIGN);
    fs::create_dir(home.dot_ssh().join(".fleet-lock")).unwrap();
    let mut session = ShellSession::local("/usr/bin/busybox sh", home.folder.path(), &path);
    let error = distribute(&mut session, &key).await.unwrap_err();
    assert!(matches!(&error, DistributeError::LockFolder { folder } if folder.ends_with("/.ssh/.fleet-lock")));
    assert!(error.hints()[0].to_string().starts_with("if none is at work, on the host: rmdir /"));
    assert_eq!(home.content(), FOREIGN.as_bytes());
    assert!(home.dot_ssh().join(".fleet-lock").exists());
}

#[tokio::test]
async fn the_label_is_restored_where_there_are_labels() {
    let key = public_key("ours");
    let mut shell = shells().remove(0);
    let tools = tempfile::tempdir().unwrap();
    let seen = tools.path().join("seen");
    with_tool(&mut shell, tools.path(), "restorecon", &format!("echo \"$@\" >>'{}'", seen.display()));
    let home = Home::new();
    assert_eq!(home.distribute(&shell, &key).await, ADDED);
    let dot_ssh = home.dot_ssh().canonicalize().unwrap();
    let expected = format!("{0}\n{0}/authorized_keys\n", dot_ssh.display());
    assert_eq!(fs::read_to_string(&seen).unwrap(), expected);

    with_tool(&mut shell, tools.path(), "restorecon", "exit 1");
    let home = Home::with_file(FOREIGN);
    let warnings = home.distribute(&shell, &key).await.unwrap().warnings;
    assert!(matches!(&warnings[..], [Warning::Unlabelled { path }] if path.ends_with("/.ssh/authorized_keys")));
}
