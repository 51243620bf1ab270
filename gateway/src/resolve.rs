//! From a host's name to its addresses, and to a connection with one of them.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::LOOKUPS;

/// The least time for one address of several.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// Resolves names, a bounded number at a time.
///
/// The system's resolver holds a thread for as long as it takes, also when nobody waits any more.
/// The threads are those that read files, too: who makes us resolve must not get all of them.
#[derive(Debug)]
pub(crate) struct Resolver {
    lookups: Arc<Semaphore>,
}

/// How long one address of several may take, so that the first can't use up all the time.
#[must_use]
pub(crate) fn share(whole: Duration, addresses: usize) -> Duration {
    let count = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    (whole / count).max(LEAST_SHARE).min(whole)
}

/// Connects to one address in a bounded time.
pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    timeout(limit, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

// === impl Resolver ===

impl Default for Resolver {
    fn default() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Resolver {
    /// The addresses of a host; whoever waits bounds the time.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let host = host.to_owned();
        self.run(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || {
            // Given back when the thread is, not when the caller gives up.
            let _permit = permit;
            lookup()
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lookups_that_hang_leave_threads_for_others() {
        let resolver = Arc::new(Resolver::default());
        let (started, (release, hold)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<()>());
        let hold = Arc::new(parking_lot::Mutex::new(hold));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..LOOKUPS * 2 {
            let (resolver, started, hold) = (
                Arc::clone(&resolver),
                Arc::clone(&started),
                Arc::clone(&hold),
            );
            callers.spawn(async move {
                let lookup = move || {
                    started.fetch_add(1, Ordering::SeqCst);
                    let _ = hold.lock().recv();
                    Ok(())
                };
                resolver.run(lookup).await
            });
        }
        while started.load(Ordering::SeqCst) < LOOKUPS {
            tokio::task::yield_now().await;
        }
        // Nobody waits any more; the threads are still held.
        callers.shutdown().await;
        assert_eq!(resolver.lookups.available_permits(), 0);
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
        assert_eq!(started.load(Ordering::SeqCst), LOOKUPS);
        drop(release);
        let again = resolver.run(|| Ok(8)).await.unwrap();
        assert_eq!(again, 8);
    }

    #[test]
    fn the_first_address_leaves_time_for_the_next() {
        let seconds = Duration::from_secs;
        assert_eq!(share(seconds(6), 2), seconds(3));
        assert_eq!(share(seconds(6), 0), seconds(6));
        assert_eq!(share(seconds(6), 100), seconds(1));
        assert_eq!(
            share(Duration::from_millis(10), 2),
            Duration::from_millis(10)
        );
    }
}
