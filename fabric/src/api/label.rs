use crate::name::{NameError, check_object_name};

/// Why a text is no label key or label value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The part before the slash isn't a DNS name.
    #[error("its prefix is no DNS name: {0}")]
    Prefix(NameError),
    /// A key without a name.
    #[error("it has no name")]
    Empty,
    /// More characters than the rule allows.
    #[error("it has {0} characters, and 63 are allowed")]
    TooLong(usize),
    /// A character that the rule doesn't allow.
    #[error("it holds {0:?}; letters, digits, '-', '_' and '.' are allowed")]
    Character(char),
    /// Begins or ends with something else than a letter or digit.
    #[error("it begins and ends with a letter or a digit")]
    Edge,
}

/// Checks the key of a label or an annotation: an optional DNS prefix and slash, then a name.
pub fn check_label_key(key: &str) -> Result<(), LabelError> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            check_object_name(prefix).map_err(LabelError::Prefix)?;
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Err(LabelError::Empty);
    }
    check_label_value(name)
}

/// Checks the value of a label, which may be empty.
pub fn check_label_value(value: &str) -> Result<(), LabelError> {
    if value.is_empty() {
        return Ok(());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(other) = value.chars().find(|&c| !allowed(c)) {
        return Err(LabelError::Character(other));
    }
    if value.len() > 63 {
        return Err(LabelError::TooLong(value.len()));
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if edge(value.chars().next()) && edge(value.chars().next_back()) {
        Ok(())
    } else {
        Err(LabelError::Edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        let longest = "a".repeat(63);
        let prefixed = format!("example.com/{longest}");
        let too_long = "a".repeat(64);
        for (key, good) in [
            ("app", true),
            ("App_1.x", true),
            ("example.com/app", true),
            (longest.as_str(), true),
            (prefixed.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("/app", false),
            ("example.com/", false),
            ("Example.com/app", false),
            ("a/b/c", false),
            ("-app", false),
            ("app.", false),
            ("a b", false),
        ] {
            assert_eq!(check_label_key(key).is_ok(), good, "{key:?}");
        }
        for (value, good) in [
            ("", true),
            ("v1.2", true),
            ("a/b", false),
            ("_a", false),
            (too_long.as_str(), false),
        ] {
            assert_eq!(check_label_value(value).is_ok(), good, "{value:?}");
        }
    }
}
