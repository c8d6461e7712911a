//! The tests that need more than one module: real shells, a real `sshd`, the binary itself, the sources as text.
//!
//! One binary, because each further one would be linked anew on every change. Nothing is skipped silently: where a tool is
//! missing, a test fails and says how to install it. `./tests/run` installs all of them. What only root can do ends in `_as_root`: who is
//! somebody else leaves it out with `./tests/run -- --skip _as_root`, which `./tests/run` does by itself and tells at its end.
//!
//! Where a test stands: a short one of a module in the module, as `mod tests`; a long one of `x.rs` in `x/tests.rs`, and what is too long for
//! that in `x/tests/`. No `#[path]`, but for a fixture that another crate shares.
//!
//! A random test that fails prints its shortest case, and proptest writes its seed below `proptest-regressions/` beside `src/` or `tests/it/`:
//! commit that file with the repair. Where it failed on another machine, add the line `cc ...` that it printed to that file.

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
mod containers;
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
mod eden;
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
mod recipes;
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
