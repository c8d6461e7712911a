//! Where the values of secrets come from, and what is refused.

use std::time::{Duration, Instant};

use super::{Site, snapshot};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::{marked, wait_for};
use crate::support::terminal;
use crate::support::user::random_hex;

const RECIPE: &str = r#"
[vars.db-password]
secret = true
[[task.deploy.step]]
name = "use"
env = { PW = "{{db-password}}" }
run = 'printf "%s-" "$PW" | tr a-z A-Z >>@SHARED@/journal; echo >>@SHARED@/journal'
"#;

fn site(source: &str) -> Site {
    Site::start(&format!("[secrets]\ndb-password = {source}\n"), &["web1"], RECIPE)
}

#[track_caller]
fn refused(site: &Site, told: &[&str]) -> Output {
    let calls = site["web1"].calls();
    let output = site.fleet(&["mysite", "deploy"]).expect_code(5);
    for part in told {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert_eq!(site["web1"].calls(), calls, "a host was called");
    assert_eq!(site.fleet(&["runs"]).stdout, "no run is on record\n");
    output
}

#[test]
fn the_environment_comes_first_then_the_site_s_file_then_the_terminal() {
    let site = site("{ exec = \"echo from-command\" }");
    let args = ["mysite", "deploy"];
    site.run(&args, site.command(&args).env("FLEET_SECRET_DB_PASSWORD", "from-environment")).expect_code(0);
    // An empty one is as good as none.
    site.run(&args, site.command(&args).env("FLEET_SECRET_DB_PASSWORD", "")).expect_code(0);
    files::write(&site.home().join("pw"), "from-file\r\n\n", 0o600);
    let file = site.read("hosts/mysite.toml");
    let with = |source: &str| site.write("hosts/mysite.toml", file.replace("{ exec = \"echo from-command\" }", source));
    with("{ file = \"../home/pw\" }");
    site.fleet(&args).expect_code(0);
    with("{ file = \"~/pw\" }");
    site.fleet(&args).expect_code(0);
    site.write("hosts/mysite.toml", file.replace("[secrets]\ndb-password = { exec = \"echo from-command\" }\n", ""));
    let output = site.fleet_pty(&args, &[("Secret `db-password` of mysite:", "from-terminal\r")]).expect_code(0);
    assert!(!output.stdout.contains("from-terminal"), "{}", output.stdout);
    let expected = ["FROM-ENVIRONMENT-", "FROM-COMMAND-", "FROM-FILE-", "FROM-FILE-", "FROM-TERMINAL-"];
    assert_eq!(site.journal(), expected);
}

#[test]
fn without_a_source_and_a_terminal_nothing_is_contacted() {
    let site = Site::start("", &["web1"], RECIPE);
    let output = refused(&site, &[]);
    insta::assert_snapshot!(snapshot(&output));
    let args = ["mysite", "deploy", "--no-input"];
    let (code, shown) = terminal::run(&site.command(&args), &[]);
    assert_eq!(code, Some(5), "{shown}");
    assert!(shown.contains("--no-input forbids questions"), "{shown}");
}

/// A run that was begun with a value from the environment, on a machine that does not have it any more.
#[test]
fn an_undo_a_day_later_asks_again() {
    let recipe = format!("{RECIPE}undo = 'printf \"undo %s-\\n\" \"$PW\" | tr a-z A-Z >>@SHARED@/journal'\n");
    let site = Site::start("", &["web1"], &recipe);
    let args = ["mysite", "deploy"];
    site.run(&args, site.command(&args).env("FLEET_SECRET_DB_PASSWORD", "first-value")).expect_code(0);
    let calls = site["web1"].calls();
    let output = site.fleet(&["undo"]).expect_code(5);
    assert!(output.stderr.contains("mysite has no value for the secret `db-password`"), "{}", output.stderr);
    assert_eq!(site["web1"].calls(), calls);
    let output = site.fleet_pty(&["undo"], &[("Secret `db-password` of mysite:", "second-value\r")]).expect_code(0);
    assert!(!output.stdout.contains("second-value"), "{}", output.stdout);
    assert_eq!(site.journal(), ["FIRST-VALUE-", "UNDO SECOND-VALUE-"]);
}

#[test]
fn a_source_command_that_fails_is_told_with_its_line_and_without_its_output() {
    let site = site("{ exec = \"echo half-a-value; echo no such entry >&2; exit 7\" }");
    let output = refused(
        &site,
        &["hosts/mysite.toml:3: secret `db-password`: its command failed: exit status: 7\n  no such entry"],
    );
    assert!(!output.all().contains("half-a-value"), "{}", output.all());
    for (command, told) in [
        ("echo a-value-1; echo a-value-2", "its command prints two lines"),
        ("true", "its command prints nothing"),
        ("echo ab", "too short to be masked in output: it needs a line of at least 6 characters"),
        ("printf 'abc\\\\000defghi'", "a NUL byte"),
        ("printf '\\\\377\\\\376abcdefg'", "the value is not UTF-8"),
        ("head -c 40000 /dev/zero | tr '\\\\0' x", "the value is longer than 32 KiB"),
        ("yes", "the value is longer than 32 KiB"),
        ("kill -9 $$", "its command failed: signal: 9"),
        ("no-such-program", "its command failed: exit status: 127\n  "),
    ] {
        let file = site.read("hosts/mysite.toml");
        let other = file.lines().map(|line| {
            let is_source = line.starts_with("db-password");
            if is_source { format!("db-password = {{ exec = \"{command}\" }}\n") } else { format!("{line}\n") }
        });
        let other: String = other.collect();
        site.write("hosts/mysite.toml", other);
        let output = refused(&site, &["hosts/mysite.toml:3: secret `db-password`: ", told]);
        assert!(!output.all().contains("a-value"), "{}", output.all());
    }
}

#[test]
fn a_source_command_that_hangs_is_ended_with_all_that_it_started() {
    let mark = random_hex();
    let command = format!("export HANGS={mark}; sleep 600 & echo waiting for the vault >&2; sleep 600");
    let site = site(&format!("{{ exec = \"{command}\", timeout = \"1s\" }}"));
    let begun = Instant::now();
    refused(&site, &["its command did not end within 1 s\n  waiting for the vault", "hint: it has no terminal"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    wait_for("the end of all that it started", || marked("HANGS", &mark).is_empty().then_some(()));
    // So does Ctrl-C.
    site.write("hosts/mysite.toml", site.read("hosts/mysite.toml").replace("\"1s\"", "\"300s\""));
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the command", || (!marked("HANGS", &mark).is_empty()).then_some(()));
    running.signal(rustix::process::Signal::INT);
    running.wait().expect_code(130);
    wait_for("the end of all that it started", || marked("HANGS", &mark).is_empty().then_some(()));
}

/// It has the environment of fleet, but for what is secret, and nothing to read from.
#[test]
fn a_source_command_sees_the_project_and_no_other_secret() {
    let site = site("{ exec = \"env | grep -c FLEET_SECRET >../home/seen; cat; cat vault\" }");
    site.write("vault", "from-vault\n");
    let args = ["mysite", "deploy"];
    let mut command = site.command(&args);
    command.env("FLEET_SECRET_OTHER", "other-value").current_dir(site.root().join("hosts"));
    site.run(&args, &mut command).expect_code(0);
    assert_eq!(site.journal(), ["FROM-VAULT-"]);
    assert_eq!(files::read(&site.home().join("seen")), "0\n");
}

#[test]
fn a_file_that_others_can_read_is_refused_as_ssh_does() {
    let site = site("{ file = \"pw\" }");
    refused(&site, &["secret `db-password`: cannot read ", "No such file or directory"]);
    site.write("pw", "from-file\n");
    refused(&site, &["others can read ", "/pw (mode 0644)", "hint: chmod 600 "]);
    std::fs::remove_file(site.root().join("pw")).unwrap();
    std::fs::create_dir(site.root().join("pw")).unwrap();
    refused(&site, &["not a regular file"]);
}

#[test]
fn a_value_in_the_clear_is_refused() {
    let site = Site::start("", &["web1"], RECIPE);
    let output = site.fleet(&["mysite", "deploy", "-e", "db-password=hunter2"]).expect_code(2);
    assert!(output.stderr.contains("all users of this machine can see a command line"), "{}", output.stderr);
    assert!(!output.all().contains("hunter2"), "{}", output.all());
    let file = site.read("hosts/mysite.toml");
    site.write("hosts/mysite.toml", format!("{file}\n[vars]\ndb-password = \"hunter2\"\n"));
    for args in [&["mysite", "deploy"][..], &["check"]] {
        let output = site.fleet(args).expect_code(3);
        let told = "`db-password` is a secret of recipe `test`: its value has no place in a file that git keeps";
        assert!(output.all().contains(told), "{}", output.all());
        assert!(!output.all().contains("hunter2"), "{}", output.all());
    }
    let explained = site.fleet(&["list", "--explain", "mysite"]).expect_code(0).stdout;
    assert!(!explained.contains("hunter2"), "{explained}");
    site.write("hosts/mysite.toml", format!("{file}\n[secrets]\ndb-pasword = {{ file = \"x\" }}\n"));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(3);
    assert!(output.stderr.contains("recipe `test` has no secret `db-pasword`; did you mean `db-password`?"));
}

#[test]
fn what_is_wrong_in_the_files_is_told_with_its_place() {
    let recipe = r#"
lock = "/srv/{{token}}"
[vars.token]
secret = true
[vars.key]
secret = true
default = "x"
[vars.url]
default = "https://{{token}}@shop"
[vars.a-b]
secret = true
[vars."a.b"]
secret = true
[[task.deploy.step]]
name = "s"
cwd = "/srv/{{ token }}"
register = "token"
run = '''
set -eu
curl -u shop:{{token}} https://shop
echo \{{token}}
'''
undo = "echo {{token|raw}}"
unless = "test {{token}}"
env = { TOKEN = "{{token}}" }
"#;
    let sources = "[secrets]\ntoken = \"hunter2\"\nkey = { exec = \"a\", file = \"b\" }\nother = { exec = \" \", tiemout = 3 }\nlast = { file = \"x\", timeout = \"1s\" }\n";
    let site = Site::start(sources, &["web1"], recipe);
    let output = site.fleet(&["check"]).expect_code(3);
    insta::assert_snapshot!(snapshot(&output));
}
