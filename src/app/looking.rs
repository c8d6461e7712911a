//! `fleet SITE check` on the hosts: what the recipe's tasks will need there. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use super::books::{Answer, Place, connected, inspected};
use crate::model::inventory::inventory::Site;
use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::plan::planner::{self, Overrides, PlanError, Request};
use crate::model::recipe::recipe::{Recipe, Task};
use crate::model::run::reason::Reason;
use crate::model::text::name::{HostName, SiteName, TaskName, UserName};
use crate::remote::{Connect, HostReport, Question, Session};

/// What the tasks of a site need of each host: users to become, and folders to run in.
#[derive(Debug, Default)]
pub struct Needs(BTreeMap<(SiteName, HostName), BTreeMap<Option<UserName>, Folders>>);

/// Folders, and whether one must be there before a task begins: others may be made by the steps before.
type Folders = BTreeMap<String, bool>;

/// What is missing on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The login user may not become that one.
    User {
        user: UserName,
        reason: Reason,
    },
    Folder {
        folder: String,
        user: Option<UserName>,
        at_once: bool,
    },
}

/// A host, what it says of itself, and what is missing there.
pub struct Looked<'a> {
    pub answer: Answer<'a>,
    pub missing: Vec<Missing>,
}

impl Needs {
    /// Adds those of all tasks of the site. Gives the tasks that cannot be planned, such as for a variable that is set with each run, and why.
    pub fn add<'r>(
        &mut self,
        site: &Site,
        recipe: &'r Recipe,
        overrides: &Overrides,
        login: &UserName,
    ) -> Vec<(&'r TaskName, String)> {
        let mut unknown = Vec::new();
        let parts: BTreeSet<&TaskName> = recipe.all_tasks().flat_map(Task::uses).map(|used| &used.value.task).collect();
        let hosts: Vec<HostName> = site.hosts.iter().map(|host| host.name.clone()).collect();
        let request = Request::without_run((site, &hosts, recipe), overrides, login);
        for task in recipe.tasks.iter().filter(|task| !parts.contains(&task.name)) {
            match planner::plan(Request { tasks: std::slice::from_ref(&task.name), ..request }) {
                Ok(plan) => self.add_plan(&plan),
                // It is not for this site.
                Err(PlanError::Stage { .. } | PlanError::Empty(_) | PlanError::Roles(_)) => {}
                Err(error) => unknown.push((&task.name, error.to_string())),
            }
        }
        unknown
    }

    fn add_plan(&mut self, plan: &Plan) {
        let mut begun: BTreeSet<HostIndex> = BTreeSet::new();
        for (at, _, step) in plan.steps() {
            if step.is_local() {
                continue;
            }
            for host in step.hosts.iter() {
                let Some(planned) = plan.hosts.get(host.0) else { continue };
                let Some(command) = plan.run(host, at).or_else(|| plan.undo(host, at)) else { continue };
                let key = (planned.site.clone(), planned.name.clone());
                let folders = self.0.entry(key).or_default().entry(plan.user(host, at)).or_default();
                // One that a step registers is known later.
                let folder = command.cwd.and_then(|cwd| cwd.finish().ok());
                let at_once = step.run.is_some() && begun.insert(host);
                if let Some(folder) = folder {
                    *folders.entry(folder).or_default() |= at_once;
                }
            }
        }
    }
}

/// Asks all hosts how things stand, and for what is needed.
pub async fn look<'a>(
    connector: &Arc<dyn Connect>,
    places: &'a [Place],
    needs: &Needs,
    width: usize,
) -> Vec<Looked<'a>> {
    let asked = places.iter().map(async |place| {
        let key = (place.host.site.clone(), place.host.name.clone());
        let talk = async |session: &mut dyn Session| {
            let report = inspected(place, session).await?;
            let mut missing = Vec::new();
            for (user, folders) in needs.0.get(&key).into_iter().flatten() {
                missing.extend(missing_for(user.as_ref(), folders, session).await);
            }
            Ok((report, missing))
        };
        let (report, missing): (Result<HostReport, Reason>, _) = match connected(connector, &place.host, talk).await {
            Ok((report, missing)) => (Ok(report), missing),
            Err(reason) => (Err(reason), Vec::new()),
        };
        Looked { answer: (place, report), missing }
    });
    stream::iter(asked).buffered(width).collect().await
}

async fn missing_for(user: Option<&UserName>, folders: &Folders, session: &mut dyn Session) -> Vec<Missing> {
    let names: Vec<&str> = folders.keys().map(String::as_str).collect();
    match (Question::folders(user, &names).ask(session).await, user) {
        (Ok(answer), _) => {
            let is_missing = |place: &usize| answer.lines().any(|line| line == format!("no-folder {place}"));
            let missing = folders.iter().enumerate().filter(|(place, _)| is_missing(place));
            let missing = missing.map(|(_, (folder, at_once))| Missing::Folder {
                folder: folder.clone(),
                user: user.cloned(),
                at_once: *at_once,
            });
            missing.collect()
        }
        (Err(no), Some(user)) => vec![Missing::User { user: user.clone(), reason: no.reason }],
        // The connection broke; the report says what is known.
        (Err(_), None) => Vec::new(),
    }
}
