//! The tests that need more than one module: real shells, a real `sshd`, the binary itself, the sources as text.
//!
//! One binary, because each further one would be linked anew on every change. Nothing is skipped silently: where a tool is
//! missing, a test fails and says how to install it. `./tests/run` installs all of them.

// `cfg(test)` always holds here. It tells clippy that helper functions are tests too, where `unwrap` and indexing are allowed.
#[cfg(test)]
mod book;
#[cfg(test)]
mod broken_files;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod crowded;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod distributing;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faults_host;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod git_site;
#[cfg(test)]
mod key_files;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod known_hosts;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod left_out;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod not_utf8;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod quoting;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod remote_command;
#[cfg(test)]
mod ssh_transport;
#[cfg(test)]
mod supervisor;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trusting;
