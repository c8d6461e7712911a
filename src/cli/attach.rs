//! `fleet attach RUN`: a run that another process carries out, live.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use super::context::{self, Context, say};
use super::failure::Failure;
use super::resume::choose;
use super::{interrupts, run};
use crate::model::run::event::{Fact, Signal};
use crate::model::run::exit;
use crate::model::text::name::RunId;
use crate::record::store::Store as _;
use crate::report::reporters::Reporters;

/// How often the record is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Shows a run until it ends; its exit code is this one's. Ctrl-C leaves the view, and nothing else.
pub async fn attach(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    let run = choose(context, typed, |run| context.store().controller(run).is_some())?;
    if context.store().controller(&run).is_none() {
        let summary = context.store().known(&run)?.summary;
        return Err(if summary.finished.is_some() {
            Failure::Message(exit::NO_MATCH, format!("run {run} has ended\nhint: fleet show {run}"))
        } else {
            Failure::Message(exit::UNKNOWN, format!("run {run} has no controller any more\nhint: fleet resume {run}"))
        });
    }
    follow(context, &run).await
}

/// Shows the run from here on.
pub async fn follow(context: &Context<'_>, run: &RunId) -> Result<u8, Failure> {
    let plan = Arc::new(context.store().plan(run)?);
    let mut follower = context.store().follow(run, &plan);
    let mut reporters = Reporters::new(run::views(context, &plan)?);
    let (mut signals, _listening) = interrupts::listen()?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = None;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            signal = signals.recv() => {
                drop(reporters);
                say(&format!("left the view of run {run}, which goes on\nhint: fleet attach {run}"));
                return Ok(if signal == Some(Signal::Term) { exit::TERMINATED } else { exit::INTERRUPTED });
            }
        }
        // Whether it lives is asked before the last look, so that nothing it wrote before it ended is missed.
        let lives = context.store().controller(run).is_some();
        let events = follower.news()?;
        reporters.report_all(&events);
        reporters.tick(Timestamp::now());
        for event in &events {
            match event.fact {
                Fact::RunFinished { exit_code, .. } => ended = Some(exit_code),
                Fact::RunResumed { .. } => ended = None,
                _ => {}
            }
        }
        if lives {
            continue;
        }
        let Some(code) = ended else {
            drop(reporters);
            return Err(Failure::Message(
                exit::UNKNOWN,
                format!("the controller of run {run} is gone; its steps go on\nhint: fleet resume {run}"),
            ));
        };
        let (json, color) = (context.flags.json, context::stdout_colour(context.flags));
        run::tell_end(&plan, &reporters.finish(), json, color);
        return Ok(code);
    }
}
