//! How diagnostics, differences and decisions are shown.

pub(crate) mod escape;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod plan;
pub(crate) mod reach;
pub(crate) mod remark;
#[cfg(test)]
mod sample;
pub(crate) mod sarif;
pub(crate) mod text;
pub(crate) mod window;

/// A number of things, in words: `1 error`, `2 errors`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}
