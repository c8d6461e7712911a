//! Secret variables: their values reach the environment of the steps that use them, and nothing that is written down or shown.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::model::plan::blob::BlobId;
use rustix::process::Signal;

use super::{Site, outcomes};
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::user::{TestUser, random_hex};

/// Each step tells what it got by its hash. `@AS@` is for a `as` of the first one.
const RECIPE: &str = r#"
[vars.db-password]
doc = "password of the database"
secret = true
[[task.deploy.step]]
name = "durable"
env = { PGPASSWORD = "{{db-password}}", URL = "postgres://shop:{{db-password}}@db" }
unless = "printf %s \"$PGPASSWORD\" | sha256sum >&2; false"
run = '''
printf %s "$PGPASSWORD" | sha256sum
printf %s "$URL" | sha256sum
touch @SHARED@/working
while [ ! -e @SHARED@/go ]; do sleep 0.02; done
'''
undo = "printf %s \"$PGPASSWORD\" | sha256sum; echo undone >>@SHARED@/journal"
@AS@
[[task.deploy.step]]
name = "plain"
durable = false
env = { PGPASSWORD = "{{db-password}}" }
run = "printf %s \"$PGPASSWORD\" | sha256sum; while [ ! -e @SHARED@/go-plain ]; do sleep 0.02; touch @SHARED@/plain; done"
[[task.deploy.step]]
name = "script"
script = "use.sh"
env = { PGPASSWORD = "{{db-password}}" }
"#;

/// What each kind of step does with a value that shells and encoders love.
struct Vault {
    secret: String,
    /// The part of it that no form changes.
    mark: String,
}

impl Vault {
    fn new() -> Self {
        let mark = random_hex();
        Self { secret: format!("it's \"$x\" {mark}\\"), mark }
    }

    /// A source outside of the project and the hosts.
    fn start(&self, user: &str) -> Site {
        let head = "[secrets]\ndb-password = { exec = \"cat ../home/vault; echo asked >>../home/asked\" }\n";
        let site = Site::start(head, &["web1"], &RECIPE.replace("@AS@", user));
        site.write("recipes/use.sh", "#!/bin/bash\nprintf %s \"$PGPASSWORD\" | sha256sum\n");
        // For steps of another user.
        let (shared, home) = (site.shared(), site.home());
        for (folder, mode) in [(home.parent().unwrap(), 0o711), (&*home, 0o711), (&*shared, 0o777)] {
            files::set_mode(folder, mode);
        }
        self.fill(&site);
        site
    }

    fn fill(&self, site: &Site) {
        files::write(&site.home().join("vault"), format!("{}\n", self.secret), 0o600);
    }

    fn hash(&self, around: (&str, &str)) -> String {
        BlobId::of(format!("{}{}{}", around.0, self.secret, around.1).as_bytes()).to_string()
    }

    /// Fails where the value is found in a file of the project or of the host, in what sshd logged, or among arguments and environments
    /// of processes, but for those of the steps.
    #[track_caller]
    fn check_hidden(&self, site: &Site, is_step: impl Fn(&str) -> bool) {
        for folder in [site.root(), site["web1"].home(), site.shared()] {
            assert_eq!(files_with(&folder, &self.mark), Vec::<String>::new());
        }
        // Spools of other users.
        for folder in std::fs::read_dir("/var/tmp").unwrap().filter_map(|entry| Some(entry.ok()?.path())) {
            if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fleet-")) {
                assert_eq!(files_with(&folder, &self.mark), Vec::<String>::new());
            }
        }
        assert!(!site["web1"].log().contains(&self.mark));
        for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            let text = |name: &str| String::from_utf8_lossy(&read(name)).into_owned();
            let (arguments, environment) = (text("cmdline"), text("environ"));
            assert!(!arguments.contains(&self.mark), "{arguments}");
            assert!(!environment.contains(&self.mark) || is_step(&environment), "{arguments}: {environment}");
        }
    }
}

fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_with(&entry.path(), text));
        } else if std::fs::read(entry.path()).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

fn is_durable(environment: &str) -> bool {
    environment.split('\0').any(|entry| entry.starts_with("FLEET_STEP="))
}

fn asked(site: &Site) -> usize {
    files::try_read(&site.home().join("asked")).unwrap_or_default().lines().count()
}

/// A whole run, killed in the middle and resumed, and undone: the value is asked for once each time.
#[track_caller]
fn check_all_of_a_run(vault: &Vault, user: &str) {
    let site = vault.start(user);
    let running = site.spawn(&["mysite", "deploy", "--json", "-vv"]);
    wait_for("the durable step", || site.has("working"));
    // The scan does find what is there: the step has it.
    let environments =
        || std::fs::read_dir("/proc").unwrap().filter_map(|p| std::fs::read(p.ok()?.path().join("environ")).ok());
    assert!(environments().any(|bytes| String::from_utf8_lossy(&bytes).contains(&vault.mark)));
    vault.check_hidden(&site, is_durable);
    running.signal(Signal::KILL);
    let first = running.wait().all();
    vault.check_hidden(&site, is_durable);
    // Without the source nothing is done, and no host is called.
    std::fs::remove_file(site.home().join("vault")).unwrap();
    let calls = site["web1"].calls();
    for verb in ["resume", "undo"] {
        let output = site.fleet(&[verb]).expect_code(5);
        assert!(output.stderr.contains("secret `db-password`: its command"), "{}", output.stderr);
    }
    assert_eq!(site["web1"].calls(), calls);
    vault.fill(&site);
    site.touch("go");
    let running = site.spawn(&["resume", "--json", "-vv"]);
    wait_for("the plain step", || site.has("plain"));
    vault.check_hidden(&site, |environment| environment.contains("PGPASSWORD=") || environment.contains("FLEET_MARK="));
    site.touch("go-plain");
    let second = running.wait().expect_code(0);
    assert_eq!(outcomes(&second), ["web1 succeeded"]);
    let logged = site.fleet(&["logs", "last", "web1"]).expect_code(0).stdout;
    let (own, url) = (vault.hash(("", "")), vault.hash(("postgres://shop:", "@db")));
    for (step, stream, hash) in [
        ("durable", "err", &own),
        ("durable", "out", &own),
        ("durable", "out", &url),
        ("plain", "out", &own),
        ("script", "out", &own),
    ] {
        let line = format!("{step} {stream}| {hash}");
        assert!(logged.contains(&line), "{line}: {logged}");
    }
    vault.check_hidden(&site, |_| false);
    let third = site.fleet(&["undo", "--json", "-vv"]).expect_code(0);
    assert_eq!(site.journal(), ["undone"]);
    let logged = site.fleet(&["logs", "last", "web1"]).expect_code(0).stdout;
    assert_eq!(logged.matches(&own).count(), 5, "{logged}");
    vault.check_hidden(&site, |_| false);
    site.check_free();
    for shown in [first, second.all(), third.all(), logged] {
        assert!(!shown.contains(&vault.mark), "{shown}");
    }
    // The run, two that had no source, the resume, the undo.
    assert_eq!(asked(&site), 5);
}

#[test]
fn a_secret_is_in_the_environment_of_its_steps_and_nowhere_else() {
    check_all_of_a_run(&Vault::new(), "");
}

#[test]
fn a_step_of_another_user_gets_it_in_the_same_way_as_root() {
    let user = TestUser::create();
    let vault = Vault::new();
    check_all_of_a_run(&vault, &format!("as = \"{}\"", user.name));
    assert_eq!(files_with(&user.spool(), &vault.mark), Vec::<String>::new());
}

/// The step is sent a second time: its first connection broke before it came to the host.
#[test]
fn after_a_reconnect_a_later_step_has_it() {
    let vault = Vault::new();
    let site = vault.start("");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the durable step", || site.has("working"));
    site["web1"].cut_connections();
    site.touch("go");
    site.touch("go-plain");
    running.wait().expect_code(0);
    let logged = site.fleet(&["logs", "last", "web1", "--step", "script"]).expect_code(0).stdout;
    assert!(logged.contains(&vault.hash(("", ""))), "{logged}");
    assert_eq!(asked(&site), 1);
}

const LOUD: &str = r#"
[vars.token]
secret = true
[vars.key]
secret = true
[[task.deploy.step]]
name = "loud"
env = { TOKEN = "{{token}}", KEY = "{{key}}" }
run = '''
exec 2>&1
printf 'raw %s\n' "$TOKEN"
printf 'twice %s%s\n' "$TOKEN" "$TOKEN"
printf %s "$TOKEN" | fold -w 11
echo
for before in '' u us user:; do printf %s "$before$TOKEN" | base64; done
printf 'url %s\n' "$TOKEN" | sed "s/'/%27/g; s/ /%20/g; s/\"/%22/g; s/&/%26/g; s|/|%2F|g"
printf 'json %s\n' "$TOKEN" | sed 's/"/\\"/g'
set -x
: "$TOKEN"
set +x
head -c 65530 /dev/zero | tr '\0' x
printf '%s\n' "$TOKEN"
for c in 1 2 3 4 5; do printf %s "$TOKEN" | cut -c -$((c * 5)) | tr -d '\n'; sleep 0.05; printf '\n'; done >/dev/null
printf %s "$TOKEN" | cut -c -9 | tr -d '\n'; sleep 0.2; printf '%s\n' "$TOKEN" | cut -c 10-
printf '%s\n' "$KEY"
printf %s "$KEY" | base64
echo the end
'''
"#;

#[test]
fn it_is_masked_in_every_form_in_which_a_step_prints_it() {
    let site = Site::start("[secrets]\nkey = { file = \"../home/key\" }\n", &["web1"], LOUD);
    let token = "p4ss'w0rd \"ab\"&cd/ef-long-enough";
    let key = "-----BEGIN TEST KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2\ngtZWQyNTUxOQAAACDk\n-----END TEST KEY-----";
    files::write(&site.home().join("key"), format!("{key}\n"), 0o600);
    let args = ["mysite", "deploy", "-vv"];
    let shown = site.run(&args, site.command(&args).env("FLEET_SECRET_TOKEN", token)).expect_code(0).all();
    let logged = site.fleet(&["logs", "last", "web1"]).expect_code(0).stdout;
    let mut record = String::new();
    for name in ["events.jsonl", "debug.log"] {
        record += &files::read(&site.root().join(".fleet/runs").join(super::resume::run_of(&site)).join(name));
    }
    for text in [&shown, &logged, &record] {
        for piece in ["p4ss", "w0rd", "long-enough", "BEGIN TEST", "END TEST", "b3BlbnNz", "gtZWQy"] {
            assert!(!text.contains(piece), "{piece}: {text}");
        }
        // Whatever stands before it, four digits of base64 stand for three bytes of it.
        for (before, value) in [("", token), ("u", token), ("us", token), ("", key)] {
            let digits = STANDARD.encode(format!("{before}{value}"));
            let own = &digits[4..digits.len() - 8];
            assert!(
                own.as_bytes().windows(12).all(|w| !text.contains(std::str::from_utf8(w).unwrap())),
                "{own}: {text}"
            );
        }
    }
    for line in ["raw ***", "twice ******", "url%20***", "json ***", "the end"] {
        assert!(logged.lines().any(|l| l.ends_with(&format!("out| {line}"))), "{line}");
    }
}

#[test]
fn a_dry_run_asks_nothing_and_shows_where_it_stands() {
    let vault = Vault::new();
    let site = vault.start("");
    let shown = site.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(
        shown.contains("PGPASSWORD='[secret]'\n") && shown.contains("[URL='postgres://shop:[secret]@db']"),
        "{shown}"
    );
    let plan = site.fleet(&["mysite", "deploy", "--dry-run", "--json"]).expect_code(0).stdout;
    assert!(plan.contains("\"secrets\":[\"db-password\"]"), "{plan}");
    let tasks = site.fleet(&["tasks", "mysite"]).expect_code(0).stdout;
    assert!(tasks.contains("db-password  secret  password of the database"), "{tasks}");
    let explained = site.fleet(&["list", "--explain", "mysite"]).expect_code(0).stdout;
    assert!(explained.contains("vars.db-password"), "{explained}");
    assert!(explained.contains("FLEET_SECRET_DB_PASSWORD, else hosts/mysite.toml:3"), "{explained}");
    site.fleet(&["check"]).expect_code(0);
    assert_eq!(asked(&site), 0);
    // A step that is left out needs none.
    site.recipe(&RECIPE.replace("@AS@", "").replace("name = \"script\"", "name = \"script\"\nunless = \"true\""));
    let args = ["mysite", "deploy", "--only", "other"];
    site.recipe(&format!("{}[[task.deploy.step]]\nname = \"other\"\nrun = \"true\"\n", RECIPE.replace("@AS@", "")));
    site.fleet(&args).expect_code(0);
    assert_eq!(asked(&site), 0);
}
