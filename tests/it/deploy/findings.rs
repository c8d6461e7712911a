//! What steps report about themselves, and what a block makes of a run.

use rustix::process::Signal;

use super::{Site, check_stream, outcomes, story};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::wait_for;
use crate::support::user::TestUser;

/// A site is closed, and a migration reports what stands in `report`; neither of the two steps fails.
fn recipe(report: &str, more: &str) -> String {
    format!(
        r#"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "close"
run = "echo {{{{fleet.host}}}} close >>@SHARED@/journal"
undo = "echo {{{{fleet.host}}}} reopen >>@SHARED@/journal"
[[task.deploy.phase]]
name = "migrate"
[[task.deploy.phase.step]]
name = "migrate"
run = '''
echo {{{{fleet.host}}}} migrate >>@SHARED@/journal
{report}
'''
{more}
"#
    )
}

const UNDO: &str = r#"undo = "echo {{fleet.host}} restore >>@SHARED@/journal""#;

/// The findings of a run with `--json`: `web1 block data.loss three rows`.
fn findings(output: &Output) -> Vec<String> {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let events = output.events();
    let found = events.iter().filter(|event| event["event"] == "finding-reported");
    let line = |event: &serde_json::Value| {
        format!(
            "{} {} {} {}",
            word(&event["host"]),
            word(&event["kind"]),
            word(event.get("name").unwrap_or(&serde_json::Value::Null)),
            word(&event["text"])
        )
    };
    found.map(line).collect()
}

#[test]
fn a_block_in_a_step_that_exits_with_0_refuses_it_and_all_is_undone() {
    let report = r#"echo 'block data.loss values=3 -- three rows would be lost' >>"$FLEET_FINDINGS"
echo 'notice - -- checked 7 tables' >>"$FLEET_FINDINGS""#;
    let more = format!("{UNDO}\nidempotent = true\nretry = {{ times = 3, delay = \"10ms\" }}");
    let site = Site::start("", &["web1"], &recipe(report, &more));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(6);
    assert_eq!(site.journal(), ["web1 close", "web1 migrate", "web1 restore", "web1 reopen"]);
    for text in [
        "web1 > migrate > ",
        "block data.loss values=3: three rows would be lost\n",
        "notice: checked 7 tables\n",
        "FAILED: refused: data.loss: three rows would be lost",
        "refused after",
    ] {
        assert!(output.stderr.contains(text), "{text}\n{}", output.stderr);
    }
    for text in ["mysite deploy was refused after", "(exit code 6)", "findings: 1 block, 1 notice (fleet show "] {
        assert!(output.stdout.contains(text), "{text}\n{}", output.stdout);
    }
    let shown = site.fleet(&["show", "last", "--findings"]).expect_code(0).stdout;
    insta::assert_snapshot!(shown, @r"
    HOST  STEP             KIND    NAME       DETAILS   TEXT
    web1  migrate/migrate  block   data.loss  values=3  three rows would be lost
    web1  migrate/migrate  notice  -                    checked 7 tables
    ");
    assert!(site.fleet(&["runs"]).expect_code(0).stdout.contains("refused"));
    let log = site.fleet(&["logs", "last", "web1", "--step", "migrate"]).expect_code(0).stdout;
    assert!(log.contains("fleet| block data.loss values=3: three rows would be lost"), "{log}");
    site.check_free();
}

#[test]
fn a_block_in_a_read_only_step_stops_before_anything_is_changed() {
    let look = r#"
[[task.deploy.phase]]
name = "look"
[[task.deploy.phase.step]]
name = "look"
read-only = true
run = "[ {{fleet.host}} != web2 ] || echo 'block data.loss -- rows' >>\"$FLEET_FINDINGS\""
"#;
    let site = Site::start("", &["web1", "web2"], &format!("{look}{}", recipe("true", UNDO)));
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(6);
    check_stream(&output);
    assert!(site.journal().is_empty(), "{:?}", site.journal());
    assert_eq!(outcomes(&output), ["web1 untouched", "web2 failed"]);
    assert_eq!(findings(&output), ["web2 block data.loss rows"]);
    // A budget is for hosts that are bad.
    let output = site.fleet(&["mysite", "deploy", "--json", "--max-fail", "1"]).expect_code(6);
    assert_eq!(outcomes(&output), ["web1 untouched", "web2 failed"]);
    assert!(site.journal().is_empty(), "{:?}", site.journal());
}

#[test]
fn a_task_that_only_looks_reports_as_well_and_leaves_nothing_on_the_host() {
    let recipe = r#"
[[task.look.step]]
name = "look"
read-only = true
run = "echo $FLEET_FINDINGS >@SHARED@/place; stat -c %a \"${FLEET_FINDINGS%/*}\"; echo \"warning disk -- 3% left\" >>\"$FLEET_FINDINGS\"; exit {{status}}"
unless = "[ -n \"$FLEET_FINDINGS\" ]"
[vars.status]
default = "0"
"#;
    let site = Site::start("", &["web1"], recipe);
    let output = site.fleet(&["mysite", "look"]).expect_code(0);
    assert!(output.stderr.contains("web1 | look | 700\n"), "{}", output.stderr);
    assert!(output.stderr.contains("warning disk: 3% left\n"), "{}", output.stderr);
    assert!(output.stdout.contains("findings: 1 warning (fleet show"), "{}", output.stdout);
    let output = site.fleet(&["mysite", "look", "-e", "status=3", "--json"]).expect_code(10);
    assert_eq!(findings(&output), ["web1 warning disk 3% left"]);
    let place = site.shared().join("place");
    let place = std::path::PathBuf::from(crate::support::files::read(&place).trim());
    assert!(place.is_absolute() && !place.parent().unwrap().exists(), "{}", place.display());
    // A single command has none.
    let output = site.fleet(&["mysite", "run", "--", "echo [$FLEET_FINDINGS]"]).expect_code(0);
    assert!(output.stderr.contains("[]"), "{}", output.stderr);
}

#[test]
fn a_block_that_the_site_accepts_passes_with_its_reason_and_an_entry_in_vain_is_told() {
    let report = r#"echo 'block data.loss -- rows' >>"$FLEET_FINDINGS""#;
    let accept = "[accept]\n\"data.loss\" = \"moved by fix 003\"\n\"other:x\" = \"never seen\"\n";
    let site = Site::start(accept, &["web1"], &recipe(report, UNDO));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert!(output.stderr.contains("block data.loss, accepted (moved by fix 003): rows\n"), "{}", output.stderr);
    let unused = "notice: unused [accept] entries: other:x\n";
    assert!(output.stderr.contains(unused), "{}", output.stderr);
    assert!(output.stdout.contains("findings: 1 accepted block (fleet show"), "{}", output.stdout);
    assert!(output.stdout.contains(unused), "{}", output.stdout);
    assert_eq!(site.journal(), ["web1 close", "web1 migrate"]);
    let shown = site.fleet(&["show", "last", "--findings"]).expect_code(0).stdout;
    assert!(shown.contains("rows (accepted: moved by fix 003)"), "{shown}");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    let events = output.events();
    let found = events.iter().find(|event| event["event"] == "finding-reported").unwrap();
    assert_eq!(found["accepted"], "moved by fix 003");
    assert!(story(&output).contains(&"accept-unused".to_owned()));
    // A step that fails is not saved by what is accepted.
    site.recipe(&recipe(&format!("{report}; exit 3"), UNDO));
    site.fleet(&["mysite", "deploy"]).expect_code(10);
}

#[test]
fn escape_sequences_in_findings_do_not_come_to_a_terminal() {
    let report = r#"printf 'warning a at=\033[1m -- \033[2Jgone\033]0;title\007\n\033[31mblock b -- red\nblock c\r -- x \302\233\n' >>"$FLEET_FINDINGS""#;
    let site = Site::start("[accept]\n\"c\" = \"known\"\n", &["web1"], &recipe(report, UNDO));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    let shown = site.fleet(&["show", "last", "--findings"]).expect_code(0);
    let logs = site.fleet(&["logs", "last"]).expect_code(0);
    for text in [output.all(), shown.all(), logs.all()] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r']), "{text:?}");
        assert!(text.contains(r"\x1b[2Jgone\x1b]0;title\x07"), "{text}");
    }
    // What does not read is told as it is.
    assert!(output.stderr.contains(r"KIND NAME [key=value ...] -- TEXT: \x1b[31mblock b -- red"), "{}", output.stderr);
    let output = site.fleet_pty(&["mysite", "deploy"], &[]);
    assert!(!output.stdout.contains("\u{1b}[2Jgone") && !output.stdout.contains("\u{1b}]0;title"));
}

#[test]
fn a_report_that_is_too_large_to_be_read_whole_refuses_its_step() {
    let large = r#"yes 'notice x -- 0123456789 0123456789 0123456789' | head -c 1048576 >>"$FLEET_FINDINGS""#;
    let site = Site::start("", &["web1"], &recipe(large, UNDO));
    for durable in ["true", "false"] {
        site.recipe(&recipe(large, &format!("{UNDO}\ndurable = {durable}")));
        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(6);
        let last = findings(&output).pop().unwrap();
        assert!(last.starts_with("web1 block - the step reported more than "), "{last}");
        assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    }
    // Nor does one that nobody can read pass; root reads everything.
    if !crate::support::user::is_root() {
        site.recipe(&recipe(r#"echo x >>"$FLEET_FINDINGS"; chmod 0 "$FLEET_FINDINGS""#, UNDO));
        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(6);
        assert_eq!(findings(&output), ["web1 block - what the step reported could not be read on the host"]);
    }
}

#[test]
fn what_a_step_reported_before_it_was_ended_is_told() {
    let report = |then: &str| format!(r#"printf 'warning x -- so far\nblock half' >>"$FLEET_FINDINGS"; {then}"#);
    let site = Site::start("", &["web1"], &recipe(&report("true"), UNDO));
    for (then, more, code, end) in [
        ("sleep 60", "timeout = \"300ms\"", 6, "refused"),
        ("sleep 60", "timeout = \"300ms\"\ndurable = false", 6, "refused"),
        ("kill -KILL $$", "", 6, "refused"),
        ("kill -KILL $$", "durable = false", 6, "refused"),
        // Its supervisor: nobody will learn how the step ended.
        ("kill -KILL $PPID", "", 13, "unknown"),
    ] {
        site.recipe(&recipe(&report(then), &format!("{UNDO}\n{more}")));
        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(code);
        let found = findings(&output);
        assert_eq!(found.len(), 2, "{then} {more}: {found:?}");
        assert_eq!(found[0], "web1 warning x so far");
        assert!(found[1].ends_with("TEXT: block half"), "{}", found[1]);
        let finished = format!("step-finished web1 migrate/migrate {end}");
        assert!(story(&output).contains(&finished), "{then} {more}: {:#?}", story(&output));
    }
}

#[test]
fn a_step_of_another_user_reports_in_that_user_s_spool_as_root() {
    let user = TestUser::create();
    let report = r#"id -un; stat -c %a "${FLEET_FINDINGS%/*}"; echo 'block data.loss -- rows' >>"$FLEET_FINDINGS""#;
    let site = Site::start("", &["web1"], &recipe(report, ""));
    std::fs::create_dir_all(site.shared()).unwrap();
    crate::support::files::set_mode(&site.shared(), 0o777);
    for more in ["", "durable = false", "read-only = true"] {
        let _ = std::fs::remove_file(site.shared().join("journal"));
        let report = format!("{report}; true");
        let text = recipe(&report, &format!("as = \"{}\"\n{more}", user.name));
        site.recipe(&text.replace("echo {{fleet.host}} migrate >>@SHARED@/journal", ""));
        let output = site.fleet(&["mysite", "deploy"]).expect_code(6);
        let printed = format!("web1 | migrate | {}\nweb1 | migrate | 700\n", user.name);
        assert!(output.stderr.contains(&printed), "{more} {}", output.stderr);
        assert!(output.stderr.contains("block data.loss: rows\n"), "{more} {}", output.stderr);
    }
}

#[test]
fn what_a_step_reported_while_nobody_watched_counts_after_a_resume() {
    let report = r#"echo 'notice x -- began' >>"$FLEET_FINDINGS"
touch @SHARED@/working
while [ ! -e @SHARED@/go ]; do sleep 0.02; done
echo 'block data.loss -- rows' >>"$FLEET_FINDINGS"
echo {{fleet.host}} migrated >>@SHARED@/journal"#;
    let site = Site::start("", &["web1"], &recipe(report, UNDO));
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    site.touch("go");
    wait_for("its end", || site.journal().contains(&"web1 migrated".to_owned()).then_some(()));
    let output = site.fleet(&["resume", "--json"]).expect_code(6);
    assert_eq!(findings(&output), ["web1 notice x began", "web1 block data.loss rows"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    let expected = ["web1 close", "web1 migrate", "web1 migrated", "web1 restore", "web1 reopen"];
    assert_eq!(site.journal(), expected);
    site.check_free();
}

#[test]
fn an_undo_reports_too_and_its_block_is_a_failed_undo() {
    let undo = |line: &str| {
        format!(
            "undo = '''\necho {{{{fleet.host}}}} restore >>@SHARED@/journal\necho '{line}' >>\"$FLEET_FINDINGS\"\n'''"
        )
    };
    let site = Site::start("", &["web1"], &recipe("exit 3", &undo("warning x -- half is back")));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stderr.contains("web1 > undo migrate > "), "{}", output.stderr);
    let shown = site.fleet(&["show", "last", "--findings"]).expect_code(0).stdout;
    assert!(shown.contains("web1  undo of migrate/migrate  warning  x"), "{shown}");
    site.recipe(&recipe("exit 3", &undo("block x -- nothing is back")));
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 held"]);
}

#[test]
fn secrets_in_findings_are_masked_before_they_are_events() {
    let recipe = r#"
[[task.deploy.step]]
name = "token"
run = "echo hunter2-hunter3; echo 'warning x token=hunter2-hunter3 -- my own is hunter2-hunter3' >>\"$FLEET_FINDINGS\""
register = "token"
secret-output = true
[[task.deploy.step]]
name = "use"
run = "echo block hunter2-hunter3 -- it is {{token}}. >>\"$FLEET_FINDINGS\""
"#;
    let site = Site::start("", &["web1"], recipe);
    let output = site.fleet(&["mysite", "deploy", "--json", "-vv"]).expect_code(6);
    assert!(!output.all().contains("hunter2"), "{}", output.all());
    let found = findings(&output);
    assert_eq!(found[0], "web1 warning x my own is ***");
    assert!(found[1].starts_with("web1 block - ") && found[1].ends_with("block *** -- it is ***."), "{}", found[1]);
    for args in [&["show", "last", "--findings"][..], &["show", "last"], &["logs", "last"]] {
        assert!(!site.fleet(args).expect_code(0).all().contains("hunter2"), "{args:?}");
    }
    let folder = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap().map(|entry| entry.unwrap().path());
    for file in folder.filter(|path| path.is_dir()).flat_map(|run| std::fs::read_dir(run).unwrap()) {
        let path = file.unwrap().path();
        // The plan has the text of the steps.
        if path.is_file() && path.file_name().unwrap() != "plan.json" {
            let text = std::fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("hunter2"), "{}", path.display());
        }
    }
}

#[test]
fn an_accepted_name_with_dots_and_without_quotes_is_shown_with_its_quotes() {
    let site =
        Site::start("[accept]\npr_person.initials = \"moved\"\n\"other\" = \"\"\n", &["web1"], &recipe("true", UNDO));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(3);
    assert!(site.journal().is_empty());
    insta::assert_snapshot!(output.stderr, @r#"
    error: `pr_person.initials` is a name with dots, which TOML reads as tables without quotes
     --> hosts/mysite.toml:3:1
      |
    3 | pr_person.initials = "moved"
      | ^^^^^^^^^^^^^^^^^^ write "pr_person.initials" = "…" in `[accept]`

    error: a reason must not be empty: say why this block may pass
     --> hosts/mysite.toml:4:11
      |
    4 | "other" = ""
      |           ^^

    2 errors in 1 file; nothing was contacted
    "#);
}

/// What lies there afterwards is somebody else's: it is neither read nor emptied, and nobody waits for it.
#[test]
fn what_a_step_puts_in_the_place_of_its_findings_is_left_alone_and_refuses_it() {
    for (key, of) in [("run", ""), ("run", "durable = false\n"), ("local", "idempotent = true\n")] {
        for put in ["ln -s @SHARED@/precious", "mkfifo"] {
            let recipe = format!(
                "[[task.deploy.step]]\nname = \"puts\"\n{of}{key} = 'rm -f \"$FLEET_FINDINGS\"; {put} \"$FLEET_FINDINGS\"'\n\
                 [[task.after.step]]\nname = \"after\"\nrun = \"true\"\n"
            );
            let site = Site::start("", &["web1"], &recipe);
            files::write(&site.shared().join("precious"), "block x -- not a finding\n", 0o644);
            let output = site.fleet(&["mysite", "deploy", "after"]);
            assert_eq!(files::read(&site.shared().join("precious")), "block x -- not a finding\n", "{key} {of}{put}");
            assert!(!output.stderr.contains("not a finding"), "{}", output.stderr);
            if put != "mkfifo" || key == "local" {
                assert_eq!(output.code, Some(6), "{key} {of}{put}: {}", output.stderr);
            }
        }
    }
}

/// A reason not to go on is one for all hosts, whatever the budget for bad ones.
#[test]
fn a_block_of_a_step_that_only_looks_stops_before_any_host_is_changed() {
    let recipe = r#"
[[task.deploy.phase]]
name = "look"
[[task.deploy.phase.step]]
name = "look"
read-only = true
run = "test {{fleet.host}} != web2 || echo 'block old -- too old' >>\"$FLEET_FINDINGS\""
[[task.deploy.phase]]
name = "roll"
rolling = ["1"]
[[task.deploy.phase.step]]
name = "roll"
run = "echo {{fleet.host}} >>@SHARED@/journal"
undo = "true"
"#;
    let site = Site::start("[rollout]\nmax-failures = 2\n", &["web1", "web2", "web3"], recipe);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(6);
    assert_eq!(site.journal(), [""; 0], "{}", output.stderr);
    site.check_free();
}
