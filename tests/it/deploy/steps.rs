//! What a step can say: user, folder, environment, script, retry; and login shells that are not `sh`.

use std::process::Command;

use super::{Site, check_stream, snapshot, story};
use crate::support::files;
use crate::support::process::{run, wait_for};
use crate::support::sshd::Sshd;
use crate::support::tools::tool;
use crate::support::user::TestUser;

#[test]
fn a_step_has_a_folder_an_environment_and_a_script_of_its_own() {
    let recipe = r#"
[[task.deploy.step]]
name = "where"
run = "pwd; echo \"$GREETING\"; echo {{greeting}}"
cwd = "{{host_home}}/a folder"
env = { GREETING = "{{greeting}} $HOME" }
[[task.deploy.step]]
name = "script"
script = "count.pl"
env = { LIMIT = 3 }
register = "count"
[[task.deploy.step]]
name = "shown"
run = "echo counted {{count}}"
"#;
    let site = Site::start("[vars]\ngreeting = \"it's `me` \\\"$USER\\\"\"", &["web1"], recipe);
    std::fs::create_dir(site["web1"].home().join("a folder")).unwrap();
    // The interpreter is given the script as a file; git needs perl, so it is there.
    site.write("recipes/count.pl", "#!/usr/bin/perl\nprint join(' ', 1 .. $ENV{LIMIT}), \" {{fleet.host}}\\n\";\n");
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    let folder = site["web1"].home().join("a folder");
    for line in [
        format!("web1 | where | {}\n", folder.display()),
        "web1 | where | it's `me` \"$USER\" $HOME\n".to_owned(),
        "web1 | where | it's `me` \"$USER\"\n".to_owned(),
        "web1 | shown  | counted 1 2 3 {{fleet.host}}\n".to_owned(),
    ] {
        assert!(output.stderr.contains(&line), "{line}{}", output.stderr);
    }
}

#[test]
fn an_idempotent_step_is_tried_again_and_others_are_not() {
    let recipe = r#"
[[task.deploy.step]]
name = "flaky"
run = "echo x >>\"$HOME/tries\"; [ \"$(wc -l <\"$HOME/tries\")\" -ge 3 ]"
idempotent = true
retry = { times = 3, delay = "10ms" }
[[task.never.step]]
name = "never"
run = "echo x >>\"$HOME/tries\"; exit 4"
idempotent = true
retry = { times = 2, delay = "10ms" }
"#;
    let site = Site::start("", &["web1"], recipe);
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    check_stream(&output);
    let finished: Vec<(i64, bool, String)> = output
        .events()
        .iter()
        .filter(|event| event["event"] == "step-finished")
        .map(|e| (e["attempt"].as_i64().unwrap(), e["retrying"].as_bool().unwrap(), e["outcome"]["result"].to_string()))
        .collect();
    assert_eq!(
        finished,
        [(1, true, "\"failed\"".into()), (2, true, "\"failed\"".into()), (3, false, "\"succeeded\"".to_owned())]
    );
    let output = site.fleet(&["mysite", "never"]).expect_code(10);
    assert!(output.stdout.contains("never/never: exit status 4 in 3 attempts"), "{}", output.stdout);
    assert_eq!(files::read(&site["web1"].home().join("tries")).lines().count(), 6);
}

#[test]
fn a_step_runs_as_another_user_through_sudo_as_root() {
    let user = TestUser::create();
    let recipe = format!(
        "[[task.deploy.step]]\nname = \"who\"\nrun = \"id -un; echo $GREETING\"\nas = \"{}\"\nenv = {{ GREETING = \"hi\" }}\n",
        user.name
    );
    let site = Site::start("", &["web1"], &recipe);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert!(output.stderr.contains(&format!("web1 | who | {}\nweb1 | who | hi\n", user.name)), "{}", output.stderr);
}

#[test]
fn a_user_who_may_not_sudo_is_told_so_and_nothing_ran_as_root() {
    let user = TestUser::create();
    let recipe = "[[task.deploy.step]]\nname = \"restart\"\nrun = \"touch @SHARED@/ran\"\nas = \"root\"\nundo = \"touch @SHARED@/undone\"\n";
    let site = Site::start("", &["web1"], recipe);
    // sshd reads the list as the user who logs in.
    files::set_mode(&site["web1"].home().join(".ssh"), 0o755);
    files::set_mode(&site["web1"].authorized_keys(), 0o644);
    let output = site.fleet(&["mysite", "deploy", "--user", &user.name]).expect_code(10);
    assert!(site.has("ran").is_none() && site.has("undone").is_none());
    insta::assert_snapshot!(snapshot(&output).replace(&user.name, "[USER]"));
}

#[test]
fn login_shells_that_are_no_posix_shells_do_not_matter() {
    let recipe = r#"
[[task.deploy.step]]
name = "value"
run = "x='a b'; if [ -n \"$x\" ]; then printf '%s|' \"$x\" '$y' {{odd}} \"it's\"; fi"
register = "value"
[[task.deploy.step]]
name = "shown"
run = "printf '%s\\n' {{value}}; exit 7"
undo = "echo undone {{value}}"
"#;
    let mut site = Site::start("", &["unused"], recipe);
    let shells = [("fish", "fish"), ("csh", "tcsh"), ("bash", "bash")];
    let hosts = shells.map(|(host, shell)| (host, Sshd::settings().login_shell(shell))).into();
    site.add_site_on("shells", "recipe = \"test\"\n[vars]\nodd = \"~ ! $x %(a) \\\\\"", hosts);
    // What a login shell prints before anything runs is neither a value nor taken for fleet's.
    let noise = "echo noise; echo more noise >&2\n";
    for (host, file) in [("bash", ".bashrc"), ("fish", ".config/fish/config.fish"), ("csh", ".cshrc")] {
        let noise = if host == "csh" { "echo noise\n" } else { noise };
        files::write(&site[host].home().join(file), noise, 0o644);
    }
    let output = site.fleet(&["shells", "deploy", "--max-fail", "100%", "--json"]).expect_code(10);
    check_stream(&output);
    for (host, _) in shells {
        let said: Vec<String> = output
            .events()
            .iter()
            .filter(|e| e["event"] == "output" && e["host"] == host)
            .map(|e| e["text"].as_str().unwrap().to_owned())
            .collect();
        let value = r"a b|$y|~ ! $x %(a) \|it's|";
        assert_eq!(said, [value.to_owned(), format!("{value}\n"), format!("undone {value}\n")], "{host}");
        let status = output
            .events()
            .into_iter()
            .find(|e| e["host"] == host && e["step"] == "deploy/shown" && e["event"] == "step-finished");
        assert_eq!(status.unwrap()["outcome"]["status"], 7, "{host}");
    }
    assert!(story(&output).contains(&"host-finished fish rolled-back".to_owned()));
}

#[test]
fn secret_output_is_neither_shown_nor_recorded_and_can_be_used() {
    let recipe = r#"
[[task.deploy.step]]
name = "token"
run = "echo hunter2; echo hunter2 >&2"
register = "token"
secret-output = true
[[task.deploy.step]]
name = "use"
run = "printf %s {{token}} | wc -c"
"#;
    let site = Site::start("", &["web1"], recipe);
    let output = site.fleet(&["mysite", "deploy", "-v"]).expect_code(0);
    assert!(output.stderr.contains("web1 | use   | 7\n"), "{}", output.stderr);
    let json = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    assert!(!format!("{}{}", output.all(), json.all()).contains("hunter2"));
    for run in std::fs::read_dir(site.root().join(".fleet/runs")).unwrap() {
        for file in std::fs::read_dir(run.unwrap().path()).unwrap().map(|file| file.unwrap().path()) {
            // The recipe's own text, which says it here, is in the plan.
            let is_plan = file.ends_with("plan.json");
            assert!(is_plan || !files::read(&file).contains("hunter2"), "{}", file.display());
        }
    }
}

#[test]
fn a_startup_file_that_reads_eats_nothing_of_a_step() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"echo ran >>@SHARED@/journal\"\nundo = \"true\"\n";
    let mut site = Site::start("", &["unused"], recipe);
    let rc = ["read answer", "read a; read b; read c; read d", "read -n 1 key", "IFS= read -r -s secret"];
    let hosts = ["web1", "web2", "web3", "web4"].map(|name| (name, Sshd::settings().login_shell("bash")));
    site.add_site_on("asking", "recipe = \"test\"", hosts.into());
    for (name, line) in ["web1", "web2", "web3", "web4"].into_iter().zip(rc) {
        files::write(&site[name].home().join(".bashrc"), format!("{line}\n"), 0o644);
    }
    site.fleet(&["asking", "deploy"]).expect_code(0);
    assert_eq!(site.journal(), ["ran"; 4]);
}

#[test]
fn an_account_that_may_run_nothing_is_told() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"touch @SHARED@/ran\"\n";
    let mut site = Site::start("", &["unused"], recipe);
    let shell = vec![("web1", Sshd::settings().login_shell("nologin"))];
    site.add_site_on("closed", "recipe = \"test\"", shell);
    let output = site.fleet(&["closed", "deploy"]).expect_code(10);
    insta::assert_snapshot!(snapshot(&output));
    assert!(site.has("ran").is_none());
}

/// She deployed the site with her own login, before somebody else did it for her.
#[test]
fn a_book_of_the_step_s_own_user_is_not_the_one_of_the_run_as_root() {
    let user = TestUser::create();
    let book = user.spool().join("book.mysite");
    std::fs::create_dir_all(&book).unwrap();
    files::write(&book.join("lock"), "20260101-000000-00000000\n", 0o644);
    files::set_mode(&user.spool(), 0o700);
    run(Command::new(tool("chown")).args(["-R", &user.name]).arg(user.spool()));
    let step = format!("name = \"job\"\nrun = \"id -un\"\nas = \"{}\"\n", user.name);
    let site = Site::start("", &["web1"], &format!("[[task.deploy.step]]\n{step}"));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert!(output.stderr.contains(&format!("web1 | job | {}\n", user.name)), "{}", output.stderr);
    assert_eq!(files::read(&book.join("lock")), "20260101-000000-00000000\n");
}

#[test]
fn a_time_limit_ends_what_runs_as_another_user_too_as_root() {
    let user = TestUser::create();
    let name = &user.name;
    let step = format!("name = \"job\"\nrun = \"id -un; sleep 600 & sleep 600\"\nas = \"{name}\"\ntimeout = \"1s\"\n");
    let site = Site::start("", &["web1"], &format!("[[task.deploy.step]]\n{step}"));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stderr.contains(&format!("web1 | job | {name}\n")), "{}", output.stderr);
    assert!(output.stderr.contains("FAILED: ran into its timeout of 1 s after 1."), "{}", output.stderr);
    // sudo clears the environment by which the fixture knows its processes.
    let left = || Command::new(tool("pgrep")).args(["-u", name]).output().unwrap().stdout;
    wait_for("the end of all that ran", || left().is_empty().then_some(()));
}

/// The lock, the steps and the release are said to one shell.
#[test]
fn a_task_opens_one_shell_on_each_host_and_no_more_than_its_first_step_does() {
    let site = Site::start("", &["web1", "web2"], SHELLS);
    let sessions = |host: &str| site[host].log().matches("Starting session: ").count();
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(["web1", "web2"].map(sessions), [1, 1]);
    // A command that locks nothing takes one as well.
    site.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
    assert_eq!(["web1", "web2"].map(sessions), [2, 2]);
    // A guard has a channel of its own.
    site.fleet(&["mysite", "guarded"]).expect_code(0);
    assert_eq!(["web1", "web2"].map(sessions), [4, 4]);
}

const SHELLS: &str = r#"
[[task.deploy.step]]
name = "one"
run = "true"
[[task.deploy.step]]
name = "two"
run = "true"
[[task.guarded.step]]
name = "three"
unless = "false"
run = "true"
"#;
