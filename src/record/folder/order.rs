//! The order in which the runs of a project were recorded: `.fleet/order`, beside the folder of the runs, a line for each.
//!
//! `last`, and all that looks for the newest run, go by it. The names of runs begin with a time, but a clock that was ahead once would
//! make its run the last one until that time has come, and `fleet undo` would roll back the wrong one. Runs that are not in the file, from
//! before there was one, come first, by their names.
//!
//! Rejected: the time of a folder (the same clock, and a copy has another one); a number in the name (two controllers that begin at the
//! same moment would have to agree); a number in each plan (a listing would have to read all plans, which may be damaged); the sequence that
//! hosts keep (a run that reached no host has none).

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::files;
use crate::model::text::name::RunId;

/// Beside the folder of the runs, where all names are those of runs.
const ORDER_FILE: &str = "order";

pub fn path(runs: &Path) -> PathBuf {
    runs.with_file_name(ORDER_FILE)
}

/// Puts the run behind all others. When this returns, the line is on the disk.
pub fn append(runs: &Path, run: &RunId) -> io::Result<()> {
    let path = path(runs);
    let mut file = match files::if_there(files::append(&path))? {
        Some(file) => file,
        None => match files::create_new(&path, 0o600, b"") {
            // Another fleet was faster.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => files::append(&path)?,
        },
    };
    // Of two fleets that begin at the same moment, one waits: what it reads then ends with the other's line.
    file.lock()?;
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    let torn = before.last().is_some_and(|last| *last != b'\n');
    let line = format!("{}{run}\n", if torn { "\n" } else { "" });
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

/// Sorts runs: the oldest first.
pub fn sort(runs: &Path, ids: &mut [RunId]) -> io::Result<()> {
    let bytes = files::if_there(files::read(&path(runs)))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // The line of a run that is not there any more says nothing.
    let places: HashMap<&str, usize> = text.lines().enumerate().map(|(place, run)| (run, place)).collect();
    ids.sort_by_cached_key(|run| (places.get(run.as_str()).copied(), run.clone()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(runs: &Path, names: &[&str]) -> Vec<String> {
        let mut ids: Vec<RunId> = names.iter().map(|name| RunId::parse(name).unwrap()).collect();
        sort(runs, &mut ids).unwrap();
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn runs_come_in_the_order_in_which_they_were_recorded_and_older_ones_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(sorted(&folder.path().join("runs"), &["b", "a"]), ["a", "b"]);
        for run in ["future", "b", "gone"] {
            append(&folder.path().join("runs"), &RunId::parse(run).unwrap()).unwrap();
        }
        assert_eq!(sorted(&folder.path().join("runs"), &["b", "future", "zz", "a"]), ["a", "zz", "future", "b"]);
    }

    #[test]
    fn a_line_that_a_crash_has_torn_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        files::create_new(&folder.path().join(ORDER_FILE), 0o600, b"b\n\xff\x00torn").unwrap();
        append(&folder.path().join("runs"), &RunId::parse("a").unwrap()).unwrap();
        assert_eq!(sorted(&folder.path().join("runs"), &["a", "b", "torn"]), ["torn", "b", "a"]);
    }

    #[test]
    fn of_many_at_the_same_moment_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let runs = &folder.path().join("runs");
        std::thread::scope(|scope| {
            for n in 0..32 {
                scope.spawn(move || append(runs, &RunId::parse(&format!("run-{n}")).unwrap()).unwrap());
            }
        });
        let text = String::from_utf8(files::read(&folder.path().join(ORDER_FILE)).unwrap()).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 32, "{text}");
    }
}
