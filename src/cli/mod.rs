//! The command line: from arguments to an exit code.

mod access;
mod args;
mod ask;
mod attach;
mod books;
mod check;
mod command_line;
mod context;
mod descriptors;
mod failure;
mod flags;
mod hosts;
mod init;
mod interrupts;
mod keys;
mod logging;
mod preview;
mod resume;
mod run;
mod secrets;
mod show;
mod trust;
mod unlock;

use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::demo::{self, DemoOptions};
use crate::model::config::diagnostic::nearest;
use crate::model::recipe::shell::quote;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::printable::printable;
use crate::report::diagnostics;
use args::{Cli, Flags, RunArg, SITE_VERBS, SiteArgs, Verb};
use context::{Context, advise, print, say};
use failure::Failure;

pub fn main() -> ExitCode {
    let argv = match command_line::utf8(std::env::args_os(), std::env::vars_os()) {
        Ok(argv) => argv,
        Err(message) => {
            say(&format!("error: {message}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    let cli = match command_line::parse(argv) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    let fail = |failure| ExitCode::from(tell(&cli.flags, failure));
    let _log = match logging::start(&cli.flags) {
        Ok(log) => log,
        Err(failure) => return fail(failure),
    };
    descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Failure::environment(format!("cannot start: {error}"))),
    };
    // A panic of a worker costs its host only; one that comes here was told by Rust itself.
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(dispatch(&cli))));
    let code = match ended {
        Ok(ended) => ended.unwrap_or_else(|failure| tell(&cli.flags, failure)),
        Err(_) => tell(&cli.flags, Failure::new(exit::BUG, "fleet failed, and that is a bug".to_owned())),
    };
    // What hangs in a resolver or a terminal does not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Says why it ended, and gives the exit code.
fn tell(flags: &Flags, failure: Failure) -> u8 {
    match failure {
        Failure::Told(code) => code,
        Failure::Message(code, message, hints) => {
            // Every line on its own: the text may hold what a host or a file said.
            let lines: Vec<String> = message.lines().map(|line| printable(line.as_bytes())).collect();
            advise(&format!("error: {}", lines.join("\n")), &hints);
            code
        }
        Failure::Diagnostics(errors) => {
            say(diagnostics::render(&errors, context::colour(flags, &std::io::stderr()), context::width()).trim_end());
            exit::INVALID
        }
    }
}

async fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let flags = &cli.flags;
    match &cli.verb {
        Verb::Site(args) => site(&Context::load(flags)?, args).await,
        Verb::GenerateKeys { passphrase, new_passphrase_file } => {
            keys::generate(flags, *passphrase, new_passphrase_file.as_deref())
        }
        Verb::List { explain: Some(selector), .. } => show::explain(&Context::load(flags)?, selector),
        Verb::List { explain: None, site } => show::list(&Context::load(flags)?, site.as_deref()),
        Verb::Tasks { site, origin } => show::tasks(&Context::load(flags)?, site, *origin),
        Verb::Check => check::check(&Context::load(flags)?),
        Verb::Init => init::init(flags),
        Verb::Demo { keep, serve } => show_demo(*keep, *serve).await,
        Verb::Runs => show::runs(&Context::load(flags)?),
        Verb::Show { run, findings } => show::show(&Context::load(flags)?, &run.run, *findings),
        Verb::Logs { run, host, step } => {
            show::logs(&Context::load(flags)?, &run.run, host.as_deref(), step.as_deref())
        }
        Verb::Resume(args) => resume::resume(&Context::load(flags)?, args).await,
        Verb::Undo(RunArg { run }) => resume::undo(&Context::load(flags)?, run).await,
        Verb::Attach(RunArg { run }) => attach::attach(&Context::load(flags)?, run).await,
        Verb::Cancel(RunArg { run }) => resume::cancel(&Context::load(flags)?, run).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "fleet", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(exit::SUCCESS)
        }
    }
}

async fn site(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let [first, rest @ ..] = args.tasks.as_slice() else {
        return Err(nothing_to_do(context, &args.selector));
    };
    let verb = first.replace('_', "-");
    let special = SITE_VERBS.contains(&verb.as_str());
    if special && !rest.is_empty() {
        let failure = Failure::usage(format!("`{verb}` stands alone, and here `{}` follows", rest.join(" ")));
        let dashes = Hint::advice("a command comes after two dashes: fleet SITE run -- COMMAND");
        return Err(if verb == "run" { failure.hint(dashes) } else { failure });
    }
    if verb != "run" && !args.command.is_empty() {
        return Err(Failure::usage(format!("only `run` takes a command after two dashes, `{verb}` does not")));
    }
    refuse_order(context, args, &verb)?;
    match verb.as_str() {
        "run" => run::command(context, args).await,
        "trust" => trust::trust(context, args).await,
        "distribute-keys" => keys::distribute(context, args).await,
        "status" => hosts::status(context, args).await,
        "check" => hosts::check(context, args).await,
        "unlock" => unlock::unlock(context, args).await,
        _ => {
            refuse_slip(context, args, &verb)?;
            run::tasks(context, args).await
        }
    }
}

/// `fleet deploy mysite` and `fleet mysite list`: both words mean something, in the other order.
fn refuse_order(context: &Context<'_>, args: &SiteArgs, second: &str) -> Result<(), Failure> {
    let is_task = |name: &str| context.project.recipes.values().any(|recipe| recipe.task(name).is_some());
    // `check` is a verb of its own and one of a site's.
    let of_site = SITE_VERBS.contains(&second);
    if command_line::verbs().iter().any(|verb| verb == second) && !of_site && !is_task(second) {
        let failure = Failure::usage(format!("`{second}` is a verb and stands alone"));
        let site = if command_line::wants_site(second) { format!(" {}", quote(&args.selector)) } else { String::new() };
        return Err(failure.hint(Hint::Command(format!("fleet {second}{site}"))));
    }
    let first = args.selector.replace('_', "-");
    let swapped = is_task(&first) || SITE_VERBS.contains(&first.as_str());
    let is_site =
        |word: &str| !matches!(context.targets_among(&context.project.inventory, word), Err(Failure::Message(..)));
    if swapped && !is_site(&args.selector) && is_site(second) {
        let command = format!("fleet {} {first}", quote(second));
        return Err(Failure::usage("the site comes first").hint(Hint::Command(command)));
    }
    Ok(())
}

/// `trsut` is no task of the site but near to `trust`, and the recipe, or the lack of one, is not the trouble.
fn refuse_slip(context: &Context<'_>, args: &SiteArgs, verb: &str) -> Result<(), Failure> {
    let Some(meant) = nearest(verb, SITE_VERBS) else { return Ok(()) };
    let mut tasks: Vec<&str> = Vec::new();
    for (site, _) in context.targets(&args.selector)? {
        match context.recipe(site) {
            Ok(recipe) => tasks.extend(recipe.tasks.iter().map(|task| task.name.as_str())),
            // It may have such a task.
            Err(broken @ Failure::Diagnostics(_)) => return Err(broken),
            Err(_) => {}
        }
    }
    if tasks.iter().any(|task| task.replace('_', "-") == verb) || nearest(verb, tasks).is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!("`{}` has no task `{verb}`; did you mean `{meant}`?", args.selector)))
}

/// `fleet WORD`: a site and nothing else, or a verb with a slip in it.
fn nothing_to_do(context: &Context<'_>, word: &str) -> Failure {
    if let Err(unknown) = context.targets(word) {
        if matches!(unknown, Failure::Diagnostics(_)) {
            return unknown;
        }
        let verbs = command_line::verbs();
        let dashed = word.replace('_', "-");
        return match nearest(&dashed, verbs.iter().map(String::as_str)) {
            Some(verb) => Failure::usage(format!("there is no verb or site `{word}`; did you mean `{verb}`?")),
            None => unknown,
        };
    }
    let hint = format!("fleet tasks {} shows its tasks; others are {}", quote(word), SITE_VERBS.join(", "));
    Failure::usage(format!("what is to be done with `{word}`?")).hint(Hint::Advice(hint))
}

async fn show_demo(keep: bool, serve: bool) -> Result<u8, Failure> {
    let exe = std::env::current_exe().map_err(Failure::environment)?;
    let options =
        DemoOptions { keep, serve, exe, out: &mut std::io::stdout(), terminal: std::io::stdout().is_terminal() };
    let played = demo::run(options).await.map(|()| exit::SUCCESS);
    played.map_err(|error| Failure::of(error.exit_code(), &error))
}
