//! The recipe language through the binary, on real `sshd`.

mod files;
mod inheritance;
mod local;
mod looking;
mod parts;
mod previews;
mod summaries;
mod surroundings;

/// What the steps of `web1` printed.
fn printed(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.strip_prefix("web1 | ")?.split_once(" | ").map(|(_, text)| text)).collect()
}
