//! What a name means: always what the remote means by it.

use super::bed::Bed;
use super::everywhere;
use crate::support::files;
use crate::support::git::git;
use crate::support::process::{run, stdout_of};

#[test]
fn revisions_are_tags_branches_of_the_remote_or_commits_and_nothing_else() {
    everywhere(|mut host| {
        let (v1, v2) = (host.git("upstream", &["rev-parse", "v1"]), host.git("upstream", &["rev-parse", "v2"]));
        // `main` is at v1 in the checkout and at v2 upstream: upstream counts.
        for (revision, commit) in [("v1", &v1), ("main", &v2), (&v1[..12], &v1), ("origin/HEAD", &v2)] {
            host.set("revision", revision);
            host.done("deploy-pin");
            assert_eq!(&host.vars["revision"], commit, "{revision}");
        }
        for revision in ["v3", "--all", "-e", "", "x y", "$(touch pwned)", "HEAD:VERSION"] {
            host.set("revision", revision);
            let error = host.fails("deploy-pin");
            assert!(error.contains("there is no branch"), "{revision:?}: {error}");
        }
        assert!(!host.exists("home/pwned"));
    });
}

#[test]
fn a_branch_that_is_gone_upstream_is_not_deployed_from_what_the_host_remembers() {
    let bed = Bed::start("");
    run(git(&bed.up()).args(["branch", "trunk", "main"]));
    run(git(&bed.up()).args(["symbolic-ref", "HEAD", "refs/heads/trunk"]));
    // Seen by the host once, and by fleet.
    bed.host(&["fetch", "-q", "origin"]);
    bed.ends(0, &["deploy", "-e", "revision=main"]);
    bed.ends(0, &["rollback"]);
    run(git(&bed.up()).args(["branch", "-D", "main"]));
    for name in ["main", "refs/heads/main", "origin/main"] {
        let said = bed.ends(10, &["deploy", "-e", &format!("revision={name}")]);
        assert!(said.contains("no branch ") && said.contains(name.trim_start_matches("refs/heads/")), "{name}: {said}");
        assert_eq!(bed.head(), bed.one);
    }
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), bed.two);
}

#[test]
fn a_name_means_what_the_remote_means_by_it() {
    let bed = Bed::start("");
    // The host has all these names, at the first commit or at one of its own.
    bed.host(&["branch", "mine"]);
    bed.host(&["tag", "v9"]);
    bed.host(&["branch", &bed.two[..8]]);
    bed.host(&["tag", "main"]);
    bed.host(&["update-ref", "refs/remotes/origin/gone", &bed.one]);
    run(git(&bed.up()).args(["tag", "v1", &bed.one]));
    run(git(&bed.up()).args(["tag", "-a", "-m", "annotated", "v2", &bed.two]));
    run(git(&bed.up()).args(["update-ref", &format!("refs/heads/{}", bed.one), &bed.two]));
    let blob = stdout_of(git(&bed.up()).args(["rev-parse", "main:page"]));
    run(git(&bed.up()).args(["tag", "text", &blob]));
    let wanted = |name: &str| {
        bed.ends(0, &["deploy", "-e", &format!("revision={name}")]);
        bed.head()
    };
    for name in ["refs/heads/main", "main", "origin/main", "origin/HEAD", "v2", "refs/tags/v2", &bed.two[..8]] {
        assert_eq!(wanted(name), bed.two, "{name}");
        assert_eq!(wanted("v1"), bed.one);
    }
    for name in [&bed.one[..12], &bed.one] {
        assert_eq!(wanted("v2"), bed.two);
        assert_eq!(wanted(name), bed.one, "{name}");
    }
    for name in [
        "@",
        "HEAD",
        "FETCH_HEAD",
        "main@{0}",
        "HEAD~1",
        "main~1",
        "main^0",
        "mine",
        "refs/heads/mine",
        "v9",
        "refs/tags/v9",
        "gone",
        "origin/gone",
        "refs/remotes/origin/main",
        "text",
        "-",
        ":/one",
        "abc",
        "abcdef0123",
    ] {
        let said = bed.ends(10, &["deploy", "-e", &format!("revision={name}")]);
        assert!(said.contains("there is no "), "{name}: {said}");
        assert_eq!(bed.head(), bed.one);
    }
    assert_eq!(bed.host(&["rev-parse", "refs/tags/main", "refs/remotes/origin/gone"]), format!("{0}\n{0}", bed.one));
}

#[test]
fn refs_that_nobody_deploys_are_in_nobodys_way() {
    let bed = Bed::start("");
    run(git(&bed.up()).args(["branch", "feature", "main"]));
    run(git(&bed.up()).args(["tag", "moved", &bed.one]));
    bed.host(&["fetch", "-q", "--tags", "origin"]);
    bed.ends(0, &["deploy"]);
    run(git(&bed.up()).args(["branch", "-D", "feature"]));
    run(git(&bed.up()).args(["branch", "feature/login", "main"]));
    run(git(&bed.up()).args(["tag", "-f", "moved", &bed.two]));
    // What is only here stays, whatever git's own settings would do with it.
    bed.host(&["tag", "kept"]);
    bed.host(&["branch", "kept/too"]);
    bed.host(&["config", "fetch.prune", "true"]);
    bed.host(&["config", "fetch.pruneTags", "true"]);
    bed.host(&["config", "--add", "remote.origin.fetch", "+refs/tags/*:refs/tags/*"]);
    let three = bed.push("three", &[]);
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), three);
    bed.ends(0, &["deploy", "-e", "revision=moved"]);
    assert_eq!(bed.head(), bed.two, "the remote's");
    assert_eq!(bed.host(&["rev-parse", "moved"]), bed.one, "the host's own stays where it is");
    bed.host(&["rev-parse", "kept", "kept/too", "origin/feature"]);
    bed.ends(0, &["deploy", "-e", "revision=feature/login"]);
    // And the reverse.
    run(git(&bed.up()).args(["branch", "-D", "feature/login"]));
    run(git(&bed.up()).args(["branch", "feature", "main"]));
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), three);
}

#[test]
fn a_fetch_that_fails_says_so() {
    let bed = Bed::start("");
    std::fs::rename(bed.up(), bed.up().with_extension("away")).unwrap();
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("up.git") && said.contains("the fetch from origin failed"), "{said}");
    std::fs::rename(bed.up().with_extension("away"), bed.up()).unwrap();
    run(git(&bed.up()).args(["symbolic-ref", "HEAD", "refs/heads/nowhere"]));
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("no default branch"), "{said}");
    // A lock that somebody left on a ref.
    run(git(&bed.up()).args(["symbolic-ref", "HEAD", "refs/heads/main"]));
    files::write(&bed.home(".git/refs/fleet/heads/main.lock"), "", 0o644);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("main.lock") && said.contains("the fetch from origin failed"), "{said}");
    bed.is_as_before();
}
