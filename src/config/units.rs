//! Durations and sizes with their units. A bare number is refused: `settle: 500` would be half a
//! second to one reader and eight minutes to another. Pure.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest duration that any key takes: a year. Beyond it, adding to a clock could overflow.
pub const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Why a text is no duration or size. Every message repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A duration without a unit.
    #[error("{0:?} has no unit")]
    DurationWithoutUnit(String),
    /// A size without a unit.
    #[error("{0:?} has no unit")]
    SizeWithoutUnit(String),
    /// A negative amount.
    #[error("{0:?} is negative")]
    Negative(String),
    /// Not a duration at all, or with an unknown unit.
    #[error("{0:?} is no duration")]
    NoDuration(String),
    /// Months and years have no fixed length; `10M` is nearly always meant as minutes.
    #[error("{0:?} is no duration here: `M` would be months, and years differ in length")]
    Calendar(String),
    /// More than [`LONGEST`].
    #[error("{0:?} is more than a year")]
    TooLong(String),
    /// Not a size at all, or with an unknown unit.
    #[error("{0:?} is no size")]
    NoSize(String),
}

impl UnitError {
    /// What would be right.
    pub fn help(&self) -> String {
        match self {
            Self::DurationWithoutUnit(text) => {
                let number = text.trim();
                format!("say which: `{number}ms`, `{number}s` or `{number}m`")
            }
            Self::SizeWithoutUnit(text) => {
                let number = text.trim();
                format!("say which: `{number}B`, `{number}KiB` or `{number}MiB`")
            }
            Self::NoSize(_) => {
                "a number and one of the units `B`, `KiB`, `MiB`, `KB`, `MB`, as in `20MiB`".to_owned()
            }
            Self::Calendar(text) => {
                format!("a small `m` is minutes: `{}`", text.trim().replace('M', "m"))
            }
            Self::Negative(_) | Self::NoDuration(_) | Self::TooLong(_) => {
                "a number and one of the units `ms`, `s`, `m`, `h`, `d`, as in `250ms`, `30s`, `10m`"
                    .to_owned()
            }
        }
    }
}

/// A duration, as `250ms`, `30s`, `1h 30m`. At most [`LONGEST`].
///
/// # Errors
/// When the text has no unit, another unit than nanoseconds to weeks, or is longer than a year.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let bare = text.trim();
    let own = || text.to_owned();
    if bare.starts_with('-') && bare.len() > 1 {
        return Err(UnitError::Negative(own()));
    }
    if bare.parse::<f64>().is_ok() {
        return Err(UnitError::DurationWithoutUnit(own()));
    }
    let calendar = |unit: &str| {
        matches!(unit, "M" | "Y" | "y") || unit.starts_with("month") || unit.starts_with("year")
    };
    if bare.split(|c: char| !c.is_alphabetic()).any(calendar) {
        return Err(UnitError::Calendar(own()));
    }
    let duration = humantime::parse_duration(bare).map_err(|_| UnitError::NoDuration(own()))?;
    if duration > LONGEST {
        return Err(UnitError::TooLong(own()));
    }
    Ok(duration)
}

/// A size in bytes, as `20MiB` (powers of two) or `20MB` (powers of ten).
///
/// # Errors
/// When the text has no unit or is no size.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let bare = text.trim();
    if bare.starts_with('-') && bare.len() > 1 {
        return Err(UnitError::Negative(text.to_owned()));
    }
    if bare.parse::<f64>().is_ok() {
        return Err(UnitError::SizeWithoutUnit(text.to_owned()));
    }
    match bare.parse() {
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err(UnitError::NoSize(text.to_owned())),
    }
}

/// A size as a person would write it in the configuration: `20MiB`, `1000B`.
pub fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{bytes}B"),
        |(unit, name)| format!("{}{name}", bytes / unit),
    )
}

/// A duration as a person would write it in the configuration: `15m`, `250ms`.
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("250ms", 250)]
    #[case("30s", 30_000)]
    #[case("10m", 600_000)]
    #[case("15min", 900_000)]
    #[case("0s", 0)]
    #[case("1h 30m", 5_400_000)]
    #[case(" 2 s ", 2_000)]
    #[case("1d", 86_400_000)]
    #[case("365d", 31_536_000_000)]
    fn a_duration_is_read(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case("10", UnitError::DurationWithoutUnit("10".into()))]
    #[case("0", UnitError::DurationWithoutUnit("0".into()))]
    #[case("1.5", UnitError::DurationWithoutUnit("1.5".into()))]
    #[case("-5s", UnitError::Negative("-5s".into()))]
    #[case("", UnitError::NoDuration(String::new()))]
    #[case("s", UnitError::NoDuration("s".into()))]
    #[case("soon", UnitError::NoDuration("soon".into()))]
    #[case("10 sheep", UnitError::NoDuration("10 sheep".into()))]
    #[case("10S", UnitError::NoDuration("10S".into()))]
    #[case("10秒", UnitError::NoDuration("10秒".into()))]
    #[case("10M", UnitError::Calendar("10M".into()))]
    #[case("1y", UnitError::Calendar("1y".into()))]
    #[case("2months", UnitError::Calendar("2months".into()))]
    #[case("366d", UnitError::TooLong("366d".into()))]
    #[case("99999999999999999999s", UnitError::NoDuration("99999999999999999999s".into()))]
    fn a_wrong_duration_says_what_is_wrong(#[case] text: &str, #[case] error: UnitError) {
        assert!(
            error.to_string().contains(text),
            "{error} does not repeat {text}"
        );
        assert_eq!(duration(text), Err(error));
    }

    #[rstest]
    #[case("1B", 1)]
    #[case("20MiB", 20 << 20)]
    #[case("20 mib", 20 << 20)]
    #[case("20MB", 20_000_000)]
    #[case("1.5KiB", 1536)]
    #[case("0B", 0)]
    fn a_size_is_read(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(size(text), Ok(bytes));
    }

    #[rstest]
    #[case("20", UnitError::SizeWithoutUnit("20".into()))]
    #[case("-1MiB", UnitError::Negative("-1MiB".into()))]
    #[case("", UnitError::NoSize(String::new()))]
    #[case("MiB", UnitError::NoSize("MiB".into()))]
    #[case("20 apples", UnitError::NoSize("20 apples".into()))]
    #[case("20MiBs", UnitError::NoSize("20MiBs".into()))]
    fn a_wrong_size_says_what_is_wrong(#[case] text: &str, #[case] error: UnitError) {
        assert!(
            error.to_string().contains(text),
            "{error} does not repeat {text}"
        );
        assert_eq!(size(text), Err(error));
    }

    #[rstest]
    #[case(20 << 20, "20MiB")]
    #[case(1000, "1000B")]
    #[case(1 << 30, "1GiB")]
    fn a_size_is_shown_as_it_would_be_written(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(show_size(bytes), text);
        assert_eq!(size(text), Ok(bytes));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = duration(&text);
            let _ = size(&text);
        }

        #[test]
        fn no_number_with_a_unit_panics(text in "[0-9]{1,30}(\\.[0-9]{1,5})?[a-zA-Z]{0,3}") {
            let _ = duration(&text);
            let _ = size(&text);
        }
    }
}
