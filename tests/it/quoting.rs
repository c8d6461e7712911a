//! Values in commands, through real shells: each arrives byte for byte, and none ever runs.

use std::path::Path;
use std::process::{Command, Stdio};

use fleet::model::recipe::shell::{Context, Scanner, quote};
use fleet::model::recipe::template::{Language, Template};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult};

use crate::support::tools::{PATH, tool};

/// What may be a host's `/bin/sh`.
const SHELLS: [&str; 4] = ["dash", "bash", "busybox", "ksh"];
/// Without ksh, whose parser loops for ever on some of what makes no sense.
const PATIENT_SHELLS: [&str; 3] = ["dash", "bash", "busybox"];
/// Where a person may paste what `--dry-run` shows.
const PASTED_INTO: [&str; 6] = ["sh", "dash", "bash", "busybox", "ksh", "zsh"];

fn shell(name: &str, text: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool(name));
    if name == "busybox" {
        command.arg("sh");
    }
    command.arg("-c").arg(text).current_dir(folder).env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
    command.env("ROOT", "/srv").stdin(Stdio::null());
    command
}

fn config() -> Config {
    Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() }
}

/// Any text that a shell can hold, and more often than not one that would like to run.
fn value() -> impl Strategy<Value = String> {
    let any = any::<String>().prop_map(|text| text.replace('\0', ""));
    prop_oneof![1 => any, 3 => hostile()]
}

/// Pieces that leave one context or another and create the file `MARK`.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$(>MARK)",
        "`>MARK`",
        "';>MARK;'",
        "\";>MARK;\"",
        "\n>MARK\n",
        "\nEOF\n>MARK\n",
        "\nE\n>MARK\n",
        "a[$(>MARK)]",
        ")\n>MARK\n",
        "}\n>MARK\n",
        "\\",
        "'",
        "\"",
        "\\';>MARK;'",
        "#",
        "case",
        "$",
        "`",
        "(",
        "<<EOF",
        "~",
        "*",
        "2",
        "x=",
        " ",
        "\n",
        "{a,b}",
        "\u{e9}\u{ffff}",
        "]",
    ]);
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_quoted_value_is_one_word_in_every_shell(value in value(), wild in "[ -~]{0,12}") {
        let folder = tempfile::tempdir().unwrap();
        for text in [&value, &wild] {
            for name in PASTED_INTO {
                let output = shell(name, &format!("printf %s {}", quote(text)), folder.path()).output().unwrap();
                prop_assert_eq!(output.stdout, text.as_bytes(), "{} {:?}", name, text);
                prop_assert!(!folder.path().join("MARK").exists(), "{} ran {:?}", name, text);
            }
        }
    }

    #[test]
    fn a_value_arrives_in_any_recipe_that_is_accepted(
        value in value(),
        earlier in prop::collection::vec(prop::sample::select(EARLIER.to_vec()), 0..4),
        (open, close) in prop::sample::select(AROUND.to_vec()),
        (core, before, after) in prop::sample::select(CORE.to_vec()),
    ) {
        let text = format!("{}{open}{core}{close}\n", earlier.concat());
        let template = Template::parse(&text, Language::Shell);
        prop_assert!(template.is_ok(), "{text:?}: {}", template.unwrap_err());
        arrives(&bind(&template.unwrap(), &value), format!("{before}{value}{after}").as_bytes())?;
    }

    /// The pieces make no sense together; but what the scanner takes for a plain place must be one in every shell.
    #[test]
    fn a_value_never_runs_whatever_stands_around_it(
        value in hostile(),
        soup in prop::collection::vec(prop::sample::select(SOUP.to_vec()), 1..14),
        place in any::<prop::sample::Index>(),
    ) {
        let places: Vec<usize> = (0..=soup.len()).filter(|&at| is_plain(&soup[..at].concat())).collect();
        let at = *place.get(&places);
        let text = format!("{}{{{{v}}}}{}", soup[..at].concat(), soup[at..].concat());
        // A function that calls itself would never end.
        prop_assume!(!text.replace([' ', '\n', '\t'], "").contains("()"));
        if let Ok(template) = Template::parse(&text, Language::Shell) {
            never_runs(&bind(&template, &value))?;
        }
    }
}

fn is_plain(text: &str) -> bool {
    let mut scanner = Scanner::default();
    scanner.read(text);
    scanner.context() == Context::Plain
}

fn bind(template: &Template, value: &str) -> String {
    template.bind(|_| Some(value.to_owned())).finish().unwrap()
}

fn arrives(command: &str, expected: &[u8]) -> TestCaseResult {
    for name in SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let output = shell(name, command, folder.path()).output().unwrap();
        let arrived = std::fs::read(folder.path().join("out")).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        prop_assert_eq!(
            String::from_utf8_lossy(&arrived),
            String::from_utf8_lossy(expected),
            "{} {:?}\n{}",
            name,
            command,
            stderr
        );
        prop_assert!(!folder.path().join("MARK").exists(), "{} ran the value in {:?}", name, command);
    }
    Ok(())
}

fn never_runs(command: &str) -> TestCaseResult {
    for name in PATIENT_SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let mut run = shell(name, command, folder.path());
        run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        prop_assert!(!folder.path().join("MARK").exists(), "{} ran the value in {:?}", name, command);
    }
    Ok(())
}

/// Lines that may stand before; each is complete, and full of what could put the scanner off.
const EARLIER: [&str; 18] = [
    "# it's \"a `comment $(\n",
    "cat <<EOF >/dev/null\nit's \"$(echo \")\") and `echo x` \\$( \\` ${ROOT}\nEOF\n",
    "cat <<'EOF' >/dev/null\nit's $( \" ` \\\nEOF\n",
    "\tcat <<-E1 >/dev/null; cat <<\\E2 >/dev/null\n\ta\n\tE1\n'\nE2\n",
    ": 'it'\\''s' \"it's \\\" \\$( \\` \" it\\'s \\# \\$\n",
    ": \"$(echo \"a 'b\" 'c \"d')\" \"${ROOT:-x}\" ${ROOT:-'}'} ${#ROOT} $# $$ \"$$(\"\n",
    "x=$((1 << 2)); : $(( (x + 1) * 2 )) \"$((x))\"\n",
    "case a in b) : \"'\";; (a|c) : '\"' ;; esac\n",
    ": `echo \"it's\"`\n",
    "(:; (:) ) && { :; } || :\n",
    "f() { : \"$1\"; }; f a#b\\\n#c 'd'\n",
    "if [ a = b ]; then :; else : # fi'\nfi\n",
    "for i in a 'b c'; do : \"$i\"; done\n",
    ": \"a\nb'\" 'c\nd\"'\n",
    ": a\\ #'b'\n",
    ": \"${ROOT#/}\" ${ROOT##*/} ${ROOT%\"}\"}\n",
    ": $(echo a # it's)\n)\n",
    ": ${ROOT:+a #'b'} \"${ROOT:-$(echo \"}\" '\"')}\"\n",
];

/// What may stand around the command.
const AROUND: [(&str, &str); 9] = [
    ("", ""),
    ("(", ")"),
    ("{ ", "; }"),
    ("x=\"$(", ")\""),
    ("if :; then ", "; fi"),
    ("case a in a) ", ";; esac"),
    ("cat <<EOF >/dev/null; ", "\nit's\nEOF"),
    ("cat <<EOF | cat >/dev/null & ", " # don't\n$(echo \"'\")\nEOF\nwait"),
    (": \"$(: \"$(", ")\")\""),
];

/// How the value is used, and what then arrives around it.
const CORE: [(&str, &str, &str); 12] = [
    ("printf %s {{v}} >out", "", ""),
    ("printf %s {{v}}>out", "", ""),
    (">out printf %s {{ v }}", "", ""),
    ("printf %s a{{v}}b >out", "a", "b"),
    ("printf %s $ROOT{{v}}x >out", "/srv", "x"),
    ("printf %s \"a $ROOT/\"{{v}}' b' >out", "a /srv/", " b"),
    ("x={{v}}; printf %s \"$x\" >out", "", ""),
    ("printf %s $$#{{v}} | sed '1s/^[0-9]*#//' >out", "", ""),
    ("printf %s --option={{v}} >out", "--option=", ""),
    ("set -- {{v}}; printf %s \"$1\" >out", "", ""),
    ("for i in {{v}}; do printf %s \"$i\" >out; done", "", ""),
    ("printf %s \\${{v}} >out", "$", ""),
];

const SOUP: [&str; 64] = [
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "`",
    "$(",
    "$(",
    ")",
    ")",
    "(",
    "${ROOT:-",
    "${ROOT#",
    "${",
    "}",
    "#",
    " #",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\n",
    "\\",
    "\\\n",
    "<<EOF",
    "<<EOF\n",
    "\nEOF\n",
    "EOF\n",
    "\nEOF)",
    "<<-'E'\n",
    "\n\tE\n",
    "<<\"E F\"",
    "<<\\E",
    "case a in a) ",
    ";; esac",
    "echo ",
    "echo ",
    "echo ",
    "a",
    "$",
    "$$",
    "$((",
    "((",
    "))",
    "\t",
    "\r",
    "[",
    "]",
    "a[",
    "]=",
    ";",
    "; ",
    "|",
    "& ",
    "<<<",
    ">",
    "<",
    "$[",
    "\"$(",
    ")\"",
    "$'",
    "$\"",
    "x=",
];
