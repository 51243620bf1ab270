use anyhow::Context as _;
use fabric::name::PeerName;
use jiff::Timestamp;
use std::fs;

use super::place::{Place, PlaceArgs};
use super::{Validity, day, fabric_name};
use crate::certificate::{Authority, folder};
use crate::exit;
use crate::failure::Hint as _;
use crate::output::{print, tell};

/// Make a peer's certificate, signed by the fabric's CA
///
/// Writes FOLDER/FABRIC/NAME/cert.pem (the peer's certificate, then the CA's) and key.pem beside
/// it: what `weft run` on the peer takes with --cert and --key.
///
/// In a fabric repository the certificate goes to peers/NAME/cert.pem too, ready to be committed,
/// and the key never.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  In a fabric repository; the certificate goes to peers/east/, the key to ~/.config/weft/acme/east/:
    weft create peer-cert --name east

  As ClusterLink does it, into ./acme/east/ and signed by ./acme/:
    weft create peer-cert --name east --fabric acme

  Into a folder of its own, valid for a week:
    weft create peer-cert --name east --output /media/usb/east --validity 168h")]
pub(crate) struct CreatePeerCert {
    /// The peer's name
    ///
    /// A lower-case DNS name: letters, digits, '-', and '.' between parts. It is what the
    /// certificate proves, and the name of the peer's directory in the repository.
    #[arg(long, value_parser = peer_name)]
    name: PeerName,

    /// The fabric's name
    ///
    /// Where it isn't given it is the repository's, and outside of a repository default_fabric.
    #[arg(long, value_parser = fabric_name)]
    fabric: Option<String>,

    #[command(flatten)]
    place: PlaceArgs,

    /// How long the certificate is valid
    ///
    /// Where it isn't given it is `spec.certificates.validity` of the repository's fabric.yaml, or
    /// else 2160h, which is 90 days. It never ends after the CA.
    #[arg(long, value_name = "DURATION")]
    validity: Option<Validity>,
}

impl CreatePeerCert {
    /// Makes the certificate.
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let place = self.place.decide(self.fabric.as_deref())?;
        let folder = place.folder(&place.authority.join(self.name.as_str()))?;
        let directory = place
            .repository
            .as_ref()
            .map(|top| top.path().join("peers").join(self.name.as_str()));
        let public = directory.as_ref().map(|d| d.join(folder::CERTIFICATE));
        super::check(&folder, public.as_deref())?;

        let now = Timestamp::now();
        let authority = read_authority(&place, now)?;
        let validity = self
            .validity
            .unwrap_or(Validity(place.file.spec.certificates.validity));
        let not_after = validity.end(now).min(authority.not_after());
        let pair = authority.issue(&self.name, now, not_after)?;
        let chain = format!("{}{}", pair.certificate, authority.certificate());
        folder::write(&folder, &pair, &chain)?;
        tell!(
            "made the certificate of the peer {} in the fabric {}, valid until {}{}",
            self.name,
            place.fabric,
            day(pair.not_after),
            match validity.end(now) > not_after {
                true => ", as the CA",
                false => "",
            }
        );
        tell!(
            "its private key is {}; carry the folder to the peer, and leave no copy behind",
            folder.join(folder::KEY).display()
        );
        print!(
            "{}\n{}\n",
            folder.join(folder::CERTIFICATE).display(),
            folder.join(folder::KEY).display()
        );
        if let (Some(directory), Some(public)) = (&directory, &public) {
            super::publish(&folder, public, &pair.certificate)?;
            tell!("commit {}", public.display());
            print!("{}\n", public.display());
            if !directory.join("peer.yaml").exists() {
                tell!(
                    "then describe the peer in {}; peers/README.md tells how",
                    directory.join("peer.yaml").display()
                );
            }
        }
        Ok(exit::DONE)
    }
}

fn peer_name(text: &str) -> Result<PeerName, String> {
    text.parse()
        .map_err(|error| format!("it can't be a peer's name: {error}"))
}

fn read_authority(place: &Place, now: Timestamp) -> anyhow::Result<Authority> {
    let read = |name| {
        let path = place.authority.join(name);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read the fabric's CA from {}", path.display()))
            .hint(|| {
                "make the CA with `weft create fabric`, or say with --path where its folder is"
                    .to_owned()
            })
    };
    let (certificate, key) = (read(folder::CERTIFICATE)?, read(folder::KEY)?);
    Authority::from_pem(&certificate, &key, now)
        .with_context(|| format!("cannot sign with the CA in {}", place.authority.display()))
}
