//! Logins that take more than one key, and the server's own words about those that fail.

use std::process::Command;

use crate::passwords::{expect_one_that_closed, hosts};
use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::process::run;
use crate::support::sshd::{Settings, Sshd};
use crate::support::tools::tool;
use crate::support::user::{TestUser, current};

/// A host where a login takes these methods, in this order.
fn wanting(methods: &str) -> Settings {
    let settings = Sshd::settings().line("UsePAM yes").line("KbdInteractiveAuthentication yes");
    settings.line(&format!("AuthenticationMethods {methods}"))
}

/// A host where the project's key, and a password, log in.
fn host_wanting(user: &TestUser, methods: &str) -> ReadyProject {
    let ready = hosts(user, &["web1"], || wanting(methods));
    ready["web1"].authorize(ready.read("keys/fleet.pub").trim());
    ready
}

const TRUE: [&str; 4] = ["mysite", "run", "--", "true"];
const WITH_PASSWORD: [&str; 6] = ["mysite", "run", "--password-file", "password", "--", "true"];

#[test]
fn a_server_that_wants_several_proofs_gets_them_in_its_order_as_root() {
    let user = TestUser::create();
    for methods in [
        "password,publickey",
        "publickey,password",
        "publickey,keyboard-interactive:pam",
        "keyboard-interactive:pam,publickey",
        "password,keyboard-interactive:pam",
        "publickey,password,keyboard-interactive:pam",
        "keyboard-interactive:pam,publickey password,publickey",
    ] {
        let ready = host_wanting(&user, methods);
        let output = ready.fleet(&WITH_PASSWORD);
        assert_eq!(output.code, Some(0), "{methods}: {}\n{}", output.all(), ready["web1"].log());
    }
}

/// sshd counts a key that comes before the password as a failure, and bears few.
#[test]
fn no_key_is_offered_before_the_server_wants_one_as_root() {
    let user = TestUser::create();
    for methods in ["password,publickey", "keyboard-interactive:pam,publickey"] {
        let ready = hosts(&user, &["web1"], || wanting(methods).line("MaxAuthTries 1"));
        ready["web1"].authorize(ready.read("keys/fleet.pub").trim());
        ready.fleet(&WITH_PASSWORD).expect_code(0);
    }
}

#[test]
fn two_keys_are_two_proofs_as_root() {
    let user = TestUser::create();
    let ready = host_wanting(&user, "publickey,publickey");
    let output = ready.fleet(&TRUE).expect_code(11);
    assert!(output.all().contains("key `keys/fleet` accepted, and the server wants a key as well"), "{}", output.all());
    let second = ready.generate_key_at("keys/second", "");
    ready["web1"].authorize(&second);
    ready.fleet(&["mysite", "run", "-i", "keys/second", "--", "true"]).expect_code(0);
    // The project's key is good, and not enough: that is not the same as one that does not work.
    let output = ready.fleet(&["mysite", "distribute-keys", "-i", "keys/second"]).expect_code(10);
    assert!(output.stdout.contains("already in ~/.ssh/authorized_keys, and alone does not log in"), "{}", output.all());
    assert!(!output.all().contains("pubkeyauthentication"), "{}", output.all());
}

#[test]
fn a_key_that_was_accepted_is_not_called_refused_as_root() {
    let user = TestUser::create();
    let ready = host_wanting(&user, "publickey,password");
    let output = ready.fleet(&TRUE).expect_code(11);
    let told = "key `keys/fleet` accepted, and the server wants a password as well";
    assert!(output.all().contains(told) && output.all().contains("hint: --ask-pass"), "{}", output.all());
    assert!(!output.all().contains("distribute-keys"), "{}", output.all());
    files::write(&ready.root().join("password"), "not the one\n", 0o600);
    let output = ready.fleet(&WITH_PASSWORD).expect_code(11);
    assert!(output.all().contains(told) && output.all().contains("the password was refused"), "{}", output.all());
    assert!(!output.all().contains("distribute-keys"), "{}", output.all());
}

#[test]
fn an_accepted_password_is_not_called_refused_when_the_key_is_missing_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1"], || wanting("password,publickey"));
    let output = ready.fleet(&WITH_PASSWORD).expect_code(11);
    assert!(output.all().contains("password accepted, and the server wants a key as well"), "{}", output.all());
    assert!(output.all().contains("hint: `fleet mysite distribute-keys`"), "{}", output.all());
}

#[test]
fn a_key_is_distributed_where_the_server_wants_a_password_as_well_as_root() {
    let user = TestUser::create();
    for methods in ["publickey,password", "password,publickey"] {
        let ready = hosts(&user, &["web1"], || wanting(methods));
        ready["web1"].authorize(&ready.generate_key_at("keys/old", ""));
        let args = ["mysite", "distribute-keys", "-i", "keys/old", "--password-file", "password"];
        let output = ready.fleet(&args).expect_code(0);
        assert!(output.stdout.contains("added, and proven by a login"), "{}", output.all());
    }
}

/// The same password opens the host without the key.
#[test]
fn a_password_never_stands_for_the_key_that_is_to_be_proven_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1"], || Sshd::settings().line("AuthorizedKeysFile none"));
    let output = ready.fleet(&["mysite", "distribute-keys", "--password-file", "password"]).expect_code(10);
    assert!(output.stdout.contains("but does not work"), "{}", output.all());
    assert!(output.stdout.contains("the server lets the user in without the key"), "{}", output.all());
}

/// Or the key would lock everybody out on the day on which the certificate ends.
#[test]
fn a_certificate_never_stands_for_the_key_that_is_to_be_proven() {
    let mut ready = ReadyProject::start("", &[]);
    let authority = ready.generate_key_at("authority", "");
    ready.write("authorities", authority);
    let mut sign = Command::new(tool("ssh-keygen"));
    sign.args(["-q", "-I", "me", "-n", &current(), "-s"]).arg(ready.root().join("authority"));
    run(sign.arg(ready.root().join("keys/fleet.pub")));
    let authorities = format!("TrustedUserCAKeys {}", ready.root().join("authorities").display());
    let settings = Sshd::settings().line(&authorities).line("AuthorizedKeysFile none");
    ready.add_site_on("mysite", "", vec![("web1", settings)]);
    ready.fleet(&TRUE).expect_code(0);
    let output = ready.fleet(&["mysite", "distribute-keys"]).expect_code(10);
    assert!(output.stdout.contains("but does not work"), "{}", output.all());
}

/// With the last failure that it bears, sshd closes the connection.
#[test]
fn a_password_that_a_server_closed_at_goes_to_no_other_host_as_root() {
    let user = TestUser::create();
    for line in ["PasswordAuthentication yes", "PasswordAuthentication no"] {
        let settings = || {
            let settings = Sshd::settings().line("UsePAM yes").line("KbdInteractiveAuthentication yes").line(line);
            settings.line("MaxAuthTries 2")
        };
        let ready = hosts(&user, &["web1", "web2", "web3"], settings);
        files::write(&ready.root().join("password"), "not the one\n", 0o600);
        ready.fleet(&WITH_PASSWORD).expect_code(11);
        expect_one_that_closed(&ready);
    }
}

#[test]
fn a_server_s_own_words_about_a_login_are_told_as_root() {
    let user = TestUser::create();
    let banner = tempfile::NamedTempFile::new().unwrap();
    files::write(banner.path(), "Ask \x1b[1mthe NOC\n\n   first\n", 0o644);
    let told = |settings: &Settings| {
        let ready = hosts(&user, &["web1"], || settings.clone());
        ready["web1"].authorize(ready.read("keys/fleet.pub").trim());
        ready.fleet(&TRUE)
    };
    // Nobody's key: only the banner that all visitors get, on one line and without its colors.
    let settings = Sshd::settings().line(&format!("Banner {}", banner.path().display()));
    let ready = hosts(&user, &["web1"], || settings.clone());
    let output = ready.fleet(&TRUE).expect_code(11);
    assert!(output.all().contains("the server says: Ask \\x1b[1mthe NOC first"), "{}", output.all());
    // PAM's words come after that banner.
    run(Command::new(tool("chage")).args(["-E", "0", &user.name]));
    let output = told(&settings.line("UsePAM yes")).expect_code(11);
    assert!(output.all().contains("the server says: Your account has expired"), "{}", output.all());
    assert!(!output.all().contains("too many") && !output.all().contains("distribute-keys"), "{}", output.all());
    run(Command::new(tool("chage")).args(["-E", "-1", "-d", "0", &user.name]));
    let output = told(&Sshd::settings().line("UsePAM yes")).expect_code(10);
    assert!(output.all().contains("Password change required but no TTY available"), "{}", output.all());
}
