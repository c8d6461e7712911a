//! The files of a recipe on a host: sent once for each user and run, before the first step that uses them.
//!
//! They go through the shell of the conversation, as here-documents: a text as it is, other bytes as Base64. `scripts/files.sh` says what lies
//! on the host.
//!
//! Rejected: SFTP, or a channel for each file. Either costs round trips, and an account that may run commands need not have SFTP.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::host_report::HostReport;
use super::question::Question;
use super::scripts::{EVIDENCE, FILES, SPOOL, assign};
use crate::model::plan::blob::{BlobId, Blobs};
use crate::model::plan::file::PlanFile;
use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::recipe::shell::quote;
use crate::model::text::name::{RunId, UserName};

/// Most bytes of files that one question brings: on a slow line, too, it is through before the time for an answer is over.
const PART: usize = 128 << 10;

/// Of Base64, what a decoder takes on one line.
const LINE: usize = 76;

/// The files of a run for one of its hosts.
#[derive(Debug, Clone)]
pub struct HostFiles<'a> {
    pub run: &'a RunId,
    /// Which of the run's hosts.
    pub host: HostIndex,
    /// The run locks nothing, so that nobody removes its folder but it.
    pub beside: bool,
    pub files: &'a [PlanFile],
    pub blobs: &'a Blobs,
}

/// What a host says of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Their folder, and the marks of those that are whole.
    There { folder: String, have: Vec<String> },
    /// Why they cannot be there.
    Refused(String),
}

impl<'a> HostFiles<'a> {
    pub fn of(plan: &'a Plan, run: &'a RunId, host: HostIndex) -> Self {
        Self { run, host, beside: !plan.locks(), files: &plan.files, blobs: &plan.blobs }
    }

    /// Which of them are there?
    pub fn there(&self, user: Option<&UserName>) -> Question {
        self.bring(user, "")
    }

    /// Brings those that are not among the marks; each question can be asked when the one before is answered. An error is the file
    /// whose bytes are lost.
    pub fn put(&self, user: Option<&UserName>, have: &[String]) -> Result<Vec<Question>, String> {
        let (mut questions, mut text, mut bytes) = (Vec::new(), String::new(), 0);
        let wanted = self.files.iter().enumerate().filter(|(place, file)| !have.contains(&mark(*place, &file.blob)));
        for (place, file) in wanted {
            let content = self.blobs.get(&file.blob).ok_or_else(|| file.path.clone())?;
            let parts: Vec<&[u8]> = if content.is_empty() { vec![&[]] } else { content.chunks(PART).collect() };
            let mut offset = 0;
            for (number, part) in parts.iter().enumerate() {
                if bytes > 0 && bytes + part.len() > PART {
                    questions.push(self.bring(user, &std::mem::take(&mut text)));
                    bytes = 0;
                }
                bytes += part.len();
                let is_last = number + 1 == parts.len();
                add_part(&mut text, (&mark(place, &file.blob), file, content.len()), part, (offset, is_last));
                offset += part.len();
            }
        }
        questions.push(self.bring(user, &text));
        Ok(questions)
    }

    fn bring(&self, user: Option<&UserName>, parts: &str) -> Question {
        self.ask(user, &format!("fleet_files_folder\n{parts}fleet_files_there"))
    }

    /// Removes the folder of a run that locks nothing.
    pub fn removed(&self, user: Option<&UserName>) -> Question {
        self.ask(user, "fleet_files_removed")
    }

    fn ask(&self, user: Option<&UserName>, function: &str) -> Question {
        let host = self.host.0.to_string();
        let beside = if self.beside { "yes" } else { "" };
        let values = assign([("run", self.run.as_str()), ("host", &host), ("beside", beside)]);
        Question::new(user, values, function, vec![&SPOOL, &EVIDENCE, &FILES])
    }
}

impl Answer {
    pub fn parse(answer: &str) -> Self {
        if let Some(exposed) = HostReport::parse(answer).exposed() {
            return Self::Refused(format!("the spool is not safe: {exposed}"));
        }
        let has = |word: &str| answer.lines().any(|line| line == word);
        let after = |word: &'static str| answer.lines().filter_map(move |line| line.strip_prefix(word));
        match after("files ").next_back() {
            _ if has("no-base64") => Self::Refused("they are not all text, and the host has no `base64`".to_owned()),
            Some(folder) if !has("fault") => {
                Self::There { folder: folder.to_owned(), have: after("have ").map(str::to_owned).collect() }
            }
            _ => Self::Refused("the host has no room for them, or no folder that can be written to".to_owned()),
        }
    }

    /// Are all of them there?
    pub fn is_whole(have: &[String], files: &[PlanFile]) -> bool {
        files.iter().enumerate().all(|(place, file)| have.contains(&mark(place, &file.blob)))
    }
}

/// The name under which the host notes that a file is whole.
fn mark(place: usize, blob: &BlobId) -> String {
    format!("{place}.{blob}")
}

fn add_part(
    text: &mut String,
    (mark, file, size): (&str, &PlanFile, usize),
    part: &[u8],
    (offset, is_last): (usize, bool),
) {
    let mode = if file.executable { "700" } else { "600" };
    let plain = std::str::from_utf8(part).ok().filter(|part| part.ends_with('\n') && !part.contains('\0'));
    if plain.is_none() {
        text.push_str("fleet_decoder\n");
    }
    let _ = writeln!(
        text,
        "fleet_file {mark} {path} {mode} {size} {how} {offset} {last} <<'fleet-{mark}'",
        path = quote(&file.path),
        how = if plain.is_some() { "plain" } else { "$_base64" },
        last = if is_last { "last" } else { "''" },
    );
    if let Some(part) = plain {
        text.push_str(part);
    } else {
        for line in STANDARD.encode(part).as_bytes().chunks(LINE) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
    }
    let _ = writeln!(text, "fleet-{mark}");
}
