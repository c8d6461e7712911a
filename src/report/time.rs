//! Times and durations in words. Stored times are UTC; people see their own time zone.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use crate::model::text::duration::in_words as duration;

/// A limit as somebody set it: `10 s`, `0.5 s`, `10 min`, `1 h`.
pub fn limit(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds == 0 || limit.subsec_nanos() > 0 || seconds % 60 > 0 => format!("{} s", limit.as_secs_f64()),
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Whole seconds, short: `7 s`, `3:07`, `2:05:00`. For what changes all the time.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60),
    }
}

/// `3.5 s`, or the shortest and the longest: `3.5 s .. 1 min 02 s`; empty without any.
pub fn durations(took: impl Iterator<Item = Duration> + Clone) -> String {
    match (took.clone().min().map(duration), took.max().map(duration)) {
        (Some(shortest), Some(longest)) if shortest != longest => format!("{shortest} .. {longest}"),
        (took, _) => took.unwrap_or_default(),
    }
}

/// `08:45:12`.
pub fn time_of_day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// `2026-11-22 08:45`.
pub fn date_and_time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::scripted::beginning;

    #[test]
    fn durations_in_words() {
        let words = |millis| duration(Duration::from_millis(millis));
        assert_eq!(words(0), "0.0 s");
        assert_eq!(words(59_999), "59.9 s");
        assert_eq!(words(187_000), "3 min 07 s");
        assert_eq!(words(7_500_000), "2 h 05 min");
        assert_eq!(clock(Duration::from_secs(7500)), "2:05:00");
        assert_eq!(clock(Duration::from_secs(90)), "1:30");
        let limits =
            [250, 1_000, 90_000, 600_000, 600_500, 7_200_000].map(|millis| limit(Duration::from_millis(millis)));
        assert_eq!(limits, ["0.25 s", "1 s", "90 s", "10 min", "600.5 s", "2 h"]);
        assert_eq!(limit(Duration::ZERO), "0 s");
    }

    #[test]
    fn people_see_their_own_time_zone() {
        let kolkata = TimeZone::fixed(jiff::tz::offset(5).saturating_add(jiff::Span::new().minutes(30)));
        assert_eq!(time_of_day(beginning(), &kolkata), "14:15:12");
        assert_eq!(date_and_time(beginning(), &TimeZone::UTC), "2026-11-22 08:45");
    }
}
