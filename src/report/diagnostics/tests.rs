use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::config::file_error::FileError;
use crate::model::inventory::inventory_file::{Known, read_inventory};
use crate::model::recipe::recipe_file::read_recipe;
use crate::model::text::name::RecipeName;

fn source(path: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { path: path.to_owned(), text: text.to_owned() })
}

const MYSITE: &str = r#"recipe = "eden"
stage = "prod"

[[host]]
name = "web[1-3]"
address = "192.0.2.1"
roles = ["web", 3]

[[host]]
name = "db"
adress = "192.0.2.9"

[[host]]
name = "db"
"#;

const RECIPE: &str = r#"[[task.deploy.phase]]
name = "roll"
rolling = true
tasks = ["pul"]

[task.pull]
[[task.pull.step]]
name = "pull"
run = """
cd {{home}}
git log --format='{{revision}}'
"""
retry = 3
"#;

#[test]
fn a_heap_of_broken_files_is_told_at_once() {
    let defaults = source("hosts/defaults.toml", "[ssh]\nusr = 'release'\nport = 70000\n");
    let mysite = source("hosts/mysite.toml", MYSITE);
    let broken = source("hosts/other.toml", "stage = \"test\n[[host]]\nname =\nuser = 'x'\nname 'web1'\n");
    let empty = source("hosts/empty.toml", "");
    let sites = [("mysite", mysite), ("other", broken), ("empty", empty)].map(|(stem, s)| (stem.to_owned(), s));
    let known = Known { recipes: Some(&["git-site"]), ..Known::default() };
    let mut errors = read_inventory(Some(&defaults), &sites, known).errors();
    let recipe = source("recipes/git-site.toml", RECIPE);
    let script = |_: &str| Err(FileError::Missing);
    errors.extend(read_recipe(RecipeName::parse("git-site").unwrap(), &recipe, &script).unwrap_err());
    insta::assert_snapshot!(render(&errors, false, 100), @r#"
    error: unknown key `usr`
     --> hosts/defaults.toml:2:1
      |
    2 | usr = 'release'
      | ^^^ did you mean `user`?

    error: `port` must be a port number, 1 to 65535
     --> hosts/defaults.toml:3:8
      |
    3 | port = 70000
      |        ^^^^^

    error: the site has no hosts
    --> hosts/empty.toml
     = help: add a table `[[host]]` with a `name`

    error: there is no recipe `eden`
     --> hosts/mysite.toml:1:10
      |
    1 | recipe = "eden"
      |          ^^^^^^ there are: git-site

    error: there is no stage "prod", only "test", "demo", "production"
     --> hosts/mysite.toml:2:9
      |
    2 | stage = "prod"
      |         ^^^^^^

    error: 3 hosts would share one address
     --> hosts/mysite.toml:6:11
      |
    6 | address = "192.0.2.1"
      |           ^^^^^^^^^^^ give it a range of the same length as the name's, or leave it out

    error: an element of `roles` must be a string, not an integer
     --> hosts/mysite.toml:7:17
      |
    7 | roles = ["web", 3]
      |                 ^

    error: unknown key `adress`
      --> hosts/mysite.toml:11:1
       |
    11 | adress = "192.0.2.9"
       | ^^^^^^ did you mean `address`?

    error: the site has two hosts called `db`
      --> hosts/mysite.toml:14:8
       |
    10 | name = "db"
       |        ---- first here
    ...
    14 | name = "db"
       |        ^^^^

    error: invalid basic string, expected `"`
     --> hosts/other.toml:1:14
      |
    1 | stage = "test
      |              ^

    error: string values must be quoted, expected literal string
     --> hosts/other.toml:3:7
      |
    3 | name =
      |       ^

    error: key with no value, expected `=`
     --> hosts/other.toml:5:6
      |
    5 | name 'web1'
      |      ^

    error: there is no task `pul`
     --> recipes/git-site.toml:4:10
      |
    4 | tasks = ["pul"]
      |          ^^^^^ did you mean `pull`?

    error: `{{revision}}` stands inside single quotes, where its own quotes would not hold; it is quoted by itself, so move it out
      --> recipes/git-site.toml:11:19
       |
    11 | git log --format='{{revision}}'
       |                   ^^^^^^^^^^^^

    error: `retry` is only for steps that may run twice
      --> recipes/git-site.toml:13:1
       |
    13 | retry = 3
       | ^^^^^ add `idempotent = true` if this one may

    15 errors in 5 files; nothing was contacted
    "#);
}

#[test]
fn both_places_are_shown_also_when_they_are_far_apart() {
    let text = format!("first = 1\n{}second = 2\n", "\n".repeat(100));
    let far = source("hosts/a.toml", &text);
    let second = text.find("second").unwrap();
    let error = Diagnostic::new(&far, second..second + 6, "second comes after first").also(0..5, "first here");
    insta::assert_snapshot!(render(&[error], false, 100), @"
    error: second comes after first
       --> hosts/a.toml:102:1
        |
    102 | second = 2
        | ^^^^^^
        |
       ::: hosts/a.toml:1:1
        |
      1 | first = 1
        | ----- first here

    1 error in 1 file; nothing was contacted
    ");
}

#[test]
fn long_texts_are_cut() {
    let text = format!("run = '''\n{}'''\nlong = '{}bad{}'\n", "line\n".repeat(50), "x".repeat(300), "y".repeat(300));
    let file = source("recipes/a.toml", &text);
    let bad = text.find("bad").unwrap();
    let whole = 6..text.find("\nlong").unwrap();
    let errors = [Diagnostic::new(&file, whole, "too long"), Diagnostic::new(&file, bad..bad + 3, "bad").label("here")];
    insta::assert_snapshot!(render(&errors, false, 60), @"
    error: too long
     --> recipes/a.toml:1:7
      |
    1 |   run = '''
      |  _______^
    2 | | line
    3 | | line
    4 | | line
    5 | | line
    6 | | line
      | |_____^

    error: bad
      --> recipes/a.toml:53:309
       |
    53 | ...xxxxxxxxxxxxxxxxxxxxbadyyyyyyyyyyyyyyyyyyyyyyyyyy...
       |                        ^^^ here

    2 errors in 1 file; nothing was contacted
    ");
}

#[test]
fn no_control_character_of_a_file_reaches_the_terminal() {
    let evil = "name = '\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{200b}\u{85}\u{2028}' # \r\u{8}\u{7f}\u{0}";
    let file = source("hosts/\u{1b}[2J\n.toml", evil);
    let error = Diagnostic::new(&file, 7..12, "is \u{1b}[31m\nbad").label("\u{9b}31m").also(0..4, "\u{7}");
    let shown = render(&[error], false, 100);
    let safe = |c: char| c == '\n' || !is_invisible(c);
    assert!(shown.chars().all(safe), "{shown:?}");
    assert_eq!(shown.matches("-->").count(), 1, "{shown}");
}

#[test]
fn a_file_of_nothing_but_errors_is_cut() {
    let file = source("hosts/a.toml", &"x\n".repeat(1000));
    let errors: Vec<_> = (0..1000).map(|line| Diagnostic::new(&file, line * 2..line * 2 + 1, "no")).collect();
    let shown = render(&errors, false, 80);
    assert_eq!(shown.matches("error: no").count(), MOST_SHOWN);
    assert!(
        shown.ends_with("hosts/a.toml: 900 more errors\n1000 errors in 1 file; nothing was contacted\n"),
        "{shown}"
    );
}

#[test]
fn colour_is_only_there_when_wanted() {
    let file = source("hosts/a.toml", "x = 1\n");
    let errors = [Diagnostic::new(&file, 0..1, "no")];
    assert!(render(&errors, true, 80).contains("\u{1b}["));
    assert!(!render(&errors, false, 80).contains('\u{1b}'));
}

proptest! {
    #[test]
    fn any_place_of_any_text_is_shown(text in "(.|\n){0,60}", a in 0_usize..80, b in 0_usize..80, c in 0_usize..80) {
        let file = source("hosts/a.toml", &text);
        let error = Diagnostic::new(&file, a.min(b)..b, "m").label("l").also(c..c + 2, "a");
        let shown = render(&[error], false, 40);
        prop_assert!(shown.chars().all(|c| c == '\n' || !is_invisible(c)), "{:?}", shown);
    }
}

/// A tag hid a part of an excerpt, and a zero-width space a part of a host's output: each had a list of its own.
#[test]
fn every_character_is_harmless_in_files_and_in_the_output_of_hosts() {
    for c in ('\0'..=char::MAX).filter(|c| *c != '\t') {
        let text = c.to_string();
        let printed = crate::model::text::printable::printable(text.as_bytes());
        assert_eq!(printed != text, is_invisible(c), "{c:?}");
        assert_eq!(visible(&text) != text, is_invisible(c), "{c:?}");
        let shown = same_length(&text);
        assert_eq!(shown.len(), text.len(), "{c:?}");
        for harmless in [printed, visible(&text), shown] {
            // What is left of one byte, the renderer shows by pictures of its own.
            assert!(harmless.chars().all(|c| c.is_ascii() || !is_invisible(c)), "{c:?}: {harmless:?}");
        }
    }
}
