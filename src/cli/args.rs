//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand};

use crate::model::inventory::inventory::Share;
use crate::model::inventory::ssh::SshValues;
use crate::model::plan::planner::{Overrides, StepSelection};
use crate::model::text::duration::parse_duration;
use crate::model::text::name::{UserName, VarName};

/// Deploy to sites over SSH: in parallel, in rolling batches, undone when it fails.
#[derive(Debug, Parser)]
#[command(
    name = "fleet",
    version,
    disable_help_subcommand = true,
    override_usage = "fleet SITE TASK [TASK...] [flags]\n       fleet SITE run -- COMMAND...\n       fleet SITE trust | distribute-keys | status | check | unlock\n       fleet VERB [flags]",
    after_help = "SITE is a site, a list `a,b`, a glob `shop-*`, `all`, or a selector `site:role`, `site:host`, `!site:host`.\n\
                  Each flag has an environment variable: FLEET_LIMIT for --limit, and so on; lists have commas, FLEET_SET also lines.\n\
                  FLEET_LOG=FILTER shows fleet's own log on standard error: `debug`, or `fleet::ssh=debug,russh=info`.\n\
                  Begin with `fleet demo` to see it work, or with `fleet init` in an empty folder."
)]
pub struct Cli {
    #[command(flatten)]
    pub flags: Flags,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run tasks, a command, `trust`, `distribute-keys`, `status`, `check` or `unlock` on a site
    #[command(name = "SITE", hide = true)]
    Site(SiteArgs),
    /// Make the key pair keys/fleet, never over an existing one
    GenerateKeys {
        /// Ask for a passphrase
        #[arg(long)]
        passphrase: bool,
        /// Read the passphrase from the first line of this file
        #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Show sites and hosts
    List {
        /// Show where every value of these sites came from
        #[arg(long, value_name = "SITE")]
        explain: Option<String>,
        /// Only these
        site: Option<String>,
    },
    /// Show the tasks of a site and their steps
    Tasks {
        /// The site
        site: String,
        /// Show in which file and line each task, step and variable is written
        #[arg(long)]
        origin: bool,
    },
    /// Read every file and tell all that is wrong; contacts nothing
    Check,
    /// Write a commented starter project into the current folder, or into --project
    Init,
    /// Show the main job on an embedded fleet of SSH servers
    Demo {
        /// Keep the demo's project folder
        #[arg(long)]
        keep: bool,
        /// Leave the fleet running until Ctrl-C, to play with; its folder goes then, unless --keep is given
        #[arg(long)]
        serve: bool,
    },
    /// List the runs that this machine has started from the project
    Runs,
    /// Show how a run ended
    Show {
        #[command(flatten)]
        run: RunArg,
        /// Only what its steps reported about themselves, in full
        #[arg(long)]
        findings: bool,
    },
    /// Show what a run's hosts printed
    Logs {
        #[command(flatten)]
        run: RunArg,
        /// Only this host
        host: Option<String>,
        /// Only this step
        #[arg(long)]
        step: Option<String>,
    },
    /// Go on with a run whose controller ended, or that was let go of
    Resume(ResumeArgs),
    /// Take back what a run has done, also one that has ended
    Undo(RunArg),
    /// Show a run that another process carries out, live
    Attach(RunArg),
    /// End the running steps of a run on its hosts, then undo or hold by its policy
    Cancel(RunArg),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct RunArg {
    /// The run, a unique beginning of its name, or `last`
    #[arg(default_value = "last")]
    pub run: String,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub run: RunArg,
    /// Go on with the plan of then, although recipe or inventory have changed
    #[arg(long)]
    pub as_planned: bool,
    /// A step whose outcome is unknown, or bad, counts as done; STEP or HOST:STEP, may be given again
    #[arg(long, value_name = "STEP")]
    pub assume_done: Vec<String>,
    /// A step whose outcome is unknown, or bad, runs once more; STEP or HOST:STEP, may be given again
    #[arg(long, value_name = "STEP")]
    pub rerun: Vec<String>,
    /// Go on, and end, without this host, which is dead for good; may be given again
    #[arg(long, value_name = "HOST")]
    pub give_up: Vec<String>,
}

/// What can be done with a site besides the tasks of its recipe.
pub const SITE_VERBS: [&str; 6] = ["run", "trust", "distribute-keys", "status", "check", "unlock"];

#[derive(Debug, Args)]
pub struct SiteArgs {
    /// Which sites and hosts
    pub selector: String,
    /// Tasks of the site's recipe, or `run`, `trust`, `distribute-keys`, `status`, `check`, `unlock`
    pub tasks: Vec<String>,
    /// With `run`: the command. One word is shell text, several are quoted words
    #[arg(last = true)]
    pub command: Vec<String>,
    /// With `trust`: pin only keys whose SHA256 fingerprint is in this file
    #[arg(long, value_name = "FILE", env = "FLEET_FINGERPRINTS")]
    pub fingerprints: Option<PathBuf>,
    /// With `unlock`: strike this effect, a step's name or its words, which was put right by hand; may be given again
    #[arg(long, value_name = "EFFECT")]
    pub forget: Vec<String>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
pub struct Flags {
    /// Only these hosts, roles or sites of the selected ones
    #[arg(short, long, global = true, value_name = "SELECTOR", env = "FLEET_LIMIT")]
    pub limit: Option<String>,
    /// All but these
    #[arg(short = 'x', long, global = true, value_name = "SELECTOR", env = "FLEET_EXCLUDE")]
    pub exclude: Option<String>,
    /// Hosts that work at the same time; 0 is all [default: 32]
    #[arg(short = 'P', long, global = true, value_name = "N", env = "FLEET_PARALLEL")]
    pub parallel: Option<usize>,
    /// Sizes of the batches; the last repeats
    #[arg(long, global = true, value_name = "1,25%,100%", env = "FLEET_SERIAL", value_delimiter = ',', value_parser = share)]
    pub serial: Vec<Share>,
    /// Failed hosts that the whole rollout bears
    #[arg(long, global = true, value_name = "N|N%", env = "FLEET_MAX_FAIL", value_parser = share)]
    pub max_fail: Option<Share>,
    /// Show what would be sent, contact nothing
    #[arg(short = 'n', long, global = true, env = "FLEET_DRY_RUN", value_parser = switch)]
    pub dry_run: bool,
    /// Set a variable, above all files
    #[arg(short = 'e', long = "set", global = true, value_name = "NAME=VALUE", env = "FLEET_SET")]
    pub assignments: Vec<String>,
    /// [`Self::assignments`], parsed.
    #[arg(skip)]
    pub set: Vec<(VarName, String)>,
    /// Leave out all steps before this one
    #[arg(long, global = true, value_name = "STEP", env = "FLEET_START_AT")]
    pub start_at: Option<String>,
    /// Only this step; a list `a,b`, and may be given again
    #[arg(long, global = true, value_name = "STEP", env = "FLEET_ONLY", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Without this step; a list `a,b`, and may be given again
    #[arg(long, global = true, value_name = "STEP", env = "FLEET_SKIP", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Log in as this user
    #[arg(short, long, global = true, value_name = "USER", env = "FLEET_USER", value_parser = UserName::parse)]
    pub user: Option<UserName>,
    /// Log in with this private key
    #[arg(short, long, global = true, value_name = "FILE", env = "FLEET_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Ask for the login password, once
    #[arg(long, global = true, env = "FLEET_ASK_PASS", value_parser = switch)]
    pub ask_pass: bool,
    /// Read the login password from the first line of this file
    #[arg(long, global = true, value_name = "FILE", env = "FLEET_PASSWORD_FILE", conflicts_with = "ask_pass")]
    pub password_file: Option<PathBuf>,
    /// Read the passphrase of the private keys from the first line of this file
    #[arg(long, global = true, value_name = "FILE", env = "FLEET_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Limit of steps that have none of their own, such as 90s or 10m
    #[arg(long, global = true, value_name = "TIME", env = "FLEET_TIMEOUT", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Limit of a TCP connection; the SSH handshake may take twice that, and 20s [default: 10s]
    #[arg(long, global = true, value_name = "TIME", env = "FLEET_CONNECT_TIMEOUT", value_parser = parse_duration)]
    pub connect_timeout: Option<Duration>,
    /// How long to retry a first connection that is refused or closed at once [default: 5s]
    #[arg(long, global = true, value_name = "TIME", env = "FLEET_CONNECT_RETRY", value_parser = parse_duration)]
    pub connect_retry: Option<Duration>,
    /// How long a lost connection is tried to be made again, before its host is detached [default: 10m]
    #[arg(long, global = true, value_name = "TIME", env = "FLEET_RECONNECT_TIMEOUT", value_parser = parse_duration)]
    pub reconnect_timeout: Option<Duration>,
    /// Answer every question with yes; the variable does not answer that of `trust`
    #[arg(short, long, global = true, env = "FLEET_YES", value_parser = switch)]
    pub yes: bool,
    /// It was typed, now and for this command.
    #[arg(skip)]
    pub yes_typed: bool,
    /// Never ask; what would be asked is an error that names the flag
    #[arg(long, global = true, env = "FLEET_NO_INPUT", value_parser = switch)]
    pub no_input: bool,
    /// Show every line of output and fleet's own log, instead of one live line per host; -vv: the log in detail
    #[arg(short, long, global = true, env = "FLEET_VERBOSE", action = ArgAction::Count, value_parser = verbosity, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Show only the final table
    #[arg(short, long, global = true, env = "FLEET_QUIET", value_parser = switch)]
    pub quiet: bool,
    /// One JSON event a line on standard output, and nothing else there
    #[arg(long, global = true, env = "FLEET_JSON", value_parser = switch)]
    pub json: bool,
    /// Colours
    #[arg(long, global = true, value_name = "WHEN", env = "FLEET_COLOR", value_enum, default_value = "auto")]
    pub color: ColorChoice,
    /// The project folder; found upward from the current one when not given
    #[arg(long, global = true, value_name = "DIR", env = "FLEET_PROJECT")]
    pub project: Option<PathBuf>,
}

impl Flags {
    /// What these flags set above all files.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            ssh: SshValues {
                user: self.user.clone(),
                identity: self.identity.as_ref().map(|path| path.display().to_string()),
                connect_timeout: self.connect_timeout,
                connect_retry: self.connect_retry,
                reconnect_timeout: self.reconnect_timeout,
                ..SshValues::default()
            },
            vars: self.set.iter().cloned().collect(),
            parallel: self.parallel,
            serial: (!self.serial.is_empty()).then(|| self.serial.clone()),
            max_fail: self.max_fail,
            timeout: self.timeout,
            steps: StepSelection { start_at: self.start_at.clone(), only: self.only.clone(), skip: self.skip.clone() },
        }
    }
}

/// A switch given as a variable, such as `FLEET_YES=1`. An empty one is as good as none; what is neither yes nor no is no consent.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no")),
    }
}

/// How often `-v` is given; a variable says it as a number, or as a switch.
fn verbosity(text: &str) -> Result<u8, String> {
    text.parse().or_else(|_| switch(text).map(u8::from))
}

fn share(text: &str) -> Result<Share, String> {
    Share::parse(text).ok_or_else(|| format!("`{text}` is not a number of hosts such as 3 or 25%"))
}
