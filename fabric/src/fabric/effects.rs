//! What the policies come to.
use super::Fabric;
use crate::diagnostic::Diagnostic;
pub(super) fn check(_: &Fabric, _: &mut Vec<Diagnostic>) {}
