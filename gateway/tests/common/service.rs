//! Services that exports aim at, and clients of imports.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::soon;

/// A service; ends when dropped.
pub(crate) struct Service {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// An address where connecting comes to nothing, neither well nor badly; ends when dropped.
pub(crate) struct Full {
    pub address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Full {
    /// A listener that accepts nobody, with as many waiting as it takes.
    pub(crate) async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // Long enough for a connection that there is room for.
        let patience = Duration::from_secs(2);
        while let Ok(connected) = timeout(patience, TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

impl Service {
    /// A service that does the same with each connection.
    pub(crate) async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(socket));
            }
        });
        Self {
            address,
            connections,
            _tasks: tasks,
        }
    }

    /// Sends back what it gets.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut socket| async move {
            let (mut reader, mut writer) = socket.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        })
        .await
    }

    /// Says its name at once, and closes.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |mut socket| async move {
            let _ = socket.write_all(name.as_bytes()).await;
            let _ = socket.shutdown().await;
            let _ = socket.read(&mut [0; 64]).await;
        })
        .await
    }

    /// Takes what comes, and never answers nor ends.
    pub(crate) async fn silent() -> Self {
        Self::start(|mut socket| async move {
            let _ = socket.read_to_end(&mut Vec::new()).await;
            std::future::pending::<()>().await;
        })
        .await
    }

    pub(crate) fn served(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Sends text, ends that direction, and reads until the end; an error where the connection broke.
pub(crate) async fn talk(address: SocketAddr, text: &str) -> std::io::Result<String> {
    soon("the whole talk", async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(text.as_bytes()).await?;
        socket.shutdown().await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    })
    .await
}

/// A connection through which an echo has come back.
pub(crate) async fn echoing(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    assert!(echoes(&mut socket).await, "{address} doesn't echo");
    socket
}

/// Whether an echo comes back.
pub(crate) async fn echoes(socket: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    if socket.write_all(b"ping").await.is_err() {
        return false;
    }
    let read = soon("an echo or the end", socket.read_exact(&mut answer)).await;
    read.is_ok() && &answer == b"ping"
}

/// Waits until the other side has broken the connection.
pub(crate) async fn breaks(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = soon("the connection's end", socket.read_to_end(&mut rest)).await;
    assert!(read.is_err(), "ended in order after {} bytes", rest.len());
}
