//! Records in a folder: `.fleet/runs/RUN/` with `plan.json`, `request.json`, `events.jsonl`, `blobs/` and a log per host.

pub mod blobs;
pub mod controller;
pub mod follow;
pub mod host_log;
pub mod journal;
pub mod order;
pub mod record;
pub mod store;

/// The plan, in the folder of a run.
pub const PLAN_FILE: &str = "plan.json";
/// What was asked for, in the folder of a run of tasks.
pub const REQUEST_FILE: &str = "request.json";
/// The events, one a line, in the folder of a run.
pub const EVENTS_FILE: &str = "events.jsonl";
