//! A real user: for passwords, which `sshd` looks up in the system's own files, and for `sudo -u`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::{run, wait_for};
use super::tools::tool;

/// A user that exists while this value does. Its password is random, and it expires by itself should nobody remove it.
#[derive(Debug)]
pub struct TestUser {
    pub name: String,
    pub password: String,
}

impl TestUser {
    /// Makes the user; only root can.
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        only_root("makes a user with a password");
        let name = format!("fleet-t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let password = random_hex();
        let tomorrow = jiff::Timestamp::now().as_second() / 86_400 + 2;
        let tomorrow = jiff::Timestamp::from_second(tomorrow * 86_400).unwrap().strftime("%Y-%m-%d").to_string();
        // Two tests may want a user at once; useradd gives up when the files are locked.
        wait_for("useradd", || {
            let mut useradd = Command::new(tool("useradd"));
            useradd.args(["-M", "-N", "-d", "/", "-s", "/bin/sh", "-e", &tomorrow, &name]).stderr(Stdio::null());
            useradd.status().unwrap().success().then_some(())
        });
        let user = Self { name, password };
        let line = format!("{}:{}\n", user.name, user.password);
        wait_for("chpasswd", || {
            let mut chpasswd =
                Command::new(tool("chpasswd")).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            std::io::Write::write_all(&mut chpasswd.stdin.take().unwrap(), line.as_bytes()).unwrap();
            chpasswd.wait().unwrap().success().then_some(())
        });
        user
    }

    /// Where the steps of a user whose home folder cannot be written to leave what must outlive a connection.
    pub fn spool(&self) -> PathBuf {
        let uid = String::from_utf8(run(Command::new(tool("id")).args(["-u", &self.name])).stdout).unwrap();
        PathBuf::from(format!("/var/tmp/fleet-{}", uid.trim()))
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        // The next user will have the same number.
        let _ = std::fs::remove_dir_all(self.spool());
        for _ in 0..100 {
            let gone = Command::new(tool("userdel")).args(["-f", &self.name]).stderr(Stdio::null()).status();
            if gone.is_ok_and(|status| matches!(status.code(), Some(0 | 6))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Fails where what the test does is not possible: it needs root, and its name has to say so, for `./tests/run` to leave it out by that.
#[track_caller]
pub fn only_root(does: &str) {
    let thread = std::thread::current();
    // With a single thread for all tests there is no name to be seen.
    let name = thread.name().filter(|name| name.contains("::")).unwrap_or("_as_root");
    assert!(name.ends_with("_as_root"), "{name} {does}: call it {name}_as_root");
    assert!(
        is_root(),
        "this test {does}, which only root can\nhint: sudo -E ./tests/run, or in a container with --privileged"
    );
}

/// Does root run the tests?
pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Who runs the tests: the login user of all [`super::sshd::Sshd`]s.
pub fn current() -> String {
    String::from_utf8(run(Command::new(tool("id")).arg("-un")).stdout).unwrap().trim().to_owned()
}

/// 32 hex digits that nobody can guess.
pub fn random_hex() -> String {
    use std::fmt::Write as _;
    rand::random::<[u8; 16]>().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
