//! The project's key pair: made once, kept private, opened by a passphrase that is asked for once and before anything is contacted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::agent::Agent;
use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::process::{run, stdout_of};
use crate::support::project::Project;
use crate::support::sshd::Sshd;
use crate::support::tools::tool;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// The public half, as OpenSSH reads it out of the private one.
fn public_half(project: &Project, passphrase: &str) -> String {
    let mut keygen = Command::new(tool("ssh-keygen"));
    stdout_of(keygen.args(["-y", "-P", passphrase, "-f"]).arg(project.root().join("keys/fleet")))
}

#[test]
fn a_pair_is_private_whatever_the_umask_and_openssh_reads_it() {
    for umask in ["000", "077", "777"] {
        let project = Project::new();
        let mut shell = project.command(&[]);
        let fleet = shell.get_program().to_owned();
        shell = {
            let mut wrapped = Command::new(tool("sh"));
            wrapped.args(["-c", &format!("umask {umask}; exec \"$0\" generate-keys")]).arg(fleet);
            wrapped.current_dir(project.root()).env_clear().envs(shell.get_envs().filter_map(|(k, v)| Some((k, v?))));
            wrapped
        };
        let output = project.run(&["generate-keys"], &mut shell).expect_code(0);
        let at = |name: &str| project.root().join(name);
        assert_eq!((mode(&at("keys")), mode(&at("keys/fleet")), mode(&at("keys/fleet.pub"))), (0o700, 0o600, 0o644));
        let public = project.read("keys/fleet.pub");
        assert!(public.starts_with(&public_half(&project, "")), "{public}");
        let fingerprint = stdout_of(Command::new(tool("ssh-keygen")).arg("-lf").arg(at("keys/fleet.pub")));
        assert_eq!(
            Some(output.stdout.trim()),
            fingerprint.split(' ').nth(1),
            "standard output has the fingerprint alone"
        );
    }
}

#[test]
fn a_key_is_never_written_over() {
    let project = Project::new();
    project.fleet(&["generate-keys"]).expect_code(0);
    let before = (project.read("keys/fleet"), project.read("keys/fleet.pub"));
    let output = project.fleet(&["generate-keys", "--yes"]).expect_code(5);
    assert!(output.stderr.starts_with("error: there is a key pair already: "), "{}", output.stderr);
    assert_eq!((project.read("keys/fleet"), project.read("keys/fleet.pub")), before);
    // One half alone is not completed either: which one is right is a person's to say.
    std::fs::remove_file(project.root().join("keys/fleet.pub")).unwrap();
    let output = project.fleet(&["generate-keys"]).expect_code(5);
    assert!(output.stderr.contains("\nhint: ssh-keygen -y -f "), "{}", output.stderr);
    assert_eq!(project.read("keys/fleet"), before.0);
}

#[test]
fn a_new_passphrase_is_asked_for_twice_and_not_shown() {
    let project = Project::new();
    let ask = |first: &str, second: &str| {
        let args = ["generate-keys", "--passphrase"];
        project.fleet_pty(&args, &[("New passphrase: ", first), ("Again: ", second)])
    };
    let output = ask("correct horse\n", "correct hose\n").expect_code(6);
    assert!(output.stdout.contains("the two passphrases differ; no key was made"), "{}", output.stdout);
    let empty = project.fleet_pty(&["generate-keys", "--passphrase"], &[("New passphrase: ", "\n")]).expect_code(6);
    assert!(empty.stdout.contains("the passphrase is empty; no key was made"), "{}", empty.stdout);
    assert!(!project.root().join("keys").exists());
    let output = ask("correct horse\n", "correct horse\n").expect_code(0);
    assert!(!output.stdout.contains("horse"), "{}", output.stdout);
    assert!(project.read("keys/fleet.pub").starts_with(&public_half(&project, "correct horse")));
}

#[test]
fn a_new_passphrase_comes_from_a_private_file_or_a_terminal_only() {
    let project = Project::new();
    let output = project.fleet(&["generate-keys", "--passphrase"]).expect_code(5);
    let told =
        "error: cannot ask: New passphrase:\nhint: there is no terminal to ask on; use --new-passphrase-file FILE\n";
    assert_eq!(output.stderr, told);
    project.write("phrase", "correct horse\nsecond line\n");
    let args = ["generate-keys", "--new-passphrase-file", "phrase"];
    let output = project.fleet(&args).expect_code(5);
    assert_eq!(output.stderr, "error: cannot use phrase: others can read it (mode 0644)\nhint: chmod 600 phrase\n");
    assert!(!project.root().join("keys").exists());
    files::set_mode(&project.root().join("phrase"), 0o600);
    project.fleet(&args).expect_code(0);
    assert!(project.read("keys/fleet.pub").starts_with(&public_half(&project, "correct horse")));
}

/// Two hosts, and a key with this passphrase in the place of the plain one.
fn with_passphrase(passphrase: &str) -> ReadyProject {
    let ready = ReadyProject::start("", &["web1", "web2"]);
    let mut keygen = Command::new(tool("ssh-keygen"));
    run(keygen.args(["-q", "-p", "-P", "", "-N", passphrase, "-f"]).arg(ready.root().join("keys/fleet")));
    ready
}

fn calls(ready: &ReadyProject) -> usize {
    ready.hosts().map(|(_, host)| host.calls()).sum()
}

const RUN: [&str; 4] = ["mysite", "run", "--", "true"];

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let ready = ReadyProject::start("", &["web1"]);
    let (before, key) = (calls(&ready), ready.root().join("keys/fleet"));
    for (mode, shown) in [(0o640, "0640"), (0o604, "0604")] {
        files::set_mode(&key, mode);
        let output = ready.fleet(&RUN).expect_code(5);
        let told = format!(
            "error: others can read the private key {0} (mode {shown}): it is not used\nhint: chmod 600 {0}\n",
            key.display()
        );
        assert_eq!(output.stderr, told);
        ready.fleet(&["mysite", "distribute-keys"]).expect_code(5);
    }
    assert_eq!(calls(&ready), before);
    files::set_mode(&key, 0o400);
    ready.fleet(&RUN).expect_code(0);
}

#[test]
fn a_key_that_is_none_is_told_before_anything_is_contacted() {
    let ready = ReadyProject::start("", &["web1"]);
    let before = calls(&ready);
    for (content, told) in [(&b""[..], "it holds no private key"), (b"\xff\xfe\x00", "it is not text")] {
        files::write(&ready.root().join("other"), content, 0o600);
        let output = ready.fleet(&["-i", "other", "mysite", "run", "--", "true"]).expect_code(5);
        assert_eq!(output.stderr, format!("error: other cannot be used as a key: {told}\n"));
    }
    files::write(&ready.root().join("other"), ready.read("keys/fleet.pub"), 0o600);
    let output = ready.fleet(&["-i", "other", "mysite", "run", "--", "true"]).expect_code(5);
    assert!(output.stderr.starts_with("error: other is the public half of a key, and the agent"), "{}", output.stderr);
    let output = ready.fleet(&["-i", "nowhere", "mysite", "run", "--", "true"]).expect_code(5);
    assert!(output.stderr.starts_with("error: there is no key nowhere\n"), "{}", output.stderr);
    assert_eq!(calls(&ready), before);
}

#[test]
fn a_passphrase_without_a_terminal_is_asked_of_nobody_and_nothing_is_contacted() {
    let ready = with_passphrase("correct horse");
    let (before, key) = (calls(&ready), ready.root().join("keys/fleet"));
    let output = ready.fleet(&RUN).expect_code(5);
    let told = |why: &str| {
        format!("error: the private key {} has a passphrase, and {why}\nhint: --passphrase-file FILE\n", key.display())
    };
    assert_eq!(output.stderr, told("there is no terminal to ask on"));
    let output = ready.fleet_pty(&[&["--no-input"], &RUN[..]].concat(), &[]).expect_code(5);
    assert_eq!(output.stdout.replace("\r\n", "\n"), told("--no-input forbids questions"));
    files::write(&ready.root().join("phrase"), "battery staple\n", 0o600);
    let output = ready.fleet(&[&["--passphrase-file", "phrase"], &RUN[..]].concat()).expect_code(5);
    assert_eq!(output.stderr, format!("error: wrong passphrase for the private key {}\n", key.display()));
    assert_eq!(calls(&ready), before);
    files::write(&ready.root().join("phrase"), "correct horse\n", 0o600);
    ready.fleet(&[&["--passphrase-file", "phrase"], &RUN[..]].concat()).expect_code(0);
}

#[test]
fn a_passphrase_is_asked_for_once_and_before_the_first_connection() {
    let ready = with_passphrase("correct horse");
    let before = calls(&ready);
    let output = ready.fleet_pty(&RUN, &[("Passphrase of ", "battery staple\n")]).expect_code(5);
    assert!(output.stdout.contains("wrong passphrase for the private key"), "{}", output.stdout);
    assert_eq!(calls(&ready), before);
    let output = ready.fleet_pty(&RUN, &[("Passphrase of ", "correct horse\n")]).expect_code(0);
    assert_eq!(output.stdout.matches("Passphrase").count(), 1, "{}", output.stdout);
    assert!(!output.stdout.contains("horse"), "{}", output.stdout);
    assert_eq!(ready["web1"].logins("publickey") + ready["web2"].logins("publickey"), 2);
}

/// Made with openssl: 3DES, Camellia, and a scheme of PKCS#5 version 1.
const OLD_CIPHERS: [(&str, &str); 3] = [
    (
        "3DES",
        "MIGKME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAiL9BZolVSjjQICCAAw
DAYIKoZIhvcNAgkFADAUBggqhkiG9w0DBwQI8wGFCfA/7/8EOF0S0GEJFKe9Tn+1
HbmW/FlSea65a+4JL5yhajBafEQ1e4RL33xGcHRpeF6RE37pEeIf4b5W1dkO",
    ),
    (
        "Camellia",
        "MIGdMFkGCSqGSIb3DQEFDTBMMCkGCSqGSIb3DQEFDDAcBAjQ+xqcoB5wuQICCAAw
DAYIKoZIhvcNAgkFADAfBgsqgwiMmks9AQEBBAQQ0J2m6wnkLcxqxSto6+HrWwRA
fPiYjbfpBKEIzgGNgUQ6HnowH8nNNN5e1lP8dclxRTtnK99LS4KiTfzwiwFl/gHG
IesReWUByrndoX4e4Ods7Q==",
    ),
    (
        "a scheme of PKCS#5 version 1",
        "MFgwHAYKKoZIhvcNAQwBAzAOBAipfAtAnMzzLAICCAAEOCiFzqYUaQou++Zw9whb
EPyiQyRi1/oy11UIjnqHu2zc82Ue20A+wVkWrg6zVKl6ONFqacj7mTpX",
    ),
];

#[test]
fn a_cipher_that_is_not_known_is_no_wrong_passphrase() {
    let ready = ReadyProject::start("", &["web1"]);
    files::write(&ready.root().join("passphrase"), "blabla\n", 0o600);
    let args = ["mysite", "run", "-i", "other", "--passphrase-file", "passphrase", "--", "true"];
    for (name, body) in OLD_CIPHERS {
        let pem = format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n");
        files::write(&ready.root().join("other"), pem, 0o600);
        let output = ready.fleet(&args).expect_code(5);
        let told = format!(
            "error: other cannot be used as a key: it is encrypted with {name}, which fleet does not know\n\
             hint: openssl pkcs8 -topk8 -v2 aes-256-cbc -in other -out other.new rewrites it\n"
        );
        assert_eq!(output.stderr, told);
    }
    std::fs::remove_file(ready.root().join("other")).unwrap();
    let mut keygen = Command::new(tool("ssh-keygen"));
    run(keygen.args(["-q", "-N", "blabla", "-Z", "3des-cbc", "-f"]).arg(ready.root().join("other")));
    let output = ready.fleet(&args).expect_code(5);
    assert!(output.stderr.ends_with("hint: ssh-keygen -p -f other rewrites it\n"), "{}", output.stderr);
}

#[test]
fn the_public_half_names_the_key_of_the_agent() {
    let ready = ReadyProject::start("", &["web1"]);
    std::fs::rename(ready.root().join("keys/fleet"), ready.root().join("moved")).unwrap();
    let args = ["mysite", "run", "-i", "keys/fleet.pub", "--", "true"];
    let agent = Agent::start();
    let run = |agent: &Agent| ready.run(&args, ready.command(&args).env("SSH_AUTH_SOCK", agent.socket()));
    for output in [run(&agent), ready.fleet(&args)] {
        let told = "error: keys/fleet.pub is the public half of a key, and the agent does not hold its private half\n\
                    hint: ssh-add keys/fleet, or name the private half: -i keys/fleet\n";
        assert_eq!(output.expect_code(5).stderr, told);
    }
    // Servers look at a few only: it goes first.
    for other in 0..7 {
        let name = format!("other{other}");
        ready.generate_key_at(&name, "");
        agent.add(&ready.root().join(name), "");
    }
    agent.add(&ready.root().join("moved"), "");
    run(&agent).expect_code(0);
}

/// Makes a pair and, for this user, a certificate of it: `KEY-cert.pub`, as `ssh-keygen` calls it. Tells the authority's public key.
fn certified(project: &Project, key_type: &str, validity: &str) -> String {
    let authority = project.generate_key_at("authority", "");
    let mut keygen = Command::new(tool("ssh-keygen"));
    run(keygen.args(["-q", "-N", "", "-t", key_type, "-f"]).arg(project.root().join("mine")));
    let user = crate::support::user::current();
    let mut sign = Command::new(tool("ssh-keygen"));
    sign.args(["-q", "-I", "me", "-n", &user, "-V", validity, "-s"]).arg(project.root().join("authority"));
    run(sign.arg(project.root().join("mine.pub")));
    authority
}

/// A host that knows the authority and no key.
fn trusting_certificates(key_type: &str, validity: &str) -> ReadyProject {
    let mut ready = ReadyProject::start("", &[]);
    let authority = certified(&ready, key_type, validity);
    ready.write("authorities", authority);
    let authorities = format!("TrustedUserCAKeys {}", ready.root().join("authorities").display());
    ready.add_site_on("mysite", "", vec![("web1", Sshd::settings().line(&authorities))]);
    files::write(&ready["web1"].authorized_keys(), "", 0o600);
    ready
}

#[test]
fn a_certificate_beside_a_key_logs_in() {
    let args = ["mysite", "run", "-i", "mine", "--", "true"];
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        let ready = trusting_certificates(key_type, "-1d:+1d");
        ready.fleet(&args).expect_code(0);
        // The agent has the key alone.
        let (certificate, aside) = (ready.root().join("mine-cert.pub"), ready.root().join("aside"));
        std::fs::rename(&certificate, &aside).unwrap();
        let agent = Agent::with(&ready.root().join("mine"));
        std::fs::rename(aside, certificate).unwrap();
        let by_agent = ["mysite", "run", "-i", "mine.pub", "--", "true"];
        ready.run(&by_agent, ready.command(&by_agent).env("SSH_AUTH_SOCK", agent.socket())).expect_code(0);
        let accepted = ready["web1"].log().matches("ID me (serial 0) CA ED25519").count();
        assert!(accepted >= 2, "{}", ready["web1"].log());
    }
}

#[test]
fn a_certificate_that_is_of_no_use_is_told() {
    let args = ["mysite", "run", "-i", "mine", "--", "true"];
    let ready = trusting_certificates("ed25519", "-2d:-1d");
    let output = ready.fleet(&args).expect_code(11);
    assert!(output.all().contains("the certificate of key `mine` expired on "), "{}", output.all());
    let sign = |options: &[&str]| {
        let mut sign = Command::new(tool("ssh-keygen"));
        sign.args(["-q", "-I", "me"]).args(options).arg("-s").arg(ready.root().join("authority"));
        run(sign.arg(ready.root().join("mine.pub")));
    };
    for (options, told) in [
        (&["-n", "somebody", "-V", "-1d:+1d"][..], "the certificate of key `mine` is for somebody"),
        (&["-h"], "the certificate of key `mine` is a host's"),
        (&["-V", "+1d:+2d"], "the certificate of key `mine` is valid from "),
    ] {
        sign(options);
        let output = ready.fleet(&args).expect_code(11);
        assert!(output.all().contains(told), "{}", output.all());
    }
    let output = ready.fleet(&["mysite", "run", "-i", "mine-cert.pub", "--", "true"]).expect_code(5);
    assert_eq!(
        output.stderr,
        "error: mine-cert.pub is a certificate\nhint: name its key, beside which it is found: -i mine\n"
    );
    for (content, told) in
        [("rubbish", "it is no certificate"), (&*ready.read("keys/fleet.pub"), "it is no certificate")]
    {
        ready.write("mine-cert.pub", content);
        let output = ready.fleet(&args).expect_code(11);
        assert!(
            output.stderr.contains(&format!("warning: mine-cert.pub cannot be used as a key: {told}")),
            "{}",
            output.all()
        );
    }
    let foreign = trusting_certificates("ed25519", "-1d:+1d");
    ready.write("mine-cert.pub", foreign.read("mine-cert.pub"));
    ready["web1"].authorize(ready.read("mine.pub").trim());
    // The key is good without it, and as an editor saved it.
    let key = ready.read("mine");
    files::write(&ready.root().join("mine"), format!("\u{feff}{key}"), 0o600);
    let output = ready.fleet(&args).expect_code(0);
    assert!(
        output.stderr.contains("it is the certificate of another key; the key is used without it"),
        "{}",
        output.all()
    );
}
