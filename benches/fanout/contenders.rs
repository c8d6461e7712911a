//! What is measured: fleet, and others that do the same on the same hosts.

mod contender;
mod fleet;
mod openssh;
mod others;

use contender::words;
pub use contender::{Contender, Role, Scene, Work};
pub use fleet::{Version, planned};

/// Everybody who can do the work, and who cannot and why.
pub fn all(scene: &Scene, versions: &[Version], work: &Work) -> (Vec<Contender>, Vec<String>) {
    let mut contenders: Vec<Contender> = versions
        .iter()
        .enumerate()
        .flat_map(|(place, version)| fleet::contenders(scene, place, version, work))
        .collect();
    contenders.push(bare(scene, work));
    let mut left_out = Vec::new();
    if !scene.alone {
        contenders.push(openssh::contender(scene, work));
        for other in [others::pssh(scene, work), others::ansible(scene, work)] {
            match other {
                Ok(other) => contenders.push(other),
                Err(reason) => left_out.push(reason),
            }
        }
    }
    (contenders, left_out)
}

/// The bare client.
pub fn bare(scene: &Scene, work: &Work) -> Contender {
    let room = scene.room("bare");
    let mut command = words(["client", "--user", scene.workspace.user(), "--port", &scene.port.to_string()]);
    command.insert(0, std::env::current_exe().unwrap().into());
    command.extend(words(["--parallel", &scene.parallel(), "--steps", &work.steps.to_string()]));
    command.extend(["--hosts".into(), scene.list(&room).into(), "--key".into(), scene.workspace.key().into()]);
    command.extend(["--host-key".into(), scene.workspace.host_key().with_extension("pub").into()]);
    if work.keep {
        command.extend(["--output".into(), scene.room("bare/output").into()]);
    }
    command.extend(words(["--", &work.command]));
    Contender { name: "bare client".to_owned(), role: Role::Other, command, room }
}
