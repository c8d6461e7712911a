//! `fleet attach RUN`: a run that another process carries out, live.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use super::context::{Context, advise};
use super::failure::Failure;
use super::{interrupts, run};
use crate::app::choice::choose;
use crate::app::resume_error::ResumeError;
use crate::model::run::event::Signal;
use crate::model::run::exit;
use crate::model::run::summary::Summary;
use crate::model::text::hint::Hint;
use crate::model::text::name::RunId;
use crate::record::store::Store as _;
use crate::report::reporters::Reporters;

/// How often the record is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Shows a run until it ends; its exit code is this one's. Ctrl-C leaves the view, and nothing else.
pub async fn attach(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    let store = context.store();
    let run = choose(&store, typed, None)?;
    if store.controller(&run).is_none() {
        let ended = store.known(&run)?.summary.finished.is_some();
        return Err(if ended { ResumeError::Ended(run) } else { ResumeError::NoController(run) }.into());
    }
    follow(context, &run).await
}

pub async fn follow(context: &Context<'_>, run: &RunId) -> Result<u8, Failure> {
    let store = context.store();
    let plan = Arc::new(store.plan(run)?);
    let mut follower = store.follow(run, &plan);
    let (mut reporters, mut summary) = (Reporters::new(run::views(context, &plan)?), Summary::default());
    let (mut signals, _listening) = interrupts::listen()?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            signal = signals.recv() => {
                drop(reporters);
                let back = Hint::Command(format!("fleet attach {run}"));
                advise(&format!("left the view of run {run}, which goes on"), &[back]);
                return Ok(if signal == Some(Signal::Term) { exit::TERMINATED } else { exit::INTERRUPTED });
            }
        }
        // Whether it lives is asked before the last look, so that nothing it wrote before it ended is missed.
        let lives = store.controller(run).is_some();
        let events = follower.news()?;
        for event in &events {
            summary.apply(event);
            reporters.report(event, &mut summary);
        }
        reporters.tick(Timestamp::now(), &mut summary);
        if lives {
            continue;
        }
        let Some(code) = summary.told_exit_code else {
            drop(reporters);
            let failure = Failure::new(exit::UNKNOWN, format!("the controller of run {run} is gone; its steps go on"));
            return Err(failure.hint(Hint::Command(format!("fleet resume {run}"))));
        };
        let (json, color) = (context.flags.json, context.color());
        drop(reporters);
        run::tell_end(&plan, &summary, json, color);
        return Ok(code);
    }
}
