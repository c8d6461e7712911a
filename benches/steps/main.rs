//! What a durable step costs: `cargo bench --bench steps`.
//!
//! Three comparisons, each between things that are measured in turn in the same run, so that what slows one slows the other. Medians of a
//! few rounds; the ratios mean something on another machine, too, the milliseconds do not.
//!
//! * *One step*, on one `sshd` on loopback: a deployment of 200 steps `true`, durable, and the same with `durable = false`. The cost of a
//!   step is the slope between that and a deployment of one step: connecting, locking and giving back are left out. Beside them the
//!   OpenSSH client, a process a command, through one connection (`ControlMaster`).
//! * *Round trips*: the same through a proxy that makes each take 20 ms. A step's share of that time is how often it waits for the other
//!   side.
//! * *Fifty hosts*: ten durable steps on 50 `sshd`s, against ten `raw` tasks of ansible with 50 forks, pipelining and `ControlPersist`.
//!   Both start without connections, and each of ansible's tasks reuses that of the first. Without ansible this part is left out: see
//!   [`ansible`] for how to have it.
//!
//! Not a test: nothing fails for being slow. The aims are 5 ms a step, and a quarter of ansible's time.

#[cfg(test)]
mod ansible;
#[cfg(test)]
#[path = "../../tests/it/support/mod.rs"]
mod support;
// `cfg(test)` holds in a benchmark, too. It tells clippy that this is no product code.
#[cfg(test)]
mod measure;

fn main() {
    #[cfg(test)]
    measure::all();
}
