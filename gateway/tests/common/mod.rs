//! Fabrics made of certificates and plans, gateways in this process, clients and services.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod any_server;
pub(crate) mod authority;
pub(crate) mod logs;
pub(crate) mod peer;
pub(crate) mod plan;
pub(crate) mod service;

use std::future::Future;
use std::time::Duration;

/// Longer than anything here takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what should come to pass soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} didn't come to pass"),
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    soon(what, async {
        loop {
            if let Some(value) = ask().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
