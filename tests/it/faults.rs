//! What a network does to a deployment, and what must come of it: each fault on a real `sshd`, most of them through a
//! [`Proxy`](crate::support::proxy::Proxy) before it.
//!
//! What a step has printed must arrive byte for byte, and its command run once, however often the connection went. These faults cannot
//! be had here:
//!
//! * A host that forgets its connections (it was rebooted, `ss -K`) answers the next keepalive with a reset: to `fleet` that is the
//!   reset of [`steps`]. To make one needs root and a network namespace.
//! * The kernel's own delay, loss and reordering need `tc netem`, which not every kernel has; TCP repairs the last two before any
//!   program sees them. The proxy delays and limits instead.
//! * A link that goes down below TCP is a [black hole](crate::support::proxy::Proxy::black_hole), with one difference: the
//!   proxy's kernel still acknowledges, so that SSH's keepalive has to find it, and not TCP's.
//! * A thousand hosts, of which some are dead, are in `deploy::many`: it needs no network that goes wrong half way.

mod cuts;
mod given_up;
mod locks;
mod login;
mod steps;

use std::process::Stdio;

use crate::deploy::{Site, check_stream, outcomes};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::wait_for;
use crate::support::project::Running;
use crate::support::user;

/// Half of the step's output comes before the file `go`, half after it.
const TALK: &str = r#"
[[task.deploy.phase]]
name = "one"
[[task.deploy.phase.step]]
name = "talk"
run = "echo {{fleet.host}} talk >>@SHARED@/journal; cat @SHARED@/out.0; cat @SHARED@/err.0 >&2; touch @SHARED@/half; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; cat @SHARED@/out.1; cat @SHARED@/err.1 >&2"
"#;

/// A host behind a proxy, whose step says what is to be said.
struct Talk {
    site: Site,
    said: [Vec<u8>; 2],
}

impl Talk {
    /// 150 kB a half on standard output, and 50 kB on standard error, of lines as long as chance has it.
    fn start(ssh: &str) -> Self {
        let mut chance = Chance::new(1);
        Self::saying(ssh, [(150_000, b'\n'), (50_000, b'\n')].map(|(size, instead)| chance.halves(size, instead)))
    }

    /// One endless line on each stream, both of them longer than what `fleet` waits for the end of.
    fn without_lines() -> Self {
        let mut chance = Chance::new(2);
        Self::saying("", [150_000, 120_000].map(|size| chance.halves(size, b'x')))
    }

    fn saying(ssh: &str, said: [[Vec<u8>; 2]; 2]) -> Self {
        let mut site = Site::start(&ssh_table(ssh), &["web1"], TALK);
        for (name, halves) in ["out", "err"].iter().zip(&said) {
            for (half, bytes) in halves.iter().enumerate() {
                files::write(&site.shared().join(format!("{name}.{half}")), bytes, 0o644);
            }
        }
        site.put_proxy_before("web1");
        Self { site, said: said.map(|halves| halves.concat()) }
    }

    /// Deploys until the step has said the first half, and `fleet` heard of it.
    fn until_half(&self, args: &[&str]) -> Running {
        let mut running = self.site.spawn(&[&["mysite", "deploy", "--json"], args].concat());
        wait_for("the step", || self.site.has("half"));
        running.wait_for_text(r#""event":"output""#);
        running
    }

    /// The step says the rest, and all goes well.
    fn finish(&self, running: Running) -> Output {
        self.site.touch("go");
        let output = running.wait().expect_code(0);
        check_stream(&output);
        self.check(&output);
        output
    }

    /// Every byte is there, and the step ran once.
    fn check(&self, output: &Output) {
        assert_eq!(outcomes(output), ["web1 succeeded"]);
        assert_eq!(self.site.journal(), ["web1 talk"]);
        assert_same(&printed(&logged(&self.site, "web1"), "one/talk"), &self.said, "web1");
    }
}

/// The table `[ssh]` with these lines more.
fn ssh_table(lines: &str) -> String {
    format!("[ssh]\nuser = \"{}\"\n{lines}\n", user::current())
}

/// How often the stream of `--json` has this event.
fn count(output: &Output, event: &str) -> usize {
    output.events().iter().filter(|it| it["event"] == event).count()
}

/// What `fleet logs` gives to a pipe: the log of the host.
fn logged(site: &Site, host: &str) -> Vec<u8> {
    let logs = site.command(&["logs", "last", host]).stderr(Stdio::inherit()).output().unwrap();
    assert!(logs.status.success(), "{}", logs.status);
    let mut runs: Vec<_> =
        std::fs::read_dir(site.root().join(".fleet/runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    let file = std::fs::read(runs.last().unwrap().join(format!("{host}.log"))).unwrap();
    assert!(logs.stdout == file, "fleet logs gives {} bytes of {}", logs.stdout.len(), file.len());
    file
}

/// What a step printed on standard output and standard error, as a host's log has it: `TIME STEP STREAM| ` before each line. The newline
/// after `out~` and `err~` is the log's, and not the step's.
fn printed(log: &[u8], step: &str) -> [Vec<u8>; 2] {
    let mut streams = [Vec::new(), Vec::new()];
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let shown = || String::from_utf8_lossy(&line[..line.len().min(100)]);
        let bar = line.windows(2).position(|pair| pair == b"| ").unwrap_or_else(|| panic!("no prefix: {}", shown()));
        let words: Vec<&str> = std::str::from_utf8(&line[..bar]).unwrap().split(' ').collect();
        assert_eq!(words.len(), 3, "{}", shown());
        let (stream, text) = (words[2], &line[bar + 2..]);
        if words[1] != step || stream == "fleet" {
            continue;
        }
        let bytes = &mut streams[usize::from(stream.starts_with("err"))];
        bytes.extend_from_slice(text);
        if stream.ends_with('~') {
            bytes.pop();
        }
    }
    streams
}

/// Compares without printing all of it.
#[track_caller]
fn assert_same(got: &[Vec<u8>; 2], expected: &[Vec<u8>; 2], what: &str) {
    for (stream, (got, expected)) in ["stdout", "stderr"].iter().zip(got.iter().zip(expected)) {
        let differs = got.iter().zip(expected).position(|(one, other)| one != other);
        let place = differs.unwrap_or(got.len().min(expected.len()));
        assert!(got == expected, "{what}, {stream}: {} bytes of {}, wrong from {place}", got.len(), expected.len());
    }
}

/// A sequence that looks random and is the same for the same seed: Knuth's MMIX generator.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// All bytes there are, hence no UTF-8, with `instead` for newlines.
    fn bytes(&mut self, size: usize, instead: u8) -> Vec<u8> {
        (0..size)
            .map(|_| self.below(256).to_le_bytes()[0])
            .map(|byte| if byte == b'\n' { instead } else { byte })
            .collect()
    }

    /// The first one ends within a line, the second one with a newline.
    fn halves(&mut self, size: usize, instead: u8) -> [Vec<u8>; 2] {
        [[self.bytes(size, instead), b"-".to_vec()].concat(), [self.bytes(size, instead), b"\n".to_vec()].concat()]
    }
}
