//! Fixtures. All of them clean up on drop, and none reads the environment or the home folder of whoever runs the tests.
//!
//! * [`hosts::ReadyProject`]: a project with a site on real `sshd`s, keys pinned and authorized: ready to deploy.
//! * [`project::Project`]: a project folder, and `fleet` run in it as a process: piped, in the background, or on a terminal.
//! * [`sshd::Sshd`]: a host of its own: `sshd` on a loopback port, with its own home folder, keys and log.
//! * [`user::TestUser`]: a real user with a password, which only root can make.
//! * [`agent::Agent`]: an `ssh-agent`.
//! * [`screen::Screen`]: what a person sees of what a program wrote on a terminal, and finds on going up.
//! * [`bystander::Bystander`]: a port that nobody may call.
//! * [`proxy::Proxy`]: a network that delays, swallows and cuts, between `fleet` and any port.
//! * [`git::Upstream`]: a repository to deploy from.
//! * [`postgres::Postgres`], [`mariadb::Mariadb`]: a database server.
//! * [`web_server::WebServer`]: nginx or Apache before a site.
//! * [`mount::Mount`]: a file system of its own for a folder: small, read-only, without room for names.

#![expect(dead_code, reason = "a fixture offers what a test may ask of it; not every test exists yet")]

pub mod agent;
pub mod bystander;
pub mod files;
pub mod git;
pub mod hosts;
pub mod mariadb;
pub mod mount;
pub mod output;
pub mod postgres;
pub mod process;
pub mod project;
pub mod proxy;
pub mod screen;
pub mod sshd;
pub mod terminal;
pub mod tools;
pub mod user;
pub mod web_server;
