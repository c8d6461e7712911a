mod accept;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::config::setting::Origin;
use crate::model::inventory::inventory::Host;
use crate::model::inventory::share::Share;
use crate::model::inventory::ssh::SshSettings;
use crate::model::text::name::{FindingName, UserName};

type Sources = (Option<Arc<Source>>, Vec<(String, Arc<Source>)>);

fn sources(files: &[(&str, &str)]) -> Sources {
    let source = |(stem, text): &(&str, &str)| {
        let source = Source { path: format!("hosts/{stem}.toml"), text: (*text).to_owned() };
        ((*stem).to_owned(), Arc::new(source))
    };
    let (defaults, sites): (Vec<_>, Vec<_>) = files.iter().map(source).partition(|(stem, _)| stem == "defaults");
    (defaults.into_iter().next().map(|(_, source)| source), sites)
}

fn read(files: &[(&str, &str)]) -> Result<Inventory, Vec<Diagnostic>> {
    let (defaults, sites) = sources(files);
    let known = Known { verbs: &["generate-keys", "list"], recipes: Some(&["eden", "git-site"]), unread: &["lost"] };
    let inventory = read_inventory(defaults.as_ref(), &sites, known);
    let errors = inventory.errors();
    if errors.is_empty() { Ok(inventory) } else { Err(errors) }
}

/// One line an error: place, message, label, other place.
fn told(files: &[(&str, &str)]) -> String {
    let line = |diagnostic: &Diagnostic| {
        let (line, column) = diagnostic.line_and_column();
        let path = diagnostic.source.path.trim_start_matches("hosts/").trim_end_matches(".toml");
        let label = diagnostic.label.as_ref().map(|label| format!(" [{label}]")).unwrap_or_default();
        let also = diagnostic.also.as_ref().map(|(span, label)| {
            let (line, column) = Diagnostic::new(&diagnostic.source, span.clone(), "").line_and_column();
            format!(" ({line}:{column} {label})")
        });
        format!("{path}:{line}:{column}: {}{label}{}", diagnostic.message, also.unwrap_or_default())
    };
    match read(files) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

fn host<'a>(inventory: &'a Inventory, site: &str, host: &str) -> &'a Host {
    inventory.sites.get(site).unwrap().hosts.iter().find(|of| of.name.as_str() == host).unwrap()
}

fn at<T>(path: &str, line: usize, value: T) -> Setting<T> {
    Setting { value, origin: Origin::File { path: path.to_owned(), line } }
}

const DEFAULTS: &str = r#"
recipe = "git-site"
[ssh]
user = "release"
port = 2222
connect-timeout = "1m"
[vars]
home = "/srv/default"
tries = 3
[vars.backup]
dir = "/var/backups"
[rollout]
soak = 30
"#;

const SITE: &str = r#"
stage = "production"
follows = "mysite-test"
[ssh]
port = 2200
[vars]
home = "/home/prod"
version = 1.10
debug = false
[rollout]
batches = [1, "25%", "100%"]
max-failures = "10%"
[[host]]
name = "web[08-10]"
address = "192.0.2.[8-10]"
roles = ["web"]
vars = { vhost = "mysite", backup.dir = "/here" }
[[host]]
name = "db"
port = 22
user = "postgres"
identity = "keys/db"
"#;

const TEST: &str = "recipe = 'eden'\n[[host]]\nname = 'test1'\n";

#[test]
fn values_come_from_host_site_and_defaults_in_this_order() {
    let inventory = read(&[("defaults", DEFAULTS), ("mysite", SITE), ("mysite-test", TEST)]).unwrap();
    let (defaults, path) = ("hosts/defaults.toml", "hosts/mysite.toml");
    let site = inventory.sites.get("mysite").unwrap();
    assert_eq!(site.recipe, Some(at(defaults, 2, RecipeName::parse("git-site").unwrap())));
    assert_eq!(site.stage, Some(at(path, 2, Stage::Production)));
    assert_eq!(site.follows, Some(at(path, 3, SiteName::parse("mysite-test").unwrap())));
    let vars: Vec<_> = site.vars.iter().map(|(name, var)| format!("{name}={} {}", var.value, var.origin)).collect();
    insta::assert_snapshot!(vars.join("\n"), @"
    backup.dir=/var/backups hosts/defaults.toml:11
    debug=false hosts/mysite.toml:9
    home=/home/prod hosts/mysite.toml:7
    tries=3 hosts/defaults.toml:9
    version=1.10 hosts/mysite.toml:8
    ");
    assert_eq!(site.rollout.batches, at(path, 11, vec![Share::Hosts(1), Share::Percent(25), Share::Percent(100)]));
    assert_eq!(site.rollout.max_failures, at(path, 12, Share::Percent(10)));
    assert_eq!(site.rollout.soak, at(defaults, 13, Duration::from_secs(30)));

    let names: Vec<_> = site.hosts.iter().map(|host| format!("{} {}", host.name, host.address.value)).collect();
    assert_eq!(names, ["web08 192.0.2.8", "web09 192.0.2.9", "web10 192.0.2.10", "db db"]);
    let web = host(&inventory, "mysite", "web09");
    assert_eq!(web.ssh.port, Some(at(path, 5, 2200)));
    assert_eq!(web.ssh.user, Some(at(defaults, 4, UserName::parse("release").unwrap())));
    assert_eq!(web.ssh.connect_timeout, Some(at(defaults, 6, Duration::from_secs(60))));
    assert_eq!(web.vars.get("backup.dir"), Some(&at(path, 17, "/here".to_owned())));
    let db = host(&inventory, "mysite", "db");
    assert_eq!(db.ssh.port, Some(at(path, 20, 22)));
    assert_eq!(db.ssh.user, Some(at(path, 21, UserName::parse("postgres").unwrap())));
    assert_eq!(db.ssh.identity, Some(at(path, 22, "keys/db".to_owned())));
    assert_eq!(inventory.sites.get("mysite-test").unwrap().recipe.as_ref().unwrap().value.as_str(), "eden");
}

#[test]
fn without_any_settings_there_are_defaults() {
    let inventory = read(&[("mysite", "[[host]]\nname = 'web1'")]).unwrap();
    let site = inventory.sites.get("mysite").unwrap();
    let host = host(&inventory, "mysite", "web1");
    assert_eq!(host.ssh, SshSettings::defaults());
    assert_eq!(host.ssh.port, Some(Setting::default_of(22)));
    assert_eq!(host.ssh.connect_timeout, Some(Setting::default_of(Duration::from_secs(10))));
    assert_eq!((&host.ssh.user, &host.ssh.identity), (&None, &None));
    assert_eq!(site.rollout.batches, Setting::default_of(vec![Share::Percent(100)]));
    assert_eq!(site.rollout.max_failures, Setting::default_of(Share::Hosts(0)));
    assert_eq!(site.rollout.soak, Setting::default_of(Duration::ZERO));
}

#[test]
fn sites_are_named_like_sites() {
    let host = "[[host]]\nname = 'a'";
    let files = ["generate_keys", "list", "all", "my site", "-x", "a.b"].map(|stem| (stem, host));
    insta::assert_snapshot!(told(&files), @"
    -x:1:1: site name `-x` must start with a letter or a digit [the file's name is the site's: rename the file]
    all:1:1: a site cannot be called `all`: that is a word of the command line [rename the file]
    generate_keys:1:1: a site cannot be called `generate_keys`: that is a word of the command line [rename the file]
    list:1:1: a site cannot be called `list`: that is a word of the command line [rename the file]
    my site:1:1: site name `my site` holds ' '; allowed are letters, digits and ._- [the file's name is the site's: rename the file]
    ");
}

#[test]
fn followed_sites_exist_and_end() {
    let follows = |site: &str| format!("follows = '{site}'\n[[host]]\nname = 'a'");
    let files = [("a", follows("b")), ("b", follows("c")), ("c", follows("b")), ("d", follows("d"))];
    let more = [("prod", follows("tset")), ("test", follows("lost"))];
    let files: Vec<_> = files.iter().chain(&more).map(|(stem, text)| (*stem, text.as_str())).collect();
    insta::assert_snapshot!(told(&files), @"
    b:1:11: sites follow each other in a circle: `b` -> `c` -> `b`
    d:1:11: site `d` follows itself
    prod:1:11: there is no site `tset` [did you mean `test`?]
    ");
}

#[test]
fn hosts_are_told_apart() {
    let text = r#"
[[host]]
name = "web[1-3]"
address = "10.0.0.[1-3]"
[[host]]
name = "web[3-4]"
address = "10.0.0.[13-14]"
[[host]]
name = "copy"
address = "10.0.0.2"
[[host]]
name = "other-port"
address = "10.0.0.2"
port = 2222
[[host]]
name = "UP"
address = "Example.org"
[[host]]
name = "down"
address = "example.ORG"
[[host]]
name = "r[1-2][1-1]"
[[host]]
name = "s[1-11][1-11]"
"#;
    insta::assert_snapshot!(told(&[("mysite", text)]), @"
    mysite:6:8: the site has two hosts called `web3` (3:8 first here)
    mysite:10:11: hosts `web2` and `copy` are the same: 10.0.0.2 port 22 (4:11 `web2`)
    mysite:20:11: hosts `UP` and `down` are the same: example.ORG port 22 (17:11 `UP`)
    mysite:24:8: the site has two hosts called `s111`
    ");
}

#[test]
fn ranges_are_refused_before_they_are_unfolded() {
    let text = r#"
[[host]]
name = "web[1-999999999]"
[[host]]
name = "web[1-3]"
address = "10.0.0.1"
[[host]]
name = "web4"
address = "10.0.0.[4-5]"
[[host]]
name = "web[5-6]"
address = "10.0.0.[1-3]"
[[host]]
name = "web[9-7]"
[[host]]
name = "v6"
address = "[::1]"
[[host]]
name = "web[1-2]:x"
[[host]]
name = "-[1-2]"
"#;
    insta::assert_snapshot!(told(&[("mysite", text)]), @r#"
    mysite:3:8: 999999999 more hosts; an inventory can have 100000 and has room for 100000
    mysite:6:11: 3 hosts would share one address [give it a range of the same length as the name's, or leave it out]
    mysite:9:11: 1 name but 2 addresses [give it a range of the same length as the name's, or leave it out]
    mysite:12:11: 2 names but 3 addresses [give it a range of the same length as the name's, or leave it out]
    mysite:14:8: range `[9-7]` ends before it starts
    mysite:17:11: an IPv6 address has no brackets here [write "::1", and `port` if it has one]
    mysite:19:8: host name `web1:x` holds ':'; allowed are letters, digits and ._-
    mysite:21:8: host name `-1` must start with a letter or a digit
    "#);
    let full = "[[host]]\nname = 'a[1-60000]'";
    insta::assert_snapshot!(told(&[("a", full), ("b", full)]), @"b:2:8: 60000 more hosts; an inventory can have 100000 and has room for 40000");
}

#[test]
fn values_have_the_right_kind() {
    let text = r#"
stage = "prod"
recipe = "edn"
follows = 1
[ssh]
user = "-oProxyCommand=x"
port = 0
identity = ""
jump = "bastion"
connect-timeout = "0s"
[vars]
list = [1]
when = 2024-05-01
mode = 0o644
nul = "a\u0000b"
"bad name" = 1
fleet.run = "x"
"a.b" = 1
a.b = 2
[rollout]
batches = [0, "0%", "101%", "-1", -1, true]
max-failures = "x"
soak = 1.5
[[host]]
nam = "x"
[[host]]
name = "web"
port = "22"
roles = ["web", "web", "we b", 3]
vars = 3
"#;
    insta::assert_snapshot!(told(&[("mysite", text)]), @r#"
    mysite:2:9: there is no stage "prod", only "test", "demo", "production"
    mysite:3:10: there is no recipe `edn` [did you mean `eden`?]
    mysite:4:11: `follows` must be a string, not an integer
    mysite:6:8: user name `-oProxyCommand=x` holds '='; allowed are letters, digits and ._-
    mysite:7:8: `port` must be a port number, 1 to 65535
    mysite:8:12: `identity` must be the path of a private key file
    mysite:9:8: jump hosts are not supported yet
    mysite:10:19: `connect-timeout` must be longer than zero
    mysite:12:8: `list` must be a string, a number or a boolean, not an array
    mysite:13:8: `when` must be a string, a number or a boolean, not a date or time
    mysite:14:8: `mode` is a number that commands may read otherwise [write "0o644", or the decimal number]
    mysite:15:7: `nul` holds a NUL character
    mysite:16:1: variable name `bad name` holds ' '; allowed are letters, digits and ._-
    mysite:17:7: `fleet.run`: variables that begin with `fleet.` are set by fleet itself
    mysite:19:7: variable `a.b` is set twice (18:9 first here)
    mysite:21:12: a batch of no hosts
    mysite:21:15: a batch of no hosts
    mysite:21:21: `101%` is neither a number of hosts nor a percentage from 0% to 100%
    mysite:21:29: `-1` is neither a number of hosts nor a percentage from 0% to 100%
    mysite:21:35: an element of `batches` must be a number of hosts, or a percentage such as "25%"
    mysite:21:39: an element of `batches` must be a number of hosts, or a percentage such as "25%", not a boolean
    mysite:22:16: `x` is neither a number of hosts nor a percentage from 0% to 100%
    mysite:23:8: `soak` must be a length of time such as "30s", or a number of seconds, not a float
    mysite:24:1: `name` is missing
    mysite:25:1: unknown key `nam` [did you mean `name`?]
    mysite:28:8: `port` must be a port number, 1 to 65535, not a string
    mysite:29:17: role `web` stands twice
    mysite:29:24: role `we b` holds ' '; allowed are letters, digits and _-
    mysite:29:32: an element of `roles` must be a string, not an integer
    mysite:30:8: `vars` must be a table, not an integer
    "#);
}

#[test]
fn a_site_has_hosts() {
    let files = [("a", ""), ("b", "host = []"), ("c", "host = 1"), ("d", "[host]\nname = 'x'")];
    insta::assert_snapshot!(told(&files), @"
    a:1:1: the site has no hosts [add a table `[[host]]` with a `name`]
    b:1:8: the site has no hosts [add a table `[[host]]` with a `name`]
    c:1:8: `host` must be an array of tables, `[[host]]`, not an integer
    d:1:1: `host` must be an array of tables, `[[host]]`, not a table
    ");
}

#[test]
fn defaults_are_not_a_site() {
    let defaults = "stage = 'test'\nfollows = 'x'\nhosts = 1\n[[host]]\nname = 'x'";
    insta::assert_snapshot!(told(&[("defaults", defaults)]), @"
    defaults:1:1: `stage` belongs in the file of a site, not in the defaults of all
    defaults:2:1: `follows` belongs in the file of a site, not in the defaults of all
    defaults:3:1: unknown key `hosts` [did you mean `host`?]
    defaults:4:3: `host` belongs in the file of a site, not in the defaults of all
    ");
}

#[test]
fn syntax_errors_hide_no_other_errors_and_make_none() {
    let text = r#"
stage = "test
[[host]]
name = web1
adress = "10.0.0.1"
[[host]]
name = "web2"
name = "web3"
port =
roles ["web"]
usr = "x"
"#;
    insta::assert_snapshot!(told(&[("mysite", text)]), @r#"
    mysite:2:14: invalid basic string, expected `"`
    mysite:4:8: string values must be quoted, expected literal string
    mysite:5:1: unknown key `adress` [did you mean `address`?]
    mysite:8:1: duplicate key
    mysite:9:7: string values must be quoted, expected literal string
    mysite:10:7: key with no value, expected `=`
    mysite:11:1: unknown key `usr` [did you mean `user`?]
    "#);
}

#[test]
fn a_byte_order_mark_moves_nothing() {
    let text = "\u{feff}stage = 'test'\r\n[[host]]\r\nname = 'a'\r\n";
    assert_eq!(told(&[("mysite", text)]), "fine");
    assert_eq!(
        told(&[("mysite", &text.replace("'test'", "1"))]),
        "mysite:1:10: `stage` must be a string, not an integer"
    );
}

/// Text that looks like a file: lines of real ones, cut and mixed.
fn garbage() -> impl Strategy<Value = String> {
    let line = prop::sample::select([DEFAULTS, SITE, TEST].iter().flat_map(|text| text.lines()).collect::<Vec<_>>());
    let cut = (line, 0_usize..60, ".{0,6}").prop_map(|(line, at, junk)| {
        let kept: String = line.chars().take(at).collect();
        kept + &junk
    });
    prop::collection::vec(cut, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_it(a in garbage(), b in ".{0,200}") {
        if let Err(errors) = read(&[("defaults", &a), ("x", &b), ("y", &a)]) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                let text = &error.source.text;
                prop_assert!(error.span.end <= text.len() && error.span.start <= error.span.end, "{:?}", error);
                prop_assert!(text.is_char_boundary(error.span.start), "{:?}", error);
            }
        }
    }

    #[test]
    fn every_unfolded_host_is_distinct(first in 0_usize..30, count in 0_usize..30) {
        let text = format!("[[host]]\nname = 'web[{first:02}-{last:02}]'", last = first + count);
        let inventory = read(&[("x", &text)]).unwrap();
        let names: std::collections::BTreeSet<_> = inventory.sites.get("x").unwrap().hosts.iter().map(|h| &h.name).collect();
        prop_assert_eq!(names.len(), count + 1);
    }
}
