//! Files that look right in an editor and are not: other encodings, and characters that look like blanks.

use crate::support::hosts::ReadyProject;
use crate::support::project::Project;

/// A text as an editor or a shell on Windows may save it: what it is called, and its bytes.
fn wide(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let marked = format!("\u{feff}{text}");
    let mut files = Vec::new();
    for text in [text, &marked] {
        files.push(("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        files.push(("UTF-16", text.encode_utf16().flat_map(u16::to_be_bytes).collect()));
        files.push(("UTF-32", text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()));
        files.push(("UTF-32", text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()));
    }
    files
}

/// The parser told of NUL characters, or of a byte 0xff.
#[test]
fn a_file_in_utf16_is_called_that() {
    let project = Project::new();
    let site = "recipe = \"own\"\r\n[[host]]\r\nname = \"web1\"\r\n";
    let recipe = "[[task.go.step]]\r\nname = \"go\"\r\nscript = \"go.sh\"\r\n";
    let told = |path: &str, bytes: &[u8], expected: &str| {
        project.write("hosts/defaults.toml", "");
        project.write("hosts/shop.toml", site);
        project.write("recipes/own.toml", recipe);
        project.write("recipes/go.sh", "#!/bin/sh\n");
        project.fleet(&["check"]).expect_code(0);
        project.write(path, bytes);
        let told = project.fleet(&["check"]).expect_code(3).stderr;
        assert!(told.starts_with(&format!("error: {expected}\n")), "{told}");
        assert!(told.ends_with("1 error in 1 file; nothing was contacted\n"), "{told}");
    };
    for (path, text) in
        [("hosts/shop.toml", site), ("hosts/defaults.toml", "[ssh]\r\nport = 22\r\n"), ("recipes/own.toml", recipe)]
    {
        for (name, bytes) in wide(text) {
            told(path, &bytes, &format!("cannot read {path}: the file is {name}; save it as UTF-8"));
        }
    }
    for (name, bytes) in wide("#!/bin/sh\r\ntrue\r\n") {
        told("recipes/go.sh", &bytes, &format!("script `go.sh`: the file is {name}; save it as UTF-8"));
    }
}

/// `ssh-keyscan HOST > keys/known_hosts` in PowerShell: every line was skipped, and the host called unknown.
#[test]
fn keys_and_fingerprints_in_utf16_are_called_that() {
    let ready = ReadyProject::start("", &["web1"]);
    for (name, bytes) in wide(&ready["web1"].known_hosts()) {
        let expected = format!("the file is {name}; save it as UTF-8");
        ready.write("keys/known_hosts", &bytes);
        for args in [&["mysite", "trust", "--yes"][..], &["mysite", "run", "--", "true"], &["check"]] {
            let told = ready.fleet(args).expect_code(5).stderr;
            assert!(told.contains("cannot read the pinned host keys in ") && told.contains(&expected), "{told}");
        }
        std::fs::remove_file(ready.root().join("keys/known_hosts")).unwrap();
        ready.write("list", &bytes);
        let told = ready.fleet(&["mysite", "trust", "--fingerprints", "list"]).expect_code(3).stderr;
        assert_eq!(told, format!("error: list: line 1: {expected}\n"));
    }
}

/// The parser spoke of what it expected there, and the blank cannot be told from a plain one.
#[test]
fn a_blank_that_is_none_is_called_that_at_its_place() {
    let project = Project::new();
    let site =
        |lines: &str| format!("# a\u{a0}b\n[vars]\nx = \"a\u{a0}b\" # \u{3000}\n{lines}[[host]]\nname = \"web1\"\n");
    for (blank, name, advice) in [
        ('\u{a0}', "a non-breaking space (U+00A0)", "type a plain space here"),
        ('\u{202f}', "a narrow non-breaking space (U+202F)", "type a plain space here"),
        ('\u{3000}', "an ideographic space (U+3000)", "type a plain space here"),
        ('\u{2003}', "a blank that is no plain space (U+2003)", "type a plain space here"),
        ('\u{200b}', "a zero-width space (U+200B)", "delete it"),
        ('\u{feff}', "a byte order mark (U+FEFF)", "delete it"),
        ('\u{2060}', "an invisible character (U+2060)", "delete it"),
    ] {
        for (line, column) in [
            (format!("{blank}y = 1\n"), 1),
            (format!("y{blank}=\u{a0}1\n"), 2),
            (format!("y ={blank}\"\\\"\u{a0}\"\n"), 4),
            (format!("y = '\\'{blank}# x\n"), 8),
            (format!("y = 1{blank}\n"), 6),
            (format!("y{blank}z = 1\n"), 2),
        ] {
            project.write("hosts/shop.toml", site(&line));
            let told = project.fleet(&["check"]).expect_code(3).stderr;
            let expected = format!("error: {name} outside a string\n --> hosts/shop.toml:4:{column}\n");
            assert!(told.starts_with(&expected) && told.contains(&format!("^ {advice}\n")), "{line:?} {told}");
            assert!(told.ends_with("\n\n1 error in 1 file; nothing was contacted\n"), "{line:?} {told}");
        }
        // Within strings it is the author's, whatever the string.
        let text = r#"y = """
"@"" \"""@""""
z = '''@'@''@'''''
q = '@"@'
"#;
        project.write("hosts/shop.toml", site(&text.replace('@', &blank.to_string())));
        project.fleet(&["check"]).expect_code(0);
    }
    // What else is wrong is told as well, on other lines; of a line the first one.
    project.write(
        "hosts/shop.toml",
        "[[host]]\nname\u{a0}=\u{a0}\"web1\"\nrols\u{200b}= 1\n[shh]\nx = \"\n[[host]]\nname = \"web2\"\u{a0}\n",
    );
    let told = project.fleet(&["check"]).expect_code(3).stderr;
    let places: Vec<_> = told.lines().filter_map(|line| line.trim().strip_prefix("--> hosts/shop.toml:")).collect();
    assert_eq!(places, ["2:5", "3:5", "4:2", "5:6", "7:14"], "{told}");
}

/// A kernel that finds a byte order mark before `#!` looks for no interpreter.
#[test]
fn a_script_with_a_byte_order_mark_runs_by_its_interpreter() {
    let ready = ReadyProject::start("recipe = \"own\"", &["web1"]);
    ready.write("recipes/own.toml", "\u{feff}[[task.go.step]]\nname = \"go\"\nscript = \"x.sh\"\nundo = \"true\"\n");
    for marks in ["\u{feff}", "\u{feff}\u{feff}"] {
        ready.write("recipes/x.sh", format!("{marks}#!/usr/bin/perl\r\nprint \"perl $0\\n\";\r\n"));
        let output = ready.fleet(&["mysite", "go"]).expect_code(0);
        assert!(output.stderr.contains("go | perl "), "{}", output.stderr);
        let output = ready.fleet(&["mysite", "go", "-n", "--json"]).expect_code(0);
        assert!(!output.stdout.contains('\u{feff}'), "{}", output.stdout);
    }
}

/// The line was said to name another type than its key's.
#[test]
fn a_public_key_with_a_byte_order_mark_is_distributed() {
    let ready = ReadyProject::start("", &["web1"]);
    let key = ready.read("keys/fleet.pub");
    ready.write("keys/fleet.pub", format!("\u{feff}{}\r\n", key.trim()));
    ready.fleet(&["mysite", "distribute-keys"]).expect_code(0);
    assert_eq!(crate::support::files::read(&ready["web1"].authorized_keys()), key);
}
