//! Approvals in Git: the trailer `Weft-Approve:` of a commit.

use crate::api::Gate;

/// What the commits between two states approve, by their trailers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    /// How many objects may be deleted in a peer at once: `Weft-Approve: prune=N`.
    pub prune: Option<u32>,
    /// That access becomes wider: `Weft-Approve: widens-access`.
    pub widens_access: bool,
    /// That other certificates are trusted: `Weft-Approve: certificate`.
    pub certificate: bool,
    /// That privileged policies change: `Weft-Approve: privileged-policy`.
    pub privileged_policy: bool,
}

/// A commit that may approve something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovingCommit {
    /// Which commit it is.
    pub revision: crate::origin::Revision,
    /// Its message.
    pub message: String,
}

/// The trailer by which a commit approves what a gate or a guard rail holds back; whoever reads it
/// doesn't look at its letters' case.
const TRAILER: &str = "Weft-Approve:";

// === impl Approvals ===

impl Approvals {
    /// What messages of commits approve: of several numbers the highest.
    ///
    /// Every line that begins with the trailer counts, wherever in the message: a squash or merge
    /// commit holds the messages of others in its middle.
    #[must_use]
    pub fn of<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        let mut approvals = Self::default();
        for value in messages.into_iter().flat_map(str::lines).filter_map(value) {
            match value {
                "widens-access" => approvals.widens_access = true,
                "certificate" => approvals.certificate = true,
                "privileged-policy" => approvals.privileged_policy = true,
                _ => {
                    let number = value.strip_prefix("prune=");
                    if let Some(number) = number.and_then(|number| number.parse().ok()) {
                        approvals.prune = approvals.prune.max(Some(number));
                    }
                }
            }
        }
        approvals
    }

    /// Whether a gate's change is approved; `pruned` is how many objects one peer would lose.
    #[must_use]
    pub fn approve(&self, gate: Gate, pruned: u64) -> bool {
        match gate {
            Gate::WidensAccess => self.widens_access,
            Gate::Prune => self.prune.is_some_and(|number| u64::from(number) >= pruned),
            Gate::Certificate => self.certificate,
            Gate::PrivilegedPolicy => self.privileged_policy,
        }
    }
}

/// The trailer that approves a gate's change.
pub(super) fn trailer(gate: Gate, pruned: u64) -> String {
    match gate {
        Gate::Prune => format!("{TRAILER} prune={pruned}"),
        _ => format!("{TRAILER} {gate}"),
    }
}

/// The value of a line that is the trailer.
fn value(line: &str) -> Option<&str> {
    let line = line.trim();
    let (name, value) = line.split_at_checked(TRAILER.len())?;
    name.eq_ignore_ascii_case(TRAILER).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approvals_stand_in_trailers() {
        for (message, prune) in [
            ("Remove the old shop\n\nWeft-Approve: prune=37\n", Some(37)),
            ("x\n\nweft-approve:prune=2\nWeft-Approve: prune=5", Some(5)),
            ("x\n\nWeft-Approve: prune=-1", None),
            ("x\n\nWeft-Approve: prune=99999999999", None),
            ("x\n\nWeft-Approve: prune", None),
            ("Weft-Approve: widens-access", None),
            ("see Weft-Approve: prune=9", None),
            ("Weft-Apprové: prune=9", None),
            ("", None),
        ] {
            assert_eq!(Approvals::of([message]).prune, prune, "{message:?}");
        }
    }

    #[test]
    fn each_gate_has_its_own_word() {
        for gate in Gate::ALL {
            let message = format!("Merge #7\n\n* One\n\n{}\n\n* Two\n", trailer(gate, 3));
            let approvals = Approvals::of([message.as_str()]);
            for other in Gate::ALL {
                assert_eq!(approvals.approve(other, 3), other == gate, "{gate} {other}");
            }
        }
        let approvals = Approvals::of(["Weft-Approve: prune=3"]);
        assert!(!approvals.approve(Gate::Prune, 4));
        assert!(!Approvals::of(["Weft-Approve: widens-access too"]).widens_access);
    }
}
