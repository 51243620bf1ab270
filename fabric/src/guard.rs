//! Guard rails on what exports may aim at.
use crate::api::ExportHosts;
use std::net::IpAddr;
/// The guard rails of a fabric.
#[derive(Clone, Debug)]
pub struct ExportHostGuard {}
/// Why a host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// stub
    #[error("it is a loopback address")]
    Loopback,
}
impl ExportHostGuard {
    /// Reads the guard rails.
    #[must_use]
    pub fn new(_: &ExportHosts) -> Self {
        Self {}
    }
    /// Checks a host as it is written.
    pub fn check_text(&self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }
    /// Checks an address at connect time.
    pub fn check_address(&self, _: IpAddr, _: Option<&str>) -> Result<(), Refusal> {
        Ok(())
    }
}
