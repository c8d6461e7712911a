//! What was measured.

/// One turn of one contender.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Milliseconds a unit.
    pub cpu: f64,
    /// Seconds.
    pub wall: f64,
    /// Milliseconds a unit.
    pub host: f64,
    /// MiB.
    pub memory: f64,
    /// KiB on standard output.
    pub output: f64,
    /// Percent of the machine that somebody else had.
    pub others: f64,
}
