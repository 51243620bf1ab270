use jiff::Timestamp;

use super::place::PlaceArgs;
use super::{Validity, day, fabric_name};
use crate::certificate::{KeyPairPem, folder};
use crate::exit;
use crate::output::{print, tell};

/// Make a fabric's CA: the certificate that signs the peers' certificates
///
/// Writes FOLDER/NAME/cert.pem and FOLDER/NAME/key.pem. Whoever has the key can become any peer of
/// the fabric: keep it where you would keep a root password, best not on a peer.
///
/// In a fabric repository the certificate goes to ca/NAME.pem too, ready to be committed, and the
/// key never: it goes to the folder of your configuration, which is named when it is done.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  In a fabric repository; the certificate goes to ca/, the key to ~/.config/weft/acme/:
    weft create fabric

  As ClusterLink does it, into ./acme/:
    weft create fabric --name acme

  Keys on another volume, the certificate into a repository:
    weft create fabric --path /media/vault --fabric-repo ~/acme")]
pub(crate) struct CreateFabric {
    /// The fabric's name
    ///
    /// Where it isn't given it is the repository's, and outside of a repository default_fabric.
    #[arg(long, value_parser = fabric_name)]
    name: Option<String>,

    #[command(flatten)]
    place: PlaceArgs,

    /// How long the CA is valid
    ///
    /// Ten years, unless you say otherwise: to replace a CA every peer has to be given a new
    /// certificate. `ca/README.md` of the repository tells how it is done without a break.
    #[arg(long, value_name = "DURATION", default_value = "87600h")]
    validity: Validity,
}

impl CreateFabric {
    /// Makes the CA.
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let place = self.place.decide(self.name.as_deref())?;
        let folder = place.folder(&place.authority)?;
        let public = place
            .repository
            .as_ref()
            .map(|top| top.path().join("ca").join(format!("{}.pem", place.fabric)));
        super::check(&folder, public.as_deref())?;

        let now = Timestamp::now();
        let pair = KeyPairPem::authority(&place.fabric, now, self.validity.end(now))?;
        folder::write(&folder, &pair, &pair.certificate)?;
        tell!(
            "made the CA of the fabric {}, valid until {}",
            place.fabric,
            day(pair.not_after)
        );
        tell!(
            "its private key is {}; keep it secret: whoever has it can become any peer",
            folder.join(folder::KEY).display()
        );
        print!(
            "{}\n{}\n",
            folder.join(folder::CERTIFICATE).display(),
            folder.join(folder::KEY).display()
        );
        if let Some(public) = &public {
            super::publish(&folder, public, &pair.certificate)?;
            tell!("commit {}", public.display());
            print!("{}\n", public.display());
        }
        Ok(exit::DONE)
    }
}
