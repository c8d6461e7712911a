//! A script as an operation: its text is a blob.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::plan::blob::{BlobId, Blobs};
use crate::model::plan::command::CommandTemplate;
use crate::model::recipe::shell::quote;
use crate::model::recipe::template::Template;

/// As a [`CommandTemplate`], but for the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Script {
    pub blob: BlobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Template>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<Template>,
}

impl Script {
    pub fn command(&self, blobs: &Blobs) -> Option<CommandTemplate> {
        let text = std::str::from_utf8(blobs.get(&self.blob)?).ok()?;
        Some(CommandTemplate {
            text: Template::literal(text),
            interpreter: interpreter(text),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            secret_env: BTreeMap::new(),
            as_user: self.as_user.clone(),
        })
    }
}

/// The interpreter that a script's first line names, with its arguments, as shell words; none for plain `sh`. Without its `-e`, a script
/// would go on after a command that failed.
fn interpreter(script: &str) -> Option<String> {
    let line = script.strip_prefix("#!")?.lines().next()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let words = match words.as_slice() {
        [env, "-S", rest @ ..] | [env, rest @ ..] if env.ends_with("/env") => rest,
        words => words,
    };
    match words {
        [] => None,
        [program] if program.rsplit('/').next() == Some("sh") => None,
        words => Some(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_run_by_the_interpreter_of_its_first_line() {
        assert_eq!(interpreter("#!/usr/bin/env python3\nprint()").unwrap(), "python3");
        assert_eq!(interpreter("#!/usr/bin/env -S python3 -u\n").unwrap(), "python3 -u");
        assert_eq!(interpreter("#! /bin/bash -e\n").unwrap(), "/bin/bash -e");
        assert_eq!(interpreter("#!/bin/sh -eu\n").unwrap(), "/bin/sh -eu");
        assert_eq!(interpreter("#!/opt/x; $(id)\n").unwrap(), "'/opt/x;' '$(id)'");
        assert_eq!(interpreter("#!/bin/sh\n"), None);
        assert_eq!(interpreter("#!\n"), None);
        assert_eq!(interpreter("echo"), None);
    }
}
