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
use crate::name::ObjectKey;
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
    /// What is to be kept of the file.
    pub(crate) fn to_kept(&self) -> Option<Vec<u8>> {
        let resources = self.resources.iter().map(|resource| KeptResource {
            key: Cow::Borrowed(&resource.key),
            object: Cow::Borrowed(&resource.object),
            document: resource.document,
            base: Cow::Borrowed(&*resource.base),
            line: resource.line,
        });
        let kept = KeptFile {
            resources: resources.collect(),
            findings: Cow::Borrowed(&self.findings),
        };
        serde_json::to_vec(&kept).ok()
    }

    /// The file of which that was kept; none where it can't be understood.
    pub(crate) fn from_kept(kept: &[u8], text: &Text, limits: &Limits) -> Option<Self> {
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
