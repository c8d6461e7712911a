mod about;
mod effects;
mod only_undo;
mod optional;
mod proves;
mod watch;

use proptest::prelude::*;

use super::*;
use crate::model::config::file_error::FileError;
use crate::model::plan::plan::Retry;
use crate::model::recipe::recipe::{Action, Rolling, StepGuard};
use crate::model::text::name::RoleName;

fn read(text: &str) -> Result<Recipe, Vec<Diagnostic>> {
    let source = Arc::new(Source { path: "recipes/r.toml".to_owned(), text: text.to_owned() });
    let script = |path: &str| match path {
        "tools/tool.py" => Ok("#!/usr/bin/python3\n".to_owned()),
        "nul" => Ok("\0".to_owned()),
        _ => Err(FileError::Missing),
    };
    read_recipe(RecipeName::parse("r").unwrap(), &source, &script)
}

/// One line an error: place, what is underlined, message, label, other place.
fn told(text: &str) -> String {
    let line = |diagnostic: &Diagnostic| {
        let (line, column) = diagnostic.line_and_column();
        let marked = diagnostic.source.text[diagnostic.span.clone()].lines().next().unwrap_or_default();
        let label = diagnostic.label.as_ref().map(|label| format!(" [{label}]")).unwrap_or_default();
        let also = diagnostic.also.as_ref().map(|(span, label)| {
            let (line, column) = Diagnostic::new(&diagnostic.source, span.clone(), "").line_and_column();
            format!(" ({line}:{column} {label})")
        });
        format!("{line}:{column} {marked} ~ {}{label}{}", diagnostic.message, also.unwrap_or_default())
    };
    match read(text) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

const FULL: &str = r#"
[recipe]
doc = "Upgrade a site that lives in a git checkout"
[vars.home]
doc = "where the checkout is"
required = true
[vars.backup.dir]
default = "{{home}}/backup"
[vars.tries]
default = 3

[task.deploy]
doc = "Upgrade, migrate, reopen"
on-failure = "hold"
proves = "revision"
[[task.deploy.phase]]
name = "close"
tasks = ["maintenance-on"]
[[task.deploy.phase]]
name = "migrate"
on = "db"
once = true
[[task.deploy.phase.step]]
name = "migrate"
run = "cd {{home}} && ./migrate --to {{revision}}"
undo = "./restore {{backup.id}}"
unless = "test -e done"
on = "primary"
as = "postgres"
cwd = "{{home}}/db dir"
env = { LC_ALL = "C", TRIES = "{{tries}}", N = 3 }
timeout = "1h"
idle-timeout = 90
idempotent = true
retry = { times = 2, delay = "5s" }
register = "revision"
secret-output = true
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "tool"
script = "tools/tool.py"
only-if = "true"
ends = ["on"]

[task.maintenance-on]
[[task.maintenance-on.step]]
name = "on"
run = "touch maintenance"

[task.all-of-it]
tasks = ["maintenance-on", "deploy"]

[task.again]
[[task.again.step]]
name = "again"
run = "true"
idempotent = true
retry = 3
"#;

#[test]
fn a_recipe_is_read_as_it_is_written() {
    let recipe = read(FULL).unwrap();
    let names: Vec<_> = recipe.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["deploy", "maintenance-on", "all-of-it", "again"], "the file's order");
    let vars: Vec<_> = recipe.vars.keys().map(VarName::as_str).collect();
    assert_eq!(vars, ["backup.dir", "home", "tries"]);
    let var = |name: &str| recipe.vars.get(name).unwrap();
    assert!(var("home").required && var("home").default.is_none());
    assert_eq!(var("backup.dir").default.as_ref().unwrap().to_string(), "{{home|raw}}/backup");
    assert_eq!(var("tries").default, Some(Template::literal("3")));

    let deploy = recipe.task("deploy").unwrap();
    assert_eq!(
        (deploy.on_failure, deploy.proves.iter().map(|proves| proves.value.as_str()).collect::<Vec<_>>()),
        (Some(OnFailure::Hold), vec!["revision"])
    );
    assert_eq!(deploy.uses().map(|used| used.value.to_string()).collect::<Vec<_>>(), ["maintenance-on"]);
    let TaskBody::Phases(phases) = &deploy.body else { panic!("{deploy:?}") };
    let shape: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), phase.once, &phase.rolling)).collect();
    assert_eq!(
        shape,
        [("close", false, &Rolling::No), ("migrate", true, &Rolling::No), ("roll", false, &Rolling::AsSite)]
    );
    assert_eq!(phases[1].on, Some(RoleName::parse("db").unwrap()));

    let steps: Vec<_> = deploy.steps().collect();
    let migrate = steps[0];
    let Some(Action::Run(run)) = &migrate.action else { panic!("{migrate:?}") };
    assert_eq!(run.value.to_string(), "cd {{home}} && ./migrate --to {{revision}}");
    assert_eq!(&FULL[run.place.span.clone()], "\"cd {{home}} && ./migrate --to {{revision}}\"");
    assert_eq!(migrate.undo.as_ref().unwrap().value.to_string(), "./restore {{backup.id}}");
    assert!(matches!(&migrate.guard, Some(StepGuard::Unless(text)) if text.value.to_string() == "test -e done"));
    assert_eq!(migrate.on, RoleName::parse("primary").ok());
    let Surroundings { as_user, cwd, env } = &migrate.surroundings;
    assert_eq!(as_user.as_ref().unwrap().value.to_string(), "postgres");
    assert_eq!(cwd.as_ref().unwrap().value.to_string(), "{{home|raw}}/db dir");
    let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={}", value.value)).collect();
    assert_eq!(env, ["LC_ALL=C", "N=3", "TRIES={{tries|raw}}"]);
    assert_eq!(migrate.timeout.map(|t| t.as_secs()), Some(3600));
    assert_eq!(migrate.idle_timeout.map(|t| t.as_secs()), Some(90));
    assert_eq!(migrate.retry, Some(Retry { times: 2, delay: std::time::Duration::from_secs(5) }));
    assert_eq!(migrate.register.as_ref().map(VarName::as_str), Some("revision"));
    assert!(migrate.idempotent && migrate.secret_output);

    let tool = steps[1];
    assert!(matches!(&tool.action, Some(Action::Script { path, content, .. })
        if path == "tools/tool.py" && content == "#!/usr/bin/python3\n"));
    assert!(matches!(&tool.guard, Some(StepGuard::OnlyIf(_))));
    assert_eq!(tool.ends.iter().map(|end| end.value.as_str()).collect::<Vec<_>>(), ["on"]);
    let again = recipe.steps().find(|step| step.name.as_str() == "again").unwrap();
    assert_eq!(again.retry, Some(Retry { times: 3, delay: std::time::Duration::from_secs(1) }));
}

#[test]
fn variables_are_declared_in_tables() {
    let text = r#"
[vars]
c = 1
"a.b" = { doc = "x" }
[vars.a.b]
default = "y"
[vars.home]
required = true
default = "x"
[vars.x]
dok = "x"
default = [1]
[vars.y]
doc = "two\nlines"
default = "{{a|upper}}"
[vars.fleet.run]
doc = ""
[vars.one]
default = "{{two}} {{one.more}}"
[vars.two]
default = "{{ one }}"
[vars.one-more]
default = "{{one-more}}"
[task.t]
[[task.t.step]]
name = "s"
run = "true"
"#;
    insta::assert_snapshot!(told(text), @r#"
    3:5 1 ~ variable `c` must be a table, not an integer [write it as `[vars.c]` with `doc`, and `default` or `required`]
    5:9 b ~ variable `a.b` is declared twice (4:1 first here)
    9:11 "x" ~ a required variable has no default
    11:1 dok ~ unknown key `dok` [did you mean `doc`?]
    12:11 [1] ~ `default` must be a string, a number or a boolean, not an array
    14:7 "two\nlines" ~ `doc` is one line of text, without '\n'
    15:12 {{a|upper}} ~ unknown filter `upper`; the only one is `raw`
    16:13 run ~ `fleet.run`: variables that begin with `fleet.` are set by fleet itself
    18:7 one ~ defaults in a circle: `one` -> `two` -> `one`
    22:7 one-more ~ defaults in a circle: `one-more` -> `one-more`
    "#);
}

#[test]
fn tasks_have_one_kind_of_body_and_names_of_their_own() {
    let text = r#"
[task.trust]
tasks = ["a"]
[task.rotate_keys]
tasks = ["a"]
[task.empty]
doc = "x"
[task."a b"]
[task.a]
on-failure = "stop"
proves = "revison"
tasks = []
[[task.a.step]]
name = "x"
run = "true"
[task.b]
[task.b.step]
name = "x"
[task.c_d]
phase = []
[task.c-d]
[[task.c-d.phase]]
name = "p"
[[task.c-d.phase]]
name = "p"
tasks = ["b"]
[[task.c-d.phase.step]]
name = "x"
run = "true"
[[task.c-d.phase]]
name = "q"
once = true
rolling = true
onn = "db"
tasks = ["b", "b"]
[vars.revision]
"#;
    insta::assert_snapshot!(told(text), @r#"
    2:7 trust ~ a task cannot be called `trust`: that is a word of the command line
    4:7 rotate_keys ~ a task cannot be called `rotate_keys`: that is a word of the command line
    6:7 empty ~ nothing to do here [it needs `phase` or `step` or `tasks`]
    8:7 "a b" ~ task name `a b` holds ' '; allowed are letters, digits and _-
    10:14 "stop" ~ `on-failure` is "undo" or "hold", not "stop"
    11:10 "revison" ~ no step registers the variable `revison`, so no run can prove its value
    12:1 tasks ~ `step` and `tasks` exclude each other (13:10 first here)
    12:9 [] ~ `tasks` is empty
    17:1 [task.b.step] ~ `step` must be an array of tables, `[[step]]`, not a table
    20:9 [] ~ `phase` is empty
    21:7 c-d ~ tasks `c_d` and `c-d` are the same on the command line (19:7 first here)
    22:1 [[task.c-d.phase]] ~ nothing to do here [it needs `step` or `tasks`]
    25:8 "p" ~ the task has two phases called `p` (23:8 first here)
    26:1 tasks ~ `step` and `tasks` exclude each other (27:18 first here)
    33:11 true ~ a phase that runs `once`, on one host, has no batches to roll in
    34:1 onn ~ unknown key `onn` [did you mean `on`?]
    35:15 "b" ~ task `b` is listed twice in the phase (35:10 first here)
    "#);
}

#[test]
fn steps_are_checked_one_by_one() {
    let text = r#"
[[task.t.step]]
run = "true"
[[task.t.step]]
name = "a"
[[task.t.step]]
name = "a"
run = " "
script = "x"
[[task.t.step]]
name = "b"
script = "../x"
unless = "true"
only-if = "true"
[[task.t.step]]
name = "c"
script = "nope.sh"
as = "-x"
on = "a b"
retry = 3
register = "fleet.run"
ends = ["aa", "zzz", "-"]
[[task.t.step]]
name = "d"
script = "/etc/passwd"
idempotent = "yes"
retry = { delay = "2s" }
[[task.t.step]]
name = "e"
run = "true"
idempotent = true
retry = 0
env = { 1A = "x", "B-C" = "x", D = [], E = "{{x|y}}" }
timeout = 0
idle-timeout = "-1s"
secret-output = 1
unles = "x"
[[task.t.step]]
name = "f"
script = "nul"
"#;
    insta::assert_snapshot!(told(text), @r#"
    2:1 [[task.t.step]] ~ `name` is missing
    4:1 [[task.t.step]] ~ nothing to do here [it needs `run` or `script` or `local`]
    7:8 "a" ~ two steps are called `a` (5:8 first here)
    8:7 " " ~ `run` is empty
    9:1 script ~ `run` and `script` exclude each other (8:1 first here)
    12:10 "../x" ~ script `../x` is not a path inside the recipe's folder
    14:1 only-if ~ `unless` and `only-if` exclude each other (13:1 first here)
    17:10 "nope.sh" ~ script `nope.sh`: there is no such file
    18:6 "-x" ~ user name `-x` must start with a letter or a digit
    19:6 "a b" ~ role `a b` holds ' '; allowed are letters, digits and _-
    20:1 retry ~ `retry` is only for steps that may run twice [add `idempotent = true` if this one may]
    21:12 "fleet.run" ~ `fleet.run`: variables that begin with `fleet.` are set by fleet itself
    22:9 "aa" ~ there is no step `aa` [did you mean `a`?]
    22:15 "zzz" ~ there is no step `zzz`
    22:22 "-" ~ step name `-` must start with a letter or a digit
    25:10 "/etc/passwd" ~ script `/etc/passwd` is not a path inside the recipe's folder
    26:14 "yes" ~ `idempotent` must be `true` or `false`, not a string
    27:9 { delay = "2s" } ~ `times` is missing
    32:9 0 ~ `retry` must be a number of further attempts, 1 to 1000
    33:9 1A ~ `1A` is no name for an environment variable: letters, digits and _, no digit first
    33:19 "B-C" ~ `B-C` is no name for an environment variable: letters, digits and _, no digit first
    33:36 [] ~ `D` must be a string, a number or a boolean, not an array
    33:45 {{x|y}} ~ unknown filter `y`; the only one is `raw`
    34:11 0 ~ `timeout` must be longer than zero
    35:16 "-1s" ~ `-1s` is not a length of time such as "30s", "2m" or "1h30m"
    36:17 1 ~ `secret-output` must be `true` or `false`, not an integer
    37:1 unles ~ unknown key `unles` [did you mean `unless`?]
    40:10 "nul" ~ script `nul` holds a NUL byte
    "#);
}

#[test]
fn a_bad_placeholder_is_shown_where_it_stands() {
    let text = r#"
[[task.t.step]]
name = "basic"
run = "echo '{{home}}'"
[[task.t.step]]
name = "escapes-before"
run = "printf \"%s\" '{{home}}'"
[[task.t.step]]
name = "escapes-behind"
run = "echo {{1 x}} \"x\""
[[task.t.step]]
name = "literal"
run = 'echo "{{home}}"'
[[task.t.step]]
name = "lines"
run = """
cd {{home}}
echo "{{home}}" """
[[task.t.step]]
name = "literal-lines"
run = '''
# {{home}}
'''
[[task.t.step]]
name = "open"
run = "echo {{home"
undo = "cat <<EOF\n{{home}}\nEOF"
cwd = "{{-x}}"
"#;
    insta::assert_snapshot!(told(text), @r#"
    4:14 {{home}} ~ `{{home}}` stands inside single quotes, where its own quotes would not hold; it is quoted by itself, so move it out
    7:7 "printf \"%s\" '{{home}}'" ~ `{{home}}` stands inside single quotes, where its own quotes would not hold; it is quoted by itself, so move it out
    10:13 {{1 x}} ~ variable name `1 x` holds ' '; allowed are letters, digits and ._-; a literal `{{` is written `\{{`
    13:14 {{home}} ~ `{{home}}` stands inside double quotes, where its own quotes would not hold; it is quoted by itself, so move it out
    18:7 {{home}} ~ `{{home}}` stands inside double quotes, where its own quotes would not hold; it is quoted by itself, so move it out
    22:3 {{home}} ~ `{{home}}` stands inside a comment, where its own quotes would not hold; it is quoted by itself, so move it out
    26:13 {{ ~ `{{` without `}}`; a literal `{{` is written `\{{`
    27:8 "cat <<EOF\n{{home}}\nEOF" ~ `{{home}}` stands inside a here-document, where its own quotes would not hold; it is quoted by itself, so move it out
    28:8 {{-x}} ~ variable name `-x` must start with a letter or a digit; a literal `{{` is written `\{{`
    "#);
    let windows = "[[task.t.step]]\r\nname = 'x'\r\nrun = \"\"\"\r\necho '{{home}}'\"\"\"\r\n";
    insta::assert_snapshot!(told(windows), @"4:7 {{home}} ~ `{{home}}` stands inside single quotes, where its own quotes would not hold; it is quoted by itself, so move it out");
}

#[test]
fn tasks_that_are_used_exist_and_fit_and_end() {
    let text = r#"
[task.deploy]
[[task.deploy.phase]]
name = "one"
tasks = ["rol", "inner", "outer", "fine"]
[task.roll]
[[task.roll.phase]]
name = "batches"
rolling = true
tasks = ["fine"]
[task.inner]
tasks = ["roll"]
[task.outer]
tasks = ["inner", "nowhere"]
[task.fine]
[[task.fine.step]]
name = "s"
run = "true"
[task.x]
tasks = ["fine", "y"]
[task.y]
[[task.y.phase]]
name = "p"
tasks = ["x"]
[task.self]
tasks = ["self"]
"#;
    insta::assert_snapshot!(told(text), @r#"
    5:10 "rol" ~ there is no task `rol` [did you mean `roll`?]
    5:17 "inner" ~ task `inner` cannot be part of a phase: phase `batches` has hosts of its own (8:8 is `once` or `rolling`)
    5:26 "outer" ~ task `outer` cannot be part of a phase: phase `batches` has hosts of its own (8:8 is `once` or `rolling`)
    14:19 "nowhere" ~ there is no task `nowhere`
    24:10 "x" ~ tasks in a circle: `x` -> `y` -> `x`
    26:10 "self" ~ tasks in a circle: `self` -> `self`
    "#);
}

#[test]
fn tasks_of_tasks_of_tasks_are_bounded() {
    let step = "[[task.t0.step]]\nname = 's'\nrun = 'true'\n";
    let chain = |length: usize| {
        let link = |i: usize| format!("[task.t{}]\ntasks = ['t{i}']\n", i + 1);
        step.to_owned() + &(0..length).map(link).collect::<String>()
    };
    assert_eq!(told(&chain(30)), "fine");
    insta::assert_snapshot!(told(&chain(50_000)), @"68:7 t33 ~ tasks are nested more than 32 deep");
    let doubled = |i: usize| format!("[task.t{}]\ntasks = ['t{i}', 't{i}', 't{i}']\n", i + 1);
    insta::assert_snapshot!(told(&(step.to_owned() + &(0..30).map(doubled).collect::<String>())), @"20:7 t9 ~ the task has more than 10000 steps");
    let default = |i: usize| format!("[vars.v{}]\ndefault = '{{{{v{i}}}}}{{{{v{i}}}}}'\n", i + 1);
    let vars = step.to_owned() + "[vars.v0]\ndefault = 'ha'\n" + &(0..30).map(default).collect::<String>();
    insta::assert_snapshot!(told(&vars), @"30:7 v13 ~ the default is made of too many other variables");
}

#[test]
fn a_recipe_has_tasks() {
    insta::assert_snapshot!(told("[recipe]\ndoc = 1\n[tasks.x]"), @"
    1:1  ~ the recipe has no tasks [add a table `[task.NAME]`]
    2:7 1 ~ `doc` must be a string, not an integer
    3:2 tasks ~ unknown key `tasks` [did you mean `task`?]
    ");
    insta::assert_snapshot!(told("task = 1"), @"1:8 1 ~ `task` must be a table, not an integer");
}

#[test]
fn what_a_syntax_error_may_have_swallowed_is_not_missed() {
    let text = "[task.a]\ntasks = ['b']\n[task.b\n[[task.b.step]]\nname = 'x'\nrum = 'true'\n";
    insta::assert_snapshot!(told(text), @"
    3:8  ~ unclosed table, expected `]`
    6:1 rum ~ unknown key `rum` [did you mean `run`?]
    ");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_it(
        lines in prop::collection::vec((prop::sample::select(FULL.lines().collect::<Vec<_>>()), 0_usize..80, ".{0,4}"), 0..25),
        other in ".{0,200}",
    ) {
        let cut = |(line, at, junk): &(&str, usize, String)| line.chars().take(*at).collect::<String>() + junk + "\n";
        for text in [lines.iter().map(cut).collect::<String>(), other] {
            for error in read(&text).err().into_iter().flatten() {
                prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
                prop_assert!(error.also.is_none_or(|(span, _)| text.get(span).is_some()));
            }
        }
    }
}
