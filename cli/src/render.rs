//! How diagnostics, differences and decisions are shown.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod text;
pub(crate) mod window;
