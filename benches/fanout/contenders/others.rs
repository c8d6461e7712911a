//! What may be installed: on the `PATH` of whoever measures. Otherwise it is left out, and that is said.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::contender::{Contender, Role, Scene, Work, words};
use super::openssh::config;
use crate::support::files;

fn find(names: &[&str]) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    found.into_iter().find(|program| program.is_file()).ok_or_else(|| format!("{}: not installed", names[0]))
}

/// parallel-ssh. Steps go through one connection, as OpenSSH's do.
pub fn pssh(scene: &Scene, work: &Work) -> Result<Contender, String> {
    let program = find(&["pssh", "parallel-ssh"])?;
    let room = scene.room("pssh");
    let config = config(scene, &room, work.steps > 1);
    let keep = if work.keep { format!("-o '{}'", scene.room("pssh/output").display()) } else { String::new() };
    let steps = (0..work.steps).map(|step| step.to_string()).collect::<Vec<_>>().join(" ");
    let script = format!(
        "for step in {steps}; do {program} -h {list} -p {parallel} -t 0 -x '-F {config}' {keep} \"$1\" || exit 1; done",
        program = program.display(),
        list = scene.list(&room).display(),
        parallel = scene.parallel(),
        config = config.display(),
    );
    let command = words(["/bin/sh", "-c", &script, "sh", &work.command]);
    Ok(Contender { name: "pssh".to_owned(), role: Role::Other, command, room })
}

/// ansible: tasks of the module `raw`, pipelining, connections that stay open.
pub fn ansible(scene: &Scene, work: &Work) -> Result<Contender, String> {
    if work.keep {
        return Err("ansible: has no file of output for each host".to_owned());
    }
    let program = find(&["ansible-playbook"])?;
    let room = scene.room("ansible");
    let settings = format!(
        "[defaults]\nforks = {parallel}\nretry_files_enabled = False\nremote_user = {user}\nlocal_tmp = {room}/tmp\n\
         inventory = list\n[ssh_connection]\npipelining = True\nssh_args = -F {config}\n",
        parallel = scene.parallel(),
        user = scene.workspace.user(),
        room = room.display(),
        config = config(scene, &room, true).display(),
    );
    files::write(&room.join("ansible.cfg"), settings, 0o644);
    scene.list(&room);
    let play = "- hosts: all\n  gather_facts: false\n  tasks:\n".to_owned();
    let play = (0..work.steps).fold(play, |mut play, step| {
        let _ = writeln!(play, "    - name: step {step}\n      raw: '{}'", work.command);
        play
    });
    files::write(&room.join("play.yml"), play, 0o644);
    let command = vec![program.into_os_string(), "play.yml".into()];
    Ok(Contender { name: "ansible, raw".to_owned(), role: Role::Other, command, room })
}
