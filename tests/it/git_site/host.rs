//! A host with a checkout of release v1 of an upstream that has v1 and v2, and the steps of the recipe run on it as fleet would.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use fleet::model::recipe::template::{Language, Template};

const RECIPE: &str = include_str!("../../../recipes/git-site.toml");
const CRONTAB: &str = "#!/bin/sh
# A crontab in a file, with the messages of Debian's.
f=$HOME/crontab
case $1 in
-l) if [ -e \"$f\" ]; then cat \"$f\"; else echo 'no crontab for you' >&2; exit 1; fi ;;
-r) rm \"$f\" ;;
-) cat >\"$f\" ;;
esac
";

pub fn recipe() -> toml::Table {
    RECIPE.parse().unwrap()
}

/// The steps of a task, with those of the tasks that it is made of.
pub fn steps(task: &str) -> Vec<toml::Table> {
    let recipe = recipe();
    let task = recipe["task"].as_table().unwrap()[task].as_table().unwrap();
    let phases = task.get("phase").map(|phases| phases.as_array().unwrap().clone()).unwrap_or_default();
    let bodies: Vec<_> = phases.iter().map(|phase| phase.as_table().unwrap()).chain([task]).collect();
    let mut all = Vec::new();
    for body in bodies {
        let own = body.get("step").into_iter().flat_map(|steps| steps.as_array().unwrap());
        all.extend(own.map(|step| step.as_table().unwrap().clone()));
        let tasks = body.get("tasks").into_iter().flat_map(|tasks| tasks.as_array().unwrap());
        all.extend(tasks.flat_map(|task| steps(task.as_str().unwrap())));
    }
    all
}

pub struct Host {
    folder: tempfile::TempDir,
    pub shell: &'static [&'static str],
    pub vars: BTreeMap<String, String>,
}

impl Host {
    /// A checkout of release v1 of an upstream that has releases v1 and v2, a database in a file, and a crontab.
    pub fn new(shell: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut vars = BTreeMap::new();
        for (name, declared) in recipe()["vars"].as_table().unwrap() {
            if let Some(default) = declared.get("default") {
                vars.insert(name.clone(), default.as_str().unwrap().to_owned());
            }
        }
        for (name, value) in [
            ("fleet.run", "20261122-084512-7f3a"),
            ("fleet.site", "mysite"),
            ("fleet.host", "web1"),
            ("backup", "cp ../data \"$BACKUP/data\"; cd /"),
            ("restore", "cp \"$BACKUP/data\" ../data"),
            ("migrate", "cat VERSION >>../data"),
            ("restart", "cat VERSION >../running"),
            ("health", "cmp VERSION ../running"),
            ("backup-free", "1"),
        ] {
            vars.insert(name.to_owned(), value.to_owned());
        }
        let host = Self { folder, shell, vars };
        fs::create_dir(host.path("bin")).unwrap();
        // The files of the recipe, run by this shell instead of the host's /bin/sh.
        let program =
            if shell[0].starts_with('/') { shell.join(" ") } else { format!("/usr/bin/env -S {}", shell.join(" ")) };
        let files = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/git-site");
        fs::create_dir_all(host.path("files/git-site")).unwrap();
        for file in fs::read_dir(files).unwrap().map(|file| file.unwrap().path()) {
            let text = fs::read_to_string(&file).unwrap().replacen("#!/bin/sh\n", &format!("#!{program}\n"), 1);
            let copy = host.path("files/git-site").join(file.file_name().unwrap());
            fs::write(&copy, text).unwrap();
            fs::set_permissions(&copy, fs::metadata(&file).unwrap().permissions()).unwrap();
        }
        fs::write(host.path("bin/crontab"), CRONTAB).unwrap();
        fs::set_permissions(host.path("bin/crontab"), fs::Permissions::from_mode(0o755)).unwrap();
        if shell[0] == "busybox" {
            // Not only its shell: all its tools, where a host has no others.
            let applets = Command::new("busybox").arg("--list").output().expect("apt-get install busybox").stdout;
            for applet in std::str::from_utf8(&applets).unwrap().lines().filter(|name| *name != "crontab") {
                symlink("/bin/busybox", host.path("bin").join(applet)).unwrap();
            }
        }
        host.git("", &["init", "-q", "-b", "main", "upstream"]);
        host.release("v1");
        host.git("", &["clone", "-q", "upstream", "home"]);
        host.release("v2");
        fs::write(host.path("data"), "data\n").unwrap();
        fs::write(host.path("crontab"), "MAILTO=\"\"\n*/5 * * * *\tcd $HOME && ./job '%' \\\\ \u{e9}  \n\n").unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    fn command(&self, program: &str) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
            .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
            .envs([
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
                ("GIT_CONFIG_VALUE_0", "always"),
            ]);
        command
    }

    pub fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.command("git").args(arguments).current_dir(self.path(folder)).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn release(&self, version: &str) {
        fs::write(self.path("upstream/VERSION"), format!("{version}\n")).unwrap();
        self.git("upstream", &["add", "-A"]);
        self.git("upstream", &["commit", "-q", "-m", version]);
        self.git("upstream", &["tag", version]);
    }

    pub fn head(&self) -> String {
        self.git("home", &["rev-parse", "HEAD"])
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    fn text(&self, text: &str, language: Language) -> String {
        let bound = Template::parse(text, language).unwrap().bind(|name| {
            // Variables may hold placeholders of other variables.
            self.vars.get(name.as_str()).map(|value| self.text(value, Language::Plain))
        });
        bound.finish().unwrap_or_else(|open| panic!("{open} is not set in {text}")).clone()
    }

    fn shell(&self, text: &str) -> Output {
        let text = self.text(text, Language::Shell);
        let env = recipe()["recipe"]["env"].as_table().unwrap().clone();
        let value = |value: toml::Value| self.text(value.as_str().unwrap(), Language::Plain);
        self.command(self.shell[0])
            .envs(env.into_iter().map(|(name, text)| (name, value(text))))
            .env("FLEET_FILES", self.path("files"))
            .env("FLEET_FINDINGS", self.path("findings"))
            .args(&self.shell[1..])
            .args(["-c", &text])
            .current_dir(self.path("home"))
            .output()
            .unwrap()
    }

    /// Runs a task's steps as fleet would: guards, `run`, `register`.
    pub fn run(&mut self, task: &str) -> Result<String, String> {
        let mut all = String::new();
        for step in steps(task) {
            let says = |key: &str| step.get(key).map(|text| self.shell(text.as_str().unwrap()).status.success());
            if says("unless") == Some(true) || says("only-if") == Some(false) {
                all.push_str("(skipped)");
                continue;
            }
            // One that is only an undo.
            let Some(run) = step.get("run") else { continue };
            let output = self.shell(run.as_str().unwrap());
            let stdout = String::from_utf8(output.stdout).unwrap();
            if !output.status.success() {
                return Err(String::from_utf8(output.stderr).unwrap());
            }
            if let Some(name) = step.get("register") {
                self.set(name.as_str().unwrap(), stdout.trim_end());
            }
            all.push_str(&stdout);
        }
        Ok(all)
    }

    pub fn done(&mut self, task: &str) -> String {
        let shell = self.shell;
        self.run(task).unwrap_or_else(|error| panic!("{shell:?} {task}: {error}"))
    }

    pub fn fails(&mut self, task: &str) -> String {
        let shell = self.shell;
        self.run(task).expect_err(&format!("{shell:?} {task}"))
    }

    pub fn undo(&self, task: &str) {
        for step in steps(task).iter().rev() {
            if let Some(undo) = step.get("undo") {
                let output = self.shell(undo.as_str().unwrap());
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{:?} undo of {task}: {stderr}", self.shell);
            }
        }
    }
}
