//! Lengths of time as people write them: `30s`, `2m`, `1h30m`.

use std::time::Duration;

/// Longer limits are a slip of the pen, and near the largest [`Duration`] clocks overflow.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why a length of time was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error("`{0}` is not a length of time such as \"30s\", \"2m\" or \"1h30m\"")]
    Form(String),
    /// More than [`LONGEST`].
    #[error("`{0}` is longer than a year")]
    Long(String),
}

/// Reads a length of time: numbers with the units `ms`, `s`, `m`, `h` and `d`, or a bare number of seconds.
///
/// ```
/// use std::time::Duration;
/// use fleet::model::duration::parse_duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let form = || DurationError::Form(text.to_owned());
    let long = || DurationError::Long(text.to_owned());
    let mut rest = text.trim();
    let mut milliseconds: u64 = 0;
    if rest.is_empty() {
        return Err(form());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "" if digits == text.trim().len() => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            _ => return Err(form()),
        };
        if number.is_empty() {
            return Err(form());
        }
        let number: u64 = number.parse().map_err(|_| long())?;
        milliseconds = number.checked_mul(factor).and_then(|n| milliseconds.checked_add(n)).ok_or_else(long)?;
        rest = after;
    }
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST { Err(long()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in ["", "s", "-1s", "1 s", "1h30", "30sec", "1.5h", "٣s"] {
            assert_eq!(parse_duration(text), Err(DurationError::Form(text.to_owned())), "{text:?}");
        }
        for text in ["99999999999999999999s", "18446744073709551615", "367d"] {
            assert_eq!(parse_duration(text), Err(DurationError::Long(text.to_owned())), "{text:?}");
        }
    }
}
