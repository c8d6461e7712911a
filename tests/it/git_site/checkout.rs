//! The checkout: nothing of the host's is lost, on the way there and back.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::bed::Bed;
use super::everywhere;
use crate::support::files;
use crate::support::git::{checked_out, git};
use crate::support::process::run;

#[test]
fn a_change_made_on_the_host_is_never_lost() {
    everywhere(|mut host| {
        fs::write(host.path("home/VERSION"), "mine\n").unwrap();
        host.done("deploy-pin");
        for task in ["deploy-check", "pull"] {
            let error = host.fails(task);
            assert!(error.contains("changed on the host itself") && error.contains(" M VERSION"), "{error}");
        }
        assert_eq!(host.read("home/VERSION"), "mine\n");
        host.git("home", &["checkout", "-q", "VERSION"]);
        // Untracked files are the site's own business, unless the release brings one of that name.
        fs::write(host.path("home/uploads"), "theirs\n").unwrap();
        host.done("deploy-check");
        fs::write(host.path("upstream/uploads"), "release\n").unwrap();
        host.release("v3");
        host.set("revision", "v3");
        host.done("deploy-pin");
        let error = host.fails("pull");
        assert!(error.contains("would be overwritten") && error.contains("\nuploads\n"), "{error}");
        assert_eq!(host.read("home/uploads"), "theirs\n");
        let v1 = host.git("upstream", &["rev-parse", "v1"]);
        host.undo("pull");
        assert_eq!(host.head(), v1);
    });
}

#[test]
fn submodules_go_with_the_revision_and_back() {
    everywhere(|mut host| {
        host.git("", &["init", "-q", "-b", "main", "library"]);
        let library = |text: &str| {
            fs::write(host.path("library/code"), text).unwrap();
            host.git("library", &["add", "-A"]);
            host.git("library", &["commit", "-q", "-m", text]);
        };
        library("one");
        host.git("upstream", &["submodule", "--quiet", "add", host.path("library").to_str().unwrap(), "lib"]);
        host.release("v3");
        library("two");
        host.git("upstream/lib", &["pull", "-q", "origin", "main"]);
        host.release("v4");
        for (version, code) in [("v3", "one"), ("v4", "two")] {
            host.set("revision", version);
            host.set("fleet.run", version);
            host.done("deploy-pin");
            assert_ne!(host.done("pull"), "(skipped)");
            assert_eq!(host.read("home/lib/code"), code);
            assert_eq!(host.done("pull"), "(skipped)");
        }
        host.undo("pull");
        assert_eq!(host.read("home/lib/code"), "one");
    });
}

/// Each is refused before anything closes, and named; nothing of it is overwritten or removed.
#[test]
fn a_release_that_brings_what_the_host_has_is_refused_before_the_site_closes() {
    let bed = Bed::start("health = \"false\"");
    files::write(&bed.home("config.ini"), "secret = 1\n", 0o600);
    files::write(&bed.home("cache/a/b"), "cached\n", 0o644);
    files::write(&bed.home(".git/info/exclude"), "local\n*.key\n", 0o644);
    files::write(&bed.home("local"), "mine\n", 0o644);
    files::write(&bed["web1"].home().join(".gitconfig"), "[core]\n\texcludesFile = ~/ignored\n", 0o644);
    files::write(&bed["web1"].home().join("ignored"), "every*\n", 0o644);
    files::write(&bed.home("every where \u{e9}"), "mine\n", 0o644);
    files::write(&bed.home("say \"hi\" 100%\\"), "mine\n", 0o644);
    files::write(&bed.home("plain"), "mine\n", 0o644);
    symlink("/etc", bed.home("link")).unwrap();
    for (theirs, mine) in [
        ("config.ini", "config.ini"),
        ("cache", "cache/a/b"),
        ("local/deep/file", "local"),
        ("every where \u{e9}", "every where \u{e9}"),
        ("say \"hi\" 100%\\", r#""say \"hi\" 100%\\""#),
        ("plain", "plain"),
        ("link/passwd", "link"),
    ] {
        bed.upstream(&["reset", "-q", "--hard", &bed.two]);
        bed.upstream(&["push", "-q", "--force", "origin", "HEAD"]);
        let release = bed.push("brings it", &[(theirs, "release\n")]);
        let said = bed.ends(10, &["deploy"]);
        assert!(said.contains("would be overwritten by ") && said.contains(mine), "{theirs}: {said}");
        assert!(!said.contains("maintenance-on"), "{said}");
        // By itself, too, and whatever is wanted.
        let said = bed.ends(10, &["pull", "-e", &format!("revision={release}")]);
        assert!(said.contains("would be overwritten by "), "{said}");
        bed.is_as_before();
    }
    let kept = [("config.ini", "secret = 1\n"), ("cache/a/b", "cached\n"), ("local", "mine\n"), ("plain", "mine\n")];
    for (path, text) in kept {
        assert_eq!(files::read(&bed.home(path)), text);
    }
    assert_eq!(fs::read_link(bed.home("link")).unwrap().to_str(), Some("/etc"));
}

#[test]
fn a_release_goes_where_nothing_of_the_hosts_is_in_its_way() {
    let bed = Bed::start("");
    files::write(&bed.home("uploads/picture"), "mine\n", 0o644);
    files::write(&bed.home("config.ini"), "mine\n", 0o644);
    fs::create_dir_all(bed.home("empty/too")).unwrap();
    let release = bed.push("three", &[("uploads/.keep", ""), ("empty", "a file\n"), ("-x", "-x\n")]);
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("uploads/picture"))), (release, "mine\n".to_owned()));
    // A file of the checkout that becomes a folder, and the reverse.
    bed.upstream(&["rm", "-q", "empty", "uploads/.keep"]);
    let release = bed.push("four", &[("empty/file", "a folder\n")]);
    bed.ends(0, &["deploy"]);
    bed.ends(0, &["rollback"]);
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), release);
    bed.is_open();
}

/// The release takes a file out, the host makes one of that name: on the way back it is in the way.
#[test]
fn the_way_back_overwrites_nothing_of_the_hosts_either() {
    let bed = Bed::start("");
    let three = bed.push("three", &[("settings.ini", "default\n"), ("page", "three\n")]);
    bed.ends(0, &["deploy"]);
    bed.upstream(&["rm", "-q", "settings.ini"]);
    let four = bed.push("four", &[("page", "four\n")]);
    bed.ends(0, &["deploy"]);
    files::write(&bed.home("settings.ini"), "mine\n", 0o644);
    let said = bed.ends(10, &["rollback"]);
    assert!(said.contains("would be overwritten by ") && said.contains("settings.ini"), "{said}");
    bed.is_open();
    assert_eq!((bed.head(), files::read(&bed.home("settings.ini"))), (four, "mine\n".to_owned()));

    // And undone while it runs, at the last moment.
    fs::remove_file(bed.home("settings.ini")).unwrap();
    bed.ends(0, &["rollback"]);
    bed.write_var("restart = \"[ -e ../repaired ] || { echo mine >settings.ini; false; }\"");
    let output = bed.run(&["deploy"]);
    let said = output.all();
    assert!(
        said.contains("held") && said.contains("would be overwritten by ") && said.contains("settings.ini"),
        "{said}"
    );
    assert_eq!((output.code, files::read(&bed.home("settings.ini"))), (Some(10), "mine\n".to_owned()), "{said}");
    // Moved away, it is in nobody's way.
    fs::rename(bed.home("settings.ini"), bed.home("settings.mine")).unwrap();
    files::write(&bed["web1"].home().join("repaired"), "", 0o644);
    let said = bed.fleet(&["undo", "--yes"]).all();
    assert_eq!((bed.head(), files::read(&bed.home("settings.ini"))), (three, "default\n".to_owned()), "{said}");
    bed.is_open();
}

#[test]
fn a_failed_checkout_that_left_everything_as_it_was_is_undone() {
    let bed = Bed::start("");
    files::write(&bed.home(".git/index.lock"), "", 0o644);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("index.lock") && said.contains("rolled back"), "{said}");
    assert!(!said.contains("changed on the host"), "{said}");
    fs::remove_file(bed.home(".git/index.lock")).unwrap();
    bed.is_as_before();
    bed.ends(0, &["deploy"]);
    assert_eq!(bed.head(), bed.two);
}

/// `fleet undo` may come long after the run.
#[test]
fn what_was_changed_since_a_deployment_is_kept_when_it_is_undone() {
    let bed = Bed::start("");
    bed.ends(0, &["deploy"]);
    files::write(&bed.home("page"), "repaired by hand\n", 0o644);
    let said = bed.fleet(&["undo", "--yes"]).expect_code(0).all();
    bed.is_as_before();
    let kept = said.split("git stash show -p ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(bed.host(&["show", &format!("{kept}:page")]), "repaired by hand", "{said}");
}

/// The rules of a submodule are its own, and `git submodule update` overwrites what they ignore.
#[test]
fn what_a_submodule_ignores_is_not_overwritten_either() {
    let bed = Bed::start("");
    let allow = "[protocol \"file\"]\n\tallow = always\n";
    files::write(&bed["web1"].home().join(".gitconfig"), allow, 0o644);
    let library = bed.up().with_file_name("library");
    run(git(library.parent().unwrap()).args(["init", "-q", "-b", "main", "library"]));
    let commit = |message: &str, path: &str, text: &str| {
        files::write(&library.join(path), text, 0o644);
        run(git(&library).args(["add", "-Af"]));
        run(git(&library).args(["commit", "-q", "-m", message]));
    };
    commit("ignore", ".gitignore", "*.ini\n");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.to_str().unwrap(), "lib"];
    bed.upstream(&add);
    let three = bed.push("three", &[]);
    bed.ends(0, &["deploy"]);
    files::write(&bed.home("lib/my.ini"), "mine\n", 0o644);
    commit("config", "my.ini", "library's\n");
    run(git(&bed.work("lib")).args(["pull", "-q", "origin", "main"]));
    let four = bed.push("four", &[]);
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("\nlib/my.ini\n") || said.contains("lib/my.ini"), "{said}");
    assert_eq!((bed.head(), files::read(&bed.home("lib/my.ini"))), (three, "mine\n".to_owned()));
    bed.is_open();
    fs::remove_file(bed.home("lib/my.ini")).unwrap();
    bed.ends(0, &["deploy"]);
    assert_eq!((bed.head(), files::read(&bed.home("lib/my.ini"))), (four, "library's\n".to_owned()));
    bed.ends(0, &["rollback"]);
    assert!(!bed.home("lib/my.ini").exists());
}

#[test]
fn a_plain_folder_in_another_checkout_is_not_the_sites() {
    let bed = Bed::start("");
    let other = bed["web1"].home().join("other");
    run(git(Path::new("/")).args(["clone", "-q"]).arg(bed.up()).arg(&other));
    run(git(&other).args(["reset", "-q", "--hard", &bed.one]));
    fs::create_dir(other.join("plain")).unwrap();
    // Its lock would lie in a folder that is not there.
    let said = bed.ends(10, &["deploy", "-e", "home=other/plain"]);
    assert!(said.contains("where the site's lock is kept"), "{said}");
    assert_eq!(checked_out(&other), bed.one);
    fs::create_dir(other.join("plain/.git")).unwrap();
    for task in ["deploy", "pull", "rollback"] {
        let said = bed.ends(10, &[task, "-e", "home=other/plain"]);
        let no_deployment = task == "rollback" && said.contains("no deployment is left");
        assert!(said.contains("is no checkout") || no_deployment, "{said}");
        assert_eq!(checked_out(&other), bed.one);
    }
    // No checkout anywhere; and the folder that git keeps its own in.
    fs::create_dir_all(bed["web1"].home().join("nothing/.git")).unwrap();
    assert!(bed.ends(10, &["deploy", "-e", "home=nothing"]).contains("not a git repository"));
    assert!(bed.ends(10, &["deploy", "-e", "home=home/.git"]).contains("where the site's lock is kept"));
    // A link is fine.
    symlink("home", bed["web1"].home().join("link")).unwrap();
    bed.ends(0, &["deploy", "-e", "home=link"]);
    assert_eq!(bed.head(), bed.two);
}

/// As a login's own settings may have it.
#[test]
fn the_environment_of_the_login_names_no_other_checkout() {
    let bed = Bed::start("");
    let other = bed["web1"].home().join("other");
    run(git(Path::new("/")).args(["clone", "-q"]).arg(bed.up()).arg(&other));
    run(git(&other).args(["reset", "-q", "--hard", &bed.one]));
    let index = other.join("its-index");
    for set in ["GIT_DIR='@/.git' GIT_WORK_TREE='@'", "GIT_DIR='@/.git'", "GIT_INDEX_FILE='@/its-index'", "CDPATH='@'"]
    {
        let session = format!("export {}\n", set.replace('@', &other.display().to_string()));
        files::write(&bed["web1"].home().join(".session"), session, 0o644);
        bed.ends(0, &["deploy"]);
        assert_eq!(bed.head(), bed.two, "{set}");
        bed.is_open();
        bed.ends(0, &["rollback"]);
        assert_eq!((bed.head(), checked_out(&other)), (bed.one.clone(), bed.one.clone()), "{set}");
        assert!(!other.join(".git/fleet").exists() && !index.exists(), "{set}");
    }
}
