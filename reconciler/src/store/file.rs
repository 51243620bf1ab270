//! The state on disk: two files of which at least one is whole at any moment.
//!
//! Each holds one line that says what follows (format, version, checksum, length) and then JSON.
//! The older one is the next to be replaced, by a rename of a finished file; so a crash at any step
//! leaves the newer one as it was, and a damaged one is told by its checksum.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fabric::fabric::Good;
use fabric::name::PeerName;
use fabric::origin::Revision;
use fabric::plan::Plan;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Desired, StoreError};

/// The names of the two files.
const SLOTS: [&str; 2] = ["state-0.json", "state-1.json"];
const FORMAT: &str = "weft-state";
/// Raised when an older reader would misunderstand a file; what is only added doesn't raise it.
const VERSION: u32 = 1;

/// The two files of a state directory.
#[derive(Debug)]
pub(super) struct Slots {
    directory: PathBuf,
    /// Of the newest whole file.
    generation: u64,
    /// The one to replace next.
    next: usize,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    generation: u64,
    revision: Revision,
    /// The peer whose state it is, also when nothing is in force.
    peer: PeerName,
    #[serde(default)]
    good_shared: Option<Revision>,
    #[serde(default)]
    good_units: BTreeMap<PeerName, Revision>,
    plan: Option<Plan>,
}

/// Why a file isn't used.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("it can't be read")]
    Read(#[source] io::Error),
    #[error("it isn't a state file of version {VERSION}")]
    Format,
    #[error("its checksum is wrong: it is cut off or damaged")]
    Checksum,
    #[error("its content can't be understood")]
    Content(#[source] serde_json::Error),
}

// === impl Slots ===

impl Slots {
    /// Reads the newest whole state; a damaged file is passed over and reported to the log.
    pub(super) fn open(
        directory: &Path,
        peer: &PeerName,
    ) -> Result<(Self, Option<Desired>), StoreError> {
        let mut newest: Option<(usize, Body)> = None;
        for (slot, name) in SLOTS.iter().enumerate() {
            let path = directory.join(name);
            match read(&path) {
                Ok(Some(body)) => {
                    if newest
                        .as_ref()
                        .is_none_or(|(_, other)| other.generation < body.generation)
                    {
                        newest = Some((slot, body));
                    }
                }
                Ok(None) => {}
                Err(damage) => {
                    let reason = match std::error::Error::source(&damage) {
                        Some(source) => format!("{damage}: {source}"),
                        None => damage.to_string(),
                    };
                    tracing::warn!(path = %path.display(), reason, "a state file isn't used");
                }
            }
        }
        let mut slots = Self {
            directory: directory.to_owned(),
            generation: 0,
            next: 0,
        };
        let Some((slot, body)) = newest else {
            return Ok((slots, None));
        };
        if body.peer != *peer {
            return Err(StoreError::OtherPeer {
                path: directory.to_owned(),
                owner: body.peer,
                peer: peer.clone(),
            });
        }
        slots.generation = body.generation;
        slots.next = 1 - slot;
        let desired = Desired {
            revision: body.revision,
            plan: body.plan,
            good: Good {
                shared: body.good_shared,
                units: body.good_units,
            },
        };
        Ok((slots, Some(desired)))
    }

    /// Writes a state; when it returns well, the state survives a power cut.
    pub(super) fn write(&mut self, peer: &PeerName, desired: &Desired) -> Result<(), StoreError> {
        let body = Body {
            generation: self.generation + 1,
            revision: desired.revision.clone(),
            peer: peer.clone(),
            good_shared: desired.good.shared.clone(),
            good_units: desired.good.units.clone(),
            plan: desired.plan.clone(),
        };
        let body = serde_json::to_vec(&body).map_err(StoreError::Encode)?;
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            sha256: hex::encode(Sha256::digest(&body)),
        };
        let mut bytes = serde_json::to_vec(&head).map_err(StoreError::Encode)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&body);

        let temporary = self.directory.join("state.new");
        let path = self.directory.join(SLOTS[self.next % SLOTS.len()]);
        write_through(&temporary, &bytes).map_err(failed("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("replace", &path))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("write", &self.directory))?;
        self.generation += 1;
        self.next = (self.next + 1) % SLOTS.len();
        Ok(())
    }
}

pub(super) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::File {
        operation,
        path,
        source,
    }
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The content of a state file; none where there is no file.
fn read(path: &Path) -> Result<Option<Body>, Damage> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Damage::Read(error)),
    };
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, body) = bytes.split_at(end.ok_or(Damage::Format)?);
    let body = body.get(1..).unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|_| Damage::Format)?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(Damage::Format);
    }
    if head.sha256 != hex::encode(Sha256::digest(body)) {
        return Err(Damage::Checksum);
    }
    serde_json::from_slice(body)
        .map(Some)
        .map_err(Damage::Content)
}
