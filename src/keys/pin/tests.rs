use super::*;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINjAYNtjyAEa+u6f+bL6Y0xLeeWKQgwPhmBuerpHN5EO";
const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ/Lsynw3LA5e1ptoc4q3t7aWNMHa4LuHJIHaNubbd2L";

fn key(line: &str) -> HostKey {
    HostKey::from_base64(line.split(' ').nth(1).unwrap()).unwrap()
}

fn a_pin(address: &str, port: u16, line: &str) -> Pin {
    Pin { address: Address::parse(address).unwrap(), port, key: key(line) }
}

fn content(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn pinning_appends_and_keeps_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/known_hosts");
    assert_eq!(pin(&path, &[a_pin("h1", 22, ED), a_pin("h2", 2222, ED2)]).unwrap(), 2);
    assert_eq!(content(&path), format!("h1 {ED}\n[h2]:2222 {ED2}\n"));
    assert_eq!(pin(&path, &[a_pin("H1", 22, ED), a_pin("h3", 22, ED), a_pin("h3", 22, ED)]).unwrap(), 1);
    assert_eq!(content(&path), format!("h1 {ED}\n[h2]:2222 {ED2}\nh3 {ED}\n"));

    crate::files::replace(&path, 0o600, b"# mine\r\nx").unwrap();
    assert_eq!(pin(&path, &[a_pin("h1", 22, ED)]).unwrap(), 1);
    assert_eq!(content(&path), format!("# mine\r\nx\nh1 {ED}\n"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "the mode is kept");
}

#[test]
fn a_changed_or_revoked_key_is_not_pinned_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    for before in [format!("h1 {ED2}\n"), format!("@revoked * {ED}\n")] {
        crate::files::replace(&path, 0o644, before.as_bytes()).unwrap();
        let error = pin(&path, &[a_pin("h0", 22, ED2), a_pin("h1", 22, ED)]).unwrap_err();
        assert!(matches!(error, PinError::Conflict { line: 1, .. }), "{error}");
        assert_eq!(content(&path), before);
    }
    let two = [a_pin("h9", 22, ED), a_pin("h9", 22, ED2)];
    assert!(matches!(pin(&path, &two), Err(PinError::Conflict { .. })), "two keys of one type in one call");
}

#[test]
fn pinning_through_a_link_keeps_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("shared"), folder.path().join("known_hosts"));
    crate::files::replace(&target, 0o644, format!("h1 {ED}").as_bytes()).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    pin(&link, &[a_pin("h2", 22, ED)]).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(content(&target), format!("h1 {ED}\nh2 {ED}\n"));
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink("/nonexistent/file", &dangling).unwrap();
    assert!(matches!(pin(&dangling, &[a_pin("h2", 22, ED)]), Err(PinError::Write { .. })));
}

/// Runs in a process of its own, under a limit of the file size. By itself it does nothing.
#[test]
fn full_disk() {
    let Some(path) = std::env::var_os("FLEET_TEST_PIN") else { return };
    let error = pin(Path::new(&path), &[a_pin("h1", 22, ED)]).unwrap_err();
    assert!(matches!(error, PinError::Write { .. }), "{error}");
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    let before = "# comment\n".repeat(1000);
    crate::files::replace(&path, 0o644, before.as_bytes()).unwrap();
    // SIGXFSZ ignored, so that write(2) fails in the middle of the file. 8 blocks of 512 bytes.
    let child = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact keys::pin::tests::full_disk";
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", child]).arg(std::env::current_exe().unwrap()).env("FLEET_TEST_PIN", &path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(content(&path), before);
}

#[test]
fn writers_at_the_same_time_lose_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for host in 0..5 {
                    pin(path, &[a_pin(&format!("h{writer}-{host}"), 22, ED)]).unwrap();
                }
            });
        }
    });
    assert_eq!(content(&path).lines().count(), 40);
}
