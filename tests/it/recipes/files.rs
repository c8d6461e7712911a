//! The files of a recipe: on the host while a step runs that uses them, also on the way back, and gone afterwards.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::process::Signal;

use super::printed;
use crate::deploy::Site;
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::project::Project;
use crate::support::user::TestUser;

/// Bytes that no here-document takes as they are.
fn binary() -> Vec<u8> {
    (0..=u8::MAX).cycle().take(300_000).collect()
}

fn write_helpers(site: &Site) {
    files::write(&site.root().join("recipes/lib/say.sh"), "#!/bin/sh\necho \"say $1 from ${0##*/lib/}\"\n", 0o755);
    files::write(&site.root().join("recipes/lib/deep er/data"), binary(), 0o644);
    // Without a newline at its end, and with what a shell would read.
    files::write(&site.root().join("fixes/001 it's.sql"), "select '$HOME' -- `id`", 0o644);
}

#[test]
fn files_are_there_for_guard_run_script_and_undo_byte_for_byte_and_gone_afterwards() {
    let recipe = r#"files = ["lib/", "@/fixes/", "@/nothing/"]
[[task.deploy.step]]
name = "run"
unless = '"$FLEET_FILES"/lib/say.sh guard; false'
run = '"$FLEET_FILES"/lib/say.sh run; sha256sum <"$FLEET_FILES/lib/deep er/data"; cat "$FLEET_FILES"/fixes/001*; echo; find "$FLEET_FILES" -name ".*" -prune -o -type f -exec stat -c %a {} +'
undo = '"$FLEET_FILES"/lib/say.sh undo'
[[task.deploy.step]]
name = "script"
script = "script.sh"
[[task.deploy.step]]
name = "plain"
durable = false
run = '"$FLEET_FILES"/lib/say.sh plain'
[[task.deploy.step]]
name = "fails"
run = "exit 3"
"#;
    let site = Site::start("", &["web1"], recipe);
    write_helpers(&site);
    site.write("recipes/script.sh", "\"$FLEET_FILES\"/lib/say.sh script\n");
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    let sum = sha256(&binary());
    let expected = [
        "say guard from say.sh",
        "say run from say.sh",
        &format!("{sum}  -"),
        "select '$HOME' -- `id`",
        "600",
        "600",
        "700",
        "say script from say.sh",
        "say plain from say.sh",
        "say undo from say.sh",
    ];
    let mut lines = printed(&output.stderr);
    lines[4..7].sort_unstable();
    assert_eq!(lines, expected, "{}", output.stderr);
    site.check_free();
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[test]
fn each_user_has_the_files_in_a_folder_of_his_own_as_root() {
    let user = TestUser::create();
    let recipe = format!(
        "files = [\"lib/say.sh\"]\n[[task.deploy.step]]\nname = \"own\"\nrun = 'cat \"$FLEET_FILES/lib/say.sh\"'\n\
         [[task.deploy.step]]\nname = \"other\"\nas = \"{0}\"\nrun = '\"$FLEET_FILES\"/lib/say.sh {0}; touch \"$FLEET_FILES/mine\"'\n\
         [[task.deploy.step]]\nname = \"plain\"\nas = \"{0}\"\ndurable = false\nrun = 'ls \"$FLEET_FILES\"'\n",
        user.name
    );
    let site = Site::start("", &["web1"], &recipe);
    write_helpers(&site);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    let said = format!("say {} from say.sh", user.name);
    assert_eq!(printed(&output.stderr), ["#!/bin/sh", "echo \"say $1 from ${0##*/lib/}\"", &said, "lib", "mine"]);
    site.check_free();
    assert_eq!(std::fs::read_dir(user.spool()).unwrap().count(), 0, "nothing is left in the other user's spool");
}

/// The second step waits for the file `go`.
const WAITS: &str = r#"files = ["lib/"]
[[task.deploy.step]]
name = "first"
run = '"$FLEET_FILES"/lib/say.sh first'
undo = '"$FLEET_FILES"/lib/say.sh back >>@SHARED@/journal'
[[task.deploy.step]]
name = "waits"
run = "touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done"
[[task.deploy.step]]
name = "last"
run = '"$FLEET_FILES"/lib/say.sh last >>@SHARED@/journal'
"#;

#[test]
fn a_resumed_run_has_the_files_of_then_and_brings_only_what_is_missing() {
    let site = Site::start("", &["web1"], WAITS);
    write_helpers(&site);
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    let folder = std::fs::read_dir(site.spool("web1")).unwrap().map(|entry| entry.unwrap().path().join("0.files"));
    let folder = folder.into_iter().find(|folder| folder.exists()).unwrap();
    // One is whole, and stays as it is; the other one was cut off.
    files::write(&folder.join("lib/say.sh"), "#!/bin/sh\necho kept $1\n", 0o700);
    let mark = |name: &str| {
        let marks = std::fs::read_dir(folder.with_extension("files.have")).unwrap().map(|entry| entry.unwrap().path());
        marks.into_iter().find(|mark| mark.file_name().unwrap().to_str().unwrap().starts_with(name)).unwrap()
    };
    std::fs::remove_file(mark("0.")).unwrap();
    std::fs::remove_file(folder.join("lib/deep er/data")).unwrap();
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(site.journal(), ["kept last"]);
    site.check_free();
}

#[test]
fn an_undo_a_day_later_has_the_files_of_then_from_the_record() {
    let site = Site::start("", &["web1"], WAITS);
    write_helpers(&site);
    site.touch("go");
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    files::write(&site.root().join("recipes/lib/say.sh"), "#!/bin/sh\necho other\n", 0o755);
    site.fleet(&["undo", "--yes"]).expect_code(0);
    assert_eq!(site.journal(), ["say last from say.sh", "say back from say.sh"]);
    site.check_free();
}

#[test]
fn a_changed_file_is_another_plan_and_a_lost_one_is_missed_before_any_host() {
    let site = Site::start("", &["web1"], WAITS);
    write_helpers(&site);
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    site.touch("go");
    site.write("recipes/lib/say.sh", "#!/bin/sh\n");
    let told = site.fleet(&["resume"]).expect_code(6).stderr;
    assert!(told.contains("the recipe's files changed"), "{told}");
    let run = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap().next().unwrap().unwrap().path();
    for blob in std::fs::read_dir(run.join("blobs")).unwrap() {
        std::fs::remove_file(blob.unwrap().path()).unwrap();
    }
    let told = site.fleet(&["resume", "--as-planned"]).expect_code(5).stderr;
    assert!(told.contains("blobs/"), "{told}");
}

#[test]
fn a_task_that_only_looks_has_the_files_too_and_leaves_nothing() {
    let recipe = "files = [\"lib/\"]\n[[task.look.step]]\nname = \"look\"\nread-only = true\nrun = '\"$FLEET_FILES\"/lib/say.sh look'\n\
                  [[task.other.step]]\nname = \"other\"\nrun = \"true\"\n";
    let site = Site::start("", &["web1"], recipe);
    write_helpers(&site);
    let output = site.fleet(&["mysite", "look"]).expect_code(0);
    assert_eq!(printed(&output.stderr), ["say look from say.sh"]);
    assert_eq!(std::fs::read_dir(site.spool("web1")).unwrap().count(), 0);
    let plan = site.fleet(&["-n", "mysite", "look"]).expect_code(0).stdout;
    assert!(plan.contains("2 files of the recipe in \"$FLEET_FILES\", 294 KiB\n"), "{plan}");
    let plan = site.fleet(&["-n", "mysite", "other"]).expect_code(0).stdout;
    assert!(!plan.contains("FLEET_FILES"), "who does not use them has none: {plan}");
    let shown = site.fleet(&["tasks", "mysite"]).expect_code(0).stdout;
    assert!(shown.contains("  files lib/deep er/data, lib/say.sh\n"), "{shown}");
}

#[test]
fn files_that_cannot_be_sent_are_refused_before_anything_is_contacted() {
    let project = Project::new();
    project.write("hosts/mysite.toml", "recipe = \"test\"\n[[host]]\nname = \"web1\"\n");
    for folder in ["recipes/out", "recipes/large", "keys"] {
        std::fs::create_dir_all(project.root().join(folder)).unwrap();
    }
    symlink("../../hosts/mysite.toml", project.root().join("recipes/out/site")).unwrap();
    symlink("../hosts/mysite.toml", project.root().join("recipes/site")).unwrap();
    std::fs::File::create(project.root().join("recipes/large/zeros")).unwrap().set_len((4 << 20) + 1).unwrap();
    for name in ["a", "b"] {
        std::fs::File::create(project.root().join("recipes").join(name)).unwrap().set_len(3 << 20).unwrap();
    }
    project.write("keys/fleet", "private\n");
    symlink("../keys/fleet", project.root().join("hosts/key")).unwrap();
    project.write("recipes/parent.toml", "[recipe]\nfiles = [\"a\"]\n[[task.t.step]]\nname = \"s\"\nrun = \"true\"\n");
    project.write("recipes/sum.toml", "[recipe]\nextends = \"parent\"\nfiles = [\"b\"]\n");
    project.write(
        "recipes/test.toml",
        "[recipe]\nfiles = [\n\"missing.py\",\n\"missing/\",\n\"../hosts/mysite.toml\",\n\"/etc/passwd\",\n\"site\",\n\"out/\",\n\"large/\",\n\"@/keys/\",\n\"@/hosts/key\",\n\"@/../x\",\n7,\n]\n\
         [[task.t.step]]\nname = \"s\"\nrun = \"true\"\n",
    );
    insta::assert_snapshot!(project.fleet(&["check"]).expect_code(3).stderr, @r#"
    error: the files of the recipe are larger than 4 MiB together
     --> recipes/sum.toml:3:10
      |
    3 | files = ["b"]
      |          ^^^ with `b`

    error: `missing.py`: there is no such file
     --> recipes/test.toml:3:1
      |
    3 | "missing.py",
      | ^^^^^^^^^^^^

    error: `missing/`: there is no such file
     --> recipes/test.toml:4:1
      |
    4 | "missing/",
      | ^^^^^^^^^^

    error: `../hosts/mysite.toml` is not a path inside the recipe's folder
     --> recipes/test.toml:5:1
      |
    5 | "../hosts/mysite.toml",
      | ^^^^^^^^^^^^^^^^^^^^^^

    error: `/etc/passwd` is not a path inside the recipe's folder
     --> recipes/test.toml:6:1
      |
    6 | "/etc/passwd",
      | ^^^^^^^^^^^^^

    error: `site`: a link leads out of its folder
     --> recipes/test.toml:7:1
      |
    7 | "site",
      | ^^^^^^

    error: `out/`: a link leads out of its folder
     --> recipes/test.toml:8:1
      |
    8 | "out/",
      | ^^^^^^

    error: `large/`: longer than 4 MiB
     --> recipes/test.toml:9:1
      |
    9 | "large/",
      | ^^^^^^^^

    error: `@/keys/`: private keys are sent to no host
      --> recipes/test.toml:10:1
       |
    10 | "@/keys/",
       | ^^^^^^^^^

    error: `@/hosts/key`: private keys are sent to no host
      --> recipes/test.toml:11:1
       |
    11 | "@/hosts/key",
       | ^^^^^^^^^^^^^

    error: `@/../x` is not a path inside the recipe's folder
      --> recipes/test.toml:12:1
       |
    12 | "@/../x",
       | ^^^^^^^^

    error: an element of `files` must be a string, not an integer
      --> recipes/test.toml:13:1
       |
    13 | 7,
       | ^

    12 errors in 2 files; nothing was contacted
    "#);
    let mode = std::fs::metadata(project.root().join("keys/fleet")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "nothing was touched");
}

/// Fixes that nobody has written yet: the folder is there and empty, and no step reads one of the host's own of that name.
#[test]
fn a_recipe_without_files_has_an_empty_folder() {
    let recipe = "files = [\"@/fixes/\"]\n[[task.deploy.step]]\nname = \"fix\"\nrun = 'ls -A \"$FLEET_FILES\"; test -d \"${FLEET_FILES:?}\"'\n\
                  [[task.look.step]]\nname = \"fix\"\nread-only = true\nrun = 'ls -A \"$FLEET_FILES\"; test -d \"${FLEET_FILES:?}\"'\n";
    let site = Site::start("", &["web1"], recipe);
    for task in ["deploy", "look"] {
        let output = site.fleet(&["mysite", task]).expect_code(0);
        assert_eq!(printed(&output.stderr), [""; 0], "{task}");
        site.check_free();
    }
}
