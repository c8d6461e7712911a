//! What a step does. A further kind is one more variant here and a file of its own.

use serde::{Deserialize, Serialize};

use crate::model::plan::blob::{BlobId, Blobs};
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::script::Script;
use crate::model::recipe::template::Template;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Command(CommandTemplate),
    /// A command where fleet runs.
    Local(CommandTemplate),
    /// A script, byte for byte.
    Script(Script),
}

impl Operation {
    /// What is sent for it; none when its blob is missing.
    pub fn command(&self, blobs: &Blobs) -> Option<CommandTemplate> {
        match self {
            Self::Command(command) | Self::Local(command) => Some(command.clone()),
            Self::Script(script) => script.command(blobs),
        }
    }

    pub fn templates(&self) -> Box<dyn Iterator<Item = &Template> + '_> {
        match self {
            Self::Command(command) | Self::Local(command) => Box::new(command.templates()),
            Self::Script(script) => Box::new(script.cwd.iter().chain(script.env.values()).chain(&script.as_user)),
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    pub fn blob(&self) -> Option<&BlobId> {
        match self {
            Self::Command(_) | Self::Local(_) => None,
            Self::Script(script) => Some(&script.blob),
        }
    }
}
