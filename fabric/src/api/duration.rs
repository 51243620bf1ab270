use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time, written as Go does: `90s`, `15m`, `2160h`, `1h30m`, `500ms`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    inline,
    extend(
        "pattern" = "^([0-9]{1,9}(ms|s|m|h))+$",
        "x-weft-code" = "WEFT0121",
        "patternErrorMessage" = "a duration is numbers with units, such as 90s, 15m, 1h30m or 2160h"
    )
)]
pub struct Duration(std::time::Duration);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as 90s, 15m or 2160h")]
pub struct DurationError;

// === impl Duration ===

impl Duration {
    /// The longest one that can be written: a hundred thousand years, and nine digits.
    pub const MAX: Self = Self::from_secs(999_999_999 * 3600);

    /// The length of time of so many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// The length of time of so many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// The length of time as the standard library has it.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut total = std::time::Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or(DurationError)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|c: char| !c.is_ascii_lowercase())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(DurationError),
            };
            let number: u64 = number.parse().map_err(|_| DurationError)?;
            let part = number.checked_mul(millis).ok_or(DurationError)?;
            total = total
                .checked_add(std::time::Duration::from_millis(part))
                .ok_or(DurationError)?;
            rest = tail;
        }
        if text.is_empty() || total > Self::MAX.0 {
            Err(DurationError)
        } else {
            Ok(Self(total))
        }
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        for (number, unit) in [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (millis.into(), "ms"),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2160h", Some(7_776_000_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1 s", None),
            ("-1s", None),
            ("999999999h", Some(3_599_999_996_400_000)),
            ("999999999h1ms", None),
            ("1000000000h", None),
            ("99999999999999999999h", None),
        ] {
            let parsed = text.parse::<Duration>().ok();
            assert_eq!(parsed, millis.map(Duration::from_millis), "{text:?}");
            if let Some(duration) = parsed {
                assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }
        assert_eq!(
            Duration::from_millis(5_430_250).to_string(),
            "1h30m30s250ms"
        );
        assert_eq!(Duration::from_secs(2160 * 3600).to_string(), "2160h");
    }
}
