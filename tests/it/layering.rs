//! The layers of `src/lib.rs` hold: reads the sources as text and fails with file and line on what a layer may not name.
//!
//! Unit tests in the sources are exempt: they may build what they like.

mod circles;
mod paths;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use circles::{circles, uses};
use paths::{NamedPath, named_paths};

/// Each top module, and the ones that it may use. A module may use only those above it, hence there is no circle.
const LAYERS: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("files", &["model"]),
    ("trace", &["model", "files"]),
    ("ssh", &["model", "files"]),
    ("remote", &["model", "ssh"]),
    ("engine", &["model", "files", "ssh", "remote", "trace"]),
    ("record", &["model", "files"]),
    ("report", &["model", "files", "record"]),
    ("keys", &["model", "files", "ssh", "remote"]),
    ("demo", &["model", "files", "ssh", "keys"]),
    ("app", &["model", "files", "ssh", "remote", "engine", "record", "report", "keys"]),
    ("cli", &["model", "files", "ssh", "remote", "engine", "record", "report", "keys", "demo", "app", "trace"]),
];

/// What only these modules may name, and why.
const ONLY_IN: [(&str, &[&str], &str); 8] = [
    ("russh", &["ssh", "demo"], "only ssh/ and demo/ speak SSH"),
    ("tracing_subscriber", &["trace"], "the log is kept in trace/; the others only name tracing"),
    ("tracing_log", &["trace"], "the log is kept in trace/; the others only name tracing"),
    ("clap", &["cli"], "the command line is read in cli/"),
    ("rpassword", &["cli"], "questions are asked in cli/"),
    ("indicatif", &["report", "cli"], "screens are painted in report/"),
    ("console", &["report", "cli", "demo"], "screens are painted in report/"),
    ("fleet", &[""], "inside the library it is `crate`"),
];

/// What model/ may not name: it decides, and knows nothing of the world.
const IMPURE: [&str; 19] = [
    "tokio",
    "tokio_util",
    "tracing",
    "log",
    "futures",
    "rand",
    "tempfile",
    "socket2",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
    "Zoned::now",
];
/// The file system by the back door of `std::path::Path`, and the clock by another name.
const IMPURE_TAILS: [&str; 3] = ["Instant::now", "SystemTime::now", "Timestamp::now"];

/// More lines than this are two concepts. Aim at 400.
const MAX_LINES: usize = 500;

/// What is wrong with a source file. `file` is its path below `src`.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(format!("src/{file}:{lines}: {lines} lines; split it by concept, at most {MAX_LINES}, better 400"));
    }
    if is_test_file(file) {
        return found;
    }
    let module = module_of(file);
    let top = module.first().map_or("", String::as_str);
    if !top.is_empty() && !LAYERS.iter().any(|(name, _)| *name == top) {
        found.push(format!("src/{file}:1: `{top}` has no layer; give it one in tests/it/layering.rs"));
    }
    for path in named_paths(text, &module) {
        if let Some(why) = forbidden(top, &path) {
            found.push(format!("src/{file}:{}: {top}/ may not name `{}`: {why}", path.line, path.segments.join("::")));
        }
    }
    found
}

fn forbidden(top: &str, path: &NamedPath) -> Option<String> {
    let whole = path.segments.join("::");
    let starts = |name: &str| whole == name || whole.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
    if let [root, used, rest @ ..] = &path.segments[..]
        && root == "crate"
        && used != top
        && let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == top)
    {
        if LAYERS.iter().any(|(name, _)| name == used) && !allowed.contains(&used.as_str()) {
            return Some(format!(
                "it may use {}",
                if allowed.is_empty() { "no other layer".to_owned() } else { allowed.join(", ") }
            ));
        }
        if top == "engine"
            && matches!(used.as_str(), "ssh" | "remote")
            && rest.first().is_some_and(|name| name.starts_with(char::is_lowercase))
        {
            return Some("it knows the traits and types at the top of ssh/ and remote/, not their parts".to_owned());
        }
    }
    if let Some((_, _, why)) = ONLY_IN.iter().find(|(name, tops, _)| starts(name) && !tops.contains(&top)) {
        return Some((*why).to_owned());
    }
    let impure = IMPURE.iter().any(|name| starts(name)) || IMPURE_TAILS.iter().any(|tail| whole.ends_with(tail));
    (top == "model" && impure).then(|| "it is pure".to_owned())
}

fn is_test_file(file: &str) -> bool {
    let path = Path::new(file);
    path.components().any(|part| part.as_os_str() == "tests") || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// `ssh/auth.rs` is `["ssh", "auth"]`, `ssh/mod.rs` is `["ssh"]`, `lib.rs` is `[]`.
fn module_of(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || matches!(file, "lib.rs" | "main.rs") {
        module.pop();
    }
    module
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// All of `src`: the path below it, and the text.
fn all_sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let files = sources(&root).into_iter().map(|path| (name(&path), std::fs::read_to_string(path).unwrap()));
    files.collect()
}

#[test]
fn the_sources_keep_to_their_layers() {
    let files = all_sources();
    assert!(files.len() > 10, "found only {:?}", files.keys());
    let found: Vec<String> = files.iter().flat_map(|(file, text)| violations(file, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_two_files_name_each_other() {
    let files = all_sources();
    let uses = uses(&files);
    let found = circles(&uses);
    assert!(found.is_empty(), "files in a circle, below src: {found:#?}");
}

#[test]
fn a_circle_is_found_however_the_files_name_each_other() {
    let found = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        circles(&uses(&files)).into_iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(found(&[("a/b.rs", "use super::c::C;"), ("a/c.rs", "fn f() { crate::a::b::g() }")]), ["a/b.rs a/c.rs"]);
    let three =
        [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::{d, c::C};"), ("c.rs", "use crate::a;"), ("d.rs", "")];
    assert_eq!(found(&three), ["a.rs b.rs c.rs"]);
    assert_eq!(found(&[("a/mod.rs", "mod b; use self::b::B;"), ("a/b.rs", "use super::A;")]), none);
    assert_eq!(
        found(&[("a/mod.rs", ""), ("a/b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::b::B;")]),
        ["a/b.rs c.rs"]
    );
    assert_eq!(found(&[("a.rs", "#[cfg(test)] mod tests { use crate::b::B; }"), ("b.rs", "use crate::a::A;")]), none);
    assert_eq!(found(&[("a/tests.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]), none);
}

#[test]
fn a_layer_is_made_only_of_the_ones_above_it() {
    for (at, (name, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            assert!(LAYERS[..at].iter().any(|(above, _)| above == used), "{name} uses {used}");
        }
    }
}

#[test]
fn each_forbidden_name_is_found_where_it_stands() {
    let cases = [
        ("model/a.rs", "use tokio::sync::mpsc;", 1, "tokio::sync::mpsc"),
        ("model/a.rs", "\nuse std::{\n  path::Path,\n  fs,\n};", 4, "std::fs"),
        ("model/a.rs", "fn f() { let t = jiff::Timestamp::now(); }", 1, "jiff::Timestamp::now"),
        ("model/a.rs", "fn f() { Instant::now() }", 1, "Instant::now"),
        ("model/a.rs", "use tracing::debug;", 1, "tracing::debug"),
        ("engine/a.rs", "use tracing_subscriber::EnvFilter;", 1, "tracing_subscriber::EnvFilter"),
        ("model/a/b.rs", "use super::super::super::ssh::Connect;", 1, "crate::ssh::Connect"),
        ("report/mod.rs", "use russh::client;", 1, "russh::client"),
        ("report/mod.rs", "use crate::{model::run::event::Event, engine::Run};", 1, "crate::engine::Run"),
        ("engine/a.rs", "fn f(r: &dyn crate::report::Reporter) {}", 1, "crate::report::Reporter"),
        ("engine/a.rs", "use crate::ssh::connect::Live;", 1, "crate::ssh::connect::Live"),
        ("engine/a.rs", "use crate::remote::command::Wire;", 1, "crate::remote::command::Wire"),
        ("ssh/a.rs", "use crate::remote::Question;", 1, "crate::remote::Question"),
        ("remote/a.rs", "use russh::client;", 1, "russh::client"),
        ("engine/a.rs", "use indicatif::ProgressBar;", 1, "indicatif::ProgressBar"),
        ("keys/a.rs", "use crate::cli;", 1, "crate::cli"),
        ("ssh/a.rs", "use crate::keys::Pair as P;", 1, "crate::keys::Pair"),
        ("files/mod.rs", "use super::ssh;", 1, "crate::ssh"),
        ("lib.rs", "use russh;", 1, "russh"),
    ];
    for (file, text, line, name) in cases {
        let found = violations(file, text);
        assert_eq!(found.len(), 1, "{file} {text:?}: {found:?}");
        assert!(
            found[0].starts_with(&format!("src/{file}:{line}: ")) && found[0].contains(&format!("`{name}`")),
            "{found:?}"
        );
    }
}

#[test]
fn what_only_looks_forbidden_is_let_be() {
    let fine = r##"
        //! See [`crate::ssh`] and russh::client. It's "fine".
        /* use tokio::spawn; /* nested */ crate::cli */
        use crate::model::run::event::Event;
        use serde::{Deserialize, Serialize};
        const A: &str = "use tokio::fs; \" crate::cli::x";
        const B: &str = r#"std::fs::write " "#;
        fn f<'a>(c: char) -> bool { c == '"' || c == '\'' }
        struct S { russh: u8 }
        #[cfg(test)]
        mod tests { use std::fs; fn f() { crate::ssh::x() } }
    "##;
    assert_eq!(violations("model/a.rs", fine), Vec::<String>::new());
    assert_eq!(violations("ssh/tests.rs", "use crate::cli;"), Vec::<String>::new());
}

#[test]
fn a_new_folder_needs_a_layer_and_a_long_file_is_told() {
    assert!(violations("helpers/mod.rs", "")[0].contains("has no layer"));
    let mut long = String::new();
    for line in 0..=MAX_LINES {
        writeln!(long, "// {line}").unwrap();
    }
    assert!(violations("model/a.rs", &long)[0].contains("501 lines"));
}
