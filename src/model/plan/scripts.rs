//! The scripts that travel: functions, which the shell of a conversation is taught once, when the first question or step needs them.

use std::sync::LazyLock;

pub static SPOOL: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/spool.sh")));
pub static BOOK: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/book.sh")));
pub static HOLDER: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/holder.sh")));
pub static EVIDENCE: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/evidence.sh")));
pub static LOCK: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/lock.sh")));
pub static RELEASE: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/release.sh")));
pub static INSPECT: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/inspect.sh")));
pub static SEE: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/see.sh")));
pub static UNLOCK: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/unlock.sh")));
pub static EFFECTS: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/effects.sh")));
pub static STEP: LazyLock<String> = LazyLock::new(|| compact(include_str!("durable/step.sh")));

/// A script without what only people read.
fn compact(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(String::new(), |all, line| all + line + "\n")
}
