//! What the demo tells: each command as a user would type it, its output, and what the site serves afterwards.

use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;

use crate::model::recipe::shell::quote;

use super::demo_error::DemoError;
use super::project::{CRONTAB, DemoSite, PRODUCTION, Project, RELEASES, Release, TEST};
use super::server::EmbeddedFleet;
use super::visitor::{self, Answer, Watch};

pub(super) struct Story<'a> {
    exe: &'a Path,
    project: &'a Project,
    fleet: &'a EmbeddedFleet,
    out: &'a mut dyn Write,
    /// On a terminal fleet shows its live view there.
    terminal: bool,
    /// What was seen, in a line each.
    seen: Vec<String>,
}

const V1: &[&str] =
    &["Ada: it weaves algebraic patterns", "Grace: it is easier to ask forgiveness", "Grace: a ship in port is safe"];
const V2: &[&str] = &[
    "Ada - it weaves algebraic patterns",
    "Grace - it is easier to ask forgiveness",
    "Grace - a ship in port is safe",
];

impl<'a> Story<'a> {
    pub(super) fn new(
        exe: &'a Path,
        (project, fleet): (&'a Project, &'a EmbeddedFleet),
        out: &'a mut dyn Write,
        terminal: bool,
    ) -> Self {
        Self { exe, project, fleet, out, terminal, seen: Vec::new() }
    }

    /// Plays it from the first key to the last log.
    pub(super) async fn play(&mut self) -> Result<(), DemoError> {
        let started = Instant::now();
        let [v1, v2, v3, v4] = &RELEASES;
        self.project.publish(v1).await?;
        self.project.describe(self.fleet)?;
        self.project.install(self.fleet, &TEST).await?;
        self.project.install(self.fleet, &PRODUCTION).await?;
        self.tell(&format!(
            "Four SSH servers on 127.0.0.1, a site in release v1 on each, and its git repository.\n\
             {} is Test; {} is Production, with three hosts and one database. All of it is in {}.",
            TEST.name,
            PRODUCTION.name,
            self.project.root().display(),
        ))?;
        self.serves(&TEST, v1, V1).await?;
        self.serves(&PRODUCTION, v1, V1).await?;

        self.keys().await?;

        self.project.publish(v2).await?;
        self.tell("Release v2 is out: notes get authors, and a migration moves the data. First it goes to Test.")?;
        self.upgrade(&["notes-test", "deploy"], &TEST, v2, V2).await?;

        self.tell(
            "Production follows Test: it gets exactly the commit that was proven there. Its site closes while the schema moves;\n\
             one host opens first, the canary, and the others when it works.",
        )?;
        let watch = self.watch(&PRODUCTION);
        self.tell("And in the middle of a long migration the controller dies: fleet is killed, as by a power cut.")?;
        self.project.set_large(&PRODUCTION, true)?;
        self.killed(&["notes", "deploy", "--yes"], "002-author.sql done").await?;
        self.tell(
            "The migration goes on, on its host. Who comes next sees that, and cannot start a second deployment over it. One command\n\
             goes on from there: it reads what the migration has printed since, and starts nothing twice.",
        )?;
        self.fleet(&["notes", "status"], 0).await?;
        self.fleet(&["notes", "deploy", "--yes"], 12).await?;
        self.project.set_large(&PRODUCTION, false)?;
        self.fleet(&["resume"], 0).await?;
        self.nothing_broken("notes deploy, killed and resumed", watch).await?;
        self.serves(&PRODUCTION, v2, V2).await?;

        self.project.publish(v3).await?;
        self.tell("Release v3 is out. Its second migration fails on real data, when the first one is already in the database.")?;
        let before = self.runs()?;
        let watch = self.watch(&TEST);
        self.fleet(&["notes-test", "deploy"], 10).await?;
        let failed = self.runs()?.into_iter().find(|run| !before.contains(run));
        let failed = failed.ok_or_else(|| surprise("a record of the failed run in .fleet/runs", "none"))?;
        self.nothing_broken("notes-test deploy, failed and rolled back", watch).await?;
        self.serves(&TEST, v2, V2).await?;
        self.tell("Test is as it was before: code, database, crontab, and open. Production will not take v3:")?;
        self.fleet(&["notes", "deploy", "-e", "revision=v3", "--yes"], 6).await?;
        self.serves(&PRODUCTION, v2, V2).await?;

        self.tell("Somebody finds that v2 was too early. Production goes back: each host to its former commit, and the database too.")?;
        self.upgrade(&["notes", "rollback", "--yes"], &PRODUCTION, v1, V1).await?;

        self.tell("What happened, and why that migration failed, is on record.")?;
        self.fleet(&["runs"], 0).await?;
        self.fleet(&["logs", &failed, "test1", "--step", "migrate-database"], 0).await?;

        self.project.publish(v4).await?;
        let seen = self.seen.iter().fold(String::new(), |seen, line| format!("{seen}\n  {line}"));
        self.tell(&format!(
            "What was seen, in {:.1} s: no visitor met an error, no password was sent twice, every crontab is as it was.{seen}\n\n\
             What to type next:\n  \
             fleet demo --serve      the same, and the fleet stays for you to play with (release v4 is upstream)\n  \
             fleet init              a project for a site of your own\n  \
             fleet tasks mysite      its tasks; the recipe git-site, which this was, is the example to copy",
            started.elapsed().as_secs_f32(),
        ))
    }

    /// Says how to play with the running fleet, and stays until it is dropped.
    pub(super) async fn serve(&mut self) -> Result<(), DemoError> {
        let mut pages = String::new();
        for host in TEST.hosts.iter().chain(PRODUCTION.hosts) {
            let port = std::fs::read_to_string(self.project.home(host).join("run/port")).unwrap_or_default();
            let _ = writeln!(pages, "  {host:<6} http://127.0.0.1:{}/", port.trim());
        }
        self.tell(&format!(
            "The fleet is running. Its pages:\n{pages}\n\
             In another terminal (hosts/ has the two sites, upstream/ the releases v1 to v4):\n\n  \
             cd {}\n  \
             fleet notes run -- uptime\n  \
             fleet notes-test deploy --dry-run\n  \
             fleet notes-test deploy       v4, which comes after the failed v3\n  \
             fleet notes deploy\n\n\
             Ctrl-C ends it.",
            quote(&self.project.root().to_string_lossy()),
        ))?;
        std::future::pending().await
    }

    async fn keys(&mut self) -> Result<(), DemoError> {
        self.tell(
            "A key pair for the project; then the hosts' keys, compared with what their administrator said and pinned.",
        )?;
        self.fleet(&["generate-keys"], 0).await?;
        let key = std::fs::metadata(self.project.root().join("keys/fleet"));
        let mode = key.map(|file| format!("{:o}", file.permissions().mode() & 0o777));
        check(mode.as_ref().is_ok_and(|mode| mode == "600"), "keys/fleet with mode 600", || format!("{mode:?}"))?;

        self.fleet(&["notes-test,notes", "trust", "--fingerprints", "fingerprints"], 0).await?;
        let pinned = std::fs::read_to_string(self.project.root().join("keys/known_hosts")).unwrap_or_default();
        for host in TEST.hosts.iter().chain(PRODUCTION.hosts) {
            let key = self.fleet.host_key(host).unwrap_or_default();
            check(pinned.contains(&key), &format!("{host}'s key in keys/known_hosts"), || pinned.clone())?;
            let passwords = self.fleet.seen(host).unwrap_or_default().passwords;
            check(passwords == 0, &format!("no password sent to {host} yet"), || passwords.to_string())?;
        }

        self.tell("The public key goes to the hosts, with the password once, and is proven by a second login.")?;
        self.fleet(&["notes-test,notes", "distribute-keys", "--password-file", "password"], 0).await?;
        let public = std::fs::read_to_string(self.project.root().join("keys/fleet.pub")).unwrap_or_default();
        let data = public.split(' ').nth(1).unwrap_or("no key in keys/fleet.pub");
        for host in TEST.hosts.iter().chain(PRODUCTION.hosts) {
            let keys =
                std::fs::read_to_string(self.project.home(host).join(".ssh/authorized_keys")).unwrap_or_default();
            check(keys.contains(data), &format!("the project's key in authorized_keys of {host}"), || keys.clone())?;
        }
        Ok(())
    }

    /// A command that changes what a site serves, while visitors look on.
    async fn upgrade(
        &mut self,
        arguments: &[&str],
        site: &DemoSite,
        release: &Release,
        notes: &[&str],
    ) -> Result<(), DemoError> {
        let watch = self.watch(site);
        self.fleet(arguments, 0).await?;
        self.nothing_broken(&arguments.join(" "), watch).await?;
        self.serves(site, release, notes).await
    }

    fn watch(&self, site: &DemoSite) -> Watch {
        Watch::start(site.hosts.iter().map(|host| (*host, self.project.home(host))))
    }

    /// Tells what the visitors saw, and that none of them met an error.
    async fn nothing_broken(&mut self, what: &str, watch: Watch) -> Result<(), DemoError> {
        let mut all: Vec<String> = Vec::new();
        for (host, answers) in watch.stop().await {
            // While it is closed the server is restarted: to a visitor it is the same.
            let mut seen: Vec<String> =
                answers.iter().filter(|a| **a != Answer::Nobody).map(Answer::to_string).collect();
            seen.dedup();
            let broken = answers.iter().find(|answer| matches!(answer, Answer::Broken(_)));
            check(broken.is_none(), &format!("no visitor of {host} to meet an error"), || seen.join(", "))?;
            self.line(&format!("  visitors of {host} saw: {}", seen.join(", ")))?;
            all.push(seen.join(", "));
        }
        all.dedup();
        self.seen.push(format!("{what}: visitors saw {}", all.join("; or ")));
        Ok(())
    }

    /// Asks all hosts of a site for their page.
    async fn serves(&mut self, site: &DemoSite, release: &Release, notes: &[&str]) -> Result<(), DemoError> {
        for host in site.hosts {
            let home = self.project.home(host);
            let visit = visitor::visit(&home).await;
            let expected = Answer::Release(release.tag.to_owned());
            check(visit.answer == expected, &format!("{host} to serve {expected}"), || visit.answer.to_string())?;
            check(visit.notes == notes, &format!("the notes {notes:?} on {host}"), || format!("{:?}", visit.notes))?;
            let crontab = std::fs::read_to_string(home.join("crontab")).unwrap_or_default();
            check(crontab == CRONTAB, &format!("the crontab of {host} as it was"), || crontab.clone())?;
        }
        self.line(&format!(
            "  {} serves release {}, {} notes: {}",
            site.name,
            release.tag,
            notes.len(),
            site.hosts.join(", ")
        ))
    }

    fn runs(&self) -> Result<Vec<String>, DemoError> {
        let runs = std::fs::read_dir(self.project.root().join(".fleet/runs"));
        let runs = runs.map_err(|error| surprise("a record of the runs in .fleet/runs", &error.to_string()))?;
        Ok(runs.filter_map(|run| run.ok()?.file_name().into_string().ok()).collect())
    }

    /// Shows and runs a command of fleet, in the project, and wants this exit code.
    async fn fleet(&mut self, arguments: &[&str], exit: i32) -> Result<(), DemoError> {
        let typed = arguments.join(" ");
        let (_, status) = self.run(arguments, None).await?;
        check(status.code() == Some(exit), &format!("`fleet {typed}` to end with exit code {exit}"), || {
            status.to_string()
        })
    }

    /// Shows a command of fleet, and kills it as soon as it has told this.
    async fn killed(&mut self, arguments: &[&str], at: &str) -> Result<(), DemoError> {
        let (told, status) = self.run(arguments, Some(at)).await?;
        check(status.signal() == Some(9), &format!("`{at}`, and then the end of fleet"), || {
            format!("{status}: {told}")
        })?;
        self.line("Killed")
    }

    /// Shows and runs a command of fleet, in the project. Gives what it told, and how it ended.
    async fn run(&mut self, arguments: &[&str], kill_at: Option<&str>) -> Result<(String, ExitStatus), DemoError> {
        self.line(&format!("\n$ fleet {}", arguments.join(" ")))?;
        let failed = |source| DemoError::Run { exe: self.exe.to_owned(), source };
        if self.terminal && kill_at.is_none() {
            let mut command = self.command(arguments);
            let status = command.stdout(Stdio::inherit()).stderr(Stdio::inherit()).status().await.map_err(failed)?;
            return Ok((String::new(), status));
        }
        // One pipe for both streams: their order is part of the story.
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut command = self.command(arguments);
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        // Its end of the pipe: the output ends when the child's does.
        drop(command);
        let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
        let mut told = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = output.read(&mut buffer).await.map_err(failed)?;
            if length == 0 {
                break;
            }
            self.out.write_all(buffer.get(..length).unwrap_or_default()).map_err(DemoError::Output)?;
            self.out.flush().map_err(DemoError::Output)?;
            told.extend_from_slice(buffer.get(..length).unwrap_or_default());
            if let Some(at) = kill_at
                && told.windows(at.len()).any(|window| window == at.as_bytes())
            {
                child.start_kill().map_err(failed)?;
            }
        }
        let status = child.wait().await.map_err(failed)?;
        Ok((String::from_utf8_lossy(&told).into_owned(), status))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.exe);
        command
            .args(arguments)
            .current_dir(self.project.root())
            // Neither the user's keys nor the user's settings play a part.
            .env("HOME", self.project.root().join("controller"))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLEET_")) {
            command.env_remove(name);
        }
        command
    }

    fn tell(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&format!("\n{text}"))
    }

    fn line(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(DemoError::Output)
    }
}

fn check(is_so: bool, expected: &str, found: impl FnOnce() -> String) -> Result<(), DemoError> {
    if is_so { Ok(()) } else { Err(surprise(expected, &found())) }
}

fn surprise(expected: &str, found: &str) -> DemoError {
    DemoError::Surprise { expected: expected.to_owned(), found: found.to_owned() }
}
