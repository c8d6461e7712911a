//! Names for new runs.

use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::text::name::{NameError, RunId};

/// A name that sorts by time, and that no other controller gives at the same moment: `20261122-084512-7f3a19c4`, in UTC, with the fraction
/// of the second and something random in hex. The time alone would not do: two runs of the same name would each take the other's lock for
/// its own.
pub fn fresh_run_id(now: &Zoned) -> Result<RunId, NameError> {
    let now = now.with_time_zone(TimeZone::UTC);
    let fraction = i64::from(now.subsec_nanosecond()) * 0x10000 / 1_000_000_000;
    RunId::parse(&format!("{}-{fraction:04x}{:04x}", now.strftime("%Y%m%d-%H%M%S"), rand::random::<u16>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_at_the_same_moment_have_different_names() {
        let now = Zoned::now();
        let [one, two, three] = [(); 3].map(|()| fresh_run_id(&now).unwrap());
        assert!(one != two || two != three, "{one}");
    }
}
