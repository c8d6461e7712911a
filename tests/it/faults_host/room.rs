//! File systems without room: for bytes, for names, or for anything.

use std::path::PathBuf;

use crate::deploy::{Site, check_stream, outcomes, story};
use crate::support::files;
use crate::support::mount::Mount;
use crate::support::process::wait_for;
use crate::support::user::current;

fn spool(site: &Site, host: &str) -> PathBuf {
    site[host].home().join(".local/state/fleet")
}

/// Its file system, below the folder in which fleet makes the spool.
fn mount(site: &Site, host: &str, options: &str) -> Mount {
    Mount::memory(&site[host].home().join(".local/state"), options)
}

/// One step, of which the host's home and `@SHARED@` know.
fn one_step(run: &str) -> String {
    format!("[[task.deploy.step]]\nname = \"work\"\nrun = '''\n{run}\n'''\n")
}

#[test]
fn a_host_without_room_is_refused_before_anything_starts_as_root() {
    let site = Site::start("", &["web1"], &one_step("echo started >>@SHARED@/journal"));
    let _small = mount(&site, "web1", "size=32m");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 failed"]);
    assert!(!story(&output).iter().any(|line| line.starts_with("step-started")), "{:#?}", story(&output));
    assert_eq!(site.journal(), [""; 0]);
    let told = format!("MiB are free in {}, where the output of steps is kept", spool(&site, "web1").display());
    assert!(output.stderr.contains(&told) && output.stderr.contains("64 MiB are needed"), "{}", output.stderr);
    // It is not locked for the next one.
    assert!(!spool(&site, "web1").join("book.mysite/lock").exists());
}

#[test]
fn a_host_whose_disk_is_full_is_told_as_such_as_root() {
    let site = Site::start("", &["web1"], &one_step("echo started >>@SHARED@/journal"));
    let _full = mount(&site, "web1", "size=4k");
    files::write(&site["web1"].home().join(".local/state/ballast"), "all that there is\n", 0o644);
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 failed"]);
    let told = format!("cannot be written: 0 KiB are free in {}", spool(&site, "web1").display());
    assert!(output.stderr.contains(&told) && !output.stderr.contains("/var/tmp"), "{}", output.stderr);
    assert_eq!(site.journal(), [""; 0]);
}

#[test]
fn the_end_of_a_step_that_fills_the_disk_is_known_as_root() {
    // What is printed after that has no room either.
    let fill = r#"head -c 200000000 /dev/zero >"$HOME/.local/state/ballast"; echo lost; exit 9"#;
    let site = Site::start("", &["web1"], &one_step(fill));
    let mounted = mount(&site, "web1", "size=80m");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 failed"]);
    assert!(output.stderr.contains("exit status 9"), "{}", output.stderr);
    assert!(output.stderr.contains("what it printed or reported may be missing here"), "{}", output.stderr);
    // Nothing of the run is left but the ballast.
    assert!(!spool(&site, "web1").join("book.mysite/lock").exists());
    mounted.make_room();
    site.recipe(&one_step("echo again >>@SHARED@/journal"));
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(site.journal(), ["again"]);
}

#[test]
fn the_end_of_a_step_that_takes_all_names_is_known_as_root() {
    // The supervisor has no name left for the end, and gives it that of the step's gate.
    let names = r#"
n=0
while true >"$HOME/.local/state/$n"; do n=$((n + 1)); done
echo "full after $n"
touch @SHARED@/full
while [ ! -e @SHARED@/go ]; do sleep 0.02; done
exit 9"#;
    let site = Site::start("", &["web1"], &one_step(names));
    let _few = mount(&site, "web1", "size=80m,nr_inodes=100");
    let running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the last name", || site.has("full"));
    site.touch("go");
    let output = running.wait().expect_code(10);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 failed"]);
    assert!(output.stderr.contains("exit status 9"), "{}", output.stderr);
}

#[test]
fn the_spool_of_a_home_that_cannot_be_written_to_is_in_var_tmp_as_root() {
    let site = Site::start("", &["web1"], &one_step("pwd >>@SHARED@/journal; ls -d /var/tmp/fleet-*/20*/ >/dev/null"));
    let home = Mount::read_only(&site["web1"].home());
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(site.journal(), [site["web1"].home().display().to_string()], "{}", output.stderr);
    assert!(!home.folder().join(".local").exists());
    let spool = PathBuf::from("/var/tmp").join(format!("fleet-{}", rustix::process::getuid().as_raw()));
    assert_eq!(files::mode(&spool), 0o700);
    assert!(!spool.join("book.mysite/lock").exists(), "of {}", current());
    std::fs::remove_dir_all(spool.join("book.mysite")).unwrap();
    std::fs::remove_file(spool.join("site.mysite")).unwrap();
    // Other tests use it, too.
    let _ = std::fs::remove_dir(&spool);
}

#[test]
fn nothing_in_the_spool_has_to_be_executable_as_root() {
    let site = Site::start("", &["web1"], &one_step("echo ran >>@SHARED@/journal"));
    let _spool = mount(&site, "web1", "size=80m,noexec,nosuid,nodev");
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(site.journal(), ["ran"]);
}

/// What a step prints has no room on the controller: nothing starts, what runs goes on, and there is a way on from there.
#[test]
fn a_controller_without_room_starts_nothing_and_resume_goes_on_as_root() {
    let recipe = r#"
[[task.deploy.step]]
name = "migrate"
run = '''
echo migrate >>@SHARED@/journal
touch @SHARED@/working
while [ ! -e @SHARED@/full ]; do sleep 0.02; done
head -c 300000 /dev/zero | tr '\0' x | fold -w 99
touch @SHARED@/printed
while [ ! -e @SHARED@/go ]; do sleep 0.02; done
echo migrated >>@SHARED@/journal
'''
[[task.deploy.step]]
name = "open"
run = "echo open >>@SHARED@/journal"
"#;
    let site = Site::start("", &["web1"], recipe);
    let record = Mount::memory(&site.root().join(".fleet"), "size=1m");
    let running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the step", || site.has("working"));
    record.fill();
    site.touch("full");
    let output = running.wait().expect_code(13);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 detached"], "{}", output.stderr);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    assert!(output.stderr.contains("fleet resume"), "{}", output.stderr);
    wait_for("the step, which goes on", || site.has("printed"));
    assert_eq!(site.journal(), ["migrate"]);
    site.touch("go");
    wait_for("its end", || (site.journal() == ["migrate", "migrated"]).then_some(()));
    record.make_room();
    let resumed = site.fleet(&["resume", "--json"]).expect_code(0);
    assert_eq!(outcomes(&resumed), ["web1 succeeded"], "{}", resumed.stderr);
    assert_eq!(site.journal(), ["migrate", "migrated", "open"]);
    let logs = site.fleet(&["logs", "last", "--step", "migrate"]).expect_code(0).stdout;
    assert_eq!(logs.matches('x').count(), 300_000);
}
