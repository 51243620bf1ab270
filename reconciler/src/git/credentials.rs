//! What a server wants to see; never printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use base64::Engine;

/// How to show who asks, over http and https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password; most hosts take a token as the password.
    Basic {
        /// The user name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// A token by itself.
    Bearer(Secret),
}

/// A password or token.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Value(String),
    /// A file that holds it; it is read for every fetch, so that it may be replaced.
    File(PathBuf),
}

/// No secret is longer; a mistaken path must not fill the memory.
const MAX_SECRET: u64 = 64 << 10;

// === impl Credentials ===

impl Credentials {
    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> io::Result<String> {
        Ok(match self {
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.read()?);
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                format!("Basic {pair}")
            }
            Self::Bearer(token) => format!("Bearer {}", token.read()?),
        })
    }

    /// The file that the secret is read from.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Basic { password, .. } => password.file(),
            Self::Bearer(token) => token.file(),
        }
    }
}

// === impl Secret ===

impl Secret {
    fn read(&self) -> io::Result<String> {
        let path = match self {
            Self::Value(value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        let mut text = String::new();
        File::open(path)?
            .take(MAX_SECRET)
            .read_to_string(&mut text)?;
        // Editors and `echo` end the line.
        let text = text.trim_end_matches(['\r', '\n']);
        match text.chars().any(char::is_control) {
            true => Err(io::Error::other("it holds more than one line of text")),
            false => Ok(text.to_owned()),
        }
    }

    const fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
