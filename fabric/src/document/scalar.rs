//! What a plain scalar means: to us, and to other tools.

use serde_json::{Number, Value};

/// A plain scalar, read.
#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    /// Null, a boolean, a whole number.
    Value(Value),
    /// A number that isn't whole, as JSON writes it.
    Decimal(Number),
    /// A string that some tool reads as something else, and as what.
    Ambiguous(&'static str),
    /// A string.
    Text,
}

/// Reads a plain scalar, by the table in the module `document`.
pub(super) fn read(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Value(Value::Null),
        "true" | "True" | "TRUE" => return Plain::Value(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Plain::Value(Value::Bool(false)),
        _ => {}
    }
    if is_word_boolean(text) {
        return Plain::Ambiguous("a boolean");
    }
    let Some(first) = text.bytes().next() else {
        return Plain::Text;
    };
    // All that follows begins like a number, except for the two odd keys of YAML 1.1.
    if !matches!(first, b'0'..=b'9' | b'-' | b'+' | b'.') {
        return match text {
            "=" | "<<" => Plain::Ambiguous("something else than a string"),
            _ => Plain::Text,
        };
    }
    if let Some(plain) = json_number(text) {
        return plain;
    }
    if is_odd_number(text) {
        return Plain::Ambiguous("a number");
    }
    if is_sexagesimal(text) {
        return Plain::Ambiguous("a time, as a number of seconds");
    }
    if is_date(text) {
        return Plain::Ambiguous("a date");
    }
    Plain::Text
}

/// The booleans of YAML 1.1 that YAML 1.2 reads as strings.
fn is_word_boolean(text: &str) -> bool {
    let capitals = |lower: &str| {
        let mut letters = text.chars();
        let first = letters.next().unwrap_or_default();
        let rest = letters.as_str();
        text.eq_ignore_ascii_case(lower)
            && (rest.chars().all(|c| c.is_ascii_lowercase())
                || (first.is_ascii_uppercase() && rest.chars().all(|c| c.is_ascii_uppercase())))
    };
    ["y", "n", "yes", "no", "on", "off"]
        .into_iter()
        .any(capitals)
}

/// The number, when the text is one by JSON's grammar.
fn json_number(text: &str) -> Option<Plain> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits(unsigned);
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    if rest.is_empty() {
        let number = match text.parse::<i64>() {
            // `-0` would come back as `0`.
            Ok(0) if text != "0" => return Some(Plain::Ambiguous("a number")),
            Ok(number) => Number::from(number),
            Err(_) => match text.parse::<u64>() {
                Ok(number) => Number::from(number),
                Err(_) => return Some(Plain::Ambiguous("a number, and perhaps a rounded one")),
            },
        };
        return Some(Plain::Value(Value::Number(number)));
    }
    let rest = match rest.strip_prefix('.') {
        Some(rest) => {
            let (fraction, rest) = digits(rest);
            if fraction.is_empty() {
                return None;
            }
            rest
        }
        None => rest,
    };
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let (power, rest) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        if power.is_empty() || !rest.is_empty() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    let number = text.parse().ok().and_then(Number::from_f64);
    Some(number.map_or(Plain::Ambiguous("infinity"), Plain::Decimal))
}

/// Whether some tool reads the text as a number, though JSON doesn't: another base, a sign, leading
/// zeros, underscores, a bare dot, infinity and not-a-number.
fn is_odd_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return true;
    }
    let based = |prefix: [&str; 2], digit: fn(&u8) -> bool| {
        let digits = prefix
            .into_iter()
            .find_map(|prefix| unsigned.strip_prefix(prefix));
        digits.is_some_and(|digits| {
            digits.bytes().any(|byte| digit(&byte))
                && digits.bytes().all(|byte| byte == b'_' || digit(&byte))
        })
    };
    if based(["0x", "0X"], u8::is_ascii_hexdigit)
        || based(["0o", "0O"], |byte| matches!(byte, b'0'..=b'7'))
        || based(["0b", "0B"], |byte| matches!(byte, b'0' | b'1'))
    {
        return true;
    }
    // Digits and underscores, at most one dot among them, perhaps an exponent.
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !power.is_empty() && power.bytes().all(|byte| byte.is_ascii_digit())
    });
    exponent_fits
        && !mantissa.starts_with('_')
        && mantissa.bytes().any(|byte| byte.is_ascii_digit())
        && mantissa.bytes().filter(|byte| *byte == b'.').count() <= 1
        && mantissa
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'_' | b'.'))
}

/// Whether YAML 1.1 reads the text as a number to the base of 60: `12:30:45`, `22:22`.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (unsigned, ""),
    };
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut more = 0_usize;
    let rest_fits = parts.all(|part| {
        more += 1;
        matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
    });
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let starts_with_digit = first.starts_with(|c: char| c.is_ascii_digit());
    more > 0 && rest_fits && starts_with_digit && number(first) && number(fraction)
}

/// Whether YAML 1.1 reads the text as a date, with or without a time.
fn is_date(text: &str) -> bool {
    let (year, rest) = digits(text);
    let Some((month, rest)) = rest.strip_prefix('-').map(digits) else {
        return false;
    };
    let Some((day, rest)) = rest.strip_prefix('-').map(digits) else {
        return false;
    };
    let two = |text: &str| matches!(text.len(), 1 | 2);
    if year.len() != 4 || !two(month) || !two(day) {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    let Some(time) = rest.strip_prefix(['T', 't', ' ', '\t']) else {
        return false;
    };
    let (hour, rest) = digits(time.trim_start_matches([' ', '\t']));
    let (minute, rest) = digits(rest.strip_prefix(':').unwrap_or_default());
    let (second, rest) = digits(rest.strip_prefix(':').unwrap_or_default());
    if !two(hour) || minute.len() != 2 || second.len() != 2 {
        return false;
    }
    let rest = rest.strip_prefix('.').map_or(rest, |rest| digits(rest).1);
    let zone = rest.trim_start_matches([' ', '\t']);
    let offset = zone.strip_prefix(['+', '-']);
    zone.is_empty()
        || zone == "Z"
        || offset.is_some_and(|offset| {
            let (hours, rest) = digits(offset);
            let minutes = rest.strip_prefix(':').map(digits);
            two(hours)
                && minutes.map_or(rest.is_empty(), |(minutes, rest)| {
                    minutes.len() == 2 && rest.is_empty()
                })
        })
}

/// The digits at the start, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}
