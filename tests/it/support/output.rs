//! What a run of `fleet` printed, and the text of it that a snapshot can hold.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// How `fleet` ended, and all that it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// The arguments that it was called with.
    pub args: String,
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    /// Empty when it ran on a terminal, where both streams are one.
    pub stderr: String,
    /// What differs from machine to machine, and what a snapshot says instead.
    pub(super) places: Vec<(String, &'static str)>,
}

impl Output {
    /// Fails with all that was said unless the exit code is this.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "fleet {}\n--- stdout\n{}--- stderr\n{}",
            self.args,
            self.stdout,
            self.stderr
        );
        self
    }

    /// All of it, in both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The `--json` events on stdout; each line must be one.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Arguments, exit code and both streams, without what changes from run to run.
    pub fn snapshot(&self) -> String {
        let code = self.code.map_or("ended by a signal".to_owned(), |code| format!("exit {code}"));
        let mut text = format!("$ fleet {}\n[{code}]\n", self.args);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                let _ = write!(text, "--- {name}\n{stream}");
            }
        }
        redact(&text, &self.places)
    }
}

/// Puts names in the place of what changes: folders, ports, run ids, times, durations, fingerprints, commits.
pub fn redact(text: &str, places: &[(String, &'static str)]) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"\x1b\[[0-9;?]*[ -/]*[@-~]", ""),
            (r"\r\n", "\n"),
            (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:[FINGERPRINT]"),
            (r"AAAA[A-Za-z0-9+/]{40,}={0,2}", "[PUBLIC KEY]"),
            (r"(?-u:\b)[0-9]{8}-[0-9]{6}-[0-9a-f]{4,}", "[RUN]"),
            (r"(?-u:\b)[0-9a-f]{40}(?-u:\b)", "[COMMIT]"),
            (r"\[127\.0\.0\.1\]:[0-9]{4,5}", "[127.0.0.1]:[PORT]"),
            (r"127\.0\.0\.1:[0-9]{4,5}", "127.0.0.1:[PORT]"),
            (r"port( = |: | |=)[0-9]{4,5}(?-u:\b)", "port$1[PORT]"),
            (
                r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?",
                "[TIME]",
            ),
            (r"(?-u:\b)[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?", "[TIME]"),
            (r"(?-u:\b)[0-9]+\.[0-9]+ ?s(?-u:\b)", "[DURATION]"),
            (r"(?-u:\b)[0-9]+ ?ms(?-u:\b)", "[DURATION]"),
        ];
        rules.map(|(pattern, with)| (Regex::new(pattern).unwrap(), with)).to_vec()
    });
    let text = places.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    RULES.iter().fold(text, |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned())
}
