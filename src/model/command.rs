//! A command for a host, as a value, and the one place where it is put into bytes.
//!
//! What sshd hands to the user's login shell (bash, fish, csh, …) is only `exec /bin/sh -s`, or `exec sudo -n -u USER -- /bin/sh -s`:
//! no quoting is needed that those shells could read differently. The command itself goes to that `sh` on standard input,
//! so it stands in no process list. See [`RemoteCommand::wire`] for what that input does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::name::{UserName, VarName};
use super::shell::quote;
use super::template::Template;

/// A command whose placeholders may still be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandTemplate {
    /// Shell text, or the content of a script.
    pub text: Template,
    /// The interpreter of a script that is not for `sh`: `/usr/bin/python3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Folder to run in; the login folder when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Template>,
    /// Environment.
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

    /// All templates of the command.
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
    /// The interpreter of a script that is not for `sh`.
    pub interpreter: Option<String>,
    /// Folder to run in.
    pub cwd: Option<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Run as this user, through `sudo -n`.
    pub as_user: Option<UserName>,
}

/// A command as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// What the login shell gets.
    pub exec: String,
    /// What `/bin/sh` then reads on standard input, which stays open as the leash: a line `TERM` or `KILL` written to it later
    /// is sent as a signal to the command's process group.
    pub stdin: Vec<u8>,
    /// Both streams carry `BEGIN\n` before the first byte of the command's output; what comes earlier is noise of the login shell.
    pub begin: String,
    /// Both streams carry `\nEND STATUS\n` after the last byte, however long a daemon may keep them open.
    pub end: String,
}

impl RemoteCommand {
    /// Plain shell text, run in the login folder as the login user.
    pub fn shell(text: impl Into<String>) -> Self {
        Self { text: text.into(), interpreter: None, cwd: None, env: BTreeMap::new(), as_user: None }
    }

    /// The command as it is sent. `nonce` is fresh random hex: output can not forge the marks that are made of it.
    ///
    /// `setsid` gives the command a session and process group of its own, so that a time limit ends all of it, and not only
    /// the channel. Without `setsid` on the host the signal goes to the command's shell alone.
    pub fn wire(&self, nonce: &str) -> Wire {
        let exec = match &self.as_user {
            Some(user) => format!("exec sudo -n -u {user} -- /bin/sh -s"),
            None => "exec /bin/sh -s".to_owned(),
        };
        let mut prepare = String::new();
        for (name, value) in &self.env {
            let _ = writeln!(prepare, "export {name}={}", quote(value));
        }
        if let Some(cwd) = &self.cwd {
            let _ = writeln!(prepare, "cd -- {} || exit", quote(cwd));
        }
        let run = match &self.interpreter {
            // The script becomes a file only where an interpreter needs one; it is removed by the shell that waits for it.
            Some(interpreter) => format!(
                "f=$(umask 077; mktemp) || exit\nprintf '%s' \"$t\" >\"$f\" || exit\nt=\n{} \"$f\"\nr=$?\nrm -f \"$f\"\nexit $r",
                quote(interpreter)
            ),
            None => "eval \"$t\"".to_owned(),
        };
        let inner = format!("t=$FLEET_TEXT\nunset FLEET_TEXT\n{prepare}{run}");
        // One compound command: sh reads all of it before it runs any, and what follows on standard input is the leash.
        // Standard input of a background command would be /dev/null, hence descriptor 3.
        let stdin = format!(
            "{{
printf '%s\\n' {nonce}-begin; printf '%s\\n' {nonce}-begin >&2
if command -v setsid >/dev/null 2>&1; then g=-; s=setsid; else g=; s=; fi
FLEET_TEXT={text} $s /bin/sh -c {inner} </dev/null 3<&- &
p=$!
{{ while read -r c; do kill -\"$c\" -- \"$g$p\" 2>/dev/null; done; }} <&3 >/dev/null 2>&1 &
w=$!
wait $p; r=$?
kill $w 2>/dev/null
printf '\\n%s %s\\n' {nonce}-end $r; printf '\\n%s %s\\n' {nonce}-end $r >&2
exit $r
}} 3<&0
",
            text = quote(&self.text),
            inner = quote(&inner),
        );
        Wire { exec, stdin: stdin.into_bytes(), begin: format!("{nonce}-begin"), end: format!("{nonce}-end") }
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
