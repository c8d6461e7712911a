//! Steps of `git-site` that stop at a gate, so that something can happen to a host in the middle of each phase of a deployment.

use super::fleet::Fleet;
use crate::support::process::wait_for;

/// Says that a step has come here, and waits as long as it is to.
const GATE: &str = "#!/bin/sh
touch ~/at-$1
while [ -e ~/hold-$1 ]; do sleep 0.1; done
";

/// `pg_dump`, where it makes a backup.
const PG_DUMP: &str = r#"#!/bin/sh
case " $* " in *' -Fc '*) [ ! -x ~/gate ] || ~/gate backup ;; esac
exec /usr/bin/pg_dump "$@"
"#;

/// The crontab's gates: which of them is seen by what is there and what is written. What cron has it is given again, as a trial.
const CRONTAB: &str = r#"#!/bin/sh
[ $1 = - ] || exec sudo -n crontab -u shop $1
cat >~/crontab
off='^# Switched off by fleet'
if grep -q "$off" ~/crontab; then ~/gate cron-off; elif sudo -n crontab -u shop -l | grep -q "$off"; then ~/gate cron-on; fi
exec sudo -n crontab -u shop - <~/crontab
"#;

/// The gates, in the order of a deployment, and the host of `shop` at whose gate something happens.
pub const PHASES: [(&str, &str); 9] = [
    ("cron-off", "web1"),
    ("close", "web2"),
    ("backup", "db"),
    ("migrate", "db"),
    ("pull", "web1"),
    ("health", "web1"),
    ("restart", "web2"),
    ("open", "web2"),
    ("cron-on", "db"),
];

/// Puts the gates into the steps of a project's sites, for these logins.
pub fn build(fleet: &Fleet, services: &[&str], logins: &[&str]) {
    fleet.edit("hosts/defaults.toml", |text| {
        let gated = ["migrate", "health", "restart"]
            .iter()
            .fold(text, |text, name| text.replace(&format!("\n{name} = \""), &format!("\n{name} = \"~/gate {name}; ")));
        let gated = gated.replace("\"sudo -n crontab -u shop\"", "\"$HOME/crontab-gate\"");
        format!("{gated}\nclosed = \"~/gate close\"\nopen = \"~/gate open\"\n")
    });
    for service in services {
        for login in logins {
            for (name, text) in [("gate", GATE), ("crontab-gate", CRONTAB)] {
                fleet.sh(service, login, &format!("cat >~/{name} <<'END'\n{text}END\nchmod 755 ~/{name}"));
            }
        }
        let hook =
            "cd /srv/shop/.git/hooks; printf '#!/bin/sh\\n~/gate pull\\n' >post-checkout; chmod 775 post-checkout";
        fleet.sh(service, logins[0], hook);
        let place = "install -m 755 /dev/stdin /usr/local/bin/pg_dump";
        fleet.sh(service, "root", &format!("{place} <<'END'\n{PG_DUMP}END"));
    }
}

/// From now on this gate holds who arrives.
pub fn hold(fleet: &Fleet, service: &str, login: &str, gate: &str) {
    fleet.sh(service, login, &format!("rm -f ~/at-*; touch ~/hold-{gate}"));
}

/// Waits until a step has come to the gate.
#[track_caller]
pub fn wait_at(fleet: &Fleet, service: &str, login: &str, gate: &str) {
    wait_for(&format!("a step at the gate {gate} of {service}"), || {
        let seen = fleet.sh(service, login, &format!("if [ -e ~/at-{gate} ]; then echo here; fi"));
        (seen == "here\n").then_some(())
    });
}

/// Opens the gate.
pub fn open(fleet: &Fleet, service: &str, login: &str, gate: &str) {
    fleet.sh(service, login, &format!("rm -f ~/hold-{gate}"));
}
