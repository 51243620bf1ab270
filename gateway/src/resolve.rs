//! From a host's name to its addresses, and to a connection with one of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::limits::LOOKUPS;

/// Until the next address is tried beside one that doesn't answer, as RFC 8305 recommends.
const STAGGER: Duration = Duration::from_millis(250);

/// How long an answer counts: short against any TTL, which the system's resolver and the servers
/// behind it keep, and enough that a thousand connections in a second ask once.
const FRESH: Duration = Duration::from_secs(1);

/// Names whose answers are kept at a time; when there are more, those of now are asked anew.
const NAMES: usize = 4096;

/// Addresses of one name that are tried: at the stagger, as many as fit in the time there is.
const ADDRESSES: usize = 20;

/// Resolves names by the system's resolver, a bounded number at a time.
///
/// So a name is what every other program of the host or Pod takes it for: `/etc/hosts`, search
/// domains and whatever else the system asks. That resolver holds a thread for as long as it takes,
/// also when nobody waits any more. The threads are those that read files, too: who makes us resolve
/// must not get all of them.
#[derive(Debug)]
pub(crate) struct Resolver {
    lookups: Arc<Semaphore>,
    names: Mutex<HashMap<String, Arc<Name>>>,
    lookup: fn(&str) -> io::Result<Vec<IpAddr>>,
}

/// What is known of a name; held while it is asked for, so that it is asked once at a time.
type Name = tokio::sync::Mutex<Option<Answer>>;

#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    addresses: Result<Vec<IpAddr>, (io::ErrorKind, String)>,
}

/// The first of several attempts that comes to something; the next one begins where one has failed or
/// takes long. Fails with the last failure, or with none where there was nothing to attempt.
pub(crate) async fn race<F, T, E>(attempts: impl IntoIterator<Item = F>) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut last = None;
    loop {
        let next = attempts.next();
        let is_last = next.is_none();
        running.extend(next);
        tokio::select! {
            attempt = running.next() => match attempt {
                Some(Ok(value)) => return Ok(value),
                Some(Err(error)) => last = Some(error),
                None => return Err(last),
            },
            () = sleep(STAGGER), if !is_last => {}
        }
    }
}

/// Addresses in the order in which they are tried: both IP versions in turns, the first one first.
#[must_use]
pub(crate) fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (mut preferred, mut other): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .rev()
        .copied()
        .partition(|address| Some(address.is_ipv6()) == first);
    let mut order = Vec::with_capacity(addresses.len().min(ADDRESSES));
    while order.len() < ADDRESSES {
        let (next, rest) = (preferred.pop(), other.pop());
        if next.is_none() && rest.is_none() {
            break;
        }
        order.extend(next);
        order.extend(rest);
    }
    order
}

/// A host with a port, as addresses of both IP versions are written.
#[must_use]
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{}:{port}", host.escape_default()),
    }
}

fn by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = (host, 0).to_socket_addrs()?;
    Ok(addresses.map(|address| address.ip()).collect())
}

// === impl Resolver ===

impl Default for Resolver {
    fn default() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            names: Mutex::default(),
            lookup: by_system,
        }
    }
}

impl Resolver {
    /// The addresses of a host in the order in which they are tried; whoever waits bounds the time.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let addresses = self.addresses(host).await?;
        let addresses: Vec<_> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        Ok(interleave(&addresses))
    }

    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let name = self.name(host);
        let mut known = name.lock().await;
        let answer = match &*known {
            Some(answer) if answer.at.elapsed() < FRESH => answer.clone(),
            _ => {
                let (lookup, host) = (self.lookup, host.to_owned());
                let result = self.run(move || lookup(&host)).await;
                let answer = Answer {
                    at: Instant::now(),
                    addresses: result.map_err(|error| (error.kind(), error.to_string())),
                };
                known.insert(answer).clone()
            }
        };
        answer
            .addresses
            .map_err(|(kind, text)| io::Error::new(kind, text))
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.names.lock();
        if names.len() >= NAMES && !names.contains_key(host) {
            names.clear();
        }
        Arc::clone(names.entry(host.to_owned()).or_default())
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
        let hold = Arc::new(Mutex::new(hold));
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

    #[tokio::test]
    async fn a_name_is_asked_for_once_at_a_time_and_anew_when_its_answer_is_old() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = Resolver {
            lookup: |host| match host {
                "db.example.com" => {
                    let asked = ASKED.fetch_add(1, Ordering::SeqCst) as u8;
                    Ok(vec![IpAddr::from([10, 0, 0, asked])])
                }
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            },
            ..Resolver::default()
        };
        let resolve = || resolver.resolve("db.example.com", 80);
        let first = futures::future::join_all((0..50).map(|_| resolve())).await;
        let first: Vec<_> = first.into_iter().map(Result::unwrap).collect();
        // All in one second, unless the machine was asleep meanwhile.
        if ASKED.load(Ordering::SeqCst) == 1 {
            let expected: SocketAddr = "10.0.0.0:80".parse().unwrap();
            assert!(first.iter().all(|addresses| *addresses == [expected]));
        }
        // The answer is old.
        let name = resolver.name("db.example.com");
        name.lock().await.as_mut().unwrap().at -= FRESH;
        let asked = ASKED.load(Ordering::SeqCst) as u8;
        let anew: SocketAddr = ([10, 0, 0, asked], 80).into();
        assert_eq!(resolve().await.unwrap(), [anew]);

        let error = resolver.resolve("x.example.com", 80).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let literal = resolver.resolve("fd00::1", 80).await.unwrap();
        assert_eq!(literal, ["[fd00::1]:80".parse().unwrap()]);
    }

    #[test]
    fn the_ip_versions_take_turns() {
        let parse = |text: &str| -> Vec<SocketAddr> {
            text.split_whitespace()
                .map(|address| SocketAddr::new(address.parse().unwrap(), 1))
                .collect()
        };
        for (given, expected) in [
            ("", ""),
            ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
            ("::1 ::2 1.1.1.1 1.1.1.2", "::1 1.1.1.1 ::2 1.1.1.2"),
            ("1.1.1.1 ::1 ::2 ::3", "1.1.1.1 ::1 ::2 ::3"),
            ("::1 1.1.1.1 1.1.1.2", "::1 1.1.1.1 1.1.1.2"),
        ] {
            assert_eq!(interleave(&parse(given)), parse(expected), "{given}");
        }
        let many = vec![SocketAddr::from(([1, 1, 1, 1], 1)); 100];
        assert_eq!(interleave(&many).len(), ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_overtaken_and_one_that_fails_makes_room_at_once() {
        let never = std::future::pending::<()>;
        let attempt = async |what: &'static str| match what {
            "hangs" => {
                never().await;
                unreachable!()
            }
            "slow" => {
                sleep(Duration::from_secs(2)).await;
                Ok("slow")
            }
            "fails" => Err("failed"),
            fine => Ok(fine),
        };
        for (attempts, result, milliseconds) in [
            (vec!["fine", "hangs"], Ok("fine"), 0),
            (vec!["fails", "fine"], Ok("fine"), 0),
            (vec!["hangs", "fine"], Ok("fine"), 250),
            (vec!["hangs", "hangs", "fails", "fine"], Ok("fine"), 500),
            // Not given up for the one that came after it.
            (vec!["slow", "hangs", "hangs"], Ok("slow"), 2000),
            (vec!["fails", "fails"], Err(Some("failed")), 0),
            (vec![], Err(None), 0),
        ] {
            let started = tokio::time::Instant::now();
            let won = race(attempts.iter().map(|what| attempt(what))).await;
            assert_eq!(won, result, "{attempts:?}");
            let took = started.elapsed().as_millis();
            assert_eq!(took, milliseconds, "{attempts:?}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_beside_its_port() {
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("db.example.com", 80), "db.example.com:80");
    }
}
