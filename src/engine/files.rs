//! A worker's errand before a step that uses the files of its recipe: to bring them, once for each user of the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::debug;

use super::contact::{Contact, Stops};
use super::task::{Task, Work};
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::plan::{Guard, Plan};
use crate::model::recipe::files::VARIABLE;
use crate::model::run::reason::Reason;
use crate::model::text::name::{RunId, UserName};
use crate::remote::{FilesAnswer, HostFiles};

/// The files of a run, and where they lie on the worker's host.
pub struct Files {
    pub plan: Arc<Plan>,
    pub run: RunId,
    /// An earlier controller may have brought some.
    pub resumed: bool,
    /// Their folder, for each user.
    folders: BTreeMap<Option<UserName>, String>,
}

impl Files {
    pub fn new(plan: Arc<Plan>, run: RunId, resumed: bool) -> Self {
        Self { plan, run, resumed, folders: BTreeMap::new() }
    }
}

/// Does the command use the files of the recipe?
fn uses(command: &RemoteCommand) -> bool {
    command.text.contains(VARIABLE)
}

impl Contact {
    /// Brings the files that the task uses, and tells its commands where they are. An error is why they are not there.
    pub(super) async fn bring(&mut self, files: &mut Files, task: &mut Task, stops: &Stops) -> Result<(), Reason> {
        let guard = match &mut task.guard {
            Some(Guard::Unless(command) | Guard::OnlyIf(command)) => Some(command),
            None => None,
        };
        let command = match &mut task.work {
            Work::Plain(command) | Work::ReadOnly(command) => command,
            Work::Local(_) => return Ok(()),
            Work::Durable(step) => &mut step.command,
        };
        for command in guard.into_iter().chain([command]).filter(|command| uses(command)) {
            let user = command.as_user.clone();
            let folder = if let Some(folder) = files.folders.get(&user) {
                folder.clone()
            } else {
                let folder = self.put(files, user.as_ref(), stops).await?;
                files.folders.entry(user).or_insert(folder).clone()
            };
            command.env.entry(VARIABLE.to_owned()).or_insert(folder);
        }
        Ok(())
    }

    async fn put(&mut self, files: &Files, user: Option<&UserName>, stops: &Stops) -> Result<String, Reason> {
        let whose = user.map(|user| format!(" for {user}")).unwrap_or_default();
        let failed = |why: String| Reason::from(format!("cannot copy the recipe's files{whose}: {why}"));
        let host = HostFiles::of(&files.plan, &files.run, self.index);
        let mut have = Vec::new();
        if files.resumed {
            match self.insist_on(&host.there(user), stops).await.map(|answer| FilesAnswer::parse(&answer))? {
                FilesAnswer::There { have: there, .. } => have = there,
                FilesAnswer::Refused(why) => return Err(failed(why)),
            }
        }
        let questions =
            host.put(user, &have).map_err(|path| failed(format!("`{path}` is missing in the record of the run")))?;
        debug!(user = user.map(UserName::as_str), parts = questions.len(), have = have.len(), "files of the recipe");
        let mut folder = None;
        for question in questions {
            match FilesAnswer::parse(&self.insist_on(&question, stops).await?) {
                FilesAnswer::There { folder: there, have: now } => (folder, have) = (Some(there), now),
                FilesAnswer::Refused(why) => return Err(failed(why)),
            }
        }
        match folder.filter(|_| FilesAnswer::is_whole(&have, host.files)) {
            Some(folder) => Ok(folder),
            None => Err(failed("the host did not take all of them".to_owned())),
        }
    }

    /// Removes what a run has brought that locks nothing. Where the host cannot be reached, a later run does it.
    pub(super) async fn take_away(&mut self, files: &Files) {
        if files.plan.locks() {
            return;
        }
        for user in files.folders.keys() {
            let question = HostFiles::of(&files.plan, &files.run, self.index).removed(user.as_ref());
            let _ = self.ask(&question).await;
        }
    }
}
