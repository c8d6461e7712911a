//! What only `SQLite` has.

use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::site::{Kind, RUN, Site};
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::tools::tool;

/// A process that keeps the database open, and runs statements.
struct Application(Child);

impl Application {
    fn start(site: &Site) -> Self {
        let mut sqlite = Command::new(tool("sqlite3"));
        sqlite.arg(site.file("mysite")).stdin(Stdio::piped());
        Self(sqlite.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Runs these statements, and waits until they have been run.
    fn does(&mut self, site: &Site, text: &str) {
        let done = site.file("done");
        let line = format!("{text}\n.shell touch '{}'\n", done.display());
        std::io::Write::write_all(self.0.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
        wait_for("the application", || std::fs::remove_file(&done).ok());
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_writer_that_keeps_the_file_open_loses_nothing() {
    for mode in ["wal", "delete"] {
        let site = Site::start(Kind::Sqlite, "mysite");
        let mut application = Application::start(&site);
        application.does(&site, &format!("pragma journal_mode = {mode}; insert into note values (2, 'second');"));
        site.ok(&["backup", "dump"]);
        application.does(&site, "insert into note values (3, 'third');");
        site.ok(&["restore", "dump", RUN]);
        assert_eq!(site.kept(), "kept\nsecond", "{mode}");
        assert_eq!(site.sql_in(&format!("mysite-old-{RUN}"), "select text from note"), "kept\nsecond\nthird", "{mode}");
        drop(application);
        assert_eq!(site.kept(), "kept\nsecond", "{mode}");
        assert_eq!(site.sql("pragma integrity_check"), "ok");
    }
}

#[test]
fn an_open_transaction_is_waited_for_and_then_named() {
    let mut site = Site::start(Kind::Sqlite, "mysite");
    site.set("DATABASE_TIMEOUT", "0");
    let mut application = Application::start(&site);
    application.does(&site, "pragma journal_mode = wal;");
    site.ok(&["backup", "dump"]);
    application.does(&site, "begin immediate; insert into note values (2, 'half');");
    let said = site.fails(&["restore", "dump", RUN]);
    assert!(
        said.contains("somebody writes to ") && said.contains("it is as it was") && said.contains("hint: fuser -v "),
        "{said}"
    );
    assert!(site.names().iter().all(|name| name == "mysite-wal" || name == "mysite-shm"), "{:?}", site.names());
    // A dump is made beside it, of what is committed.
    site.ok(&["backup", "dump"]);
    application.does(&site, "commit;");
    site.ok(&["restore", "dump", RUN]);
    assert_eq!(site.kept(), "kept");
}

#[test]
fn check_names_what_is_no_database_or_cannot_be_swapped() {
    let mut site = Site::start(Kind::Sqlite, "mysite");
    files::write(&site.file("home/.sqliterc"), ".mode insert\n.print rc\n", 0o600);
    assert!(site.ok(&["check"]).ends_with("/mysite: 0 MiB"));
    symlink("mysite", site.file("link")).unwrap();
    site.set("DATABASE_NAME", "link");
    site.ok(&["backup", "dump"]);
    site.migrate();
    site.ok(&["restore", "dump", RUN]);
    assert_eq!(site.kept(), "kept");
    assert!(site.file("link").is_symlink());
    files::write(&site.file("text"), "select 1;\n".repeat(100), 0o600);
    files::write(&site.file("empty"), "", 0o600);
    for (name, text) in [
        ("text", "is no SQLite database"),
        ("empty", "is no SQLite database"),
        ("nowhere", "there is no database file"),
    ] {
        site.set("DATABASE_NAME", name);
        let said = site.fails(&["check"]);
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_folder_that_the_login_cannot_write_to_is_named_as_root() {
    use crate::support::user::only_root;
    only_root("runs the helper as another user");
    let site = Site::start(Kind::Sqlite, "mysite");
    files::set_mode(&site.file("."), 0o755);
    files::set_mode(&site.file("wrapped"), 0o777);
    let mut helper = Command::new(tool("setpriv"));
    let text = site.helper(&["check"]);
    helper.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(text.get_program()).args(text.get_args());
    helper
        .current_dir(text.get_current_dir().unwrap())
        .envs(text.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = helper.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("nobody cannot write to the folder of the database"), "{said}");
}
