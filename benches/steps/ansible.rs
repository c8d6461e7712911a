//! ansible, if it is there: `ansible-playbook` on the `PATH`, or what `FLEET_BENCH_ANSIBLE` names. To have it for the benchmark alone:
//!
//! ```sh
//! python3 -m venv /tmp/ansible && /tmp/ansible/bin/pip install ansible-core
//! FLEET_BENCH_ANSIBLE=/tmp/ansible/bin/ansible-playbook cargo bench --bench steps
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::hosts::ReadyProject;
use crate::support::process::{run, stdout_of};
use crate::support::tools::PATH;
use crate::support::{files, user};

/// How to install it.
pub const HINT: &str = "python3 -m venv /tmp/ansible && /tmp/ansible/bin/pip install ansible-core\n\
    FLEET_BENCH_ANSIBLE=/tmp/ansible/bin/ansible-playbook cargo bench --bench steps";

/// A playbook of `raw` tasks for the hosts of a project.
pub struct Ansible {
    program: PathBuf,
    folder: PathBuf,
}

impl Ansible {
    /// Writes inventory, settings and playbook. `None` when it is not installed.
    pub fn find(ready: &ReadyProject, tasks: u32) -> Option<Self> {
        let named = std::env::var_os("FLEET_BENCH_ANSIBLE").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join("ansible-playbook"));
        let program = named.into_iter().chain(on_path).find(|program| program.is_file())?;
        let folder = ready.home().join("ansible");
        let root = ready.root();
        let hosts = ready.hosts().fold(String::from("[all]\n"), |mut lines, (name, host)| {
            let _ = writeln!(lines, "{name} ansible_host=127.0.0.1 ansible_port={}", host.port());
            lines
        });
        files::write(&folder.join("hosts"), hosts, 0o644);
        let settings = format!(
            "[defaults]\nforks = 50\nhost_key_checking = True\nretry_files_enabled = False\nremote_user = {user}\n\
             private_key_file = {key}\nlocal_tmp = {folder}/tmp\n\
             [ssh_connection]\npipelining = True\ncontrol_path_dir = {folder}/cp\n\
             ssh_args = -F /dev/null -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={pins}\n",
            user = user::current(),
            key = root.join("keys/fleet").display(),
            pins = root.join("keys/known_hosts").display(),
            folder = folder.display(),
        );
        files::write(&folder.join("ansible.cfg"), settings, 0o644);
        let play = (0..tasks).fold("- hosts: all\n  gather_facts: false\n  tasks:\n".to_owned(), |mut play, task| {
            let _ = writeln!(play, "    - name: step {task}\n      raw: 'true'");
            play
        });
        files::write(&folder.join("play.yml"), play, 0o644);
        Some(Self { program, folder })
    }

    /// Runs the playbook. Every task must have succeeded on every host.
    pub fn play(&self) {
        run(self.command().args(["-i", "hosts", "play.yml"]));
    }

    /// Its name and version.
    pub fn version(&self) -> String {
        stdout_of(self.command().arg("--version")).lines().next().unwrap_or_default().to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let bin = self.program.parent().unwrap_or(Path::new("/"));
        command.current_dir(&self.folder).env_clear().env("HOME", &self.folder);
        command.env("PATH", format!("{}:{PATH}", bin.display())).env("LC_ALL", "C.UTF-8");
        command
    }
}
