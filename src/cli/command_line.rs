//! From the words of a command line to its [`Cli`].
//!
//! `fleet SITE TASK` is Fabric's order, so the first word is a verb or a site. A site goes to the hidden subcommand `SITE`, which
//! [`normalize`] puts before it; a site cannot be called like a verb, so there is never a doubt.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::args::{Cli, SITE_VERBS};
use super::flags;
use crate::model::plan::planner::parse_assignment;
use crate::model::recipe::recipe::SettingError;
use crate::model::text::printable::printable;

/// Does this flag stand on the command line, and not only in a variable?
fn is_typed(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, matches)| is_typed(matches, flag))
}

/// The assignments in a variable: one a line; or on one line with commas between them, where a comma that no `NAME=` follows belongs to the
/// value.
fn listed(text: &str) -> Vec<&str> {
    if text.trim().contains('\n') {
        return text.lines().filter(|line| !line.trim().is_empty()).collect();
    }
    let text = text.trim_end_matches('\n');
    let mut pairs = Vec::new();
    let mut begin = 0;
    for (comma, _) in text.match_indices(',') {
        let next = text.get(comma + 1..).unwrap_or_default();
        if parse_assignment(next.trim_start()).is_ok() {
            pairs.extend(text.get(begin..comma));
            begin = text.len() - next.trim_start().len();
        }
    }
    pairs.extend(text.get(begin..));
    pairs
}

/// Reads the command line.
pub fn parse(argv: Vec<String>) -> Result<Cli, clap::Error> {
    let hide = |command: clap::Command| command.mut_args(|arg| arg.hide_env(true));
    // Said once, at the end of the help, and not with every flag.
    let command = hide(Cli::command()).mut_subcommands(hide);
    let (argv, at) = normalize(argv);
    let verb = argv.get(at).map(String::as_str).unwrap_or_default();
    let typed = flags::of_verb(flags::without_variables(command.clone()), verb, None).try_get_matches_from(&argv)?;
    let what = flags::refuse_ignored(&command, &typed)?;
    let command = flags::of_verb(command, verb, what.as_deref());
    let matches = command.try_get_matches_from(&argv)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.flags.yes_typed = is_typed(&matches, "yes");
    for steps in [&mut cli.flags.only, &mut cli.flags.skip] {
        // An empty name stays, and is refused: a variable that is empty by mistake must not mean all steps.
        *steps = steps.iter().map(|step| step.trim().to_owned()).collect();
    }
    let typed = is_typed(&matches, "assignments");
    let texts = cli.flags.assignments.iter().flat_map(|text| if typed { vec![text.as_str()] } else { listed(text) });
    let read = |text: &str| {
        let invalid =
            |e: SettingError| format!("invalid value '{}' for '--set <NAME=VALUE>': {e}\n", printable(text.as_bytes()));
        parse_assignment(text).map_err(|e| clap::Error::raw(ErrorKind::ValueValidation, invalid(e)))
    };
    cli.flags.set = texts.map(read).collect::<Result<_, _>>()?;
    Ok(cli)
}

/// The verbs that a site may not be called like.
pub fn reserved_names() -> Vec<String> {
    let later = ["doctor", "help", "all", "defaults", "rotate-keys", "revoke-keys"];
    let verbs = Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect::<Vec<_>>();
    verbs.into_iter().chain(later.into_iter().chain(SITE_VERBS).map(str::to_owned)).collect()
}

/// The verbs that stand alone: `fleet VERB`.
pub fn verbs() -> Vec<String> {
    let command = Cli::command();
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name().to_owned()).collect()
}

/// Does `fleet VERB` want a site?
pub fn wants_site(verb: &str) -> bool {
    let command = Cli::command();
    command.find_subcommand(verb).is_some_and(|verb| verb.get_positionals().any(clap::Arg::is_required_set))
}

/// The arguments as text; what is not UTF-8, also in a variable `FLEET_…`, is named.
pub fn utf8(
    argv: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<String>, String> {
    let text = |what: &str, value: OsString| {
        value.into_string().map_err(|value| format!("{what} is not UTF-8: {}", printable(value.as_bytes())))
    };
    for (name, value) in env {
        match name.into_string() {
            // It reads nothing else of the environment as text, or does without.
            Ok(name) if name.starts_with("FLEET_") => text(&format!("the variable {name}"), value)?,
            _ => continue,
        };
    }
    argv.into_iter().enumerate().map(|(place, word)| text(&format!("argument {place}"), word)).collect()
}

/// Puts `SITE` before a first word that is no verb, and gives verbs their dashes. Also tells the verb's place.
fn normalize(mut argv: Vec<String>) -> (Vec<String>, usize) {
    let command = Cli::command();
    let takes_value = |flag: &dyn Fn(&clap::Arg) -> bool| {
        command.get_arguments().find(|arg| flag(arg)).is_some_and(|arg| arg.get_action().takes_values())
    };
    let mut at = 1;
    while let Some(word) = argv.get(at) {
        let step = if word == "--" {
            return (argv, at);
        } else if let Some(long) = word.strip_prefix("--") {
            let alone = !long.contains('=');
            1 + usize::from(alone && takes_value(&|arg| arg.get_long() == Some(long)))
        } else if let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            // `-vP 4` takes the next word, `-P4` does not.
            let valued = cluster.chars().position(|c| takes_value(&|arg| arg.get_short() == Some(c)));
            1 + usize::from(valued.is_some_and(|position| position + 1 == cluster.chars().count()))
        } else {
            break;
        };
        at += step;
    }
    if argv.get(at).is_some_and(|word| word == "help") {
        // `fleet help logs`, as with git; a site cannot be called so.
        argv.remove(at);
        argv.push("--help".to_owned());
        return if argv.len() > at + 1 { normalize(argv) } else { (argv, at) };
    }
    if let Some(word) = argv.get_mut(at) {
        let dashed = word.replace('_', "-");
        if command.find_subcommand(&dashed).is_some_and(|found| !found.is_hide_set()) {
            *word = dashed;
        } else {
            argv.insert(at, "SITE".to_owned());
        }
    }
    (argv, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(line: &str) -> String {
        normalize(line.split(' ').map(str::to_owned).collect()).0.join(" ")
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_first_word_is_a_verb_or_a_site() {
        assert_eq!(normalized("fleet mysite deploy"), "fleet SITE mysite deploy");
        assert_eq!(normalized("fleet generate_keys"), "fleet generate-keys");
        assert_eq!(normalized("fleet -n mysite deploy"), "fleet -n SITE mysite deploy");
        assert_eq!(normalized("fleet -P 4 mysite deploy"), "fleet -P 4 SITE mysite deploy");
        assert_eq!(normalized("fleet -nP 4 mysite deploy"), "fleet -nP 4 SITE mysite deploy");
        assert_eq!(
            normalized("fleet -P4 --user root --set=a=b mysite deploy"),
            "fleet -P4 --user root --set=a=b SITE mysite deploy"
        );
        assert_eq!(normalized("fleet --help"), "fleet --help");
        assert_eq!(normalized("fleet help"), "fleet --help");
        assert_eq!(normalized("fleet help logs"), "fleet logs --help");
        assert_eq!(normalized("fleet !a,b run"), "fleet SITE !a,b run");
    }
}
