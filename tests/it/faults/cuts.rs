//! Two hundred steps whose connections are cut wherever chance has it: each runs once, and no byte of its output is missing.

use std::fmt::Write as _;

use super::{Chance, assert_same, logged, printed};
use crate::deploy::Site;
use crate::support::files;

const HOSTS: [&str; 5] = ["web1", "web2", "web3", "web4", "web5"];
const STEPS: usize = 20;
const RUNS: u64 = 2;

/// In pieces that take turns: so many, and of these sizes.
const PIECES: usize = 8;
const PIECE: [usize; 2] = [25_000, 6_250];

/// A host is locked over its first connection, and that is not cut before it has said this much: what cannot be reached at the beginning is no
/// matter of a step.
const LOGIN: u64 = 12_000;
/// From here on a host is left in peace, so that it ends.
const CONNECTIONS: usize = 40;

#[test]
fn two_hundred_steps_run_once_and_lose_no_byte_whatever_is_cut() {
    let mut recipe = String::from("[[task.deploy.phase]]\nname = \"one\"\n");
    for step in 0..STEPS {
        // Every second one prints all at once, and ends before anybody has asked it for something.
        let pause = if step % 2 == 0 { "" } else { "sleep 0.03; " };
        let _ = writeln!(
            recipe,
            "[[task.deploy.phase.step]]\nname = \"s{step}\"\nrun = \"echo {{{{fleet.host}}}} s{step} >>@SHARED@/journal; \
             echo {{{{fleet.host}}}} s{step}; for i in {pieces}; do cat @SHARED@/out.$i; cat @SHARED@/err.$i >&2; {pause}done; \
             echo the end >&2\"",
            pieces = (0..PIECES).map(|piece| piece.to_string()).collect::<Vec<_>>().join(" "),
        );
    }
    let mut site = Site::start("", &HOSTS, &recipe);
    let mut said = [Vec::new(), Vec::new()];
    let mut chance = Chance::new(3);
    for piece in 0..PIECES {
        for (stream, name) in ["out", "err"].iter().enumerate() {
            let bytes = chance.bytes(PIECE[stream], b'\n');
            files::write(&site.shared().join(format!("{name}.{piece}")), &bytes, 0o644);
            said[stream].extend(bytes);
        }
    }
    for host in HOSTS {
        site.put_proxy_before(host);
    }
    let mut cuts = 0;
    for run in 0..RUNS {
        for (number, host) in (1..).zip(HOSTS) {
            let mut chance = Chance::new(run * 1000 + number);
            let mut connections = 0;
            site.proxy(host).cut_each(move || {
                connections += 1;
                let least = if connections == 1 { LOGIN } else { 0 };
                (connections < CONNECTIONS).then(|| least + chance.below(600_000))
            });
        }
        // Shown when something is wrong; together with the host's number, the run's is the seed.
        println!("run {run}, after {cuts} cuts");
        site.fleet(&["mysite", "deploy", "--quiet"]).expect_code(0);
        cuts = HOSTS.iter().map(|host| site.proxy(host).cuts()).sum();
        check(&site, run, &said);
    }
    assert!(cuts > 100, "only {cuts} cuts");
}

fn check(site: &Site, run: u64, said: &[Vec<u8>; 2]) {
    let mut ran = site.journal();
    ran.sort();
    let steps = |host: &'static str| (0..STEPS).map(move |step| format!("{host} s{step}"));
    let mut all: Vec<String> = HOSTS.into_iter().flat_map(steps).collect();
    all.sort();
    assert_eq!(ran, all, "run {run}");
    std::fs::remove_file(site.shared().join("journal")).unwrap();
    for host in HOSTS {
        let log = logged(site, host);
        for step in 0..STEPS {
            let name = format!("{host} s{step}\n");
            let [out, err] = said;
            // Its last line has no end.
            let expected = [[name.as_bytes(), out].concat(), [err.as_slice(), b"the end\n"].concat()];
            let got = printed(&log, &format!("one/s{step}"));
            assert_same(&got, &expected, &format!("run {run}, {host}, s{step}"));
        }
    }
}
