//! Lengths of time as people write them: `30s`, `2m`, `1h30m`.

use std::time::Duration;

/// Longer limits are a slip of the pen, and near the largest [`Duration`] clocks overflow.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("`{0}` is not a length of time such as \"30s\", \"2m\" or \"1h30m\"")]
    Form(String),
    #[error("`{0}` is longer than a year")]
    Long(String),
}

/// Reads a length of time: numbers with the units `ms`, `s`, `m`, `h` and `d`, or a bare number of seconds.
///
/// ```
/// use std::time::Duration;
/// use fleet::model::text::duration::parse_duration;
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

/// `0.4 s`, `12.5 s`, `3 min 07 s`, `2 h 05 min`.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of each unit, as the help says it, and not as the code above does.
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

    #[test]
    fn units_add_up() {
        for (unit, milliseconds) in UNITS {
            assert_eq!(parse_duration(&format!("7{unit}")), Ok(Duration::from_millis(7 * milliseconds)), "{unit}");
        }
        assert_eq!(parse_duration("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
        // A bare number is of seconds; blanks around it are nothing.
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration(" 90 "), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("366d"), Ok(LONGEST));
        assert_eq!(parse_duration("365d23h59m60s"), Ok(LONGEST));
    }

    proptest::proptest! {
        /// In any order, and also when one comes twice.
        #[test]
        fn any_units_add_up(parts in proptest::collection::vec((0_u64..1000, 0_usize..UNITS.len()), 1..6)) {
            let parts: Vec<(u64, (&str, u64))> = parts.into_iter().map(|(number, unit)| (number, UNITS[unit])).collect();
            let text = parts.iter().map(|(number, (unit, _))| format!("{number}{unit}")).collect::<Vec<_>>().concat();
            let sum = Duration::from_millis(parts.iter().map(|(number, (_, milliseconds))| number * milliseconds).sum());
            let expected = if sum > LONGEST { Err(DurationError::Long(text.clone())) } else { Ok(sum) };
            proptest::prop_assert_eq!(parse_duration(&text), expected);
        }
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
