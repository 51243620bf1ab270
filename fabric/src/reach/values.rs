//! Sets of values of one attribute.

use std::collections::BTreeSet;

use super::diagram::Value;

/// Some values of an attribute, and perhaps its absence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueSet {
    /// These values, or with `is_rest` all but these.
    pub(super) listed: BTreeSet<Value>,
    /// Whether the values are all that aren't listed, also those that nobody has thought of.
    pub(super) is_rest: bool,
    /// Whether a client without the attribute is meant too; where every client has it, as `is_rest`.
    pub(super) absent: bool,
}

// === impl ValueSet ===

impl ValueSet {
    /// Every value and the absence.
    pub(super) const ALL: Self = Self {
        listed: BTreeSet::new(),
        is_rest: true,
        absent: true,
    };

    /// Nothing.
    pub(super) const NONE: Self = Self {
        listed: BTreeSet::new(),
        is_rest: false,
        absent: false,
    };

    /// The absence alone.
    pub(super) const ABSENT: Self = Self {
        listed: BTreeSet::new(),
        is_rest: false,
        absent: true,
    };

    /// One value.
    pub(super) fn of(value: Value) -> Self {
        Self {
            listed: BTreeSet::from([value]),
            ..Self::NONE
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    pub(super) fn has(&self, value: Value) -> bool {
        self.listed.contains(&value) != self.is_rest
    }

    /// What is in both.
    pub(super) fn intersect(&self, other: &Self) -> Self {
        let (is_rest, listed) = match (self.is_rest, other.is_rest) {
            (true, true) => (true, &self.listed | &other.listed),
            (true, false) => (false, &other.listed - &self.listed),
            (false, true) => (false, &self.listed - &other.listed),
            (false, false) => (false, &self.listed & &other.listed),
        };
        Self {
            listed,
            is_rest,
            absent: self.absent && other.absent,
        }
    }

    /// What is in either.
    pub(super) fn unite(&self, other: &Self) -> Self {
        let (is_rest, listed) = match (self.is_rest, other.is_rest) {
            (true, true) => (true, &self.listed & &other.listed),
            (true, false) => (true, &self.listed - &other.listed),
            (false, true) => (true, &other.listed - &self.listed),
            (false, false) => (false, &self.listed | &other.listed),
        };
        Self {
            listed,
            is_rest,
            absent: self.absent || other.absent,
        }
    }

    /// The set without its absence, or nothing but it: what one selector can say of it. A few values
    /// or none at all is nothing that a selector can ask for.
    pub(super) fn sayable(&self, can_be_absent: bool) -> Vec<Self> {
        if !can_be_absent || self.is_rest || !self.absent || self.listed.is_empty() {
            return vec![self.clone()];
        }
        let present = Self {
            absent: false,
            ..self.clone()
        };
        vec![Self::ABSENT, present]
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.intersect(other) == *self
    }
}
