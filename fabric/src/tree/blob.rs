//! A file's bytes, and what is read out of them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::diagnostic::Finding;
use crate::document;
use crate::identity::{self, CertificateFile};
use crate::name::ObjectKey;
use crate::resource;
use crate::secret::find_private_keys;

/// Names what [`Blob::to_kept`] writes: this very build of the model. What another one has kept may
/// mean something else, or miss a check.
pub const KEPT_BY: &str = env!("WEFT_MODEL");

/// The bytes of a file, and what has been read out of them.
#[derive(Debug)]
pub struct Blob {
    text: Text,
    limits: document::Limits,
    keys: Vec<Finding>,
    /// What was kept of the file's objects.
    kept: Option<Text>,
    /// The keys of those, where they can be told without decoding the objects.
    keys_of_kept: OnceLock<Option<Vec<ObjectKey>>>,
    resources: OnceLock<resource::File>,
    certificates: OnceLock<CertificateFile>,
}

/// Some bytes of more that are held together; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Text {
    whole: Arc<Vec<u8>>,
    range: Range<usize>,
}

/// What is to be kept of a blob beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The private keys that were found; empty without any.
    pub keys: Vec<u8>,
    /// The objects of a YAML file; empty where they weren't asked for.
    pub objects: Vec<u8>,
}

// === impl Blob ===

impl Blob {
    /// The bytes of a file that is read.
    #[must_use]
    pub fn new(bytes: Vec<u8>, limits: document::Limits) -> Self {
        Self {
            keys: find_private_keys(&bytes),
            ..Self::empty(bytes.into(), limits)
        }
    }

    /// The bytes of a file that is only searched for private keys; they aren't kept.
    #[must_use]
    pub fn searched(bytes: &[u8]) -> Self {
        Self {
            keys: find_private_keys(bytes),
            ..Self::empty(Text::default(), document::Limits::default())
        }
    }

    /// The blob of which something was kept by [`Blob::to_kept`], under the same limits and by the
    /// same build ([`KEPT_BY`]); none where that can't be understood.
    #[must_use]
    pub fn from_kept(
        text: Text,
        limits: document::Limits,
        keys: &[u8],
        objects: Option<Text>,
    ) -> Option<Self> {
        let keys = match keys {
            [] => Vec::new(),
            keys => serde_json::from_slice(keys).ok()?,
        };
        Some(Self {
            keys,
            kept: objects,
            ..Self::empty(text, limits)
        })
    }

    /// What is to be kept of the blob, of what was asked of it so far.
    #[must_use]
    pub fn to_kept(&self) -> Option<Kept> {
        let keys = match &*self.keys {
            [] => Vec::new(),
            keys => serde_json::to_vec(keys).ok()?,
        };
        let objects = match self.resources.get() {
            Some(file) => file.to_kept()?,
            None => Vec::new(),
        };
        Some(Kept { keys, objects })
    }

    const fn empty(text: Text, limits: document::Limits) -> Self {
        Self {
            text,
            limits,
            keys: Vec::new(),
            kept: None,
            keys_of_kept: OnceLock::new(),
            resources: OnceLock::new(),
            certificates: OnceLock::new(),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.text.bytes()
    }

    /// The private keys in the file.
    pub(super) fn private_keys(&self) -> &[Finding] {
        &self.keys
    }

    /// The objects of a YAML file.
    pub fn resources(&self) -> &resource::File {
        self.resources.get_or_init(|| {
            let kept = self
                .kept
                .as_ref()
                .and_then(|kept| resource::File::from_kept(kept.bytes(), &self.text, &self.limits));
            kept.unwrap_or_else(|| resource::read(self.bytes(), &self.limits))
        })
    }

    /// Whether [`resources`](Self::resources) needn't be made from the text.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.is_some() || self.resources.get().is_some()
    }

    /// How many objects a YAML file holds.
    pub(crate) fn count(&self) -> usize {
        match self.kept_keys() {
            Some(keys) => keys.len(),
            None => self.resources().resources.len(),
        }
    }

    /// Which object of the file one is.
    #[expect(
        clippy::indexing_slicing,
        reason = "an item is made from the object at its index"
    )]
    pub(crate) fn key(&self, index: usize) -> &ObjectKey {
        match self.kept_keys() {
            Some(keys) => &keys[index],
            None => &self.resources().resources[index].key,
        }
    }

    /// What is wrong with a YAML file by itself.
    pub(crate) fn findings(&self) -> &[Finding] {
        match self.kept_keys() {
            // They are kept by themselves of a file without findings alone.
            Some(_) => &[],
            None => &self.resources().findings,
        }
    }

    fn kept_keys(&self) -> Option<&[ObjectKey]> {
        let keys = self.keys_of_kept.get_or_init(|| {
            let kept = self.kept.as_ref()?;
            resource::File::kept_keys(kept.bytes())
        });
        keys.as_deref()
    }

    /// Whether what is read out of both is the same.
    pub(crate) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.limits == other.limits && self.bytes() == other.bytes())
    }

    /// The certificates of a PEM file.
    pub fn certificates(&self) -> &CertificateFile {
        self.certificates
            .get_or_init(|| identity::read(self.bytes()))
    }
}

// === impl Text ===

impl Text {
    /// A part of some bytes; nothing where they don't reach as far.
    #[must_use]
    pub fn part(whole: &Arc<Vec<u8>>, range: Range<usize>) -> Option<Self> {
        whole.get(range.clone())?;
        Some(Self {
            whole: Arc::clone(whole),
            range,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.whole.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            range: 0..bytes.len(),
            whole: Arc::new(bytes),
        }
    }
}
