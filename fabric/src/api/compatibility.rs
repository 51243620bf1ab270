use std::fmt;
use std::str::FromStr;

/// What other than `weft/1` is spoken with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compatibility {
    /// ClusterLink's HTTP dialect: `/healthz`, `/authz` and CONNECT, also by TLS 1.2.
    ClusterLink,
}

/// A text that names nothing that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not `clusterlink`")]
pub struct CompatibilityError;

// === impl Compatibility ===

impl Compatibility {
    /// The name in the annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterLink => "clusterlink",
        }
    }
}

impl FromStr for Compatibility {
    type Err = CompatibilityError;

    fn from_str(text: &str) -> Result<Self, CompatibilityError> {
        match text {
            "clusterlink" => Ok(Self::ClusterLink),
            _ => Err(CompatibilityError),
        }
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Annotation, Metadata};

    #[test]
    fn only_the_exact_word_opts_in() {
        for (text, opted_in) in [
            ("clusterlink", Some(Compatibility::ClusterLink)),
            ("ClusterLink", None),
            (" clusterlink", None),
            ("true", None),
            ("", None),
        ] {
            let mut metadata = Metadata::default();
            metadata
                .annotations
                .insert(Annotation::Compatibility.key().to_owned(), text.to_owned());
            assert_eq!(metadata.compatibility(), opted_in, "{text:?}");
        }
        assert_eq!(Metadata::default().compatibility(), None);
        let clusterlink = Compatibility::ClusterLink;
        assert_eq!(clusterlink.to_string().parse(), Ok(clusterlink));
    }
}
