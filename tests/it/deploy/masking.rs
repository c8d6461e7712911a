//! Secret values in what a step prints, where output is cut into pieces.

use super::Site;

/// The secret stands where a line of 64 KiB is cut: two pieces of it were shown and recorded. `@AT@` are the bytes before it.
const RECIPE: &str = r#"
[[task.deploy.step]]
name = "token"
run = "echo hunter2-hunter3-hunter4"
register = "token"
secret-output = true
[[task.deploy.step]]
name = "print"
run = '''
for at in 65508 65518 65530 65535 98298 131061; do
  for stream in 1 2; do
    { head -c $at /dev/zero | tr '\\0' x; printf %s {{token}}; head -c 70000 /dev/zero | tr '\\0' y; echo; } >&$stream
  done
done
'''
"#;

#[test]
fn a_secret_at_the_cut_of_a_long_line_is_neither_shown_nor_recorded() {
    let site = Site::start("", &["web1"], &RECIPE.replace("\\\\", "\\"));
    let shown = site.fleet(&["mysite", "deploy"]).expect_code(0).all();
    let logged = site.fleet(&["logs", "last", "web1", "--step", "print"]).expect_code(0).stdout;
    for text in [&shown, &logged] {
        assert!(text.contains("***"));
        for piece in ["hunter", "unter2", "nter3-", "-hunt"] {
            assert!(!text.contains(piece), "{piece}");
        }
    }
    // Nothing else is lost.
    let printed = |letter: char| {
        logged
            .lines()
            .filter_map(|line| line.split_once("| "))
            .map(|(_, text)| text.matches(letter).count())
            .sum::<usize>()
    };
    assert_eq!(printed('x'), 2 * (65508 + 65518 + 65530 + 65535 + 98298 + 131_061));
    assert_eq!(printed('y'), 12 * 70_000);
}
