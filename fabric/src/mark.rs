//! The labels and annotations by which objects in a cluster are told to be ours, and from where.

use std::sync::Arc;

use crate::digest::Digest;
use crate::origin::{Origin, Revision};

/// The prefix of everything that is ours alone: an error in a repository, and never an attribute.
pub const PREFIX: &str = "weft.dev/";
/// Label: the FabricSync that the object is applied by; see [`sync_label`].
pub const SYNC: &str = "weft.dev/sync";
/// Annotation: the SHA-256 of everything that the repository says of the object.
pub const CONTENT: &str = "weft.dev/content-sha256";
/// Annotation: the commit in which the object's content last changed.
pub const COMMIT: &str = "weft.dev/commit";
/// Annotation: the file and line in that commit, as `path:line`.
pub const SOURCE: &str = "weft.dev/source";
/// Annotation of a FabricSync: any new value begins a round at once.
pub const RECONCILE_REQUESTED: &str = "weft.dev/reconcile-requested-at";

/// Annotation that only a gateway's own plan carries: the port that was leased for an Import.
pub const LEASED_PORT: &str = "weft.dev/leased-port";

/// The field manager of everything that is applied from the repository.
pub const APPLIER: &str = "weft-reconciler";
/// The field manager of conditions and other statuses.
pub const STATUS_WRITER: &str = "weft-status";
/// The field manager of the gateways' reports.
pub const REPORTER: &str = "weft-gateway";
/// The field manager of what an Instance is made of.
pub const OPERATOR: &str = "weft-operator";
/// The field manager of what `weft deploy` installs.
pub const DEPLOYER: &str = "weft-deploy";

/// The value of the label [`SYNC`] for the FabricSync of a namespace and name.
///
/// A label's value has at most 63 characters: a longer one is cut and told apart by a hash.
#[must_use]
pub fn sync_label(namespace: &str, name: &str) -> String {
    let whole = format!("{namespace}.{name}");
    if whole.len() <= 63 {
        return whole;
    }
    let hash = Digest::of_bytes(whole.as_bytes()).to_string();
    // Names of objects are ASCII; 46 + 1 + 16 characters.
    format!("{}-{}", &whole[..46], &hash[..16])
}

/// The annotation [`SOURCE`] of an origin.
#[must_use]
pub fn source(origin: &Origin) -> String {
    format!("{}:{}", origin.path, origin.line)
}

/// The origin that the annotations [`COMMIT`] and [`SOURCE`] tell.
#[must_use]
pub fn origin(commit: &str, source: &str) -> Option<Origin> {
    let (path, line) = source.rsplit_once(':')?;
    Some(Origin {
        revision: Revision::commit(commit),
        path: Arc::from(path),
        line: line.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fit_and_differ() {
        assert_eq!(sync_label("system", "weft"), "system.weft");
        let long = "n".repeat(63);
        let (one, two) = (sync_label(&long, "a"), sync_label(&long, "b"));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (63, 63));
    }

    #[test]
    fn an_origin_survives_its_annotations() {
        let there = Origin {
            revision: Revision::commit("0123456789abcdef"),
            path: "peers/east/a:b.yaml".into(),
            line: 7,
        };
        assert_eq!(
            origin(there.revision.as_str(), &source(&there)),
            Some(there)
        );
        assert_eq!(origin("c", "no line"), None);
    }
}
