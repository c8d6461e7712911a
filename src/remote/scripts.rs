//! The scripts that travel: functions, which the shell of a conversation is taught once, when the first question or step needs them.

use std::sync::LazyLock;

use crate::model::recipe::shell::quote;

pub static SPOOL: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/spool.sh")));
pub static BOOK: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/book.sh")));
pub static HOLDER: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/holder.sh")));
pub static EVIDENCE: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/evidence.sh")));
pub static LOCK: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/lock.sh")));
pub static RELEASE: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/release.sh")));
pub static FILES: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/files.sh")));
pub static FOLDERS: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/folders.sh")));
pub static INSPECT: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/inspect.sh")));
pub static SEE: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/see.sh")));
pub static UNLOCK: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/unlock.sh")));
pub static EFFECTS: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/effects.sh")));
pub static STEP: LazyLock<String> = LazyLock::new(|| compact(include_str!("scripts/step.sh")));

/// What a script gets before it is called: names and values.
pub fn assign(values: impl IntoIterator<Item = (&'static str, impl AsRef<str>)>) -> String {
    let lines = values.into_iter().map(|(name, value)| format!("_{name}={}\n", quote(value.as_ref())));
    lines.collect()
}

/// A script without what only people read.
fn compact(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(String::new(), |all, line| all + line + "\n")
}
