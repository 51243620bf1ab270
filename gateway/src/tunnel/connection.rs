//! One authenticated connection between two gateways, and the tunnels that it carries.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fabric::api::{Fingerprint, Gateway};
use fabric::name::PeerName;
use parking_lot::Mutex;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::frame::{self, Beat, Frame, FrameError, Hello, Open};
use super::link::{Link, Opened, Receiver};
use super::outbox::{Full, Outbox};
use super::parser::Parser;
use super::reason::Reason;
use super::stream::{Broken, Received, Shared, Tunnel};

/// The credit with which a tunnel starts: the bandwidth-delay product of 20 ms at 100 Mbit/s, and
/// what a peer may make us hold for each tunnel that it stalls.
pub(super) const WINDOW: u32 = 256 * 1024;

/// By how much the credits of all tunnels of a connection may grow beyond that, together: four
/// tunnels that carry as much as they can. With what tunnels start with, 1 GiB of plain bytes
/// that an authenticated peer could make us hold by one connection.
pub(super) const GROWTH: u32 = 16 * 1024 * 1024;

/// Tunnels that the other side may have open on one connection: a quarter of what a peer may have in
/// all, which its few connections share; times the window, 1 GiB that an authenticated peer could
/// make us hold, and less where the fabric's limits say so.
const MAX_TUNNELS: u32 = 4096;

/// The least window that is worth talking to: the early data and a bit.
const MIN_WINDOW: u32 = 32 * 1024;

/// Client bytes that go out together with OPEN.
pub const MAX_EARLY: usize = 16 * 1024;

/// How long a connection that closes may take to get rid of its last frames.
const FLUSH: Duration = Duration::from_secs(1);

/// Tunnels up to which a frame is written at once: waiting for others to share the write costs more
/// than it saves when there are none.
const FEW: usize = 2;

/// What is known of a connection before its first frame.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// The authenticated peer.
    pub peer: PeerName,
    /// Whether this side opened the connection.
    pub dialled: bool,
    /// The other side's address.
    pub address: SocketAddr,
    /// The peer's gateway that was dialled; none on the side that accepted.
    pub gateway: Option<Gateway>,
    /// The chain that the peer showed, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate that this side showed.
    pub own: Fingerprint,
    /// When the connection was made, as certificates count time.
    pub made: UnixTime,
}

/// One authenticated connection between two gateways.
#[derive(Debug)]
pub struct Connection {
    facts: ConnectionFacts,
    theirs: Hello,
    outbox: Outbox,
    tunnels: Mutex<Tunnels>,
    /// How many tunnels are open.
    load: AtomicUsize,
    /// By how much credits may still grow.
    growth: AtomicU32,
    /// GOAWAY was sent: the other side's OPEN is refused, and none is sent.
    retired: AtomicBool,
    /// GOAWAY was received.
    left: AtomicBool,
    /// A heartbeat should have been answered by now.
    doubted: watch::Sender<bool>,
    /// How many heartbeats in a row weren't answered.
    missed: AtomicU32,
    /// How many pieces were received: so much for whether any was.
    heard: AtomicU64,
    beats: Mutex<BTreeMap<u64, oneshot::Sender<()>>>,
    next_beat: AtomicU64,
    revision: Mutex<String>,
    /// By which snapshot, numbered by the gateway, the peer's certificate was accepted last.
    accepted_by: AtomicU64,
    closed: CancellationToken,
    why: Mutex<Option<Closed>>,
}

#[derive(Debug)]
struct Tunnels {
    open: HashMap<u32, Arc<Shared>>,
    /// The next id of this side; none when they ran out.
    next: Option<u32>,
    /// The highest id of the other side so far.
    last: u32,
    /// How many of those open are the other side's.
    theirs: u32,
}

/// What a connection asks of the gateway.
pub trait Accept: Send + Sync + 'static {
    /// Serves a tunnel that the peer wants to open; must not block.
    fn accept(&self, tunnel: Tunnel, open: Open);

    /// The revision in force.
    fn revision(&self) -> String;
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The other side closed it.
    #[error("closed by the peer")]
    ByPeer,
    /// Reading or writing failed.
    #[error("{0}")]
    Failed(String),
    /// The other side broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(#[from] FrameError),
    /// The other side doesn't read what it made us answer.
    #[error("the peer doesn't read")]
    Stalled,
    /// Heartbeats weren't answered.
    #[error("heartbeats weren't answered")]
    Silent,
    /// The peer isn't accepted any more.
    #[error("the peer's certificate isn't accepted any more: {0}")]
    Unaccepted(&'static str),
    /// The gateway goes down, or nothing needs the connection any more.
    #[error("done")]
    Done,
}

/// Why a connection didn't come to life.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    /// Reading or writing failed.
    #[error("exchange of the hello: {0}")]
    Io(#[from] io::Error),
    /// The other side broke the protocol.
    #[error("exchange of the hello: {0}")]
    Frame(#[from] FrameError),
    /// The other side spoke something else.
    #[error("the peer's first frame isn't a usable HELLO")]
    NoHello,
}

/// Why a tunnel can't be opened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The connection takes no more tunnels.
    Unusable,
    /// What is asked doesn't fit in a frame.
    DoesNotFit(FrameError),
    /// The other side takes no connections that others relay.
    NoRelays,
}

/// The incoming half of a connection whose hello was exchanged.
#[derive(Debug)]
pub struct Incoming {
    receiver: Receiver,
    parser: Parser,
    /// What followed the hello at once.
    begun: Bytes,
}

/// Exchanges the hello.
pub async fn establish(
    facts: ConnectionFacts,
    link: Link,
) -> Result<(Arc<Connection>, Incoming), EstablishError> {
    let ours = Hello {
        minor: 0,
        capabilities: frame::RELAYS,
        window: WINDOW,
        tunnels: MAX_TUNNELS,
    };
    let Link {
        mut receiver,
        transmitter,
    } = link;
    let outbox = Outbox::new(transmitter);
    let gone = |Full| EstablishError::Io(io::ErrorKind::BrokenPipe.into());
    outbox
        .put(|out| Frame::Hello(ours).put(out))
        .map_err(gone)??;
    drop(outbox.turn().await.map_err(gone)?);
    let mut parser = Parser::default();
    loop {
        match receiver.next()? {
            Some(Opened::Data(mut bytes)) => match parser.next(&mut bytes)? {
                Some(Frame::Hello(theirs)) if theirs.window >= MIN_WINDOW => {
                    let incoming = Incoming {
                        receiver,
                        parser,
                        begun: bytes,
                    };
                    return Ok((Connection::new(facts, theirs, outbox), incoming));
                }
                Some(_) => return Err(EstablishError::NoHello),
                None => {}
            },
            Some(Opened::Closed) => return Err(ended()),
            None => {
                if !receiver.read().await? {
                    return Err(ended());
                }
            }
        }
    }
}

fn ended() -> EstablishError {
    EstablishError::Io(io::ErrorKind::UnexpectedEof.into())
}

// === impl ConnectionFacts ===

impl ConnectionFacts {
    /// The moment by which the peer's certificate is judged: now, and never one before the
    /// connection was made, as a clock that is set back would have it.
    #[must_use]
    pub fn judged_at(&self) -> UnixTime {
        UnixTime::now().max(self.made)
    }
}

// === impl Tunnels ===

impl Tunnels {
    /// How many of those open are this side's.
    fn ours(&self) -> usize {
        self.open.len().saturating_sub(self.theirs as usize)
    }
}

// === impl Connection ===

impl Connection {
    fn new(facts: ConnectionFacts, theirs: Hello, outbox: Outbox) -> Arc<Self> {
        let next = if facts.dialled { 1 } else { 2 };
        Arc::new(Self {
            facts,
            theirs,
            outbox,
            tunnels: Mutex::new(Tunnels {
                open: HashMap::new(),
                next: Some(next),
                last: 0,
                theirs: 0,
            }),
            load: AtomicUsize::new(0),
            growth: AtomicU32::new(GROWTH),
            retired: AtomicBool::new(false),
            left: AtomicBool::new(false),
            doubted: watch::Sender::new(false),
            missed: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            beats: Mutex::default(),
            next_beat: AtomicU64::new(1),
            revision: Mutex::default(),
            accepted_by: AtomicU64::new(0),
            closed: CancellationToken::new(),
            why: Mutex::new(None),
        })
    }

    /// What was known of the connection before its first frame.
    #[must_use]
    pub fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// The revision that the peer said to have in force.
    #[must_use]
    pub fn revision(&self) -> String {
        self.revision.lock().clone()
    }

    /// By which snapshot, numbered by the gateway, the peer's certificate was accepted last.
    #[must_use]
    pub const fn accepted_by(&self) -> &AtomicU64 {
        &self.accepted_by
    }

    /// How many tunnels are open.
    #[must_use]
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether a tunnel could be opened.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let tunnels = self.tunnels.lock();
        !self.closed.is_cancelled()
            && !self.is_going()
            && tunnels.next.is_some()
            && tunnels.ours() < self.theirs.tunnels as usize
    }

    /// Whether one of the sides opens no more tunnels.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.retired.load(Ordering::Acquire) || self.left.load(Ordering::Acquire)
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits for the connection's end.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Why the connection ended.
    #[must_use]
    pub fn why_closed(&self) -> Option<Closed> {
        self.why.lock().clone()
    }

    /// Waits until [`open`](Self::open) may be used; false when the connection is over.
    ///
    /// Else clients that say much at once would fill what waits for a peer that is slow just then.
    pub async fn room(&self) -> bool {
        self.outbox.room().await.is_ok()
    }

    /// Asks for a tunnel; its answer is still to come. `early` may be sent at once.
    pub fn open(self: &Arc<Self>, open: Open, early: &[u8]) -> Result<Tunnel, OpenError> {
        if !open.via.is_empty() && self.theirs.capabilities & frame::RELAYS == 0 {
            return Err(OpenError::NoRelays);
        }
        let shared = {
            let mut tunnels = self.tunnels.lock();
            let id = tunnels
                .next
                .filter(|_| !self.is_going())
                .ok_or(OpenError::Unusable)?;
            let is_full = tunnels.ours() >= self.theirs.tunnels as usize;
            if is_full || self.closed.is_cancelled() {
                return Err(OpenError::Unusable);
            }
            let shared = Arc::new(Shared::new(id, self.theirs.window));
            let frame = Frame::Open(id, Box::new(open));
            // Under the lock, so that ids go out in the order in which they are given.
            self.outbox
                .put(|out| {
                    frame.put(out)?;
                    if early.is_empty() {
                        return Ok(());
                    }
                    if early.len() > MAX_EARLY {
                        return Err(FrameError::DoesNotFit("early data"));
                    }
                    out.extend_from_slice(&frame::data_header(id, early.len(), false));
                    out.extend_from_slice(early);
                    Ok(())
                })
                .map_err(|Full| OpenError::Unusable)?
                .map_err(OpenError::DoesNotFit)?;
            shared.spend(early.len());
            tunnels.next = id.checked_add(2);
            tunnels.open.insert(id, Arc::clone(&shared));
            self.load.store(tunnels.open.len(), Ordering::Relaxed);
            shared
        };
        self.flush();
        Ok(Tunnel::new(shared, Arc::clone(self)))
    }

    /// Sends a heartbeat and waits for its answer.
    pub async fn ping(&self, revision: String) -> Option<()> {
        let token = self.next_beat.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.beats.lock().insert(token, sender);
        self.send_control(&Frame::Ping(Beat { token, revision }));
        tokio::select! {
            answered = answer => answered.ok(),
            () = self.closed() => None,
        }
    }

    /// How many pieces were received, to be compared with what it was before.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Doubts that anything comes through, until [`trust`](Self::trust).
    pub fn doubt(&self) {
        self.doubted.send_replace(true);
    }

    /// Doubts it no more: something came through.
    pub fn trust(&self) {
        self.doubted.send_replace(false);
        self.missed.store(0, Ordering::Relaxed);
    }

    /// A heartbeat wasn't answered in time; how many that were in a row.
    #[must_use]
    pub fn missed(&self) -> u32 {
        self.missed.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether it is doubtful that anything comes through.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        *self.doubted.borrow()
    }

    /// Waits until that is doubtful, or isn't any more.
    pub async fn until_doubted(&self, doubted: bool) {
        // Never an error: the sender is here.
        let _ = self
            .doubted
            .subscribe()
            .wait_for(|now| *now == doubted)
            .await;
    }

    /// Forgets heartbeats that nobody waits for any more.
    pub fn forget_beats(&self) {
        self.beats.lock().retain(|_, waiting| !waiting.is_closed());
    }

    /// Takes no more tunnels, and tells the peer; the peer closes when the last one is over.
    pub fn retire(&self, text: &str) {
        if !self.retired.swap(true, Ordering::AcqRel) {
            self.send_control(&Frame::Goaway(Reason::Draining, text.to_owned()));
        }
    }

    /// Ends the connection at once.
    pub fn close(&self, why: Closed) {
        self.why.lock().get_or_insert(why);
        self.closed.cancel();
    }

    /// Ends the connection when what is queued is written.
    pub fn finish(&self) {
        self.why.lock().get_or_insert(Closed::Done);
        // Under the lock of those who open: nothing is queued behind the end.
        let _tunnels = self.tunnels.lock();
        self.retired.store(true, Ordering::Release);
        self.outbox.finish();
    }

    /// Reads and writes until the end; then every tunnel is broken.
    pub async fn run(self: Arc<Self>, incoming: Incoming, accept: Arc<dyn Accept>) {
        let cut = tokio::select! {
            // First: what is cut takes nothing more.
            biased;
            () = self.closed.cancelled() => true,
            why = self.read(incoming, &accept) => { self.close(why); true }
            written = self.outbox.run(|| self.load() > FEW) => {
                match written {
                    Ok(()) => self.close(Closed::Done),
                    Err(error) => self.close(Closed::Failed(format!("write: {error}"))),
                }
                false
            }
        };
        self.outbox.close();
        let tunnels: Vec<_> = self.tunnels.lock().open.values().cloned().collect();
        for tunnel in tunnels {
            tunnel.lost();
        }
        self.beats.lock().clear();
        if cut {
            let _ = tokio::time::timeout(FLUSH, self.outbox.shut_down()).await;
        }
        self.outbox.release().await;
    }

    async fn read(self: &Arc<Self>, incoming: Incoming, accept: &Arc<dyn Accept>) -> Closed {
        let Incoming {
            mut receiver,
            mut parser,
            mut begun,
        } = incoming;
        let mut touched = Vec::new();
        loop {
            let mut over = self.take(&mut parser, &mut begun, accept, &mut touched);
            while over.is_ok() {
                over = match receiver.next() {
                    Ok(Some(Opened::Data(mut bytes))) => {
                        self.heard.fetch_add(1, Ordering::Relaxed);
                        self.take(&mut parser, &mut bytes, accept, &mut touched)
                    }
                    Ok(Some(Opened::Closed)) => Err(Closed::ByPeer),
                    Ok(None) => break,
                    Err(error) => Err(Closed::Failed(format!("read: {error}"))),
                };
            }
            for tunnel in touched.drain(..) {
                tunnel.deliver(self);
            }
            if let Err(why) = over {
                return why;
            }
            match receiver.read().await {
                Ok(true) => {}
                Ok(false) if receiver.trusts_end() => return Closed::ByPeer,
                // Without a word, which somebody between us could have cut off.
                Ok(false) => return Closed::Failed("read: the stream ended".to_owned()),
                Err(error) => return Closed::Failed(format!("read: {error}")),
            }
        }
    }

    /// Takes all frames of a piece.
    fn take(
        self: &Arc<Self>,
        parser: &mut Parser,
        piece: &mut Bytes,
        accept: &Arc<dyn Accept>,
        touched: &mut Vec<Arc<Shared>>,
    ) -> Result<(), Closed> {
        while let Some(frame) = parser.next(piece)? {
            self.received(frame, accept, touched)?;
        }
        Ok(())
    }

    fn received(
        self: &Arc<Self>,
        frame: Frame,
        accept: &Arc<dyn Accept>,
        touched: &mut Vec<Arc<Shared>>,
    ) -> Result<(), Closed> {
        let protocol = |what, id| Err(Closed::Protocol(FrameError::Tunnel(what, id)));
        match frame {
            Frame::Open(id, open) => return self.opened(id, *open, accept),
            Frame::Accept(id) => {
                if let Some(tunnel) = self.tunnel("ACCEPT", id)?
                    && (!self.is_ours(id) || !tunnel.accepted())
                {
                    return protocol("unasked ACCEPT", id);
                }
            }
            Frame::Refuse(id, reason, text) => {
                if let Some(tunnel) = self.tunnel("REFUSE", id)? {
                    if !self.is_ours(id) {
                        return protocol("unasked REFUSE", id);
                    }
                    tunnel.end(Broken::Refused(reason, text));
                }
            }
            Frame::Data {
                tunnel: id,
                payload,
                end,
            } => {
                if let Some(tunnel) = self.tunnel("DATA", id)? {
                    match tunnel.received(payload, end) {
                        Received::Touched => touched.push(tunnel),
                        Received::Known => {}
                        Received::Forbidden => return protocol("too much DATA", id),
                    }
                }
            }
            Frame::Window(id, credit) => {
                if let Some(tunnel) = self.tunnel("WINDOW", id)?
                    && !tunnel.credited(credit)
                {
                    return protocol("too much WINDOW", id);
                }
            }
            Frame::Reset(id, reason, text) => {
                if let Some(tunnel) = self.tunnel("RESET", id)? {
                    tunnel.end(Broken::Reset(reason, text));
                }
            }
            Frame::Ping(beat) => {
                *self.revision.lock() = beat.revision;
                self.send_control(&Frame::Pong(Beat {
                    token: beat.token,
                    revision: accept.revision(),
                }));
            }
            Frame::Pong(beat) => {
                *self.revision.lock() = beat.revision;
                // However late it is: the way there and back is whole.
                self.trust();
                if let Some(waiting) = self.beats.lock().remove(&beat.token) {
                    let _ = waiting.send(());
                }
            }
            Frame::Goaway(..) => {
                self.left.store(true, Ordering::Release);
                self.close_when_left();
            }
            Frame::Hello(_) => return protocol("second HELLO", 0),
            Frame::Skipped => {}
        }
        Ok(())
    }

    fn opened(
        self: &Arc<Self>,
        id: u32,
        open: Open,
        accept: &Arc<dyn Accept>,
    ) -> Result<(), Closed> {
        let shared = {
            let mut tunnels = self.tunnels.lock();
            if self.is_ours(id) || id <= tunnels.last {
                return Err(Closed::Protocol(FrameError::Tunnel("OPEN", id)));
            }
            tunnels.last = id;
            let refusal = if self.retired.load(Ordering::Acquire) {
                Some(Reason::Draining)
            } else if tunnels.theirs >= MAX_TUNNELS {
                Some(Reason::Limit)
            } else {
                None
            };
            if let Some(reason) = refusal {
                let text = "this connection takes no more tunnels".to_owned();
                self.send_control(&Frame::Refuse(id, reason, text));
                return Ok(());
            }
            let shared = Arc::new(Shared::new(id, self.theirs.window));
            tunnels.theirs += 1;
            tunnels.open.insert(id, Arc::clone(&shared));
            self.load.store(tunnels.open.len(), Ordering::Relaxed);
            shared
        };
        accept.accept(Tunnel::new(shared, Arc::clone(self)), open);
        Ok(())
    }

    /// The open tunnel of an id; none for one that is over, an error for one that never was.
    fn tunnel(&self, what: &'static str, id: u32) -> Result<Option<Arc<Shared>>, Closed> {
        let tunnels = self.tunnels.lock();
        if let Some(tunnel) = tunnels.open.get(&id) {
            return Ok(Some(Arc::clone(tunnel)));
        }
        let known = if self.is_ours(id) {
            tunnels.next.is_none_or(|next| id < next)
        } else {
            id <= tunnels.last
        };
        if known {
            Ok(None)
        } else {
            Err(Closed::Protocol(FrameError::Tunnel(what, id)))
        }
    }

    const fn is_ours(&self, id: u32) -> bool {
        (id % 2 == 1) == self.facts.dialled
    }

    pub(super) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Writes what waits, now or together with what others are about to add.
    pub(super) fn flush(&self) {
        if self.load() > FEW {
            self.outbox.write_soon();
        } else {
            self.outbox.write_now();
        }
    }

    /// Sends a frame that waits for nothing; a connection that can't take it any more is closed.
    pub(super) fn send_control(&self, frame: &Frame) {
        match self.outbox.put(|out| frame.put(out)) {
            Ok(Ok(())) => self.flush(),
            Ok(Err(_)) | Err(Full) => self.close(Closed::Stalled),
        }
    }

    /// Has a DATA wait to be written.
    pub(super) fn put_data(&self, id: u32, bytes: &[u8], end: bool) -> Result<(), Broken> {
        let put = self.outbox.put(|out| {
            out.extend_from_slice(&frame::data_header(id, bytes.len(), end));
            out.extend_from_slice(bytes);
            Ok(())
        });
        match put {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(Full) => Err(Broken::Lost),
        }
    }

    /// Gives a tunnel credit, if there is some to give.
    pub(super) fn give(&self, id: u32, credit: u32) {
        if credit > 0 {
            self.send_control(&Frame::Window(id, credit));
        }
    }

    /// Takes from what credits may grow by, as much as there is of what is wanted.
    pub(super) fn grow(&self, wanted: u32) -> u32 {
        let take = |left: u32| Some(left.saturating_sub(wanted));
        let left = self
            .growth
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .unwrap_or(0);
        left.min(wanted)
    }

    /// Forgets a tunnel, whose credit had grown by so much.
    pub(super) fn forget(&self, id: u32, grown: u32) {
        self.growth.fetch_add(grown, Ordering::Relaxed);
        {
            let mut tunnels = self.tunnels.lock();
            if tunnels.open.remove(&id).is_some() && !self.is_ours(id) {
                tunnels.theirs = tunnels.theirs.saturating_sub(1);
            }
            self.load.store(tunnels.open.len(), Ordering::Relaxed);
        }
        self.close_when_left();
    }

    /// Closes the connection that the peer left, when it carries nothing more.
    ///
    /// Nothing can be on its way: the peer opens no tunnel after its GOAWAY.
    fn close_when_left(&self) {
        if self.left.load(Ordering::Acquire) && self.tunnels.lock().open.is_empty() {
            self.finish();
        }
    }
}
