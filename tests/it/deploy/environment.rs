//! What a login has in its environment changes nothing of what a recipe says.

use std::process::Command;

use super::Site;
use crate::support::files;
use crate::support::process::run;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "plain"
cwd = "{{host_home}}"
unless = "cd releases && [ \"$(pwd)\" != {{host_home}}/releases ] || ! git -C {{host_home}}/repo log -1 >/dev/null"
run = "cd releases && pwd >>@SHARED@/journal; cd {{host_home}}/repo && git rev-parse --show-toplevel >>@SHARED@/journal"
undo = "cd releases && echo undo $(pwd) >>@SHARED@/journal"
[[task.deploy.step]]
name = "patient"
durable = false
run = "{ sleep 1.2; echo late; } | { read -r x; echo $x; } >>@SHARED@/journal; printf 'a\\n' | grep a >>@SHARED@/journal; tar -cf /dev/null releases"
[[task.deploy.step]]
name = "script"
script = "which.sh"
[[task.deploy.step]]
name = "own"
env = { GIT_DIR = "{{host_home}}/other/.git", CDPATH = "{{host_home}}/trap" }
run = "git rev-parse --git-dir >>@SHARED@/journal; cd releases && echo $GIT_SSH_COMMAND $GIT_AUTHOR_NAME >>@SHARED@/journal"
[[task.deploy.step]]
name = "fails"
run = "exit 3"
"#;

/// With `CDPATH` and `GIT_DIR` of the login, `cd` and `git` were somewhere else, and the undo, too.
#[test]
fn variables_of_the_login_do_not_change_what_steps_undos_and_guards_mean() {
    let site = Site::start("", &["web1"], RECIPE);
    site.write("recipes/which.sh", "#!/bin/bash\ncd releases && echo script $(pwd) >>\"$HOME/which\"\n");
    let home = site["web1"].home();
    for folder in ["releases", "trap/releases", "repo", "other", "decoy"] {
        std::fs::create_dir_all(home.join(folder)).unwrap();
    }
    for folder in ["repo", "other", "decoy"] {
        let git = |args: &[&str]| {
            let identity = ["-c", "user.name=x", "-c", "user.email=x"];
            run(Command::new(tool("git")).current_dir(home.join(folder)).args(identity).args(args));
        };
        git(&["init", "-q"]);
        git(&["commit", "-q", "--allow-empty", "-m", folder]);
    }
    files::write(&home.join("env.sh"), "echo sourced >>\"$HOME/sourced\"\n", 0o644);
    files::write(
        &home.join(".session"),
        "export CDPATH=$HOME/trap GIT_DIR=$HOME/decoy/.git GIT_WORK_TREE=$HOME/decoy GIT_INDEX_FILE=/nowhere
export ENV=$HOME/env.sh BASH_ENV=$HOME/env.sh TMOUT=1 TAR_OPTIONS=--bogus GREP_OPTIONS=-v
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.bare GIT_CONFIG_VALUE_0=true
export GIT_SSH_COMMAND='ssh -4' GIT_AUTHOR_NAME=release\n",
        0o644,
    );
    site.fleet(&["mysite", "deploy"]).expect_code(10);
    let home = home.display();
    let expected =
        format!("{home}/releases\n{home}/repo\nlate\na\n{home}/other/.git\nssh -4 release\nundo {home}/releases");
    assert_eq!(site.journal().join("\n"), expected);
    assert_eq!(files::read(&site["web1"].home().join("which")), format!("script {home}/releases\n"));
    assert!(!site["web1"].home().join("sourced").exists());
    let output =
        site.fleet(&["mysite", "run", "--", "cd releases && pwd; cd ../repo && git log --format=%s"]).expect_code(0);
    for line in [format!("| command | {home}/releases\n"), "| command | repo\n".to_owned()] {
        assert!(output.all().contains(&line), "{line}{}", output.all());
    }
    // Fleet's own scripts: the key is found and brought where it belongs.
    site.fleet(&["mysite", "distribute-keys"]).expect_code(0);
    site.fleet(&["mysite", "check"]).expect_code(0);
}
