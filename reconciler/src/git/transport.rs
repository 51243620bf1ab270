//! How libgit2 reaches our transports.
//!
//! libgit2 knows a transport by the scheme of a URL and hands nothing to it but that URL. So the
//! fetch that is under way lies in a thread-local (libgit2 works on the calling thread alone), and
//! the URL is a constant: neither an address nor a secret ever gets into libgit2, its error texts
//! or its configuration's `insteadOf`.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, Once};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};

use super::error::FetchError;
use super::http::Http;
use super::operation::Operation;
use super::ssh::Ssh;

/// The URL that stands for http and https in libgit2.
pub(super) const HTTP_URL: &str = "weft-http://remote/";
/// The URL that stands for ssh in libgit2.
pub(super) const SSH_URL: &str = "weft-ssh://remote/";

thread_local! {
    static CURRENT: RefCell<Option<Arc<Operation>>> = const { RefCell::new(None) };
}

/// Sets libgit2 up, once per process.
pub(super) fn initialize() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let http = |remote: &git2::Remote<'_>| {
            let operation = current()?;
            Transport::smart(remote, true, Http::new(operation))
        };
        let ssh = |remote: &git2::Remote<'_>| {
            let operation = current()?;
            Transport::smart(remote, false, Ssh::new(operation))
        };
        #[expect(
            unsafe_code,
            reason = "the three setters write to libgit2's process-wide tables and want nobody \
                      else in there at the same time. `Once` lets one thread in; every way into \
                      this module's libgit2 calls begins here; and nothing outside this module \
                      registers transports or changes these options"
        )]
        // The prefixes are new and the strings hold no NUL, so that registration can only fail for
        // want of memory, and the first fetch then says `unsupported URL protocol`.
        unsafe {
            let _ = git2::transport::register("weft-http", http);
            let _ = git2::transport::register("weft-ssh", ssh);
            // A repository of another user is refused by default because Git runs what its
            // configuration and hooks name. Nothing here runs any of them, and a bare repository
            // of a user `git` is the usual thing to pull from.
            let _ = git2::opts::set_verify_owner_validation(false);
        }
    });
}

/// Makes a fetch known to the transports that libgit2 makes on this thread meanwhile.
pub(super) fn with_operation<T>(operation: &Arc<Operation>, f: impl FnOnce() -> T) -> T {
    struct Reset(Option<Arc<Operation>>);
    impl Drop for Reset {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _reset = Reset(CURRENT.replace(Some(Arc::clone(operation))));
    f()
}

fn current() -> Result<Arc<Operation>, git2::Error> {
    CURRENT
        .with_borrow(Clone::clone)
        .ok_or_else(|| git2::Error::from_str("a Weft transport is used outside a fetch"))
}

/// Notes a failure, and says to libgit2 only that there is one.
pub(super) fn fail(operation: &Operation, failure: FetchError) -> git2::Error {
    operation.fail(failure);
    git2::Error::from_str("the transport failed")
}

/// A stream that counts what it receives and notes its failures.
pub(super) struct Guarded<S> {
    operation: Arc<Operation>,
    stream: S,
}

/// One direction after the other, with failures that say why.
pub(super) trait Stream: Send + 'static {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError>;
    fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError>;
}

// === impl Guarded ===

impl<S: Stream> Guarded<S> {
    pub(super) fn boxed(operation: &Arc<Operation>, stream: S) -> Box<dyn SmartSubtransportStream> {
        Box::new(Self {
            operation: Arc::clone(operation),
            stream,
        })
    }

    fn fail(&self, failure: FetchError) -> io::Error {
        self.operation.fail(failure);
        io::Error::other("the transport failed")
    }
}

impl<S: Stream> Read for Guarded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .stream
            .receive(buffer)
            .and_then(|count| self.operation.receive(count).map(|()| count));
        count.map_err(|failure| self.fail(failure))
    }
}

impl<S: Stream> Write for Guarded<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.operation
            .check()
            .and_then(|()| self.stream.send(bytes))
            .map_err(|failure| self.fail(failure))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether libgit2 asks for something that a fetch needs.
pub(super) fn is_fetch(service: Service) -> bool {
    matches!(service, Service::UploadPackLs | Service::UploadPack)
}

/// The parts that both transports share.
pub(super) trait Subtransport: Send + 'static {
    fn operation(&self) -> &Arc<Operation>;
    fn open(&self, service: Service) -> Result<Box<dyn SmartSubtransportStream>, FetchError>;
}

/// Makes a [`Subtransport`] libgit2's.
pub(super) struct Adapter<T>(pub(super) T);

impl<T: Subtransport> SmartSubtransport for Adapter<T> {
    fn action(
        &self,
        _: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        if !is_fetch(service) {
            return Err(git2::Error::from_str("nothing is ever pushed"));
        }
        self.0
            .open(service)
            .map_err(|failure| fail(self.0.operation(), failure))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}
