use std::fmt;

/// Why a tunnel was refused or reset, or a connection is going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A policy, or the default, denies it.
    Denied,
    /// The client is unknown, and a policy would have looked at what it is.
    UnknownClient,
    /// There is no such export.
    MissingExport,
    /// The guard rails refuse what the export aims at.
    GuardRefused,
    /// The exported service can't be reached.
    ExportUnreachable,
    /// A limit is reached.
    Limit,
    /// There is no snapshot in force.
    NotReady,
    /// The gateway is going down, or leaves this connection for a new one.
    Draining,
    /// The way leads in a circle, or has too many hops.
    Loop,
    /// A changed snapshot doesn't allow it any more.
    NoLongerAllowed,
    /// The client or the service broke the connection off.
    Aborted,
    /// Nothing was carried for too long.
    Idle,
    /// The other side broke the rules of the protocol.
    Protocol,
    /// A reason that a newer gateway knows.
    Other(u16),
}

impl Reason {
    const KNOWN: [(u16, Self, &'static str); 13] = [
        (1, Self::Denied, "denied"),
        (2, Self::UnknownClient, "unknown_client"),
        (3, Self::MissingExport, "missing_export"),
        (4, Self::GuardRefused, "guard_refused"),
        (5, Self::ExportUnreachable, "export_unreachable"),
        (6, Self::Limit, "limit"),
        (7, Self::NotReady, "not_ready"),
        (8, Self::Draining, "draining"),
        (9, Self::Loop, "loop"),
        (10, Self::NoLongerAllowed, "no_longer_allowed"),
        (11, Self::Aborted, "aborted"),
        (12, Self::Idle, "idle"),
        (13, Self::Protocol, "protocol"),
    ];

    /// The reason's number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Other(code) => code,
            known => Self::KNOWN
                .iter()
                .find(|(_, reason, _)| *reason == known)
                .map_or(0, |(code, _, _)| *code),
        }
    }

    /// The reason of a number from the wire.
    #[must_use]
    pub fn from_code(code: u16) -> Self {
        Self::KNOWN
            .iter()
            .find(|(known, _, _)| *known == code)
            .map_or(Self::Other(code), |(_, reason, _)| *reason)
    }

    /// The reason's stable name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::KNOWN
            .iter()
            .find(|(_, reason, _)| *reason == self)
            .map_or("other", |(_, _, name)| name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
