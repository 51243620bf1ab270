//! A bound on text that quotes others.

/// The most characters of a message: several times the longest that only quotes names (253 letters
/// each), and few enough that ten thousand of them are a report that can be sent.
const LONGEST: usize = 1_000;

/// What stays of the beginning and of the end of a longer one: the end often says what is wrong.
const KEPT: (usize, usize) = (700, 200);

/// The text, without its middle where it is too long for a message.
///
/// A value of a file may be as large as the file, and a message that quotes it isn't better for it.
#[must_use]
pub fn short(text: String) -> String {
    // Fewer bytes are fewer characters.
    if text.len() <= LONGEST {
        return text;
    }
    let count = text.chars().count();
    if count <= LONGEST {
        return text;
    }
    let begin: String = text.chars().take(KEPT.0).collect();
    let mut end: Vec<char> = text.chars().rev().take(KEPT.1).collect();
    end.reverse();
    let end: String = end.into_iter().collect();
    let left_out = count.saturating_sub(KEPT.0 + KEPT.1);
    format!("{begin}... ({left_out} characters left out) ...{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_long_text_is_left_out() {
        for text in ["", "short", &"é".repeat(LONGEST)] {
            assert_eq!(short(text.to_owned()), text);
        }
        let long = format!("the value {} is no port", "é".repeat(5 << 20));
        let told = short(long);
        assert!(told.starts_with("the value éééé"), "{told}");
        assert!(told.ends_with("éééé is no port"), "{told}");
        assert!(
            told.contains("... (5242001 characters left out) ..."),
            "{told}"
        );
        assert!(told.chars().count() <= LONGEST, "{told}");
    }
}
