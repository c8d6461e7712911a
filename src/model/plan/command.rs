//! A command for a host, as a value. It is put into bytes in one place, in [`crate::remote::command`].

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use crate::model::recipe::template::Template;
use crate::model::text::name::{NameError, UserName, VarName};
use crate::model::text::secret::{Secret, Secrets};

/// A command of texts that are templates, or final, and a user whose name is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command<T, U = T> {
    /// Shell text, or the content of a script.
    pub text: T,
    /// The interpreter of a script that is not for plain `sh`, with its arguments, as shell words: `/bin/bash -e`.
    #[serde(skip)]
    pub interpreter: Option<String>,
    /// Folder to run in; the login folder when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<T>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, T>,
    /// The part of the environment in which secret values stand: known only when it is sent, and never written down.
    #[serde(skip)]
    pub secret_env: BTreeMap<String, Secret>,
    /// Run as this user, through `sudo -n`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<U>,
}

/// A command whose placeholders may still be open.
pub type CommandTemplate = Command<Template>;

pub type RemoteCommand = Command<String, UserName>;

/// Why a command is not final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    #[error("`{0}` is not set")]
    Open(VarName),
    #[error(transparent)]
    User(#[from] NameError),
}

impl<T, U> Command<T, U> {
    /// Plain shell text, run in the login folder as the login user.
    pub fn shell(text: impl Into<T>) -> Self {
        Self {
            text: text.into(),
            interpreter: None,
            cwd: None,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            as_user: None,
        }
    }

    fn try_map<A, B, E>(
        &self,
        change: impl Fn(&T) -> Result<A, E>,
        user: impl FnOnce(&U) -> Result<Option<B>, E>,
    ) -> Result<Command<A, B>, E> {
        Ok(Command {
            text: change(&self.text)?,
            interpreter: self.interpreter.clone(),
            cwd: self.cwd.as_ref().map(&change).transpose()?,
            env: self.env.iter().map(|(name, value)| Ok((name.clone(), change(value)?))).collect::<Result<_, E>>()?,
            secret_env: self.secret_env.clone(),
            as_user: self.as_user.as_ref().map(user).transpose()?.flatten(),
        })
    }
}

impl CommandTemplate {
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.text).chain(&self.cwd).chain(self.env.values()).chain(&self.as_user)
    }

    /// Puts in the values that `value` knows.
    #[must_use]
    pub fn bind(&self, value: impl Fn(&VarName) -> Option<String> + Copy) -> Self {
        let Ok(bound) = self.try_map(|text| Ok::<_, Infallible>(text.bind(value)), |user| Ok(Some(user.bind(value))));
        bound
    }

    /// Without its user, when that is the login user or empty: no sudo.
    #[must_use]
    pub fn for_login(mut self, login: &UserName) -> Self {
        let is_login = |user: &Template| user.finish().is_ok_and(|user| user.is_empty() || user == login.as_str());
        self.as_user = self.as_user.filter(|user| !is_login(user));
        self
    }

    /// The final command, or why it is none.
    pub fn finish(&self) -> Result<RemoteCommand, Unfinished> {
        let finish = |text: &Template| text.finish().map_err(|name| Unfinished::Open(name.clone()));
        self.try_map(finish, |user| Ok(Some(UserName::parse(&finish(user)?)?)))
    }

    /// The same with secret values. They are put into the environment only, wherever a damaged plan may have the placeholder.
    pub fn finish_with(&self, secrets: &Secrets) -> Result<RemoteCommand, Unfinished> {
        let is_secret = |value: &Template| value.names().any(|name| secrets.contains_key(name));
        let mut plain = self.clone();
        plain.env.retain(|_, value| !is_secret(value));
        let mut command = plain.finish()?;
        for (name, value) in self.env.iter().filter(|(_, value)| is_secret(value)) {
            let bound = value.bind(|name| Some(secrets.get(name)?.expose().to_owned()));
            command
                .secret_env
                .insert(name.clone(), Secret::of(bound.finish().map_err(|name| Unfinished::Open(name.clone()))?));
        }
        Ok(command)
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
