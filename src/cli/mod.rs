//! The command line: from arguments to an exit code.

mod access;
mod args;
mod ask;
mod context;
mod failure;
mod init;
mod interrupts;
mod keys;
mod run;
mod show;
mod trust;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::demo::{self, DemoError, DemoOptions};
use crate::model::exit;
use crate::model::printable::printable;
use crate::report::diagnostics;
use args::{Cli, Flags, SiteArgs, Verb};
use context::{Context, print, say};
use failure::Failure;

/// Runs `fleet`.
pub fn main() -> ExitCode {
    let Some(argv) = std::env::args_os().map(|word| word.into_string().ok()).collect::<Option<Vec<_>>>() else {
        say("error: an argument is not UTF-8");
        return ExitCode::from(exit::USAGE);
    };
    let cli = match Cli::try_parse_from(args::normalize(argv)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start: {error}"));
            return ExitCode::from(exit::ENVIRONMENT);
        }
    };
    // A panic of a worker costs its host only; one that comes here was told by Rust itself.
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(dispatch(&cli))));
    let code = match ended {
        Ok(ended) => ended.unwrap_or_else(|failure| tell(&cli.flags, failure)),
        Err(_) => tell(&cli.flags, Failure::Message(exit::BUG, "fleet failed, and that is a bug".to_owned())),
    };
    // What hangs in a resolver or a terminal does not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Says why it ended, and gives the exit code.
fn tell(flags: &Flags, failure: Failure) -> u8 {
    match failure {
        Failure::Told(code) => code,
        Failure::Message(code, message) => {
            // Every line on its own: the text may hold what a host or a file said.
            let lines: Vec<String> = message.lines().map(|line| printable(line.as_bytes())).collect();
            say(&format!("error: {}", lines.join("\n")));
            code
        }
        Failure::Diagnostics(errors) => {
            say(diagnostics::render(&errors, context::stderr_colour(flags), context::width()).trim_end());
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
        Verb::Tasks { site } => show::tasks(&Context::load(flags)?, site),
        Verb::Check => Ok(show::check(&Context::load(flags)?)),
        Verb::Init => init(flags),
        Verb::Demo { keep, serve } => show_demo(*keep, *serve).await,
        Verb::Runs => show::runs(&Context::load(flags)?),
        Verb::Show { run } => show::show(&Context::load(flags)?, run),
        Verb::Logs { run, host, step } => show::logs(&Context::load(flags)?, run, host.as_deref(), step.as_deref()),
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
        return Err(Failure::usage("what is to be done with the site?"));
    };
    let verb = first.replace('_', "-");
    let special = matches!(verb.as_str(), "run" | "trust" | "distribute-keys");
    if special && !rest.is_empty() {
        let hint =
            if verb == "run" { "\nhint: a command comes after two dashes: fleet SITE run -- COMMAND" } else { "" };
        return Err(Failure::usage(format!("`{verb}` stands alone, and here `{}` follows{hint}", rest.join(" "))));
    }
    if verb != "run" && !args.command.is_empty() {
        return Err(Failure::usage(format!("only `run` takes a command after two dashes, `{verb}` does not")));
    }
    match verb.as_str() {
        "run" => run::command(context, args).await,
        "trust" => trust::trust(context, args).await,
        "distribute-keys" => keys::distribute(context, args).await,
        _ => run::tasks(context, args).await,
    }
}

fn init(flags: &Flags) -> Result<u8, Failure> {
    let here = std::env::current_dir().map_err(Failure::environment)?;
    let folder = flags.project.clone().unwrap_or(here);
    let written = init::write(&folder).map_err(Failure::environment)?;
    for path in &written.made {
        say(&format!("made  {}", path.display()));
    }
    for path in &written.kept {
        say(&format!("kept  {} (it was there)", path.display()));
    }
    say(
        "next: edit hosts/mysite.toml, then fleet check, fleet generate-keys, fleet mysite trust, fleet mysite distribute-keys",
    );
    Ok(exit::SUCCESS)
}

async fn show_demo(keep: bool, serve: bool) -> Result<u8, Failure> {
    let exe = std::env::current_exe().map_err(Failure::environment)?;
    let options = DemoOptions { keep, serve, exe, out: &mut std::io::stdout() };
    demo::run(options).await.map(|()| exit::SUCCESS).map_err(|error| {
        let code = if matches!(error, DemoError::Missing { .. }) { exit::ENVIRONMENT } else { exit::BUG };
        Failure::Message(code, failure::with_cause(&error))
    })
}
