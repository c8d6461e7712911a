//! The README's site and commands, as they stand there, on real hosts with a real repository.

use std::fmt::Write as _;

use crate::support::files;
use crate::support::git::{Upstream, checked_out};
use crate::support::project::Project;
use crate::support::sshd::Sshd;
use crate::support::user;

/// A crontab in a file.
const CRONTAB: &str = "#!/bin/sh
case $1 in
-l) cat ~/crontab 2>/dev/null || { echo 'no crontab for you' >&2; exit 1; } ;;
-r) rm ~/crontab ;;
-) cat >~/crontab ;;
esac
";

const README: &str = include_str!("../../README.md");

/// The code blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

fn site() -> String {
    blocks("toml").into_iter().find(|block| block.starts_with("# hosts/mysite.toml")).unwrap()
}

/// The words of each command, without its comment.
fn commands() -> Vec<Vec<String>> {
    let block = blocks("sh").concat();
    let lines = block.lines().map(|line| line.split(" # ").next().unwrap().split_whitespace().skip(1));
    lines.map(|words| words.map(str::to_owned).collect()).collect()
}

/// It runs everything, and says that it may.
const SUDO: &str = "#!/bin/sh
case $1$2 in
-n-l) echo all ;;
-n-ll) printf 'Sudoers entry:\\n    Options: !authenticate\\n    Commands:\\n\\tALL\\n' ;;
*) exec \"$@\" ;;
esac
";

/// What stands on each host: a checkout with `manage.py`, and stand-ins for what a test must not touch.
fn furnish(host: &Sshd, upstream: &Upstream) {
    upstream.clone_to(&host.home().join("site"));
    files::write(&host.bin().join("sudo"), SUDO, 0o755);
    files::write(&host.bin().join("systemctl"), "#!/bin/sh\necho \"$@\" >>~/restarted\n", 0o755);
    files::write(&host.bin().join("pg_dump"), "#!/bin/sh\necho dump\n", 0o755);
    files::write(&host.bin().join("crontab"), CRONTAB, 0o755);
}

#[test]
fn the_site_of_the_readme_is_valid_as_it_stands() {
    let project = Project::new();
    project.write("hosts/mysite.toml", site());
    project.write(
        "hosts/mysite-test.toml",
        site().replace("production", "test").replace("follows", "# follows").replace("web[1-3]", "t"),
    );
    let checked = project.fleet(&["check"]).expect_code(0);
    assert!(checked.all().contains("2 sites with 4 hosts"), "{}", checked.all());
}

#[test]
fn the_commands_of_the_readme_work_one_after_another() {
    let upstream = Upstream::new();
    let first = upstream.commit("first", &[("manage.py", "#!/bin/sh\necho \"$1 done\"\n")]);
    let project = Project::new();
    let bootstrap = project.generate_key_at("bootstrap", "");
    let mut hosts = Vec::new();
    for (file, names) in [("mysite", vec!["web1", "web2", "web3"]), ("mysite-test", vec!["test1"])] {
        let mut text = site();
        text.truncate(text.find("[[host]]").unwrap());
        if file == "mysite-test" {
            text = text.replace("production", "test").replace("follows", "# follows");
        }
        // Neither a database nor a web server is there: other tests have real ones.
        text = text
            .replace("database = \"postgresql\"", "backup = \"pg_dump >$BACKUP/x\" #")
            .replace("\nurl = ", "\n# url = ");
        writeln!(text, "[ssh]\nuser = \"{}\"", user::current()).unwrap();
        for name in names {
            let host = Sshd::start();
            host.authorize(&bootstrap);
            furnish(&host, &upstream);
            writeln!(
                text,
                "[[host]]\nname = \"{name}\"\naddress = \"127.0.0.1\"\nport = {}\nroles = [\"web\", \"db\"]\nvars = {{ home = \"{}\" }}",
                host.port(),
                host.home().join("site").display()
            )
            .unwrap();
            hosts.push(host);
        }
        project.write(&format!("hosts/{file}.toml"), text);
    }
    let second = upstream.commit("second", &[("index.html", "second\n")]);
    assert!(hosts.iter().all(|host| checked_out(&host.home().join("site")) == first));

    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    for words in &commands {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        // What a person would answer, and the key that they have now.
        args.insert(0, "--yes");
        if words.contains(&"distribute-keys".to_owned()) {
            args.splice(0..0, ["-i", "bootstrap"]);
        }
        project.fleet(&args).expect_code(0);
    }
    for host in &hosts {
        assert_eq!(checked_out(&host.home().join("site")), second);
        assert_eq!(files::read(&host.home().join("restarted")), "restart mysite\n");
    }
}
