//! A project that is ready to deploy: a site on real hosts, their keys pinned, the project's key authorized on all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::{Deref, Index};

use super::project::Project;
use super::proxy::Proxy;
use super::sshd::{Settings, Sshd};
use super::user;

/// A [`Project`] with hosts; `ready["web1"]` is a host.
#[derive(Debug)]
pub struct ReadyProject {
    project: Project,
    hosts: BTreeMap<String, Sshd>,
    proxies: BTreeMap<String, Proxy>,
}

impl ReadyProject {
    /// The site `mysite` on these hosts. `head` is the beginning of its file: `recipe = "git-site"`, `[vars]`, …
    ///
    /// The first host has the role `db` also; all have `web`.
    pub fn start(head: &str, hosts: &[&str]) -> Self {
        let mut ready = Self { project: Project::new(), hosts: BTreeMap::new(), proxies: BTreeMap::new() };
        ready.project.generate_key();
        ready.add_site("mysite", head, hosts);
        ready
    }

    /// Adds a site on further hosts. Their names must be new in the project: `ready["web1"]` is one host.
    pub fn add_site(&mut self, site: &str, head: &str, hosts: &[&str]) {
        let hosts: Vec<(&str, Settings)> = hosts.iter().map(|name| (*name, Sshd::settings())).collect();
        self.add_site_on(site, head, hosts);
    }

    /// Adds a site on hosts with settings of their own.
    pub fn add_site_on(&mut self, site: &str, head: &str, hosts: Vec<(&str, Settings)>) {
        let mut file = format!("{head}\n");
        if !head.contains("[ssh]") {
            let _ = writeln!(file, "[ssh]\nuser = \"{}\"", user::current());
        }
        let public_key = self.project.read("keys/fleet.pub");
        for (at, (name, settings)) in hosts.into_iter().enumerate() {
            let host = settings.start();
            host.authorize(public_key.trim());
            let roles = if at == 0 { r#""web", "db""# } else { r#""web""# };
            let _ = writeln!(
                file,
                "[[host]]\nname = \"{name}\"\naddress = \"127.0.0.1\"\nport = {}\nroles = [{roles}]\nvars = {{ host_home = \"{}\" }}",
                host.port(),
                host.home().display(),
            );
            assert!(self.hosts.insert(name.to_owned(), host).is_none(), "two hosts are called {name}");
        }
        self.project.write(&format!("hosts/{site}.toml"), file);
        self.pin();
    }

    /// Pins the host keys that the hosts have now, under the ports at which `fleet` finds them.
    pub fn pin(&self) {
        let lines = self.hosts.iter().map(|(name, host)| match self.proxies.get(name) {
            None => host.known_hosts(),
            Some(proxy) => host.known_hosts().replace(&format!("]:{} ", host.port()), &format!("]:{} ", proxy.port())),
        });
        self.project.write("keys/known_hosts", lines.collect::<String>());
    }

    /// From now on `fleet` finds this host of `mysite` behind a [`Proxy`] of its own.
    pub fn put_proxy_before(&mut self, name: &str) {
        let proxy = Proxy::start(self[name].port());
        let port = |port: u16| format!("port = {port}\n");
        let file = self.project.read("hosts/mysite.toml");
        self.project.write("hosts/mysite.toml", file.replace(&port(self[name].port()), &port(proxy.port())));
        self.proxies.insert(name.to_owned(), proxy);
        self.pin();
    }

    /// What [`Self::put_proxy_before`] has put there.
    pub fn proxy(&self, name: &str) -> &Proxy {
        self.proxies.get(name).unwrap_or_else(|| panic!("no proxy before {name}"))
    }

    /// A host, to stop, freeze or change it.
    pub fn host(&mut self, name: &str) -> &mut Sshd {
        self.hosts.get_mut(name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &Sshd)> {
        self.hosts.iter().map(|(name, host)| (name.as_str(), host))
    }
}

impl Deref for ReadyProject {
    type Target = Project;
    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Index<&str> for ReadyProject {
    type Output = Sshd;
    fn index(&self, name: &str) -> &Sshd {
        self.hosts.get(name).unwrap_or_else(|| panic!("no host {name}"))
    }
}
