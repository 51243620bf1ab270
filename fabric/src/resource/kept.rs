//! What was read out of a file, written down and read again: without its text's reader and without
//! the schemas.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::places::{FilePlaces, Places};
use super::{File, Resource};
use crate::api::Object;
use crate::diagnostic::Finding;
use crate::document::Limits;
use crate::name::{Kind, ObjectKey};
use crate::tree::Text;

#[derive(Serialize, Deserialize)]
struct KeptFile<'a> {
    resources: Vec<KeptResource<'a>>,
    findings: Cow<'a, [Finding]>,
}

#[derive(Serialize, Deserialize)]
struct KeptResource<'a> {
    key: Cow<'a, ObjectKey>,
    object: Cow<'a, Object>,
    document: u32,
    base: Cow<'a, str>,
    line: u32,
}

// === impl File ===

impl File {
    /// What is to be kept of the file: the keys of its objects, so that these needn't be decoded
    /// before somebody asks for one, and then everything.
    pub(crate) fn to_kept(&self) -> Option<Vec<u8>> {
        let keys = self.keys_to_kept();
        let mut kept = u32::try_from(keys.len()).ok()?.to_le_bytes().to_vec();
        kept.extend_from_slice(keys.as_bytes());
        let resources = self.resources.iter().map(|resource| KeptResource {
            key: Cow::Borrowed(&resource.key),
            object: Cow::Borrowed(&resource.object),
            document: resource.document,
            base: Cow::Borrowed(&*resource.base),
            line: resource.line,
        });
        let file = KeptFile {
            resources: resources.collect(),
            findings: Cow::Borrowed(&self.findings),
        };
        serde_json::to_writer(&mut kept, &file).ok()?;
        Some(kept)
    }

    /// A line for each object: kind, namespace, name. Nothing for a file with findings, which are
    /// always asked for.
    fn keys_to_kept(&self) -> String {
        if !self.findings.is_empty() {
            return String::new();
        }
        let keys = self.resources.iter().map(|resource| &resource.key);
        let mut lines = String::new();
        for ObjectKey {
            kind,
            namespace,
            name,
        } in keys
        {
            let namespace = namespace.as_deref().unwrap_or_default();
            if [namespace, name]
                .iter()
                .any(|part| part.contains(char::is_control))
            {
                return String::new();
            }
            lines.push_str(&format!("{kind}\t{namespace}\t{name}\n"));
        }
        lines
    }

    /// The keys of the objects of a file without findings, by what was kept of it; none where they
    /// aren't kept by themselves.
    pub(crate) fn kept_keys(kept: &[u8]) -> Option<Vec<ObjectKey>> {
        let (keys, _) = split(kept)?;
        let keys = std::str::from_utf8(keys).ok()?;
        let key = |line: &str| {
            let mut parts = line.split('\t');
            let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
            let key = ObjectKey {
                kind: kind.parse::<Kind>().ok()?,
                namespace: (!namespace.is_empty()).then(|| namespace.into()),
                name: name.into(),
            };
            parts.next().is_none().then_some(key)
        };
        let keys: Option<Vec<_>> = keys.lines().map(key).collect();
        keys.filter(|keys| !keys.is_empty())
    }

    /// The file of which that was kept; none where it can't be understood.
    pub(crate) fn from_kept(kept: &[u8], text: &Text, limits: &Limits) -> Option<Self> {
        let (_, kept) = split(kept)?;
        let kept: KeptFile<'_> = serde_json::from_slice(kept).ok()?;
        let places = Arc::new(FilePlaces::new(text.clone(), *limits));
        let resources = kept.resources.into_iter().map(|resource| Resource {
            key: resource.key.into_owned(),
            object: resource.object.into_owned(),
            places: Places::InText(Arc::clone(&places), resource.document),
            document: resource.document,
            base: resource.base.into(),
            line: resource.line,
        });
        Some(Self {
            resources: resources.collect(),
            findings: kept.findings.into_owned(),
        })
    }
}

/// The keys, and the file.
fn split(kept: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = kept.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
