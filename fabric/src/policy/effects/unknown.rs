//! What a key that is no attribute was probably meant to be.

use crate::diagnostic::nearest;
use crate::policy::attribute::{Attribute, Side};

/// More letters wrong than this are another word.
const MAX_SLIPS: usize = 3;

/// How to mend a key that is no attribute of a side.
pub(super) fn help(side: Side, key: &str) -> Option<String> {
    let other = match side {
        Side::From => Side::To,
        Side::To => Side::From,
    };
    if Attribute::parse(other, key).is_some() {
        return Some(format!("the attribute stands in `{}` alone", other.field()));
    }
    let candidates = candidates(side, key);
    let near = candidates.iter().map(String::as_str);
    // All keys begin alike, so that a share of the whole length would forgive too much.
    let near = near.filter(|candidate| strsim::damerau_levenshtein(key, candidate) <= MAX_SLIPS);
    if let Some(near) = nearest(key, near) {
        return Some(format!("did you mean {near:?}?"));
    }
    let [prefix, _] = side.label_prefixes();
    let own = key
        .rsplit_once("clusterlink.net/")
        .map_or(key, |(_, own)| own);
    let label = own.strip_prefix("labels.").unwrap_or(own);
    if label.is_empty() {
        return Some(format!(
            "the attributes are {}, and {prefix}KEY",
            side.plain_keys().join(", ")
        ));
    }
    let whose = match side {
        Side::From => "client",
        Side::To => "service",
    };
    Some(format!(
        "the label {label:?} of the {whose} is \"{prefix}{label}\""
    ))
}

/// The attributes of the side that may have been meant, with the label that the key ends in.
fn candidates(side: Side, key: &str) -> Vec<String> {
    let mut candidates: Vec<String> = Vec::new();
    candidates.extend(side.plain_keys().iter().map(|key| (*key).to_owned()));
    // Where the label's own key begins in `…/label.app`, `…/labels/app` or `…/lables.app`.
    let own = key.split_once('/').map_or(key, |(_, own)| own);
    let label = own.split_once(['.', '/']).map(|(_, label)| label);
    if let Some(label) = label.filter(|label| !label.is_empty()) {
        let prefixes = side.label_prefixes().into_iter();
        candidates.extend(prefixes.map(|prefix| format!("{prefix}{label}")));
    }
    candidates
}
