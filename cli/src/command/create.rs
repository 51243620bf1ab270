mod authority;
mod peer_certificate;
mod place;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fabric::api::Duration;
use fabric::name::PeerName;
use jiff::Timestamp;

use crate::certificate::folder;
use crate::failure::Hint as _;

/// Make the fabric's CA and the peers' certificates
///
/// Private keys are born where they are used and are written with the mode 0600. Nothing is ever
/// overwritten.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "\
Examples:
  In a fabric repository:
    weft create fabric
    weft create peer-cert --name east

  Elsewhere, as ClusterLink does it:
    weft create fabric --name acme
    weft create peer-cert --name east --fabric acme")]
pub(crate) enum Create {
    Fabric(authority::CreateFabric),
    PeerCert(peer_certificate::CreatePeerCert),
}

impl Create {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        match self {
            Self::Fabric(command) => command.run(),
            Self::PeerCert(command) => command.run(),
        }
    }
}

/// A time for which a certificate may be valid.
#[derive(Clone, Copy, Debug)]
struct Validity(Duration);

impl std::str::FromStr for Validity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Long enough for every CA, and the end stays a year of four digits, as X.509 writes it.
        const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
        let duration: Duration = text.parse().map_err(|_| {
            "it isn't a length of time such as 2160h (90 days) or 87600h (10 years)".to_owned()
        })?;
        if duration < Duration::from_secs(60) {
            return Err("a certificate is valid for at least a minute".to_owned());
        }
        if duration > LONGEST {
            return Err("a certificate is valid for at most 100 years".to_owned());
        }
        Ok(Self(duration))
    }
}

impl Validity {
    /// The moment at which it ends when it begins now.
    fn end(self, now: Timestamp) -> Timestamp {
        now.checked_add(self.0.get()).unwrap_or(Timestamp::MAX)
    }
}

/// The folder that `weft create peer-cert` puts a peer's certificate and key into.
pub(crate) fn peer_folder(
    path: &Path,
    fabric: Option<&str>,
    peer: &PeerName,
) -> anyhow::Result<PathBuf> {
    let place = place::PlaceArgs::at(path.to_owned()).decide(fabric)?;
    Ok(place.authority.join(peer.as_str()))
}

/// Says whether a pair and its public part could be written: nothing of their names is there.
fn check(folder: &Path, public: Option<&Path>) -> anyhow::Result<()> {
    let free = folder::check(folder);
    let Some(public) = public else {
        return Ok(free?);
    };
    let is_unpublished = folder::check_file(public).is_ok();
    match free {
        Err(error) if is_unpublished => Err(error).hint(|| {
            format!(
                "to bring the certificate that is there into the repository, copy the first one \
                 of {} to {}",
                folder.join(folder::CERTIFICATE).display(),
                public.display()
            )
        }),
        free => {
            free?;
            Ok(folder::check_file(public)?)
        }
    }
}

/// Puts the public part of a certificate, whose pair is in `folder`, to its place in a repository.
fn publish(folder: &Path, public: &Path, certificate: &str) -> anyhow::Result<()> {
    folder::publish(public, certificate)
        .with_context(|| {
            format!(
                "the pair is in {}, but not in the repository",
                folder.display()
            )
        })
        .hint(|| {
            format!(
                "copy the first certificate of its cert.pem to {}",
                public.display()
            )
        })
}

/// The day of a moment, for people.
fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// A name that becomes a folder, a file and a certificate's common name.
fn fabric_name(text: &str) -> Result<String, String> {
    // X.520's bound on a common name.
    if text.is_empty() || text.len() > 64 {
        return Err("a fabric's name has 1 to 64 characters".to_owned());
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.chars().all(is_allowed) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(
            "a fabric's name holds letters, digits, '-', '_' and '.', and begins with a letter or a digit"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validities_and_names() {
        for (text, good) in [
            ("2160h", true),
            ("1m", true),
            ("59s", false),
            ("876000h", true),
            ("900000h", false),
            ("90d", false),
        ] {
            assert_eq!(text.parse::<Validity>().is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("default_fabric", true),
            ("acme.example", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            (".hidden", false),
            ("a b", false),
        ] {
            assert_eq!(fabric_name(text).is_ok(), good, "{text}");
        }
    }
}
