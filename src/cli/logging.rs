//! Where fleet's log goes: to standard error with `-v`, `-vv` and `FLEET_LOG`, and beside the record of each run.

use std::io;
use std::path::Path;

use super::args::Flags;
use super::context::say;
use super::failure::Failure;
use crate::model::text::hint::Hint;
use crate::model::text::printable::printable;
use crate::report::outlet::Outlet;
use crate::trace::{self, Filter, Log};

/// A filter for the log on standard error.
const VARIABLE: &str = "FLEET_LOG";

/// What the variable says; one that is empty is as good as none.
fn variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|filter| !filter.trim().is_empty())
}

/// Do lines go to standard error, where a picture that is drawn anew would be torn?
pub fn is_shown(flags: &Flags) -> bool {
    flags.verbose > 0 || variable().is_some()
}

/// Begins to log.
pub fn start(flags: &Flags) -> Result<Log, Failure> {
    let chosen = match (variable(), flags.verbose) {
        (Some(filter), _) => filter,
        (None, 0) => return Ok(trace::start(None)),
        (None, 1) => trace::INFO.to_owned(),
        (None, _) => trace::DEBUG.to_owned(),
    };
    let filter = Filter::parse(&chosen).map_err(|error| {
        let value = printable(chosen.as_bytes());
        Failure::usage(format!("invalid value '{value}' for {VARIABLE}: {error}"))
            .hint(Hint::advice("such as `debug`, or `fleet::ssh=debug,russh=info`"))
    })?;
    Ok(trace::start(Some((filter, Box::new(Outlet::new(io::stderr()).map_err(Failure::environment)?)))))
}

/// From here on the log goes into this file, too. A run is carried out without it as well.
pub fn keep(path: &Path) {
    if let Err(error) = trace::keep(path) {
        say(&format!("warning: no log of what fleet does is kept: {}: {error}", path.display()));
    }
}

/// Says once, at the end of a run, that its log has gaps. Not earlier: a live view would be torn.
pub fn tell_trouble() {
    if let Some(error) = trace::trouble() {
        say(&format!("warning: the log of what fleet did has gaps: {error}"));
    }
}
