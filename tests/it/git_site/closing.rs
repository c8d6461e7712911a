//! When the site closes, for how long, and what has to be there before.

use std::path::PathBuf;

use super::bed::Bed;
use crate::support::files;
use crate::support::postgres::Postgres;
use crate::support::tools::tool;
use crate::support::user::TestUser;

const DATABASE: &str =
    "migrate = \"cat page >>../data\"\nbackup = \"cp ../data $BACKUP/\"\nrestore = \"cp $BACKUP/data ../data\"\n";
const WEBS: [(&str, &str); 2] = [("web1", r#""web", "db""#), ("web2", r#""web""#)];

/// A bed whose hosts say in one file when they are closed, restarted and opened.
fn logging(vars: &str, hosts: &[(&str, &str)]) -> (Bed, PathBuf) {
    let bed = Bed::on(vars, hosts);
    let log = bed.up().with_file_name("log");
    for what in ["closed", "restart", "open"] {
        bed.write_var(&format!("{what} = 'echo {what} $(pwd) >>{}'", log.display()));
    }
    for (name, _) in hosts {
        files::write(&bed[name].home().join("data"), "data\n", 0o644);
    }
    (bed, log)
}

/// What was said since, with the hosts' names.
fn said(bed: &Bed, log: &PathBuf) -> Vec<String> {
    let text = if log.exists() { files::read(log) } else { String::new() };
    let _ = std::fs::remove_file(log);
    let name = |line: &str| {
        let (what, folder) = line.split_once(' ').unwrap();
        let host = bed.hosts().find(|(_, host)| host.home().join("home").to_str() == Some(folder)).unwrap().0;
        format!("{what} {host}")
    };
    text.lines().map(name).collect()
}

fn sorted(lines: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = lines.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted
}

#[test]
fn a_deployment_of_what_is_there_closes_and_restarts_nothing() {
    let (bed, log) = logging(DATABASE, &WEBS);
    bed.ends(0, &["deploy"]);
    assert_eq!(sorted(&said(&bed, &log)[..2]), ["closed web1", "closed web2"]);
    let data = files::read(&bed["web1"].home().join("data"));
    let text = bed.ends(0, &["deploy"]);
    assert_eq!(said(&bed, &log), [""; 0], "{text}");
    assert_eq!(files::read(&bed["web1"].home().join("data")), data, "and migrates nothing");
    assert!(text.contains("nothing new"), "{text}");

    // The commit is there, and the release was not deployed to its end: all of it is done.
    std::fs::remove_file(bed.home(".git/fleet/current")).unwrap();
    bed.ends(0, &["deploy"]);
    assert_eq!(said(&bed, &log), ["closed web1", "restart web1", "open web1"]);
    // One host is new, or was set to another commit by hand: only that one is closed.
    let checkout = bed["web2"].home().join("home");
    crate::support::process::run(crate::support::git::git(&checkout).args(["checkout", "-q", "--detach", &bed.one]));
    bed.ends(0, &["deploy"]);
    assert_eq!(said(&bed, &log), ["closed web2", "restart web2", "open web2"]);
    // Nor is it green when the site does not work.
    bed.write_var("health = \"false\"");
    let text = bed.ends(10, &["deploy"]);
    assert_eq!(said(&bed, &log), [""; 0], "{text}");
}

#[test]
fn a_release_that_does_not_migrate_closes_one_host_after_the_other() {
    let (bed, log) = logging(DATABASE, &WEBS);
    bed.write_var("migrates = \"! git diff --quiet $FROM $TO -- page\"");
    bed.write_site(|site| format!("{site}\n[rollout]\nbatches = [1, \"100%\"]\n"));
    bed.ends(0, &["deploy"]);
    let all = said(&bed, &log);
    assert_eq!(sorted(&all[..2]), ["closed web1", "closed web2"]);
    assert_eq!(all[2..], ["restart web1", "open web1", "restart web2", "open web2"]);
    let data = files::read(&bed["web1"].home().join("data"));
    bed.push("three", &[("style", "blue\n")]);
    bed.ends(0, &["deploy"]);
    let each = ["closed web1", "restart web1", "open web1", "closed web2", "restart web2", "open web2"];
    assert_eq!(said(&bed, &log), each);
    assert_eq!(files::read(&bed["web1"].home().join("data")), data);

    // One that does, after two that did not: what was never migrated counts, and not only the last step.
    bed.push("four", &[("page", "four\n")]);
    let five = bed.push("five", &[("style", "red\n")]);
    bed.ends(0, &["deploy"]);
    assert_eq!(sorted(&said(&bed, &log)[..2]), ["closed web1", "closed web2"]);
    assert_eq!(files::read(&bed["web1"].home().join("data")), format!("{data}four\n"));
    assert_eq!(bed.head(), five);

    // A host that fails opens again with the former code, and nothing else was closed.
    bed.push("six", &[("style", "green\n")]);
    bed.write_var("health = \"[ $(cat style) != green ]\"");
    let text = bed.ends(10, &["deploy"]);
    assert!(text.contains("rolled back"), "{text}");
    assert_eq!((bed.head(), bed.head_of("web2")), (five.clone(), five));
    assert_eq!(said(&bed, &log), ["closed web1", "restart web1", "restart web1"]);
    bed.is_open();
}

#[test]
fn whether_a_release_migrates_is_known_before_anything_closes_or_refused() {
    let (bed, log) = logging(DATABASE, &WEBS[..1]);
    bed.write_var("migrates = \"exit 2\"");
    let text = bed.ends(10, &["deploy"]);
    assert!(text.contains("the variable migrates ended with 2"), "{text}");
    assert_eq!(said(&bed, &log), [""; 0]);
    bed.is_as_before();
    // FROM and TO are commits, also when the site was never migrated by a deployment.
    bed.write_site(|site| site.replace("exit 2", &format!("test $FROM.$TO = {}.{}", bed.one, bed.two)));
    bed.ends(0, &["deploy"]);
    assert_eq!(said(&bed, &log), ["closed web1", "restart web1", "open web1"]);
}

/// A release whose database is on no host of the run is not green in silence.
#[test]
fn a_database_that_no_host_migrates_is_a_warning() {
    let bed = Bed::on("migrate = \"true\"", &[("web1", "\"web\"")]);
    let text = bed.ends(0, &["deploy"]);
    assert!(text.contains("the database is not migrated: no host with the role db"), "{text}");
    // Nobody migrates, and nobody is asked for that role.
    let bed = Bed::on("", &[("web1", "\"web\"")]);
    let text = bed.ends(0, &["deploy"]);
    assert!(!text.contains("the database is not migrated") && bed.head() == bed.two, "{text}");
}

/// It ended held, closed, with cron off, and neither `resume` nor `undo` led out: the undo restarted what had not been restarted.
#[test]
fn a_restart_that_cannot_work_is_not_in_the_way_of_the_rollback() {
    let bed =
        Bed::start("migrate = \"true\"\nbackup = \"echo x >$BACKUP/x\"\nrestore = \"true\"\nrestart = \"exit 7\"");
    bed.write_var("closed = \"exit 3\"");
    let text = bed.ends(10, &["deploy"]);
    assert!(text.contains("rolled back") && !text.contains("held"), "{text}");
    bed.is_as_before();
}

/// Each is found before anything closes, by `check` and by a deployment, and named with the variable.
#[test]
fn what_the_commands_of_the_site_need_is_looked_for_before_anything_closes() {
    let bed = Bed::start("");
    let site = bed.read("hosts/mysite.toml");
    for (var, why) in [
        ("restart = \"no-such-program x\"", "the variable restart runs no-such-program, which is not on this host"),
        ("health = \"true && no-such-program >/dev/null\"", "the variable health runs no-such-program"),
        ("backup = \"/opt/none/dump >$BACKUP/x\"", "the variable backup runs /opt/none/dump"),
        ("schema = \"echo oops >&2; false\"", "the variable schema fails"),
        ("remote = \"elsewhere\"", "elsewhere"),
        ("backup-free = \"999999999\"", "MiB left"),
        ("backup-dir = \"/proc/none\"", "/proc"),
    ] {
        bed.write("hosts/mysite.toml", &site);
        bed.write_var(var);
        for task in ["check", "deploy"] {
            let text = bed.ends(10, &[task]);
            assert!(text.contains(why), "{var} {task}: {text}");
            assert!(!text.contains("maintenance-on"), "{text}");
            bed.is_as_before();
        }
    }
    // What is not written plainly is not guessed at.
    for var in [
        "restart = \"if [ -e x ]; then no-such; fi\"",
        "restart = '''f() { true; }; case x in y) no-such ;; esac; f'''",
        "restart = '''for word in a b; do echo \"$word\" >/dev/null; done'''",
        "restart = \"A=b ./in-the-release || true\"",
        "restart = \"echo '; no-such'\"",
    ] {
        bed.write("hosts/mysite.toml", &site);
        bed.write_var(var);
        bed.ends(0, &["check"]);
    }
}

#[test]
fn a_database_that_cannot_be_put_back_is_refused_before_anything_closes() {
    let postgres = Postgres::start();
    let bed = Bed::start("database = \"postgresql\"\nmigrate = \"true\"");
    files::write(&bed["web1"].home().join(".session"), postgres.session(), 0o644);
    for task in ["check", "deploy"] {
        let text = bed.ends(10, &[task]);
        assert!(text.contains("there is no database mysite"), "{text}");
        bed.is_as_before();
    }
    postgres.sql("postgres", "create database mysite");
    bed.ends(0, &["check"]);
    bed.ends(0, &["deploy"]);
}

/// `sudo -l COMMAND` says yes for a command that wants a password, too, as soon as another rule wants none.
#[test]
fn sudo_that_wants_a_password_is_found_before_anything_closes_as_root() {
    let user = TestUser::create();
    let bed = Bed::start("");
    let host = &bed["web1"];
    files::set_mode(&host.home().join(".ssh"), 0o755);
    files::set_mode(&host.authorized_keys(), 0o644);
    files::set_mode(bed.up().parent().unwrap(), 0o755);
    for path in [host.home(), bed.home("")] {
        crate::support::process::run(std::process::Command::new(tool("chown")).arg("-R").arg(&user.name).arg(path));
    }
    bed.write_site(|site| {
        let lines = site.lines().map(|line| match line.split_once(" = ") {
            Some(("user", _)) => format!("user = \"{}\"", user.name),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    files::write(&bed["web1"].home().join(".gitconfig"), "[safe]\n\tdirectory = *\n", 0o644);
    let rules = PathBuf::from("/etc/sudoers.d").join(&user.name);
    let _removed = Removed(rules.clone());
    let name = &user.name;
    let site = bed.read("hosts/mysite.toml");
    let shown =
        include_str!("../../../docs/git-site.md").split("```sudoers\n").nth(1).unwrap().split("```").next().unwrap();
    let shown = shown.replacen("deploy", name, 1).replace("/usr/bin/systemctl", "/usr/bin/true");
    for (sudoers, command, passes) in [
        (shown, "sudo true restart mysite", true),
        (String::new(), "sudo true", false),
        (format!("{name} ALL=(ALL) ALL\n{name} ALL=(root) NOPASSWD: /usr/bin/id\n"), "sudo true", false),
        (format!("{name} ALL=(ALL) ALL\n{name} ALL=(root) NOPASSWD: /usr/bin/id\n"), "sudo id -u", true),
        (format!("{name} ALL=(root) NOPASSWD: /usr/bin/true one, /usr/bin/true two\n"), "sudo -n true two", true),
        (format!("{name} ALL=(root) NOPASSWD: /usr/bin/true one\n"), "cd / && sudo true three", false),
        (format!("{name} ALL=(root) NOPASSWD: ALL\n"), "sudo true >/dev/null", true),
        (format!("{name} ALL=(ALL) NOPASSWD: ALL\n{name} ALL=(ALL) PASSWD: /usr/bin/true\n"), "sudo true", false),
        (format!("{name} ALL=(nobody) NOPASSWD: /usr/bin/true\n"), "sudo -u nobody true", true),
        (format!("{name} ALL=(nobody) NOPASSWD: /usr/bin/true\n"), "sudo true", false),
        (format!("Defaults:{name} !authenticate\n{name} ALL=(ALL) ALL\n"), "sudo true", true),
    ] {
        files::write(&rules, &sudoers, 0o440);
        bed.write("hosts/mysite.toml", &site);
        bed.write_var(&format!("restart = \"{command}\""));
        let text = bed.ends(if passes { 0 } else { 10 }, &["check"]);
        assert_eq!(text.contains("and sudo would ask"), !passes, "{sudoers}{command}: {text}");
        assert_eq!(text.contains("hint: visudo -f"), !passes, "{text}");
    }
}

struct Removed(PathBuf);
impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
