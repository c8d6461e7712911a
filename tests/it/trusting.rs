//! `fleet SITE trust`: one table, one question, and no flag against a key that contradicts a pinned one.

use std::process::Command;

use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::sshd::Sshd;
use crate::support::tools::tool;

/// The site `mysite` on these hosts, and nothing pinned.
fn strangers(hosts: &[&str]) -> ReadyProject {
    let ready = ReadyProject::start("", hosts);
    std::fs::remove_file(ready.root().join("keys/known_hosts")).unwrap();
    ready
}

fn pins(ready: &ReadyProject) -> Option<String> {
    files::try_read(&ready.root().join("keys/known_hosts"))
}

/// A run on `mysite` works.
fn expect_trusted(ready: &ReadyProject) {
    ready.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
}

/// A run is refused on this host, which has seen neither a user's name nor a login.
fn expect_refused(ready: &ReadyProject, host: &str) -> Output {
    let output = ready.fleet(&["mysite", "-l", host, "run", "--", "true"]).expect_code(11);
    let log = ready[host].log();
    for word in ["Accepted", "Failed", "user root"] {
        assert!(!log.contains(word), "{log}");
    }
    output
}

#[test]
fn all_keys_are_shown_and_one_question_is_asked() {
    let ready = strangers(&["web1", "web2"]);
    let output = ready.fleet_pty(&["mysite", "trust"], &[("[yes/no] ", "no\n")]).expect_code(6);
    assert!(output.stdout.contains("not confirmed; nothing was changed"), "{}", output.stdout);
    assert_eq!(pins(&ready), None);
    expect_refused(&ready, "web1");

    let output = ready.fleet_pty(&["mysite", "trust"], &[("[yes/no] ", "yes\n")]).expect_code(0);
    assert_eq!(output.stdout.matches("yes/no").count(), 1, "{}", output.stdout);
    for name in ["web1", "web2"] {
        assert!(output.stdout.contains(&ready[name].fingerprint("ed25519")), "{}", output.stdout);
    }
    insta::assert_snapshot!("asked", output.snapshot());
    expect_trusted(&ready);

    // What is pinned already is no question.
    let again = ready.fleet(&["mysite", "trust", "--no-input"]).expect_code(0);
    insta::assert_snapshot!("again", again.snapshot());
}

#[test]
fn without_a_terminal_the_flags_decide() {
    let ready = strangers(&["web1", "web2"]);
    for args in [&["mysite", "trust"][..], &["mysite", "trust", "--no-input"]] {
        let output = ready.fleet(args).expect_code(6);
        assert!(output.stdout.contains(&ready["web2"].fingerprint("ed25519")), "{}", output.stdout);
        assert!(
            output.stderr.starts_with("error: not confirmed: Pin these 2 keys in keys/known_hosts?"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("--fingerprints FILE, or a typed --yes answers it"), "{}", output.stderr);
        assert_eq!(pins(&ready), None);
    }
    let output = ready.fleet(&["mysite", "trust", "--yes"]).expect_code(0);
    assert_eq!(output.stderr, "pinned 2 keys in keys/known_hosts\n");
    let lines = ["web1", "web2"].map(|name| ready[name].known_hosts());
    assert_eq!(pins(&ready).unwrap(), lines.concat());
    expect_trusted(&ready);
}

/// Set once for deployments, it would pin whatever answers, at every `trust` to come.
#[test]
fn a_variable_does_not_make_trust_blind() {
    let ready = strangers(&["web1"]);
    let run = |args: &[&str], yes: &str| ready.run(args, ready.command(args).env("FLEET_YES", yes));
    for yes in ["1", "true", "on"] {
        for args in [&["mysite", "trust"][..], &["mysite", "trust", "--no-input"], &["mysite", "-l", "web1", "trust"]] {
            let output = run(args, yes).expect_code(6);
            assert!(output.stderr.starts_with("error: not confirmed: Pin this key in"), "{}", output.stderr);
            assert_eq!(pins(&ready), None);
        }
    }
    // A person who types it, and a list, do answer.
    run(&["mysite", "trust", "-y"], "1").expect_code(0);
    std::fs::remove_file(ready.root().join("keys/known_hosts")).unwrap();
    run(&["--yes", "mysite", "trust"], "0").expect_code(0);
    std::fs::remove_file(ready.root().join("keys/known_hosts")).unwrap();
    ready.write("list", format!("web1 {}\n", ready["web1"].fingerprint("ed25519")));
    run(&["mysite", "trust", "--fingerprints", "list"], "1").expect_code(0);
    // Other questions are answered.
    run(&["mysite", "unlock"], "1").expect_code(0);
}

#[test]
fn fingerprints_answer_the_question_for_what_they_list() {
    let ready = strangers(&["web1", "web2", "web3"]);
    let [one, two] = ["web1", "web2"].map(|name| ready[name].fingerprint("ed25519"));
    // From the first host's console, in the words of ssh-keygen; a stranger's for the second; none for the third.
    ready.write("list", format!("# from the consoles\n256 {one} root@web1 (ED25519)\nweb2 {one}\n"));
    let output = ready.fleet(&["mysite", "trust", "--fingerprints", "list", "--yes"]).expect_code(11);
    assert_eq!(pins(&ready).unwrap(), ready["web1"].known_hosts());
    insta::assert_snapshot!(output.snapshot());
    ready.write("list", format!("web1 {one}\nweb2 {two}\n"));
    let output = ready.fleet(&["mysite", "-x", "web3", "trust", "--fingerprints", "list"]).expect_code(0);
    assert!(output.stderr.contains("pinned 1 key in keys/known_hosts"), "{}", output.stderr);
    expect_refused(&ready, "web3");
}

#[test]
fn a_list_of_fingerprints_that_is_none_stops_before_anything_is_contacted() {
    let ready = strangers(&["web1"]);
    let before = ready["web1"].calls();
    let trust = || ready.fleet(&["mysite", "trust", "--fingerprints", "list"]);
    assert!(trust().expect_code(5).stderr.starts_with("error: cannot read list: "));
    for (content, told) in [
        (&b"web1 MD5:aa:bb\nweb1 SHA256:short\n"[..], "list: line 1: `MD5:aa:bb` is not a SHA256 fingerprint"),
        (b"web1 MD5:aa:bb\nweb1 SHA256:short\n", "list: line 2: `SHA256:short` is not complete"),
        (b"", "list: line 1: "),
        (b"\xff\xfe\x00\x1b[1m", "list: line 1: "),
    ] {
        files::write(&ready.root().join("list"), content, 0o644);
        let output = trust().expect_code(3);
        assert!(output.stderr.contains(told) && !output.stderr.contains('\x1b'), "{}", output.stderr);
    }
    assert_eq!((ready["web1"].calls(), pins(&ready)), (before, None));
}

#[test]
fn a_changed_key_is_refused_whatever_the_flags_and_the_others_are_pinned() {
    let mut ready = ReadyProject::start("", &["web1", "web2"]);
    let before = pins(&ready).unwrap();
    ready.write("keys/known_hosts", before.lines().next().unwrap().to_owned() + "\n");
    ready.host("web1").change_host_key("ed25519");
    let new = ready["web1"].fingerprint("ed25519");
    let output = ready.fleet(&["mysite", "trust", "--yes"]).expect_code(11);
    insta::assert_snapshot!(output.snapshot());
    assert_eq!(pins(&ready).unwrap(), before, "web2 is pinned, and web1 as it was");
    // Nor does a list that vouches for it help: somebody has to take the old one out.
    ready.write("list", format!("web1 {new}\n"));
    ready.fleet(&["mysite", "trust", "--fingerprints", "list"]).expect_code(11);
    assert_eq!(pins(&ready).unwrap(), before);
    let told = expect_refused(&ready, "web1").all();
    assert!(told.contains("HAS CHANGED") && told.contains(&new) && told.contains("ssh-keygen -R"), "{told}");
    // What the hint says helps.
    let mut keygen = Command::new(tool("ssh-keygen"));
    keygen
        .arg("-R")
        .arg(format!("[127.0.0.1]:{}", ready["web1"].port()))
        .arg("-f")
        .arg(ready.root().join("keys/known_hosts"));
    crate::support::process::run(&mut keygen);
    ready.fleet(&["mysite", "trust", "--yes"]).expect_code(0);
    expect_trusted(&ready);
}

#[test]
fn a_key_of_another_type_and_a_revoked_one_are_refused() {
    let mut ready = ReadyProject::start("", &["web1"]);
    ready.add_site_on(
        "others",
        "",
        vec![
            ("two", Sshd::settings().key_types(&["ecdsa"])),
            ("both", Sshd::settings().key_types(&["rsa", "ed25519"])),
        ],
    );
    let port = |name: &str| format!("[127.0.0.1]:{}", ready[name].port());
    let stranger = ready["web1"].host_key("ed25519");
    let text = format!(
        "{two} {stranger}\n@revoked * {stranger}\n{both} {rsa}\n",
        two = port("two"),
        both = port("both"),
        rsa = ready["both"].host_key("rsa"),
    );
    ready.write("keys/known_hosts", &text);
    let output = ready.fleet(&["all", "trust", "--yes"]).expect_code(11);
    assert_eq!(pins(&ready).unwrap(), text);
    insta::assert_snapshot!(output.snapshot());
    expect_refused(&ready, "web1");
    // A host with several keys is asked for the one that is pinned.
    ready.fleet(&["others", "-l", "both", "run", "--", "true"]).expect_code(0);
    let told = ready.fleet(&["others", "-l", "two", "run", "--", "true"]).expect_code(11).all();
    assert!(told.contains("offers a key of another type than the pinned"), "{told}");
}

#[test]
fn a_host_that_is_down_keeps_no_other_from_being_pinned() {
    let mut ready = strangers(&["web1", "web2", "web3"]);
    ready.host("web2").stop();
    let output = ready.fleet(&["mysite", "trust", "--yes"]).expect_code(11);
    assert!(output.stderr.contains("web2: cannot connect to 127.0.0.1:"), "{}", output.stderr);
    assert_eq!(pins(&ready).unwrap(), ready["web1"].known_hosts() + &ready["web3"].known_hosts());
}

#[test]
fn pins_that_cannot_be_read_are_no_empty_list() {
    let ready = strangers(&["web1"]);
    let before = ready["web1"].calls();
    // Root may read everything; a folder it cannot.
    std::fs::create_dir(ready.root().join("keys/known_hosts")).unwrap();
    for args in [&["mysite", "trust", "--yes"][..], &["mysite", "run", "--", "true"], &["mysite", "distribute-keys"]] {
        let output = ready.fleet(args).expect_code(5);
        assert!(output.stderr.starts_with("error: cannot read the pinned host keys in "), "{}", output.stderr);
    }
    std::fs::remove_dir_all(ready.root().join("keys")).unwrap();
    ready.write("keys", "a file");
    ready.fleet(&["mysite", "trust", "--yes"]).expect_code(5);
    assert_eq!((ready["web1"].calls(), ready.read("keys").as_str()), (before, "a file"));
}

#[test]
fn a_full_disk_loses_no_pin_and_is_told() {
    let ready = strangers(&["web1"]);
    let old = format!("# {}\n{}", "x".repeat(5000), Sshd::start().known_hosts());
    ready.write("keys/known_hosts", &old);
    let fleet = ready.command(&[]);
    let mut full = Command::new(tool("sh"));
    // As on a full disk: half of the file is written, then no more. Without the trap a signal would end the process.
    full.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" mysite trust --yes"]).arg(fleet.get_program());
    full.current_dir(ready.root()).env_clear().envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = ready.run(&["mysite", "trust", "--yes"], &mut full).expect_code(5);
    assert!(
        output.stderr.contains("cannot pin host keys in ") && output.stderr.contains("File too large"),
        "{}",
        output.stderr
    );
    assert_eq!(pins(&ready).unwrap(), old);
    let left: Vec<_> =
        std::fs::read_dir(ready.root().join("keys")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
    ready.fleet(&["mysite", "trust", "--yes"]).expect_code(0);
    assert_eq!(pins(&ready).unwrap(), old + &ready["web1"].known_hosts());
}

#[test]
fn bytes_of_others_in_known_hosts_are_kept_and_do_no_harm() {
    let ready = strangers(&["web1"]);
    let old =
        b"# von G\xfcnter\nnot a line\n|1|xx|yy ssh-ed25519 AAAA\nhost\xff ssh-rsa \x00\x1b[1m\nlast line without end"
            .to_vec();
    ready.write("keys/known_hosts", &old);
    ready.fleet(&["mysite", "trust", "--yes"]).expect_code(0);
    let new = std::fs::read(ready.root().join("keys/known_hosts")).unwrap();
    assert_eq!(new, [&old, &b"\n"[..], ready["web1"].known_hosts().as_bytes()].concat());
    expect_trusted(&ready);
}

/// Other spellings of 127.0.0.1, which reach it without IPv6, too.
const SPELLINGS: [&str; 4] = ["::ffff:127.0.0.1", "::FFFF:7F00:1", "0:0:0:0:0:ffff:7f00:0001", "127.0.0.1"];

/// A pinned host was unknown, because its address was spelled in another way.
#[test]
fn a_pin_counts_for_its_address_in_every_spelling() {
    let ready = ReadyProject::start("", &["web1"]);
    let site = ready.read("hosts/mysite.toml");
    let (port, key) = (ready["web1"].port(), ready["web1"].host_key("ed25519"));
    let keygen = |action: &str, name: &str| {
        let mut keygen = Command::new(tool("ssh-keygen"));
        keygen.args([action, name, "-f"]).arg(ready.root().join("keys/known_hosts")).output().unwrap().status.success()
    };
    for typed in SPELLINGS {
        ready.write("hosts/mysite.toml", site.replace("127.0.0.1", typed));
        for pinned in SPELLINGS {
            ready.write("keys/known_hosts", format!("[{pinned}]:{port} {key}\n"));
            expect_trusted(&ready);
            assert!(ready.fleet(&["mysite", "trust"]).expect_code(0).stdout.contains("pinned already"));
            // The hint takes out the line that is there.
            let line = ready["web1"].known_hosts().replace("[127.0.0.1]", &format!("[{pinned}]"));
            ready.write("keys/known_hosts", line.replace(&key, &other_key(&ready)));
            let name = format!("[{}]:{port}", pinned.to_lowercase());
            for args in [&["mysite", "trust"][..], &["mysite", "run", "--", "true"]] {
                let told = ready.fleet(args).expect_code(11).all();
                assert!(told.contains(&format!("ssh-keygen -R '{name}' -f ")), "{told}");
            }
            assert!(keygen("-R", &name), "{name}");
            assert_eq!(pins(&ready).unwrap(), "");
        }
        // What fleet pins is what OpenSSH looks for.
        ready.fleet(&["mysite", "trust", "--yes"]).expect_code(0);
        assert_eq!(pins(&ready).unwrap(), ready["web1"].known_hosts());
        assert!(keygen("-F", &format!("[127.0.0.1]:{port}")));
    }
}

/// A key that pins nobody here.
fn other_key(ready: &ReadyProject) -> String {
    let key = ready.generate_key_at("keys/other", "");
    std::fs::remove_file(ready.root().join("keys/other")).unwrap();
    key.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn one_address_in_two_spellings_is_one_host() {
    let ready = strangers(&["web1"]);
    let site = ready.read("hosts/mysite.toml");
    // In one site that is a mistake; of two sites it is one key to pin.
    let again = site.split_once("[[host]]").unwrap().1.replace("web1", "web2").replace("127.0.0.1", "::FFFF:7F00:1");
    ready.write("hosts/mysite.toml", format!("{site}[[host]]{again}"));
    let told = ready.fleet(&["check"]).expect_code(3).stderr;
    assert!(told.contains("hosts `web1` and `web2` are the same: 127.0.0.1 port "), "{told}");
    for (one, other) in
        [("2001:DB8::1", "2001:db8:0::0001"), ("fe80::1%eth0", "FE80:0::1%eth0"), ("::1", "0:0:0:0:0:0:0:1")]
    {
        ready.write(
            "hosts/six.toml",
            format!("[[host]]\nname = \"a\"\naddress = \"{one}\"\n[[host]]\nname = \"b\"\naddress = \"{other}\"\n"),
        );
        let told = ready.fleet(&["six", "trust"]).expect_code(3).stderr;
        assert!(told.contains("hosts `a` and `b` are the same"), "{told}");
    }
    ready.write("hosts/six.toml", site.replace("127.0.0.1", "0:0:0:0:0:FFFF:127.0.0.1").replace("web1", "web2"));
    ready.write("hosts/mysite.toml", &site);
    let output = ready.fleet(&["all", "trust", "--yes"]).expect_code(0);
    assert_eq!(output.stderr, "pinned 1 key in keys/known_hosts\n");
    expect_trusted(&ready);
    ready.fleet(&["all", "run", "--", "true"]).expect_code(0);
}
