//! `fleet init`: a starter project.

use std::io;
use std::path::Path;

use super::args::Flags;
use super::context::say;
use super::failure::Failure;
use crate::files;
use crate::model::run::exit;

const DEFAULTS: &str = r#"# What all sites share. Each value can be set in a site's own file, too, and there it wins.

[ssh]
# user = "release"            # the login user; without it, the user who runs fleet
# port = 22
# connect-timeout = "10s"
# connect-retry = "5s"        # retry a first connection that is refused

[rollout]
batches = [1, "100%"]         # one host first (the canary), then all others
max-failures = 0              # failed hosts that a whole rollout bears
"#;

const SITE: &str = r#"# One site a file; the file's name is the site's: fleet mysite deploy
recipe = "git-site"           # built in; `fleet tasks mysite` shows it, recipes/ is for your own
stage = "test"                # test, demo or production; production asks before anything is done
# follows = "mysite-test"     # get exactly the revision that was proven there

[vars]
home = "/srv/mysite"          # the checkout of the site's code: `git clone` it on each host first
# Which database the site has is all that fleet needs to back it up and to put it back: postgresql, mariadb or sqlite
# database = "postgresql"     # its name is the site's, else: database-name, database-host, database-user, database-credentials
# What these do is shell text, run in the checkout; docs/git-site.md has all variables.
# migrate = "./manage.py migrate"
# restart = "sudo systemctl restart mysite"
# health = "curl -fsS http://127.0.0.1:8000/health"    # it is asked while visitors still get the maintenance page
# url = "https://mysite.example.org/"                  # what visitors see: 503 while the site is closed
# crontab = ""                # the login user's crontab is off during a deployment; empty leaves it alone

[[host]]
name = "web1"
address = "192.0.2.11"        # or a DNS name; web[1-3] with 192.0.2.[11-13] are three hosts
roles = ["web", "db"]
"#;

/// Private keys and the records of runs stay here; public keys and pinned host keys are shared.
const IGNORED: [&str; 4] = ["keys/*", "!keys/*.pub", "!keys/known_hosts", ".fleet/"];

/// Writes the starter project into the current folder, or the named one.
pub fn init(flags: &Flags) -> Result<u8, Failure> {
    let here = std::env::current_dir().map_err(Failure::environment)?;
    let folder = flags.project.clone().unwrap_or(here);
    let (made, kept) = write(&folder)
        .map_err(|error| Failure::environment(format!("cannot write into {}: {error}", folder.display())))?;
    for name in &made {
        say(&format!("made  {name}"));
    }
    for name in kept {
        say(&format!("kept  {name} (it was there)"));
        if name == ".gitignore" {
            say(&format!("      let it have these lines, or private keys get committed: {}", IGNORED.join(" ")));
        }
    }
    let site = if made.contains(&"hosts/mysite.toml") { "mysite" } else { "SITE" };
    say(&format!(
        "next: edit hosts/{site}.toml, then fleet check, fleet generate-keys, fleet {site} trust, fleet {site} distribute-keys"
    ));
    Ok(exit::SUCCESS)
}

/// Never over an existing file. The names of those that were made, and of those that were there, and stay as they are.
fn write(folder: &Path) -> io::Result<(Vec<&'static str>, Vec<&'static str>)> {
    let (mut made, mut kept) = (Vec::new(), Vec::new());
    let has_sites = folder.join("hosts").is_dir();
    std::fs::create_dir_all(folder.join("hosts"))?;
    let ignore = format!(
        "# private keys and the records of runs stay here; public keys and pinned host keys are shared\n{}\n",
        IGNORED.join("\n")
    );
    let mut files = vec![("hosts/defaults.toml", DEFAULTS), (".gitignore", &ignore)];
    if !has_sites {
        files.push(("hosts/mysite.toml", SITE));
    }
    for (name, text) in files {
        match files::create_new(&folder.join(name), 0o644, text.as_bytes()) {
            Ok(()) => made.push(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => kept.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok((made, kept))
}
