//! What is in the way of a release: refused before anything closes, named; and what a checkout that failed all the same leaves.

use std::fs;

use super::bed::Bed;
use crate::support::files;
use crate::support::git::git;
use crate::support::process::run;

/// Refused, for this reason, before anything was closed, with the host as it was.
#[track_caller]
fn refused(bed: &Bed, code: i32, args: &[&str], why: &[&str]) -> String {
    let said = bed.ends(code, args);
    for why in why {
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(!said.contains("maintenance-on") && !said.contains("cron-off"), "{said}");
    bed.is_as_before();
    said
}

#[test]
fn a_commit_made_on_the_host_is_never_dropped() {
    let bed = Bed::start("");
    let commit = |message: &str| {
        bed.host(&["commit", "-q", "--allow-empty", "-am", message]);
        bed.head()
    };
    files::write(&bed.home("page"), "hotfix\n", 0o644);
    let hotfix = commit("hotfix at night");
    // On a branch, on none, on a branch of its own, with a tag of the host's, and merged with upstream's.
    for prepare in [
        &["checkout", "-q", "main"][..],
        &["checkout", "-q", "--detach"],
        &["checkout", "-q", "-b", "mine"],
        &["tag", "kept"],
        &["-c", "user.name=a", "merge", "-q", "--no-ff", "--no-edit", "-X", "ours", &bed.two],
    ] {
        if prepare.contains(&"merge") {
            bed.host(&["fetch", "-q", "origin"]);
        }
        bed.host(prepare);
        for task in ["deploy", "pull"] {
            let said = bed.ends(10, &[task]);
            assert!(
                said.contains("commits were made on the host itself") && said.contains("hotfix at night"),
                "{said}"
            );
            assert!(!said.contains("maintenance-on") && said.contains("hint: git push origin"), "{said}");
            bed.is_open();
        }
    }
    assert_eq!(bed.host(&["log", "-1", "--format=%H", &hotfix]), hotfix);
    // Upstream has it: now it may be replaced.
    bed.host(&["push", "-q", "origin", "HEAD:refs/heads/hotfix"]);
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), bed.two);
}

/// A branch that was rewritten upstream leaves the host with commits that nobody has any more, and that are not its own.
#[test]
fn what_a_deployment_brought_is_not_the_hosts_own_when_upstream_rewrites_its_branch() {
    let bed = Bed::start("");
    bed.ends(0, &["deploy"]);
    bed.upstream(&["reset", "-q", "--hard", &bed.one]);
    bed.upstream(&["push", "-q", "--force", "origin", "HEAD"]);
    let other = bed.push("another two", &[("page", "another\n")]);
    bed.host(&["update-ref", "-d", "refs/remotes/origin/main"]);
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), other);
    // And back to what nobody has any more.
    bed.host(&["reflog", "expire", "--expire=now", "--all"]);
    bed.host(&["gc", "-q", "--prune=now"]);
    bed.ends(0, &["rollback"]);
    assert_eq!(bed.head(), bed.two);
    bed.is_open();
}

#[test]
fn a_filter_that_is_missing_is_a_block_before_the_site_closes() {
    let bed = Bed::start("");
    files::write(&bed.work(".gitattributes"), "*.bin filter=large\n*.txt text\n", 0o644);
    bed.push("three", &[("a.bin", "pointer\n"), ("b.txt", "text\n")]);
    refused(&bed, 6, &["deploy"], &["filter.large", "not set up on this host"]);
    bed.host(&["config", "filter.large.process", "no-such-program filter-process"]);
    refused(&bed, 6, &["deploy"], &["filter.large", "no-such-program is not on this host"]);
    // Accepted by its name, it is checked out as git can.
    bed.host(&["config", "--unset", "filter.large.process"]);
    bed.write_site(|site| format!("{site}\n[accept]\n\"filter.large\" = \"the pointers are served as they are\"\n"));
    bed.ends(0, &["deploy"]);
    assert_eq!(files::read(&bed.home("a.bin")), "pointer\n");
}

/// One that only cleans what is committed has nothing to do in a checkout.
#[test]
fn a_filter_that_has_nothing_to_do_in_a_checkout_is_in_nobodys_way() {
    let bed = Bed::start("");
    bed.host(&["config", "filter.strip.clean", "cat"]);
    files::write(&bed.work(".gitattributes"), "*.ipynb filter=strip\n*.c -filter\n", 0o644);
    let three = bed.push("three", &[("a.ipynb", "{}\n"), ("b.c", "\n")]);
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), three);
}

/// The second deployment used to fail on the `.gitattributes` that the first had left.
#[test]
fn what_a_failed_checkout_brought_is_gone_after_the_rollback() {
    let bed = Bed::start("migrate = \"true\"\nbackup = 'echo data >\"$BACKUP/data\"'\nrestore = \"true\"");
    files::write(&bed.work(".gitattributes"), "*.bin filter=large\n", 0o644);
    let three = bed.push("three", &[("a.bin", "a\n"), ("new/deep/page", "new\n"), ("say \"\u{e9}\"", "quoted\n")]);
    // It is there when it is looked for, and fails when it is needed.
    files::write(&bed["web1"].bin().join("large"), "#!/bin/sh\nexit 1\n", 0o755);
    bed.host(&["config", "filter.large.process", "large"]);
    bed.host(&["config", "filter.large.required", "true"]);
    fs::create_dir(bed.home("new")).unwrap();
    let before = tree(&bed);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("database/pull") && said.contains("rolled back"), "{said}");
    bed.is_as_before();
    assert_eq!(tree(&bed), before, "the folder that was there, too");
    bed.host(&["config", "--unset", "filter.large.process"]);
    for (key, value) in [("smudge", "cat"), ("clean", "cat")] {
        bed.host(&["config", &format!("filter.large.{key}"), value]);
    }
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("a.bin"))), (three, "a\n".to_owned()));
    // git itself removes a folder that has become empty.
    bed.ends(0, &["rollback"]);
    let before: Vec<_> = before.into_iter().filter(|path| !path.ends_with("/new")).collect();
    assert_eq!(tree(&bed), before);
}

/// What came to the place of a file of the release while it was checked out is somebody's.
#[test]
fn what_is_not_as_the_release_has_it_is_kept_aside() {
    let bed = Bed::start("");
    files::write(&bed.work(".gitattributes"), "*.bin filter=large\n", 0o644);
    bed.push("three", &[("new/page", "new\n"), ("z.bin", "z\n")]);
    files::write(&bed["web1"].bin().join("large"), "#!/bin/sh\necho mine >new/page\nexit 1\n", 0o755);
    bed.host(&["config", "filter.large.smudge", "large"]);
    bed.host(&["config", "filter.large.required", "true"]);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("new/page is not as the release has it; it is kept in"), "{said}");
    bed.is_as_before();
    assert!(!bed.home("new").exists() && !bed.home(".gitattributes").exists());
    let left = bed.home(".git/fleet/left");
    let run = fs::read_dir(&left).unwrap().next().unwrap().unwrap().path();
    assert_eq!(files::read(&run.join("new/page")), "mine\n", "{said}");
}

/// Everything in the checkout but what git and fleet keep.
fn tree(bed: &Bed) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![bed.home("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != ".git") {
            paths.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    paths.sort();
    paths
}

/// A bed whose release has a submodule `lib`; the repository beside it, `library`, takes commits.
fn with_submodule() -> (Bed, std::path::PathBuf) {
    let bed = Bed::start("");
    files::write(&bed["web1"].home().join(".gitconfig"), "[protocol \"file\"]\n\tallow = always\n", 0o644);
    let library = bed.up().with_file_name("library");
    run(git(library.parent().unwrap()).args(["init", "-q", "-b", "main", "library"]));
    commit(&library, "code", "l1\n");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.to_str().unwrap(), "lib"];
    bed.upstream(&add);
    (bed, library)
}

fn commit(repository: &std::path::Path, path: &str, text: &str) {
    files::write(&repository.join(path), text, 0o644);
    run(git(repository).args(["add", "-A"]));
    run(git(repository).args(["commit", "-q", "-m", text.trim()]));
}

#[test]
fn a_submodule_that_a_release_brings_is_gone_after_the_rollback() {
    let (bed, _) = with_submodule();
    bed.push("three", &[]);
    bed.write_var("restart = \"[ ! -e lib ]\"");
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("rolled back"), "{said}");
    bed.is_as_before();
    assert!(!bed.home("lib").exists());
}

/// `upload-pack: not our ref`: the commit was looked for at the former address.
#[test]
fn a_submodule_with_a_new_address_has_its_commits_from_there() {
    let (bed, library) = with_submodule();
    let three = bed.push("three", &[]);
    bed.ends(0, &["deploy"]);
    let moved = library.with_file_name("moved");
    run(git(&library).args(["clone", "-q"]).arg(&library).arg(&moved));
    commit(&moved, "code", "l2\n");
    bed.upstream(&["submodule", "set-url", "lib", moved.to_str().unwrap()]);
    let at = |address: &std::path::Path| {
        run(git(&bed.work("lib")).args(["fetch", "-q"]).arg(address).arg("main"));
        run(git(&bed.work("lib")).args(["checkout", "-q", "FETCH_HEAD"]));
    };
    at(&moved);
    let four = bed.push("four", &[]);
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/code"))), (four.clone(), "l2\n".to_owned()));
    bed.ends(0, &["rollback"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/code"))), (three, "l1\n".to_owned()));
    bed.ends(0, &["deploy"]);

    // Relative to the remote's.
    bed.upstream(&["submodule", "set-url", "lib", "../library"]);
    commit(&library, "code", "l3\n");
    at(&library);
    let five = bed.push("five", &[]);
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/code"))), (five.clone(), "l3\n".to_owned()));

    // Nowhere: a commit that nobody has pushed, and an address at which nothing is.
    commit(&bed.work("lib"), "code", "l4\n");
    bed.push("six", &[]);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("in submodule lib, which cannot be had from") && !said.contains("maintenance-on"), "{said}");
    bed.upstream(&["submodule", "set-url", "lib", "../nowhere"]);
    bed.push("seven", &[]);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("nowhere") && !said.contains("maintenance-on"), "{said}");
    assert_eq!(bed.head(), five);
    bed.is_open();
}

#[test]
fn a_submodule_that_becomes_a_folder_is_refused_before_the_site_closes() {
    let (bed, _) = with_submodule();
    let three = bed.push("three", &[]);
    bed.ends(0, &["deploy"]);
    bed.upstream(&["rm", "-qf", "lib"]);
    let four = bed.push("four", &[("lib/code", "a file\n")]);
    let said = bed.ends(10, &["deploy"]);
    assert!(
        said.contains("the submodule lib becomes a folder") && said.contains("hint: git submodule deinit"),
        "{said}"
    );
    assert!(!said.contains("maintenance-on"), "{said}");
    assert_eq!(bed.head(), three);
    bed.host(&["submodule", "--quiet", "deinit", "-f", "lib"]);
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/code"))), (four, "a file\n".to_owned()));
    bed.ends(0, &["rollback"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/code"))), (three, "l1\n".to_owned()));
}
