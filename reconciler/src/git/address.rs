//! Where a repository is: parsed once, and printed without what is secret in it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::credentials::{Credentials, Secret};

/// Where a repository is.
///
/// Accepted are paths, `file://`, `http://`, `https://`, `ssh://` and `[user@]host:path`. It prints
/// without the user name and the password that a URL may carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(pub(super) Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Local(PathBuf),
    Http(HttpAddress, Option<Credentials>),
    Ssh(SshAddress),
}

/// An http or https URL without user, query and fragment, and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpAddress {
    pub(super) origin: Origin,
    pub(super) path: String,
}

/// Who is asked; credentials are for one origin alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) is_encrypted: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What `ssh` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshAddress {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
}

/// Why a text is no address of a repository; it never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was written.
    #[error("the repository's address is empty")]
    Empty,
    /// Another scheme.
    #[error(
        "a repository's address is a path or begins with https://, http://, ssh:// or file://, \
         not with {0:?}"
    )]
    Scheme(String),
    /// Not of the form of a URL.
    #[error("the repository's address isn't a well-formed URL")]
    Malformed,
    /// A part that has no place in the address of a repository.
    #[error("the repository's address has a {0}, which has no place there")]
    Unwanted(&'static str),
    /// A host or user that `ssh` would take for something else.
    #[error("the repository's address has a {0} that can't be passed to ssh")]
    Unsafe(&'static str),
}

// === impl Address ===

impl Address {
    /// The address as it identifies the repository: equal for the same place, free of secrets.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.to_string()
    }

    /// The directory of a repository on this machine.
    #[must_use]
    pub fn local_path(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            Place::Http(..) | Place::Ssh(_) => None,
        }
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self(Place::Local(path))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            // As Git reads it: a colon before the first slash makes it `host:path`.
            return Ok(Self(match text.split_once(':') {
                Some((host, path)) if !host.contains('/') => {
                    Place::Ssh(SshAddress::new(host, None, path.to_owned())?)
                }
                _ => Place::Local(text.into()),
            }));
        };
        let place = match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {
                let (address, credentials) = HttpAddress::parse(text)?;
                Place::Http(address, credentials)
            }
            "ssh" | "git+ssh" | "ssh+git" => Place::Ssh(SshAddress::parse(rest)?),
            "file" => Place::Local(parse_file(rest)?),
            other => return Err(AddressError::Scheme(format!("{}://", other.escape_debug()))),
        };
        Ok(Self(place))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local(path) => path.display().fmt(f),
            Place::Http(address, _) => address.fmt(f),
            Place::Ssh(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

// === impl HttpAddress ===

impl HttpAddress {
    /// Reads a URL, and the credentials that it carries.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<Credentials>), AddressError> {
        if text.contains('#') {
            return Err(AddressError::Unwanted("fragment"));
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Malformed)?;
        if uri.query().is_some() {
            return Err(AddressError::Unwanted("query"));
        }
        let origin = Origin::of(&uri).ok_or(AddressError::Malformed)?;
        let authority = uri.authority().ok_or(AddressError::Malformed)?.as_str();
        let credentials = match authority.rsplit_once('@') {
            Some((user, _)) => Some(parse_user(user)?),
            None => None,
        };
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok((Self { origin, path }, credentials))
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

// === impl Origin ===

impl Origin {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_encrypted = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            is_encrypted,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(match is_encrypted {
                true => 443,
                false => 80,
            }),
        })
    }

    /// Whether nobody but this machine can listen in.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        match (self.is_encrypted, port) {
            (true, 443) => write!(f, "https://{host}"),
            (false, 80) => write!(f, "http://{host}"),
            (true, port) => write!(f, "https://{host}:{port}"),
            (false, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

// === impl SshAddress ===

impl SshAddress {
    /// Reads what stands behind `ssh://`.
    fn parse(rest: &str) -> Result<Self, AddressError> {
        let (authority, path) = rest
            .find('/')
            .map(|slash| rest.split_at(slash))
            .ok_or(AddressError::Malformed)?;
        let path = decode(path)?;
        // `/~user/repository` is below that user's home, which the remote shell must see bare.
        let path = match path.strip_prefix('/') {
            Some(home) if home.starts_with('~') => home.to_owned(),
            _ => path,
        };
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(AddressError::Unwanted("password"));
        }
        let user = user.map(decode).transpose()?;
        // The colon of a port stands behind the bracket of an IPv6 address.
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (
                host,
                Some(port.parse().map_err(|_| AddressError::Malformed)?),
            ),
            _ => (host, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let whole = match user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_owned(),
        };
        Self::new(&whole, port, path)
    }

    fn new(host: &str, port: Option<u16>, path: String) -> Result<Self, AddressError> {
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host),
        };
        let is_name = |text: &str, further: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || further.contains(c))
        };
        if !is_name(host, ".-_:") {
            return Err(AddressError::Unsafe("host"));
        }
        if user.is_some_and(|user| !is_name(user, ".-_+@")) {
            return Err(AddressError::Unsafe("user"));
        }
        if path.is_empty() || path.starts_with('-') || path.chars().any(char::is_control) {
            return Err(AddressError::Unsafe("path"));
        }
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            path,
        })
    }
}

impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        write!(f, "{slash}{}", self.path)
    }
}

/// The path behind `file://`.
fn parse_file(rest: &str) -> Result<PathBuf, AddressError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(AddressError::Unwanted("host"));
    }
    decode(path).map(PathBuf::from)
}

fn parse_user(user: &str) -> Result<Credentials, AddressError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    Ok(Credentials::Basic {
        username: decode(name)?,
        password: Secret::Value(decode(password)?),
    })
}

fn decode(text: &str) -> Result<String, AddressError> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| AddressError::Malformed)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_print_without_their_secrets() {
        for (written, printed) in [
            ("/srv/fabric.git", "/srv/fabric.git"),
            ("./fabric", "./fabric"),
            ("file:///srv/my%20fabric.git", "/srv/my fabric.git"),
            (
                "https://git.example/acme/fabric.git/",
                "https://git.example/acme/fabric.git",
            ),
            ("https://Git.Example:443/f", "https://git.example/f"),
            (
                "http://u:hunter2@git.example:8080/f",
                "http://git.example:8080/f",
            ),
            ("https://ghp_hunter2@git.example/f", "https://git.example/f"),
            (
                "git@git.example:acme/fabric.git",
                "ssh://git@git.example/acme/fabric.git",
            ),
            (
                "ssh://git@git.example:2222/srv/f.git",
                "ssh://git@git.example:2222/srv/f.git",
            ),
            ("ssh://[::1]:22/~me/f", "ssh://[::1]:22/~me/f"),
        ] {
            assert_eq!(parse(written).to_string(), printed);
            assert!(!format!("{:?}", parse(written)).contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for (written, error) in [
            ("", AddressError::Empty),
            ("ftp://x/y", AddressError::Scheme("ftp://".into())),
            ("https://", AddressError::Malformed),
            ("https:///path", AddressError::Malformed),
            ("https://u:hunter2@", AddressError::Malformed),
            ("https://h/x?token=hunter2", AddressError::Unwanted("query")),
            ("https://h/x#hunter2", AddressError::Unwanted("fragment")),
            ("ssh://u:hunter2@h/x", AddressError::Unwanted("password")),
            ("ssh://h", AddressError::Malformed),
            ("ssh://h:99999/x", AddressError::Malformed),
            ("file://other/x", AddressError::Unwanted("host")),
        ] {
            assert_eq!(written.parse::<Address>(), Err(error.clone()), "{written}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn ssh_never_sees_an_option_in_an_address() {
        for written in [
            "-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@host/y",
            "ssh://%2DoProxyCommand=x@host/y",
            "user@-host:y",
            "host:-y",
            "ssh://ho%20st/y",
            "ssh://host/a%0Ab",
        ] {
            let refused = written.parse::<Address>();
            assert!(
                matches!(refused, Err(AddressError::Unsafe(_))),
                "{written}: {refused:?}"
            );
        }
    }
}
