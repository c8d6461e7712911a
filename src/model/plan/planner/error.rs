//! Why there is no plan.

use std::collections::BTreeSet;

use crate::model::config::diagnostic::{Diagnostic, Place};
use crate::model::inventory::stage::Stage;
use crate::model::plan::book::Proof;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::{HostName, NameError, RunId, SiteName, TaskName, VarName};
use crate::model::text::secret::environment_name;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("recipe `{recipe}` has no task `{task}`{}", hint(.nearest.as_ref(), .known))]
    UnknownTask { task: String, recipe: String, nearest: Option<String>, known: Vec<String> },
    #[error("--{flag} {name}: no such step{}", hint(.nearest.as_ref(), .known))]
    UnknownStep {
        /// `start-at`, `only` or `skip`.
        flag: &'static str,
        name: String,
        nearest: Option<String>,
        known: Vec<String>,
    },
    /// The recipe and the inventory do not fit together.
    #[error("{} problems in the recipe", .0.len())]
    Diagnostics(Vec<Diagnostic>),
    #[error("{} phases on a role that no host has", .0.len())]
    Roles(Vec<Diagnostic>),
    #[error("recipe `{recipe}` needs the variable `{name}` ({doc}), and host `{host}` of site `{site}` has none")]
    Unset { recipe: String, name: VarName, doc: String, host: HostName, site: SiteName },
    /// What the recipe makes of variables uses one without a value.
    #[error("{0}, which has no value")]
    Open(String),
    /// A misspelt variable in a site's file.
    #[error("{0}")]
    Variable(String),
    #[error("-e {0}=...: `{0}` is a secret, and all users of this machine can see a command line")]
    SecretGiven(VarName),
    #[error("site `{site}` follows `{followed}`, and no whole run has proven a {variable} there")]
    Unproven {
        site: SiteName,
        followed: SiteName,
        variable: VarName,
        task: String,
        /// Those that the plan would use: asked for before any host is.
        secrets: Box<BTreeSet<VarName>>,
    },
    #[error("run {run}, the last that was proven on `{followed}`, has not proven a {variable}")]
    PartlyProven { followed: SiteName, run: RunId, variable: VarName, task: String },
    #[error("{variable} {given} is not what `{followed}` has proven: {} (run {})", .proof.get(.variable).unwrap_or_default(), .proof.run)]
    OtherProven {
        followed: SiteName,
        proof: Box<Proof>,
        variable: VarName,
        /// The value on the command line.
        given: String,
    },
    #[error(
        "task `{task}` is for sites of stage {} only ({}:{}), and `{site}` {}",
        or(.stages), .place.source.path, .place.line(), has(*.stage)
    )]
    Stage {
        task: TaskName,
        site: SiteName,
        /// The stage of the site.
        stage: Option<Stage>,
        /// Those that may run the task.
        stages: Vec<Stage>,
        place: Place,
    },
    #[error("no step of `{0}` is for the targeted hosts")]
    Empty(String),
    /// A name that grew too long.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Advise for PlanError {
    fn hints(&self) -> Vec<Hint> {
        let hint = match self {
            Self::Unset { name, site, .. } => {
                format!("set it in hosts/{site}.toml, below [vars]: {name} = \"...\"")
            }
            Self::Unproven { followed, variable, task, .. } => {
                format!("fleet {followed} {task}; or -e {variable}=..., which is then on record as not proven")
            }
            Self::SecretGiven(name) => {
                format!("leave it out: fleet asks for it, or takes it from {}", environment_name(name))
            }
            Self::PartlyProven { followed, task, .. } => format!("fleet {followed} {task}"),
            Self::OtherProven { variable, given, .. } => {
                format!("leave out --set {variable}=..., or prove {given} there first")
            }
            Self::UnknownTask { .. }
            | Self::UnknownStep { .. }
            | Self::Diagnostics(_)
            | Self::Roles(_)
            | Self::Open(_)
            | Self::Stage { .. }
            | Self::Variable(_)
            | Self::Empty(_)
            | Self::Name(_) => return Vec::new(),
        };
        vec![Hint::Advice(hint)]
    }
}

fn or(stages: &[Stage]) -> String {
    stages.iter().map(|stage| format!("\"{stage}\"")).collect::<Vec<_>>().join(" or ")
}

fn has(stage: Option<Stage>) -> String {
    stage.map_or("has none".to_owned(), |stage| format!("is \"{stage}\""))
}

fn hint(nearest: Option<&String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; there are: {}", known.join(", ")),
    }
}
