use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::address::Place;
use super::{Address, Credentials};

/// A repository to fetch from, and which of its references.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(super) address: Address,
    pub(super) reference: Reference,
    pub(super) credentials: Option<Credentials>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) ssh: SshOptions,
}

/// A branch, a tag or a whole reference name; `HEAD` is the remote's default branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

/// The text can't name a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} can't be the name of a branch, a tag or a reference")]
pub struct NoReference(String);

/// How the system's `ssh` is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshOptions {
    /// The program; looked up in `PATH` where it has no slash.
    pub program: PathBuf,
    /// The private key to show; without it, what the user's configuration and agent offer.
    pub identity: Option<PathBuf>,
    /// The host keys to trust; without it, the user's and the system's own files.
    pub known_hosts: Option<PathBuf>,
}

/// What one fetch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// The time for all of it.
    pub deadline: Duration,
    /// The bytes that are received, in all.
    pub bytes: u64,
    /// The objects of one pack.
    pub objects: usize,
}

// === impl Remote ===

impl Remote {
    /// The default branch of the repository at an address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let credentials = match &address.0 {
            Place::Http(_, credentials) => credentials.clone(),
            Place::Local(_) | Place::Ssh(_) => None,
        };
        Self {
            address,
            reference: Reference::default(),
            credentials,
            authorities: None,
            ssh: SshOptions::default(),
        }
    }

    /// The same with another reference.
    #[must_use]
    pub fn with_reference(mut self, reference: Reference) -> Self {
        self.reference = reference;
        self
    }

    /// The same with credentials for http and https, instead of those in the address.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The same with the CA certificates of a PEM file instead of the system's.
    #[must_use]
    pub fn with_authorities(mut self, file: PathBuf) -> Self {
        self.authorities = Some(file);
        self
    }

    /// The same with other options for `ssh`.
    #[must_use]
    pub fn with_ssh(mut self, ssh: SshOptions) -> Self {
        self.ssh = ssh;
        self
    }

    /// The file of the CA certificates, where it isn't the system's.
    #[must_use]
    pub fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// Where the repository is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What is fetched of it.
    #[must_use]
    pub const fn reference(&self) -> &Reference {
        &self.reference
    }
}

// === impl Reference ===

impl Reference {
    /// The whole names that the reference may stand for, the first one that exists counts.
    pub(super) fn candidates(&self) -> Vec<String> {
        match self.0.as_str() {
            "HEAD" => vec!["HEAD".to_owned()],
            name if name.starts_with("refs/") => vec![name.to_owned()],
            name => vec![
                format!("refs/heads/{name}"),
                format!("refs/tags/{name}"),
                format!("refs/{name}"),
            ],
        }
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self("HEAD".to_owned())
    }
}

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let name = Self(text.to_owned());
        let is_valid = name
            .candidates()
            .first()
            .is_some_and(|name| git2::Reference::is_valid_name(name));
        match is_valid {
            true => Ok(name),
            false => Err(NoReference(text.to_owned())),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl SshOptions ===

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            program: "ssh".into(),
            identity: None,
            known_hosts: None,
        }
    }
}

// === impl FetchLimits ===

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            // As long as a full-sized fabric takes over a slow line; a hung server holds up one
            // reconciler alone, and what is in force stays in force meanwhile.
            deadline: Duration::from_secs(60),
            // A fabric holds at most 256 MiB of files; twice that leaves room for the rest of the
            // repository and can't fill a disk unnoticed.
            bytes: 512 << 20,
            // Ten times the files that a fabric may hold.
            objects: 1_000_000,
        }
    }
}
