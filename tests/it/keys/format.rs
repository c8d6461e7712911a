//! Our keys in `ssh-keygen`, and its keys in ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use fleet::keys::store::generate_pair;
use fleet::model::text::hint::Advise as _;
use fleet::ssh::key::{KeyError, PublicKeyLine, load};
use secrecy::SecretString;

use super::{ssh_keygen, tool};
use crate::support::files;

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn ssh_keygen_reads_our_keys() {
    for passphrase in ["", "with a päss phrase"] {
        let folder = tempfile::tempdir().unwrap();
        let secret = SecretString::from(passphrase);
        let pair = generate_pair(folder.path(), "fleet@here", (!passphrase.is_empty()).then_some(&secret)).unwrap();
        let public = fs::read_to_string(&pair.public).unwrap();

        assert_eq!(stdout(&ssh_keygen(&["-y", "-P", passphrase], &pair.private)), public);
        assert!(stdout(&ssh_keygen(&["-l"], &pair.public)).contains(&pair.fingerprint));
        if !passphrase.is_empty() {
            assert!(!ssh_keygen(&["-y", "-P", ""], &pair.private).status.success());
        }
    }
}

fn secret(passphrase: &str) -> Option<SecretString> {
    (!passphrase.is_empty()).then(|| passphrase.into())
}

/// Its secret number begins with a zero byte, which this format leaves out.
const SHORT: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQQrxJhDb7oBXZZd48kpgKHl5YP9VPR7
VReQ7i42TsqHDGYgO1WoX9+cC5tW9wGVZjpgBZEw6lt172neWXWe+iDoAAAAoErJduVKyX
blAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCvEmENvugFdll3j
ySmAoeXlg/1U9HtVF5DuLjZOyocMZiA7Vahf35wLm1b3AZVmOmAFkTDqW3Xvad5ZdZ76IO
gAAAAfP7m3pa5S86WOuJUTQkVcJjjwo1edWVkDEw8t9zuBZgAAAAVzaG9ydAECAwQ=
-----END OPENSSH PRIVATE KEY-----
";

/// "Wrong passphrase", with the right one, of one key in 256.
#[test]
fn an_ecdsa_key_with_a_short_secret_is_named_and_works_when_it_is_rewritten() {
    for passphrase in ["", "secret"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        files::write(&path, SHORT, 0o600);
        stdout(&ssh_keygen(&["-q", "-p", "-P", "", "-N", passphrase], &path));
        let error = load(&path, secret(passphrase).as_ref()).unwrap_err();
        assert!(error.to_string().contains("its secret number begins with a zero byte"), "{error}");
        assert!(error.hints()[0].to_string().starts_with("ssh-keygen -p -m PKCS8 -f "), "{error:?}");
        if !passphrase.is_empty() {
            assert!(matches!(load(&path, secret("wrong").as_ref()), Err(KeyError::WrongPassphrase { .. })));
        }
        stdout(&ssh_keygen(&["-q", "-p", "-m", "PKCS8", "-P", passphrase, "-N", passphrase], &path));
        load(&path, secret(passphrase).as_ref()).unwrap();
    }
}

/// Makes a key as `ssh-keygen` does, and loads it with the right passphrase.
fn made_by_ssh_keygen(folder: &Path, arguments: &[&str], passphrase: &str) -> Result<(), KeyError> {
    let path = folder.join(format!("{}{passphrase}", arguments.join("")));
    // It would ask whether to write over it.
    let _ = fs::remove_file(&path);
    stdout(&ssh_keygen(&[&["-q", "-N", passphrase, "-C", "c"], arguments].concat(), &path));
    let public =
        PublicKeyLine::load(&path.with_file_name(format!("{}.pub", path.file_name().unwrap().to_str().unwrap())));
    if !passphrase.is_empty() {
        assert!(load(&path, None).is_err(), "{}", path.display());
        match load(&path, secret("wrong").as_ref()) {
            Err(KeyError::WrongPassphrase { .. } | KeyError::NotAKey { .. }) => {}
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    let key = load(&path, secret(passphrase).as_ref())?;
    assert_eq!(PublicKeyLine::of(key.public_key()).unwrap().data(), public.unwrap().data());
    Ok(())
}

#[test]
fn keys_of_ssh_keygen_load_or_say_why_not() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "ed25519", "-Z", "aes256-gcm@openssh.com"],
        &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com"],
        &["-t", "ecdsa"],
        &["-t", "ecdsa", "-m", "PKCS8"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
    ] {
        for passphrase in ["", "secret"] {
            let mut made = made_by_ssh_keygen(folder.path(), arguments, passphrase);
            // By chance: see the test above.
            while made.as_ref().is_err_and(|error| error.to_string().contains("begins with a zero byte")) {
                made = made_by_ssh_keygen(folder.path(), arguments, passphrase);
            }
            made.unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
        }
    }
    made_by_ssh_keygen(folder.path(), &["-t", "ecdsa", "-m", "PEM"], "").unwrap();
    let error = made_by_ssh_keygen(folder.path(), &["-t", "ecdsa", "-m", "PEM"], "secret").unwrap_err();
    assert!(error.to_string().ends_with("old PEM format"), "{error}");
    assert!(error.hints()[0].to_string().starts_with("ssh-keygen -p -f"), "{error:?}");
}

/// The part of the test below that runs with a file size limit. By itself it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("FLEET_TEST_KEYS") else { return };
    // The comment makes the private half longer than the limit of 512 bytes, the public one stays below.
    let error = generate_pair(Path::new(&folder), &"c".repeat(200), None).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
}

/// A limit on the size of files stands for a full disk, and its signal for `kill -9` between the two writes.
#[test]
fn a_full_disk_leaves_no_half_pair_and_a_kill_a_public_half_that_is_reported() {
    for (trap, left) in [("trap '' XFSZ", &[][..]), ("ulimit -c 0", &["fleet.pub"])] {
        let folder = tempfile::tempdir().unwrap();
        let output = tool(
            Command::new("dash")
                .args(["-c", &format!("{trap}; ulimit -f 1; exec \"$0\" --exact keys::format::child")])
                .arg(std::env::current_exe().unwrap())
                .env("FLEET_TEST_KEYS", folder.path()),
        );
        assert_eq!(output.status.success(), left.is_empty(), "{output:?}");
        let mut names: Vec<_> =
            folder.path().read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with(".fleet."));
        assert_eq!(names, left);
        let again = generate_pair(folder.path(), "", None);
        if left.is_empty() {
            again.unwrap();
        } else {
            assert!(again.unwrap_err().to_string().contains("without its private half"));
        }
    }
}
