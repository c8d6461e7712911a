//! Deployments through the binary, on hosts of real `sshd`: what is typed, what is told, and what happened on the hosts.

mod as_users;
mod attach;
mod books;
mod crashes;
mod debug_log;
mod environment;
mod findings;
mod guards;
mod interrupts;
mod limits;
mod line_ends;
mod links;
mod locks;
mod login;
mod many;
mod masking;
mod order;
mod promotion;
mod proofs;
mod reconnect;
mod records;
mod rescue;
mod resume;
mod rollout;
mod screen;
mod secret_sources;
mod secrets;
mod silent;
mod steps;
mod taking;
mod undo;
mod values;
mod watch;

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;

use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::project::Project;
use crate::support::user;

/// A site on hosts, with a recipe of its own. In the recipe, `@SHARED@` is a folder that all hosts see.
pub struct Site {
    ready: ReadyProject,
}

impl Site {
    /// `head` is the beginning of the site's file, below `recipe = "test"`.
    pub fn start(head: &str, hosts: &[&str], recipe: &str) -> Self {
        let site = Self { ready: ReadyProject::start(&format!("recipe = \"test\"\n{head}"), hosts) };
        site.recipe(recipe);
        site
    }

    /// Puts another recipe in the place of the old one.
    pub fn recipe(&self, recipe: &str) {
        std::fs::create_dir_all(self.shared()).unwrap();
        let recipe = recipe.replace("@SHARED@", &self.shared().display().to_string());
        self.ready.write("recipes/test.toml", format!("[recipe]\ndoc = \"test\"\n{recipe}"));
    }

    /// A folder that all hosts see.
    pub fn shared(&self) -> PathBuf {
        self.ready.home().join("shared")
    }

    /// The lines that the hosts have written to `@SHARED@/journal`, in the order in which they did.
    pub fn journal(&self) -> Vec<String> {
        let text = files::try_read(&self.shared().join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A command that only this host has.
    pub fn program(&self, host: &str, name: &str, text: &str) {
        files::write(&self.ready[host].bin().join(name), format!("#!/bin/sh\n{text}\n"), 0o755);
    }

    /// Does this file exist in `@SHARED@`?
    pub fn has(&self, name: &str) -> Option<()> {
        self.shared().join(name).exists().then_some(())
    }

    /// The spool on a host.
    pub fn spool(&self, host: &str) -> PathBuf {
        self.ready[host].home().join(".local/state/fleet")
    }

    /// The site's book on a host.
    pub fn book(&self, host: &str) -> PathBuf {
        self.spool(host).join("book.mysite")
    }

    /// The run that has the site's lock on a host.
    pub fn holder(&self, host: &str) -> Option<String> {
        let text = files::try_read(&self.book(host).join("lock"))?;
        Some(text.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Fails unless the hosts are free, and nothing but what is kept for people is left on them.
    #[track_caller]
    pub fn check_free(&self) {
        for (name, _) in self.ready.hosts() {
            let list = |folder: PathBuf| {
                let entries = std::fs::read_dir(folder).into_iter().flatten();
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
            };
            let (left, book) = (list(self.spool(name)), list(self.book(name)));
            assert!(left.iter().all(|name| name == "book.mysite" || name == "site.mysite"), "{name}: {left:?}");
            let kept = ["history", "last", "sequence", "proof"];
            assert!(book.iter().all(|name| kept.contains(&name.as_str())), "{name}: {book:?}");
        }
    }

    /// The project of somebody else, who works on the same hosts.
    pub fn colleague(&self) -> Project {
        let other = Project::new();
        for folder in ["hosts", "recipes", "keys"] {
            std::fs::create_dir_all(other.root().join(folder)).unwrap();
            for entry in std::fs::read_dir(self.root().join(folder)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), other.root().join(folder).join(entry.file_name())).unwrap();
            }
        }
        other
    }

    /// Makes an empty file in `@SHARED@`.
    pub fn touch(&self, name: &str) {
        files::write(&self.shared().join(name), "", 0o644);
    }
}

impl Deref for Site {
    type Target = ReadyProject;
    fn deref(&self) -> &ReadyProject {
        &self.ready
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut ReadyProject {
        &mut self.ready
    }
}

/// The event, host and step of each event, and how it ended: `step-finished web1 roll/pull failed`.
pub fn story(output: &Output) -> Vec<String> {
    output.events().iter().map(line).collect()
}

fn line(event: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => fields.get("result")?.as_str().map(str::to_owned),
        _ => None,
    };
    let fields = ["event", "host", "phase", "step", "outcome"];
    fields.iter().filter_map(|field| word(event.get(field)?)).collect::<Vec<_>>().join(" ")
}

/// A snapshot in which no column depends on the width of what was redacted.
pub fn snapshot(output: &Output) -> String {
    let folder = Regex::new("/tmp/[.]tmp[A-Za-z0-9]+").unwrap();
    let blanks = Regex::new("(?m)(?P<word>[^ \n])  +").unwrap();
    let operator = format!("{}@{}", user::current(), files::read("/proc/sys/kernel/hostname".as_ref()).trim());
    let text = output.snapshot().replace(&operator, "[OPERATOR]");
    blanks.replace_all(&folder.replace_all(&text, "[FOLDER]"), "$word  ").into_owned()
}

/// How each host ended, in the order of the plan: `web1 succeeded`.
pub fn outcomes(output: &Output) -> Vec<String> {
    let mut all: Vec<String> =
        story(output).iter().filter_map(|line| line.strip_prefix("host-finished ").map(str::to_owned)).collect();
    all.sort();
    all
}

/// What `--json` promises, of every run: one event a line, `host-finished` the last of its host, `run-finished` the last of all.
pub fn check_stream(output: &Output) {
    let events = output.events();
    assert_eq!(events.first().unwrap()["event"], "run-started");
    assert_eq!(events.last().unwrap()["event"], "run-finished");
    assert_eq!(events.last().unwrap()["exit-code"].as_i64(), output.code.map(i64::from));
    for host in events[0]["hosts"].as_array().unwrap() {
        let of_host: Vec<&Value> = events.iter().filter(|event| &event["host"] == host).collect();
        assert_eq!(of_host.last().unwrap()["event"], "host-finished", "{host}");
        assert_eq!(of_host.iter().filter(|event| event["event"] == "host-finished").count(), 1, "{host}");
    }
}
