//! A command for a host, as a value. It is put into bytes in one place, in [`crate::remote::command`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::recipe::template::Template;
use crate::model::text::name::{UserName, VarName};

/// A command whose placeholders may still be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CommandTemplate {
    /// Shell text, or the content of a script.
    pub text: Template,
    /// The interpreter of a script that is not for plain `sh`, with its arguments, as shell words: `/bin/bash -e`.
    #[serde(skip)]
    pub interpreter: Option<String>,
    /// Folder to run in; the login folder when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Template>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
    /// Run as this user, through `sudo -n`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<UserName>,
}

impl CommandTemplate {
    /// Plain shell text, run in the login folder as the login user.
    pub fn shell(text: Template) -> Self {
        Self { text, interpreter: None, cwd: None, env: BTreeMap::new(), as_user: None }
    }

    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.text).chain(&self.cwd).chain(self.env.values())
    }

    /// Puts in the values that `value` knows.
    #[must_use]
    pub fn bind(&self, value: impl Fn(&VarName) -> Option<String> + Copy) -> Self {
        Self {
            text: self.text.bind(value),
            interpreter: self.interpreter.clone(),
            cwd: self.cwd.as_ref().map(|t| t.bind(value)),
            env: self.env.iter().map(|(k, t)| (k.clone(), t.bind(value))).collect(),
            as_user: self.as_user.clone(),
        }
    }

    /// The final command, or the first variable that nobody has set.
    pub fn finish(&self) -> Result<RemoteCommand, VarName> {
        Ok(RemoteCommand {
            text: self.text.finish().map_err(Clone::clone)?,
            interpreter: self.interpreter.clone(),
            cwd: self.cwd.as_ref().map(Template::finish).transpose().map_err(Clone::clone)?,
            env: self
                .env
                .iter()
                .map(|(k, t)| Ok((k.clone(), t.finish().map_err(Clone::clone)?)))
                .collect::<Result<_, VarName>>()?,
            as_user: self.as_user.clone(),
        })
    }
}

/// A final command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCommand {
    /// Shell text, or the content of a script.
    pub text: String,
    /// The interpreter of a script that is not for plain `sh`, with its arguments, as shell words.
    pub interpreter: Option<String>,
    /// Folder to run in.
    pub cwd: Option<String>,
    pub env: BTreeMap<String, String>,
    /// Run as this user, through `sudo -n`.
    pub as_user: Option<UserName>,
}

impl RemoteCommand {
    /// Plain shell text, run in the login folder as the login user.
    pub fn shell(text: impl Into<String>) -> Self {
        Self { text: text.into(), interpreter: None, cwd: None, env: BTreeMap::new(), as_user: None }
    }
}

/// The name of the signal behind a shell's exit status above 128, without `SIG`. Numbers as on Linux, where 128 + n is POSIX's rule
/// for a command that was ended by a signal (XCU 2.8.2).
pub fn signal_of_status(status: u8) -> Option<&'static str> {
    Some(match status.checked_sub(128)? {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        _ => return None,
    })
}
