//! A checkout whose `.git` is a file: a worktree, a submodule, or a clone with its repository elsewhere.

use std::path::{Path, PathBuf};

use super::bed::Bed;
use super::{DEPLOY, everywhere};
use crate::support::files;
use crate::support::git::git;
use crate::support::output::Output;
use crate::support::process::{run, stdout_of};

const VARS: &str = "backup = 'echo data >\"$BACKUP/data\"'\nrestore = 'cat \"$BACKUP/data\"'\nmigrate = \"true\"";

/// The host's checkout as a worktree of a repository beside it, a submodule, a clone with its repository elsewhere, and one whose file
/// names its folder from here.
fn beds() -> Vec<(&'static str, Bed)> {
    let mut beds = Vec::new();
    for kind in ["worktree", "submodule", "elsewhere", "relative"] {
        let bed = Bed::start(VARS);
        let folder = bed["web1"].home();
        let (home, up) = (bed.home(""), bed.up());
        match kind {
            "worktree" => {
                std::fs::rename(&home, folder.join("main")).unwrap();
                run(git(&folder.join("main")).args(["checkout", "-q", "--detach"]));
                run(git(&folder.join("main")).args(["worktree", "add", "-q", "../home", "main"]));
            }
            "submodule" => {
                std::fs::remove_dir_all(&home).unwrap();
                run(git(&folder).args(["init", "-q", "above"]));
                let above = folder.join("above");
                run(git(&above)
                    .args(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"])
                    .arg(&up)
                    .arg("home"));
                run(git(&above.join("home")).args(["reset", "-q", "--hard", &bed.one]));
                bed.write_site(|site| site.replacen("home = \"home\"", "home = \"above/home\"", 1));
            }
            _ => {
                std::fs::rename(home.join(".git"), folder.join("repo sitory")).unwrap();
                let real = if kind == "relative" {
                    "../repo sitory".to_owned()
                } else {
                    folder.join("repo sitory").display().to_string()
                };
                files::write(&home.join(".git"), format!("gitdir: {real}\n"), 0o644);
            }
        }
        beds.push((kind, bed));
    }
    beds
}

fn checkout(kind: &str, bed: &Bed) -> PathBuf {
    if kind == "submodule" { bed["web1"].home().join("above/home") } else { bed.home("") }
}

/// `mkdir: cannot create directory '.git/fleet': Not a directory`, and no lock.
#[test]
fn a_checkout_whose_git_is_a_file_is_deployed_and_rolled_back() {
    for (kind, bed) in beds() {
        let home = checkout(kind, &bed);
        assert!(home.join(".git").is_file(), "{kind}");
        let head = || stdout_of(git(&home).args(["rev-parse", "HEAD"]));
        let ends = |code: i32, args: &[&str]| -> Output { bed.run(args).expect_code(code) };
        assert_eq!(head(), bed.one, "{kind}");
        ends(0, &["deploy"]);
        assert_eq!(head(), bed.two, "{kind}");
        let status = ends(0, &["status"]);
        assert!(status.stdout.contains("free") && status.stdout.contains("succeeded"), "{kind}: {}", status.stdout);
        // What fleet keeps lies in the repository's own folder for this checkout, and nothing of it in the tree.
        let real = stdout_of(git(&home).args(["rev-parse", "--absolute-git-dir"]));
        for name in ["fleet/history", "fleet/deploys", "fleet/backups"] {
            assert!(Path::new(&real).join(name).exists(), "{kind}: {real}/{name}");
        }
        assert_eq!(stdout_of(git(&home).args(["status", "--porcelain"])), "", "{kind}");
        ends(0, &["rollback"]);
        assert_eq!(head(), bed.one, "{kind}");
        let said = ends(10, &["restore"]).all();
        let backups = std::fs::read_dir(Path::new(&real).join("fleet/backups")).unwrap();
        let backup = backups.map(|backup| backup.unwrap().file_name().into_string().unwrap()).min().unwrap();
        assert!(said.contains("which backup?") && said.contains(&backup), "{kind}: {said}");
        ends(0, &["restore", "-e", &format!("backup-id={backup}")]);
        // And a failed one is undone.
        let said = ends(10, &["deploy", "-e", "migrate=false"]).all();
        assert!(said.contains("web1: rolled back: database/migrate-database"), "{kind}: {said}");
        assert_eq!(head(), bed.one, "{kind}");
        bed.is_open();
        ends(0, &["cron-off"]);
        assert_ne!(files::read(&bed.crontab()), super::bed::CRON);
        ends(0, &["cron-on"]);
        bed.is_open();
        // Another file of the site, of whoever, means the same book.
        bed.write("hosts/again.toml", bed.read("hosts/mysite.toml"));
        let said = bed.fleet(&["again", "status"]).expect_code(0).stdout;
        assert!(said.contains(" as mysite: cron-on"), "{kind}: {said}");
    }
}

#[test]
fn what_fleet_keeps_is_found_in_every_shell() {
    everywhere(|mut host| {
        std::fs::rename(host.path("home/.git"), host.path("repo sitory")).unwrap();
        files::write(&host.path("home/.git"), "gitdir: ../repo sitory\n", 0o644);
        let (crontab, head) = (host.read("crontab"), host.head());
        for task in DEPLOY {
            host.done(task);
        }
        assert!(host.exists("repo sitory/fleet/deploys") && host.exists("repo sitory/fleet/cron.off"));
        assert_eq!(host.done("cron-off"), "(skipped)");
        host.set("migrate", "false");
        host.fails("migrate");
        host.undo("migrate");
        for task in DEPLOY.iter().rev() {
            host.undo(task);
        }
        assert_eq!((host.head(), host.read("crontab")), (head, crontab));
        assert!(host.fails("rollback-pin").contains("no deployment is left"));
    });
}
