//! `fleet` deploys to sites over SSH: it reads an inventory of sites, brings a key to their hosts, and pushes ordered commands to
//! many hosts in parallel and in rolling batches. When a deployment fails, it puts the site back.
//!
//! This page is the design. The code is cut into layers, and `tests/it/layering.rs` fails on a `use` that crosses them:
//!
//! ```text
//! main -> cli -> app -> { engine, keys } -> remote -> ssh -> model
//!                app -> report -> record -> files -> model          demo: beside app, on ssh's server side
//!                { cli, engine } -> trace -> files -> model         the others only name `tracing`
//! ```
//!
//! | layer | does | knows nothing of |
//! |---|---|---|
//! | [`model`] | decides: names, inventory, selectors, recipes, quoting, plans, the scheduler, events, outcomes | network, terminal, clock, disk, chance |
//! | [`ssh`] | speaks SSH: host keys, logins, channels; the only place that names russh | plans, people |
//! | [`remote`] | what is said to a host and understood from it: the conversation, and every script that travels | runs, people |
//! | [`engine`] | runs a plan: a dispatcher owns the run, a worker each host | terminals, files |
//! | [`record`] | the runs on disk, as a database: written by one, read by resume, attach, show | terminals |
//! | [`report`] | shows events and records: live view, plain lines, JSON, the final table | the network |
//! | [`keys`] | makes, stores, brings and proves keys; decides what is pinned | plans |
//! | [`files`] | writes whole files, reads the project folder | what is in them |
//! | [`trace`] | keeps fleet's own log: standard error, and `debug.log` of each run; masks it. All but `model` speak to it by `tracing` | who says what |
//! | [`demo`] | an embedded fleet of SSH servers on loopback, also the tests' fault injector | the layers above |
//! | [`app`] | what a command means: which run, what can be resumed, what is planned anew; typed results and errors | clap, console |
//! | [`cli`] | arguments, questions, signals, exit codes | how any of it works |
//!
//! # The way of `fleet mysite deploy`
//!
//! Arguments become flags; all files of the project become an [`Inventory`](model::inventory::inventory::Inventory) and
//! [`Recipe`](model::recipe::recipe::Recipe)s, and apart from them the errors of the broken ones ([`model::config::diagnostic`]), which stop the commands that need these.
//! A [`Selector`](model::inventory::selector::Selector) gives the hosts; [`planner`](model::plan::planner) makes a [`Plan`](model::plan::plan::Plan), in which
//! every command is final but for the values that steps register. A dry run prints it and ends. Otherwise questions are asked, keys and pinned host keys are read, the
//! record is made, and the [`engine`] carries the plan out: the [`Scheduler`](model::run::scheduler::Scheduler), a pure state machine, says what
//! comes next, the engine does it, and what happened becomes [`Event`](model::run::event::Event)s. Screen, record and exit code are one fold
//! over them, the [`Summary`](model::run::summary::Summary), computed once an event by the engine, and handed to all.
//!
//! # What makes it trustworthy
//!
//! 1. The scheduler is `on(Input) -> Vec<Action>`; its invariants are property-tested over random plans and random trouble.
//! 2. Every host settles exactly once, by a closed enum; no event of a host comes after its `host-finished`.
//! 3. A command is a value, [`RemoteCommand`](model::plan::command::RemoteCommand), put into bytes in one place. A placeholder where quoting
//!    would not hold is refused when the recipe is read ([`model::recipe::shell`]).
//! 4. Undo goes backwards, and stops where something is not known: see [`model::run::scheduler`] for the rules and the choices.
//! 5. Every wait on the network has a limit or can be cancelled, and a panic in a worker costs its host only.
//! 6. The record is written before the act: `step-started` is on disk before the command is sent.
//! 7. A step is started at most once and outlives its connection and its controller ([`remote::step`]); a run goes on from its record
//!    ([`model::run::past`]), and nobody who can see its lock starts a second one on its hosts meanwhile ([`remote::question`]). What is in force on a site, and what was
//!    proven there, is said by the site's own hosts ([`model::plan::book`]), and never by the records of one controller.
//! 8. A host is trusted only when its key is pinned ([`ssh::known_hosts`]); nothing is ever pinned by connecting.
//!
//! Choices that could have gone otherwise, with the rejected option, stand at the top of the module that they shaped:
//! [`model::run::scheduler`], [`remote::step`], [`remote::question`], [`model::plan::book`], [`model::recipe::template`], [`model::recipe::shell`], [`model::recipe::inherit`],
//! [`model::run::finding`], [`model::plan::planner`], [`engine`],
//! [`ssh::known_hosts`], [`files::owner`], [`record::folder::order`].
//!
//! Older guides name a crate `russh-keys`; it is dead and was merged into russh as `russh::keys`, which is what [`ssh`] uses.

pub mod app;
pub mod cli;
pub mod demo;
pub mod engine;
pub mod files;
pub mod keys;
pub mod model;
pub mod record;
pub mod remote;
pub mod report;
pub mod ssh;
pub mod trace;
