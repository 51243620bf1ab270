//! Middle and spread of a few numbers.

use std::fmt;

/// The median of some numbers, the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The number in the middle, or the mean of the two there.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

// === impl Spread ===

impl Spread {
    /// The spread of numbers; none of no numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(*sorted.get(middle - 1)?, upper),
            _ => upper,
        };
        Some(Self {
            median,
            least: *sorted.first()?,
            greatest: *sorted.last()?,
        })
    }
}

impl fmt::Display for Spread {
    /// Three digits; the range only where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", digits(self.median))?;
        match digits(self.least) == digits(self.greatest) {
            true => Ok(()),
            false => write!(f, " ({}–{})", digits(self.least), digits(self.greatest)),
        }
    }
}

/// A number with three significant digits.
#[must_use]
pub fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    if decimals > 0 {
        return text;
    }
    // Thousands are set apart, as everywhere in the documentation.
    let (sign, integer) = text
        .strip_prefix('-')
        .map_or(("", &*text), |rest| ("-", rest));
    let mut grouped = String::from(sign);
    for (index, digit) in integer.chars().enumerate() {
        if index > 0 && (integer.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        for (numbers, median) in [
            (vec![3.0], 3.0),
            (vec![3.0, 1.0], 2.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0, 3.0, 2.0], 2.5),
        ] {
            let spread = Spread::of(numbers.clone()).unwrap();
            assert_eq!(spread.median, median, "{numbers:?}");
            assert!(spread.least <= median && median <= spread.greatest);
        }
    }

    #[test]
    fn three_digits_are_shown() {
        for (number, text) in [
            (0.0, "0.000"),
            (0.12345, "0.123"),
            (0.9996, "1.00"),
            (1.239, "1.24"),
            (12.39, "12.4"),
            (99.99, "100"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-12345.0, "-12,345"),
        ] {
            assert_eq!(digits(number), text);
        }
        let one = Spread::of([2.0, 2.001]).unwrap();
        assert_eq!(one.to_string(), "2.00");
        let some = Spread::of([1.0, 2.0, 4.0]).unwrap();
        assert_eq!(some.to_string(), "2.00 (1.00–4.00)");
    }
}
