//! What is typed: selectors that match nothing, slips of the finger, switches as variables, text that is not UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::bystander::Bystander;
use crate::support::files;
use crate::support::project::Project;

/// The sites `shop` (web1, web2 and db1) and `shop-test` (t1), on a port that nobody may call.
fn two_sites() -> (Project, Bystander) {
    let (project, bystander) = (Project::new(), Bystander::new());
    project.write("hosts/defaults.toml", format!("recipe = \"shop\"\n[ssh]\nport = {}\n", bystander.port()));
    let host = |name: &str, address: &str, role: &str| {
        format!("[[host]]\nname = \"{name}\"\naddress = \"127.0.0.{address}\"\nroles = [\"{role}\"]\n")
    };
    project.write("hosts/shop.toml", host("web[1-2]", "[1-2]", "web") + &host("db1", "3", "db"));
    project.write("hosts/shop-test.toml", host("t1", "4", "web"));
    project.write("recipes/shop.toml", "[[task.deploy.step]]\nname = \"go\"\nrun = \"true\"\n");
    (project, bystander)
}

/// The error of a command line that ends with this code.
#[track_caller]
fn error(project: &Project, args: &[&str], code: i32) -> String {
    let output = project.fleet(args).expect_code(code);
    assert_eq!(output.stdout, "");
    output.stderr
}

#[test]
fn a_selector_that_matches_nothing_or_in_part_contacts_nobody() {
    let (project, bystander) = two_sites();
    for (selector, told) in [
        ("shp", "error: no site matches `shp`\nhint: did you mean `shop`?\n"),
        ("shop,ship", "error: no site matches `ship`\nhint: did you mean `shop`?\n"),
        ("x*", "error: no site matches `x*`\n"),
        ("shop:web9", "error: no host or role of `shop` matches `web9`\nhint: did you mean `web`?\n"),
        ("shop:web[1-3]", "error: no host or role of `shop` matches `web3`, a part of `web[1-3]`\n"),
        ("", "error: the selector is empty\n"),
        ("shop,", "error: `shop,` has an empty term\n"),
        ("shop:", "error: `shop:` is neither `SITE` nor `SITE:HOST`\n"),
        ("sh[", "error: `sh[` is no glob: unclosed character class; missing ']'\n"),
        ("shop,!shop:web,!shop:db", "error: `shop,!shop:web,!shop:db` leaves no host\n"),
    ] {
        assert_eq!(error(&project, &[selector, "run", "--", "id"], 4), told);
        assert_eq!(error(&project, &[selector, "trust", "--yes"], 4), told);
    }
    bystander.expect_no_call();
}

#[test]
fn limit_and_exclude_must_match_what_is_targeted() {
    let (project, bystander) = two_sites();
    for (flags, told) in [
        (&["-l", "web9"][..], "error: no targeted host, role or site matches `web9`\nhint: did you mean `web`?\n"),
        (&["-l", "web1,t1"], "error: no targeted host, role or site matches `t1`\n"),
        (&["-x", "web[1-2],db2"], "error: no host, role or site matches `db2`\nhint: did you mean `db`?\n"),
        (&["-x", "web,db"], "error: `web,db` leaves no host\n"),
        (&["-l", "web1", "-x", "web1"], "error: `web1 without web1` leaves no host\n"),
        (&["-l", ""], "error: the selector is empty\n"),
    ] {
        assert_eq!(error(&project, &[&["shop"], flags, &["run", "--", "id"]].concat(), 4), told);
    }
    let hosts = |args: &[&str]| {
        let plan = project.fleet(&[args, &["--dry-run", "--json", "run", "--", "id"]].concat()).expect_code(0).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let list = plan["hosts"]["list"].as_array().unwrap().iter();
        let names = list.map(|host| host["label"].as_str().or(host["name"].as_str()).unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(hosts(&["shop", "-l", "web", "-x", "web2"]), "web1");
    assert_eq!(hosts(&["shop,!shop:web1", "-x", "db"]), "web2");
    assert_eq!(hosts(&["all", "-l", "web1,t1"]), "shop:web1 shop-test:t1");
    bystander.expect_no_call();
}

#[test]
fn a_project_without_sites_says_so() {
    let project = Project::new();
    for args in [&["list"][..], &["all", "run", "--", "id"], &["shop", "trust"]] {
        let told = error(&project, args, 4);
        assert!(told.contains("/project/hosts has no sites\nhint: `fleet init`"), "{told}");
    }
    let mut elsewhere = project.command(&["list"]);
    let output = project.run(&["list"], elsewhere.current_dir(project.home())).expect_code(3);
    assert!(output.stderr.contains("has `hosts/`\nhint: `fleet init` makes a project"), "{}", output.stderr);
}

#[test]
fn slips_are_answered_with_what_was_meant() {
    let (project, bystander) = two_sites();
    for (args, code, told) in [
        (&["generate_key"][..], 2, "error: there is no verb or site `generate_key`; did you mean `generate-keys`?\n"),
        (&["chek"], 2, "error: there is no verb or site `chek`; did you mean `check`?\n"),
        (
            &["shop"],
            2,
            "error: what is to be done with `shop`?\n\
             hint: fleet tasks shop shows its tasks; others are run, trust, distribute-keys, status, check, unlock\n",
        ),
        (&["shop", "depoly"], 2, "error: recipe `shop` has no task `depoly`; did you mean `deploy`?\n"),
        (&["shop", "trsut"], 2, "error: `shop` has no task `trsut`; did you mean `trust`?\n"),
        (&["deploy", "shop"], 2, "error: the site comes first\nhint: fleet shop deploy\n"),
        (&["shop", "runs"], 2, "error: `runs` is a verb and stands alone\nhint: fleet runs\n"),
        (&["shop", "tasks"], 2, "error: `tasks` is a verb and stands alone\nhint: fleet tasks shop\n"),
        (
            &["shop", "distribute_key"],
            2,
            "error: `shop` has no task `distribute-key`; did you mean `distribute-keys`?\n",
        ),
        (&["shop", "trust", "deploy"], 2, "error: `trust` stands alone, and here `deploy` follows\n"),
        (
            &["shop", "run", "uptime"],
            2,
            "error: `run` stands alone, and here `uptime` follows\n\
             hint: a command comes after two dashes: fleet SITE run -- COMMAND\n",
        ),
        (&["shop", "run"], 2, "error: what is to run?\nhint: fleet shop run -- uptime\n"),
        (&["shop", "deploy", "--", "id"], 2, "error: only `run` takes a command after two dashes, `deploy` does not\n"),
    ] {
        assert_eq!(error(&project, args, code), told);
    }
    let told = error(&project, &["shop", "deploy", "--only", "og"], 2);
    assert!(told.contains("--only og: no such step"), "{told}");
    bystander.expect_no_call();
}

#[test]
fn underscores_are_as_good_as_dashes() {
    let (project, bystander) = two_sites();
    project.fleet(&["generate_keys"]).expect_code(0);
    assert!(project.read("keys/fleet").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    // Nothing is pinned, so nobody is told anything: that it got so far is the point.
    let output = project.fleet(&["shop", "distribute_keys", "-l", "web9"]).expect_code(4);
    assert!(output.stderr.contains("web9"), "{}", output.stderr);
    bystander.expect_no_call();
}

#[test]
fn switches_as_variables_are_yes_or_no_and_never_guessed() {
    let (project, bystander) = two_sites();
    let run = |name: &str, value: &OsStr| {
        let args = ["shop", "run", "--no-input", "--", "id"];
        project.run(&args, project.command(&args).env(name, value))
    };
    for yes in ["1", "true", "yes", "ON"] {
        assert!(run("FLEET_DRY_RUN", OsStr::new(yes)).expect_code(0).stdout.starts_with("shop run: "));
    }
    let told = run("FLEET_YES", OsStr::new("maybe")).expect_code(2).stderr;
    assert!(told.contains("'--yes': `maybe` is neither yes nor no"), "{told}");
    let told = run("FLEET_SET", OsStr::from_bytes(b"revision=\xff\x1b[1m")).expect_code(2).stderr;
    assert_eq!(told, "error: the variable FLEET_SET is not UTF-8: revision=\\xff\\x1b[1m\n");
    bystander.expect_no_call();
    // Empty is as good as not there: it goes on, and finds no key.
    let told = run("FLEET_DRY_RUN", OsStr::new("")).expect_code(5).stderr;
    assert!(told.contains("there is no key to log in with"), "{told}");
}

#[test]
fn lists_come_from_variables_too() {
    let (project, bystander) = two_sites();
    let step =
        |name: &str| format!("[[task.deploy.step]]\nname = \"{name}\"\nrun = \"echo {name} {{{{a}}}} {{{{b}}}}\"\n");
    let steps: String = ["one", "two", "three"].iter().map(|name| step(name)).collect();
    project.write(
        "recipes/shop.toml",
        format!("[vars.a]\ndoc = \"a\"\ndefault = \"\"\n[vars.b]\ndoc = \"b\"\ndefault = \"\"\n{steps}"),
    );
    let args = ["shop", "deploy", "--dry-run", "-l", "web1"];
    let run = |name: &str, value: &str| project.run(&args, project.command(&args).env(name, value));
    let skipped = run("FLEET_SKIP", "one, three").expect_code(0).stdout;
    assert!(
        skipped.contains("echo two") && !skipped.contains("echo one") && !skipped.contains("echo three"),
        "{skipped}"
    );
    let only = run("FLEET_ONLY", "one,three").expect_code(0).stdout;
    assert!(only.contains("echo one") && !only.contains("echo two") && only.contains("echo three"), "{only}");
    for (list, told) in [
        ("a=1,b=2", "echo one 1 2"),
        ("a=1", "echo one 1 ''"),
        ("a=x,y,b=z", "echo one 'x,y' z"),
        ("a=1, b=2", "echo one 1 2"),
        ("b=,", "echo one '' ','"),
        ("a=1\nb=x,a=y\n", "echo one 1 'x,a=y'"),
        ("\na=1\n\nb=2", "echo one 1 2"),
    ] {
        let output = run("FLEET_SET", list).expect_code(0).stdout;
        assert!(output.contains(told), "{list}: {output}");
    }
    // A comma that is typed belongs to the value.
    let typed = project.fleet(&[&args[..], &["-e", "a=1,b=2"]].concat()).expect_code(0).stdout;
    assert!(typed.contains("echo one '1,b=2' ''"), "{typed}");
    // What came out empty is not everything.
    for (name, value, code) in [
        ("FLEET_SKIP", "", 2),
        ("FLEET_ONLY", "", 2),
        ("FLEET_ONLY", "one,", 2),
        ("FLEET_SET", "", 2),
        ("FLEET_SET", "a=1\nno", 2),
        ("FLEET_EXCLUDE", "", 4),
    ] {
        run(name, value).expect_code(code);
    }
    bystander.expect_no_call();
}

/// "USER is not set" was said of one that was.
#[test]
fn a_user_s_name_that_cannot_log_in_is_told_with_where_it_is_from() {
    let (project, bystander) = two_sites();
    let bin = project.home().join("bin");
    let said = project.home().join("asked");
    let told = |name: &str, user: &str, id: &str| {
        let script = format!("#!/bin/sh\necho x >>'{}'\n{id}\n", said.display());
        files::write(&bin.join("id"), script, 0o755);
        let args = ["all", "deploy", "--dry-run"];
        let mut command = project.command(&args);
        command.env_remove("USER").env("PATH", &bin).env(name, user);
        project.run(&args, &mut command)
    };
    let hint = "hint: set ssh.user in hosts/defaults.toml, or use --user\n";
    for (name, user, id, expected) in [
        (
            "USER",
            "CORP\\alice",
            "exit 1",
            "USER is no login user: user name `CORP\\alice` holds '\\\\'; allowed are letters, digits and ._-",
        ),
        ("LOGNAME", "a b", "exit 1", "LOGNAME is no login user: user name `a b` holds ' '"),
        ("USER", "", "echo 'a b'", "`id -un` is no login user: user name `a b` holds ' '"),
        ("USER", "", "exit 1", "USER is not set, and `id -un` does not tell"),
        ("USER", "", "true", "USER is not set, and `id -un` does not tell"),
    ] {
        let error = told(name, user, id).expect_code(5).stderr;
        assert!(error.starts_with(&format!("error: who are you? {expected}")), "{error}");
        assert!(error.ends_with(hint), "{error}");
    }
    // Two sites, one question.
    _ = std::fs::remove_file(&said);
    told("USER", "", "echo alice").expect_code(0);
    assert_eq!(files::read(&said), "x\n");
    bystander.expect_no_call();
}

#[test]
fn an_argument_that_is_not_utf8_is_named_and_cannot_reach_the_terminal() {
    let (project, bystander) = two_sites();
    let mut command = project.command(&["shop", "run", "--"]);
    command.arg(OsStr::from_bytes(b"echo \xff\x1b]0;title\x07"));
    let output = project.run(&[], &mut command).expect_code(2);
    assert_eq!(output.stderr, "error: argument 4 is not UTF-8: echo \\xff\\x1b]0;title\\x07\n");
    // What the rest of the environment holds is no matter.
    let mut command = project.command(&["shop", "run", "--dry-run", "--", "id"]);
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    for name in ["USER", "LANG", "HOME", "EDITOR"] {
        command.env(name, bytes);
    }
    project.run(&[], &mut command).expect_code(0);
    bystander.expect_no_call();
}

/// Who types `resume -x web1` believes that web1 is left out.
#[test]
fn a_flag_that_a_verb_would_ignore_is_refused() {
    let (project, bystander) = two_sites();
    for (args, verb, flag) in [
        (&["resume", "-x", "web1"][..], "resume", "exclude"),
        (&["-x", "web1", "resume"], "resume", "exclude"),
        (&["resume", "--max-fail=1"], "resume", "max-fail"),
        (&["undo", "-n"], "undo", "dry-run"),
        (&["undo", "-l", "web1"], "undo", "limit"),
        (&["cancel", "-e", "a=b"], "cancel", "set"),
        (&["attach", "-l", "web1"], "attach", "limit"),
        (&["show", "last", "--json"], "show", "json"),
        (&["runs", "-l", "shop"], "runs", "limit"),
        (&["logs", "-P", "2"], "logs", "parallel"),
        (&["tasks", "shop", "--skip", "go"], "tasks", "skip"),
        (&["init", "-n"], "init", "dry-run"),
        (&["shop", "run", "--only", "go", "--", "id"], "SITE run", "only"),
        (&["shop", "unlock", "-n"], "SITE unlock", "dry-run"),
        (&["shop", "distribute_keys", "--max-fail", "1"], "SITE distribute-keys", "max-fail"),
        (&["shop", "trust", "-n"], "SITE trust", "dry-run"),
    ] {
        let told = error(&project, args, 2);
        let expected = format!("error: `fleet {verb}` does not take the flag --{flag}\nhint: fleet ");
        assert!(told.starts_with(&expected), "{args:?}: {told}");
    }
    // A variable is set for all that is done in a shell, and is not even read where it is of no use.
    for (name, value) in [("FLEET_EXCLUDE", "web1"), ("FLEET_PARALLEL", "many"), ("FLEET_DRY_RUN", "1")] {
        let args = ["runs"];
        project.run(&args, project.command(&args).env(name, value)).expect_code(0);
    }
    let args = ["shop", "deploy", "-n"];
    project.run(&args, project.command(&args).env("FLEET_PARALLEL", "many")).expect_code(2);
    let args = ["shop", "status", "-n"];
    project.run(&args, &mut project.command(&args)).expect_code(2);
    let help = project.fleet(&["help", "resume"]).expect_code(0).stdout;
    assert!(help.contains("--give-up") && help.contains("--json") && !help.contains("--max-fail"), "{help}");
    assert!(project.fleet(&["--help"]).expect_code(0).stdout.contains("--max-fail"));
    bystander.expect_no_call();
}
