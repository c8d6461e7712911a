//! Files that a Windows editor, or a checkout on Windows, has been at: what reaches the hosts ends its lines with LF.

use super::Site;
use crate::support::files;

const RECIPE: &str = r#"
[vars.restart]
default = """
set -u
echo restarted >>@SHARED@/journal
"""
[[task.deploy.step]]
name = "close"
run = """
set -eu
touch @SHARED@/closed
"""
undo = """
rm -f -- @SHARED@/closed
echo open again >>@SHARED@/journal
"""
[[task.deploy.step]]
name = "guarded"
unless = """
[ -e @SHARED@/closed ]
"""
run = """
echo not guarded >>@SHARED@/journal
"""
[[task.deploy.step]]
name = "script"
script = "go.sh"
[[task.deploy.step]]
name = "interpreted"
script = "count.pl"
[[task.deploy.step]]
name = "restart"
run = """
{{restart|raw}}
{{after|raw}}
false
"""
"#;

/// Every LF becomes CRLF; of a mixed file, every other one.
fn windows(text: &str, mixed: bool) -> String {
    let line = |(at, line): (usize, &str)| line.replace('\n', if mixed && at % 2 == 0 { "\n" } else { "\r\n" });
    text.split_inclusive('\n').enumerate().map(line).collect()
}

/// The CR was a part of the last word: `set -eu` failed, the guard was false, and the undo removed nothing and succeeded.
#[test]
fn a_project_with_windows_line_ends_does_on_hosts_what_it_says() {
    for mixed in [false, true] {
        let head = "[vars]\nafter = '''\nset -u\necho after >>\"$HOME/../home/after\"\n'''";
        let site = Site::start(head, &["web1"], RECIPE);
        site.write("recipes/go.sh", "#!/bin/sh\nset -eu\necho script >>\"$HOME/script\"\n");
        site.write("recipes/count.pl", "\u{feff}#!/usr/bin/perl\nprint 'perl';\n");
        for path in ["hosts/mysite.toml", "recipes/test.toml", "recipes/go.sh", "recipes/count.pl", "keys/fleet.pub"] {
            site.write(path, windows(&site.read(path), mixed));
        }
        let pinned = site.root().join("keys/known_hosts");
        files::write(&pinned, windows(&files::read(&pinned), mixed), 0o644);

        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
        assert_eq!(super::outcomes(&output), ["web1 rolled-back"], "{}", output.stdout);
        assert_eq!(site.journal(), ["restarted", "open again"]);
        assert!(site.has("closed").is_none());
        assert!(output.stdout.contains("\"perl\""), "{}", output.stdout);
        let home = site["web1"].home();
        assert_eq!(
            (files::read(&home.join("script")), files::read(&home.join("after"))),
            ("script\n".into(), "after\n".into())
        );
        assert!(!site.fleet(&["mysite", "deploy", "--dry-run", "--json"]).expect_code(0).stdout.contains("\\r"));
    }
}

/// Places are those of the file as an editor shows it.
#[test]
fn an_error_in_a_file_with_windows_line_ends_is_told_with_the_same_place() {
    let site = Site::start(
        "",
        &["web1"],
        "[[task.deploy.step]]\nname = \"x\"\nrun = \"\"\"\ntrue\n  '{{home}}'\n\"\"\"\nrum = 1\n",
    );
    let unix = site.fleet(&["check"]).expect_code(3).stderr;
    assert!(unix.contains("recipes/test.toml:7:4") && unix.contains("recipes/test.toml:9:1"), "{unix}");
    for mixed in [false, true] {
        site.write("recipes/test.toml", windows(&site.read("recipes/test.toml").replace('\r', ""), mixed));
        assert_eq!(site.fleet(&["check"]).expect_code(3).stderr, unix);
    }
    // A lone CR ends no line, and is told as before.
    site.write("recipes/test.toml", "[recipe]\rdoc = \"x\"\n");
    assert!(site.fleet(&["check"]).expect_code(3).stderr.contains("recipes/test.toml:1:10"));
}
