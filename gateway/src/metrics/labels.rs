//! The labels of the metrics.

use prometheus_client::encoding::EncodeLabelSet;

/// Which side of the way: the import's or the export's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the client is.
    Import,
    /// Where the service is.
    Export,
}

/// A side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideLabel {
    /// `import` or `export`.
    pub side: &'static str,
}

/// A side and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideReason {
    /// `import` or `export`.
    pub side: &'static str,
    /// A stable name.
    pub reason: &'static str,
}

/// A side and a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideDirection {
    /// `import` or `export`.
    pub side: &'static str,
    /// `to_peer` or `from_peer`.
    pub direction: &'static str,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// A stable name.
    pub result: &'static str,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabel {
    pub(crate) limit: &'static str,
}

/// A version of the program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct VersionLabel {
    pub(crate) version: &'static str,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A stable name.
    pub reason: &'static str,
}

/// Who opened a connection between gateways.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabel {
    /// `dial` or `accept`.
    pub role: &'static str,
}

/// Who opened a connection between gateways, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleResult {
    /// `dial` or `accept`.
    pub role: &'static str,
    /// `ok` or why not.
    pub result: &'static str,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PeerLabel {
    /// The peer's name.
    pub peer: String,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SnapshotLabel {
    /// The fabric's name.
    pub fabric: String,
    /// The revision.
    pub revision: String,
}

// === impl Side ===

impl Side {
    /// The side's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    /// The side as a label.
    #[must_use]
    pub const fn label(self) -> SideLabel {
        SideLabel {
            side: self.as_str(),
        }
    }

    /// The side and a reason as labels.
    #[must_use]
    pub const fn reason(self, reason: &'static str) -> SideReason {
        SideReason {
            side: self.as_str(),
            reason,
        }
    }

    /// The side and a direction as labels.
    #[must_use]
    pub const fn direction(self, direction: &'static str) -> SideDirection {
        SideDirection {
            side: self.as_str(),
            direction,
        }
    }
}
