//! Which of the flags that all verbs know a verb takes. One that would be ignored is refused: who types `fleet resume -x web1` believes that
//! `web1` is left out.
//!
//! Rejected: flags that each verb declares for itself. `fleet SITE TASK` and `fleet VERB` would no longer take them in any place, and a
//! variable such as `FLEET_PARALLEL` is set for all that is done in a shell.

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::model::text::hint::Hint;
use crate::report::words::hint_lines;

/// Which hosts.
const TARGETS: &[&str] = &["limit", "exclude"];
/// How the keys and passwords are found. What a host's connection is like is in the plan of a run that is resumed.
const LOGIN: &[&str] = &["identity", "ask_pass", "password_file", "passphrase_file"];
const DIAL: &[&str] = &["connect_timeout", "connect_retry"];
/// What connects to hosts without a plan of a task.
const CONNECTION: &[&str] = &["parallel", "user"];
const VIEW: &[&str] = &["verbose", "quiet", "json"];
/// How a task, or one command, runs.
const ROLLOUT: &[&str] = &["dry_run", "serial", "max_fail", "timeout", "reconnect_timeout"];
/// What a task is made of.
const TASK: &[&str] = &["assignments", "start_at", "only", "skip"];
/// What is said of values that come from flags.
const VALUES: &[&str] =
    &["user", "identity", "reconnect_timeout", "assignments", "parallel", "serial", "max_fail", "timeout"];
/// About the person who types. To answer a question that is not asked is no mistake.
const ALWAYS: &[&str] = &["yes", "no_input", "color", "project"];

/// The flags that the verb takes; of a site, `what` is what is done with it.
fn taken(verb: &str, what: Option<&str>) -> Vec<&'static str> {
    let groups: &[&[&str]] = match (verb, what) {
        ("SITE", Some("trust")) => &[TARGETS, DIAL, &["parallel"]],
        ("SITE", Some("distribute-keys")) => &[TARGETS, LOGIN, CONNECTION, DIAL],
        // A variable may be part of where the site's book lies.
        ("SITE", Some("status" | "check" | "unlock")) => &[TARGETS, LOGIN, CONNECTION, DIAL, &["assignments"]],
        ("SITE", Some("run")) => &[TARGETS, LOGIN, CONNECTION, DIAL, VIEW, ROLLOUT],
        ("SITE", _) => &[TARGETS, LOGIN, CONNECTION, DIAL, VIEW, ROLLOUT, TASK],
        ("list", _) => &[TARGETS, DIAL, VALUES],
        ("tasks", _) => &[TARGETS],
        ("check", _) => &[DIAL, VALUES],
        ("resume" | "undo" | "cancel", _) => &[LOGIN, VIEW],
        ("attach", _) => &[VIEW],
        // generate-keys, init, demo, runs, show, logs, completions
        _ => &[],
    };
    groups.iter().chain([&ALWAYS]).flat_map(|group| group.iter().copied()).collect()
}

/// Refuses a flag that was typed and that the verb does not take. Of a site, it returns what is to be done with it.
pub fn refuse_ignored(command: &Command, matches: &ArgMatches) -> Result<Option<String>, clap::Error> {
    let Some((verb, of_verb)) = matches.subcommand() else { return Ok(None) };
    let tasks = of_verb.try_get_many::<String>("tasks").ok().flatten();
    let what = tasks.and_then(|mut tasks| tasks.next()).map(|task| task.replace('_', "-"));
    let taken = taken(verb, what.as_deref());
    let is_ignored = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        arg.is_global_set() && !taken.contains(&id) && of_verb.value_source(id) == Some(ValueSource::CommandLine)
    };
    let Some(flag) = command.get_arguments().find(is_ignored).and_then(Arg::get_long) else { return Ok(what) };
    let (verb, help) = match what.filter(|_| verb == "SITE") {
        Some(what) => (format!("SITE {what}"), "fleet --help shows what each flag is for".to_owned()),
        None => (verb.to_owned(), format!("fleet help {verb} shows those that it takes")),
    };
    let help = hint_lines(&[Hint::Advice(help)]).join("\n");
    let message = format!("`fleet {verb}` does not take the flag --{flag}\n{help}\n");
    Err(clap::Error::raw(ErrorKind::UnknownArgument, message))
}

/// The command line's grammar without the variables, and the help, of flags that the verb does not take.
pub fn of_verb(command: Command, verb: &str, what: Option<&str>) -> Command {
    if verb.is_empty() || (verb == "SITE" && what.is_none()) {
        return command;
    }
    let taken = taken(verb, what);
    command.mut_args(|arg| {
        if !arg.is_global_set() || taken.contains(&arg.get_id().as_str()) {
            return arg;
        }
        arg.env(Resettable::Reset).hide(true)
    })
}

/// The same without any variable: what is typed, whatever is set.
pub fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset))
}
