//! Approvals in Git: the trailer `Weft-Approve:` of a commit.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Gate;
use crate::diagnostic::{nearest, nearest_or_same};
use crate::origin::Revision;

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
    /// That what guards the fabric is loosened: `Weft-Approve: safeguards`.
    pub safeguards: bool,
}

/// A commit that may approve something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovingCommit {
    /// Which commit it is.
    pub revision: Revision,
    /// Its message.
    pub message: String,
}

/// A line of a commit's message that looks like an approval and approves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IgnoredApproval {
    /// The commit.
    pub commit: Revision,
    /// The line, as it stands there; the beginning of a long one.
    pub line: String,
    /// Why it approves nothing, and what would.
    pub reason: String,
}

/// The trailer by which a commit approves what a gate or a guard rail holds back; whoever reads it
/// doesn't look at its letters' case.
const TRAILER: &str = "Weft-Approve:";

/// Ignored lines that are told: who makes the same slip more often sees it from these.
const IGNORED: usize = 10;

/// Characters of an ignored line that are told: of a trailer all.
const LINE: usize = 100;

/// What the value of a trailer approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approved {
    /// What a gate asks for.
    Gate(Gate),
    /// That so many objects go from a peer.
    Prune(u32),
}

/// A line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    /// The trailer, with its value.
    Trailer(&'a str),
    /// Nearly the trailer.
    Slip,
    /// Anything else.
    Other,
}

// === impl Approvals ===

impl Approvals {
    /// What messages of commits approve: of several numbers the highest.
    ///
    /// Every line that begins with the trailer counts, wherever in the message: a squash or merge
    /// commit holds the messages of others in its middle.
    #[must_use]
    pub fn of<'a>(messages: impl IntoIterator<Item = &'a str>) -> Self {
        let mut approvals = Self::default();
        for line in messages.into_iter().flat_map(str::lines) {
            let Line::Trailer(value) = Line::of(line) else {
                continue;
            };
            match approved(value) {
                Some(Approved::Prune(number)) => {
                    approvals.prune = approvals.prune.max(Some(number));
                }
                Some(Approved::Gate(gate)) => match gate {
                    Gate::WidensAccess => approvals.widens_access = true,
                    Gate::Certificate => approvals.certificate = true,
                    Gate::PrivilegedPolicy => approvals.privileged_policy = true,
                    Gate::Safeguards => approvals.safeguards = true,
                    // Without a number it approves nothing.
                    Gate::Prune => {}
                },
                None => {}
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
            Gate::Safeguards => self.safeguards,
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

/// The lines that look like approvals and approve nothing, the first ones.
pub(super) fn ignored(commits: &[ApprovingCommit], pruned: u64) -> Vec<IgnoredApproval> {
    let lines = commits.iter().flat_map(|commit| {
        let lines = commit.message.lines();
        lines.map(move |line| (&commit.revision, line))
    });
    lines
        .filter_map(|(commit, line)| {
            Some(IgnoredApproval {
                reason: why_ignored(line, pruned)?,
                commit: commit.clone(),
                line: line.trim().chars().take(LINE).collect(),
            })
        })
        .take(IGNORED)
        .collect()
}

/// Why a line that looks like an approval approves nothing.
fn why_ignored(line: &str, pruned: u64) -> Option<String> {
    let value = match Line::of(line) {
        Line::Other => return None,
        Line::Slip => {
            return Some(format!(
                "an approval is a line of its own that begins with `{TRAILER}`"
            ));
        }
        Line::Trailer(value) => value,
    };
    match approved(value) {
        Some(Approved::Prune(number)) if u64::from(number) < pruned => Some(format!(
            "it approves {number} objects, and {pruned} go from one peer"
        )),
        Some(_) => None,
        None => Some(why_unread(value)),
    }
}

/// What a trailer's value isn't, and what it may be.
fn why_unread(value: &str) -> String {
    let gates = || {
        let gates = Gate::ALL.iter().map(|gate| match gate {
            Gate::Prune => "prune=NUMBER".to_owned(),
            gate => gate.to_string(),
        });
        gates.collect::<Vec<_>>().join(", ")
    };
    if value.is_empty() {
        return format!("it names no gate; gates are {}", gates());
    }
    if let Some(number) = value.strip_prefix("prune") {
        let number = number.trim_start_matches(['=', ' ']);
        return match number.is_empty() {
            true => "it doesn't say how many objects: prune=NUMBER".to_owned(),
            false => format!("{number:?} is no number of objects: prune=NUMBER"),
        };
    }
    let parts = value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '+' | '&'));
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty() && *part != "and")
        .collect();
    if parts.len() > 1 && parts.iter().any(|part| approved(part).is_some()) {
        return "it names more than a gate: a line approves one, so write a line for each"
            .to_owned();
    }
    let names = Gate::ALL.map(Gate::as_str);
    match nearest_or_same(value, names) {
        Some("prune") => "there is no such gate: did you mean prune=NUMBER?".to_owned(),
        Some(near) => format!("there is no such gate: did you mean {near}?"),
        None => format!("there is no such gate; gates are {}", gates()),
    }
}

/// What the value of a trailer approves.
fn approved(value: &str) -> Option<Approved> {
    if let Some(number) = value.strip_prefix("prune=") {
        return number.parse().ok().map(Approved::Prune);
    }
    let mut gates = Gate::ALL.into_iter().filter(|gate| *gate != Gate::Prune);
    gates
        .find(|gate| gate.as_str() == value)
        .map(Approved::Gate)
}

// === impl Line ===

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        if let Some((name, value)) = line.split_at_checked(TRAILER.len())
            && name.eq_ignore_ascii_case(TRAILER)
        {
            return Self::Trailer(value.trim());
        }
        // Behind the mark of a list or a quotation it isn't the beginning of the line.
        let bare = line.trim_start_matches(|c: char| c.is_ascii_punctuation() || c == ' ');
        let name = match bare.split_once(':') {
            Some((name, _)) => name,
            // Then nobody meant it who didn't write the word itself.
            None => match bare.split_whitespace().next() {
                Some(word) if word.eq_ignore_ascii_case(TRAILER.trim_end_matches(':')) => word,
                _ => return Self::Other,
            },
        };
        // Longer than any slip of it; what is near it is compared by its letters.
        if name.len() > 2 * TRAILER.len() {
            return Self::Other;
        }
        let letters: String = name
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        match letters.starts_with("weft") && nearest(&letters, ["weftapprove"]).is_some() {
            true => Self::Slip,
            false => Self::Other,
        }
    }
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

    #[test]
    fn what_looks_like_an_approval_and_is_none_is_told() {
        let gates =
            "gates are widens-access, prune=NUMBER, certificate, privileged-policy, safeguards";
        let form = "an approval is a line of its own that begins with `Weft-Approve:`";
        for (line, reason) in [
            ("Weft-Approve: widens-access", None),
            ("weft-approve:certificate", None),
            ("Weft-Approve: prune=5", None),
            (
                "Weft-Approve: prune=4",
                Some("it approves 4 objects, and 5 go from one peer"),
            ),
            (
                "Weft-Approve: widen-access",
                Some("there is no such gate: did you mean widens-access?"),
            ),
            (
                "Weft-Approve: Certificate",
                Some("there is no such gate: did you mean certificate?"),
            ),
            (
                "Weft-Approve: widens-access, certificate",
                Some("it names more than a gate: a line approves one, so write a line for each"),
            ),
            (
                "Weft-Approve: widens-access too",
                Some("it names more than a gate: a line approves one, so write a line for each"),
            ),
            (
                "Weft-Approve: prune",
                Some("it doesn't say how many objects: prune=NUMBER"),
            ),
            (
                "Weft-Approve: prune=many",
                Some("\"many\" is no number of objects: prune=NUMBER"),
            ),
            (
                "Weft-Approve: prune=-1",
                Some("\"-1\" is no number of objects: prune=NUMBER"),
            ),
            (
                "Weft-Approve: everything",
                Some(&*format!("there is no such gate; {gates}")),
            ),
            (
                "Weft-Approve:",
                Some(&*format!("it names no gate; {gates}")),
            ),
            ("Weft-Aprove: widens-access", Some(form)),
            ("Weft-Approved: widens-access", Some(form)),
            ("Weft Approve: widens-access", Some(form)),
            ("* Weft-Approve: widens-access", Some(form)),
            ("> Weft-Approve: widens-access", Some(form)),
            ("`Weft-Approve: widens-access`", Some(form)),
            ("Weft-Approve widens-access", Some(form)),
            ("see Weft-Approve: prune=9", None),
            ("Signed-off-by: Weft", None),
            ("Weft: approve the change", None),
            ("approve: all", None),
            ("", None),
        ] {
            assert_eq!(why_ignored(line, 5).as_deref(), reason, "{line:?}");
        }
        let commit = |message: String| ApprovingCommit {
            revision: Revision::commit("c0ffee"),
            message,
        };
        let line = format!("Weft-Approve: {}\n", "x".repeat(1_000));
        let told = ignored(&[commit("x".to_owned()), commit(line.repeat(100))], 0);
        assert_eq!((told.len(), told[0].line.len()), (IGNORED, LINE));
    }
}
