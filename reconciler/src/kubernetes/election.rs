//! Work that only the leader of a role does.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lease::{Candidate, Leadership};

/// What the leader works with until it leads no longer.
#[derive(Clone)]
pub struct Term {
    /// Asked before every write.
    pub leadership: Leadership,
    /// Owns what the work spawns.
    pub tasks: TaskTracker,
    /// Cancelled when the term is over.
    pub over: CancellationToken,
}

/// Has `work` done whenever the candidate leads, until `cancelled`.
///
/// When a term is over the work is dropped and its tasks are waited for; then `ended` is called. The
/// Lease is given up after the last term's last write, so that the next leader finds nobody at work.
pub async fn lead<W>(
    candidate: Candidate,
    cancelled: &CancellationToken,
    work: impl Fn(Term) -> W,
    ended: impl Fn(),
) where
    W: Future<Output = ()>,
{
    let leadership = Leadership::none();
    let (leads, mut leading) = watch::channel(false);
    let election = CancellationToken::new();
    let elected = tokio::spawn(candidate.run(leadership.clone(), leads, election.clone()));
    loop {
        let wait = async { leading.wait_for(|leads| *leads).await.is_ok() };
        if cancelled.run_until_cancelled(wait).await != Some(true) {
            break;
        }
        let term = Term {
            leadership: leadership.clone(),
            tasks: TaskTracker::new(),
            over: CancellationToken::new(),
        };
        tokio::select! {
            () = Box::pin(work(term.clone())) => {}
            _ = leading.wait_for(|leads| !*leads) => {
                tracing::warn!("another process leads; all work is put down");
            }
            () = cancelled.cancelled() => {}
        }
        term.over.cancel();
        term.tasks.close();
        term.tasks.wait().await;
        ended();
    }
    election.cancel();
    let _ = elected.await;
}
