//! Git's smart protocol over http and https: one request for the references, one for each round of
//! the negotiation.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use git2::transport::{Service, SmartSubtransportStream};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, BodyReader, Proxy};

use super::address::{HttpAddress, Origin, Place};
use super::error::{FetchError, printable};
use super::operation::Operation;
use super::transport::{Adapter, Guarded, Stream, Subtransport};

/// A server that doesn't even accept is left for the next attempt early.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As many as a host's move and its canonical name need; more is a loop.
const MAX_REDIRECTS: usize = 5;
/// Git's hosts answer known clients in smart HTTP, and know them by this beginning.
const USER_AGENT: &str = concat!("git/weft-", env!("CARGO_PKG_VERSION"));

pub(super) struct Http {
    operation: Arc<Operation>,
    session: Mutex<Option<Session>>,
}

/// What the first request settles for the later ones.
#[derive(Clone)]
struct Session {
    agent: Agent,
    /// Where the repository is after redirects.
    base: HttpAddress,
    /// The `Authorization` header for the origin that the user named; no other one sees it.
    authorization: Option<String>,
}

/// The answer of a request that is done.
struct Answer {
    origin: Origin,
    body: BodyReader<'static>,
}

/// A request whose body libgit2 writes before it reads the answer.
struct Exchange {
    session: Session,
    state: ExchangeState,
}

enum ExchangeState {
    Writing(Vec<u8>),
    Reading(Box<Answer>),
}

// === impl Http ===

impl Http {
    pub(super) fn new(operation: Arc<Operation>) -> Adapter<Self> {
        Adapter(Self {
            operation,
            session: Mutex::new(None),
        })
    }

    /// Asks for the references, and settles the session.
    fn discover(&self) -> Result<Answer, FetchError> {
        let remote = &self.operation.remote;
        let Place::Http(address, _) = &remote.address.0 else {
            return Err(FetchError::Git("the address isn't http".to_owned()));
        };
        let authorization = match &remote.credentials {
            None => None,
            Some(_) if !address.origin.is_encrypted && !address.origin.is_loopback() => {
                return Err(FetchError::PlainCredentials(address.origin.to_string()));
            }
            Some(credentials) => Some(credentials.header().map_err(|source| {
                let file = credentials.file().cloned();
                FetchError::Credentials { file, source }
            })?),
        };
        let agent = self.agent(&address.origin)?;
        let mut session = Session {
            agent,
            base: address.clone(),
            authorization,
        };
        for _ in 0..=MAX_REDIRECTS {
            let base = &session.base;
            let url = format!("{base}/info/refs?service=git-upload-pack");
            let mut request = session.agent.get(&url).header("Pragma", "no-cache");
            if let Some(authorization) = &session.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|error| unreached(base, error))?;
            if response.status().is_redirection() {
                session.follow(&response)?;
                continue;
            }
            let answer = Answer::of(
                response,
                base,
                "application/x-git-upload-pack-advertisement",
            )?;
            *self.session.lock() = Some(session);
            return Ok(answer);
        }
        let origin = session.base.origin.to_string();
        let reason = "there are too many redirects";
        Err(FetchError::Redirect { origin, reason })
    }

    fn agent(&self, origin: &Origin) -> Result<Agent, FetchError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed by hand: ureq would also send a POST elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .timeout_connect(Some(CONNECT_TIMEOUT.min(self.operation.limits.deadline)))
            .timeout_global(Some(self.operation.limits.deadline))
            // From the environment, except to this very machine.
            .proxy(match origin.is_loopback() {
                true => None,
                false => Proxy::try_from_env(),
            });
        let file = self.operation.remote.authorities.as_deref();
        // An http address may be redirected to https.
        let roots = authorities(file)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        config = config.tls_config(
            TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&roots))
                .unversioned_rustls_crypto_provider(provider)
                .build(),
        );
        let agent = config.build().new_agent();
        let stopped = agent.clone();
        self.operation.on_stop(move || stopped.shutdown());
        Ok(agent)
    }
}

impl Subtransport for Http {
    fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    fn open(&self, service: Service) -> Result<Box<dyn SmartSubtransportStream>, FetchError> {
        if service == Service::UploadPackLs {
            return Ok(Guarded::boxed(&self.operation, self.discover()?));
        }
        let Some(session) = self.session.lock().clone() else {
            return Err(FetchError::Git("nothing was asked for yet".to_owned()));
        };
        let state = ExchangeState::Writing(Vec::new());
        Ok(Guarded::boxed(&self.operation, Exchange { session, state }))
    }
}

// === impl Session ===

impl Session {
    /// Goes where a redirect of the first request leads.
    fn follow(&mut self, response: &Response<Body>) -> Result<(), FetchError> {
        let origin = &self.base.origin;
        let refuse = |reason| {
            let origin = origin.to_string();
            Err(FetchError::Redirect { origin, reason })
        };
        let location = response.headers().get(header::LOCATION);
        let Some(location) = location.and_then(|value| value.to_str().ok()) else {
            return refuse("it names no place");
        };
        let whole = match location.starts_with('/') && !location.starts_with("//") {
            true => format!("{origin}{location}"),
            false => location.to_owned(),
        };
        let Some(base) = whole.strip_suffix("/info/refs?service=git-upload-pack") else {
            return refuse("it isn't the address of a repository");
        };
        let Ok((base, _)) = HttpAddress::parse(base) else {
            return refuse("it isn't the address of a repository");
        };
        if origin.is_encrypted && !base.origin.is_encrypted {
            return refuse("it leaves https");
        }
        if base.origin != *origin {
            tracing::debug!(from = %origin, to = %base.origin, "a redirect leads to another server");
            self.authorization = None;
        }
        self.base = base;
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    fn of(
        response: Response<Body>,
        base: &HttpAddress,
        content_type: &str,
    ) -> Result<Self, FetchError> {
        let origin = base.origin.to_string();
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let status = status.as_u16();
                return Err(FetchError::Unauthorized { origin, status });
            }
            StatusCode::NOT_FOUND => return Err(FetchError::NotFound(base.to_string())),
            status => {
                let status = status.as_u16();
                return Err(FetchError::Status { origin, status });
            }
        }
        let is_git = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| {
                value
                    .as_bytes()
                    .eq_ignore_ascii_case(content_type.as_bytes())
            });
        match is_git {
            true => Ok(Self {
                origin: base.origin.clone(),
                body: response.into_body().into_reader(),
            }),
            false => Err(FetchError::NotGit(origin)),
        }
    }
}

impl Stream for Answer {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        self.body
            .read(buffer)
            .map_err(|error| FetchError::Unreachable {
                origin: self.origin.to_string(),
                source: Box::new(error),
            })
    }

    fn send(&mut self, _: &[u8]) -> Result<(), FetchError> {
        Err(FetchError::Git("the answer can't be written to".to_owned()))
    }
}

// === impl Exchange ===

impl Stream for Exchange {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        loop {
            match &mut self.state {
                ExchangeState::Reading(answer) => return answer.receive(buffer),
                ExchangeState::Writing(body) => {
                    let base = &self.session.base;
                    let mut request = self
                        .session
                        .agent
                        .post(format!("{base}/git-upload-pack"))
                        .content_type("application/x-git-upload-pack-request")
                        .header(header::ACCEPT, "application/x-git-upload-pack-result");
                    if let Some(authorization) = &self.session.authorization {
                        request = request.header(header::AUTHORIZATION, authorization);
                    }
                    let response = request
                        .send(std::mem::take(body))
                        .map_err(|error| unreached(base, error))?;
                    if response.status().is_redirection() {
                        let origin = base.origin.to_string();
                        let reason = "only the first request may be redirected";
                        return Err(FetchError::Redirect { origin, reason });
                    }
                    let answer =
                        Answer::of(response, base, "application/x-git-upload-pack-result")?;
                    self.state = ExchangeState::Reading(Box::new(answer));
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        match &mut self.state {
            // Bounded by what libgit2 asks for: our few references and 256 commits.
            ExchangeState::Writing(body) => body.extend_from_slice(bytes),
            ExchangeState::Reading(_) => {
                return Err(FetchError::Git(
                    "the request is already answered".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Tells a certificate that isn't trusted from a server that isn't there.
fn unreached(base: &HttpAddress, error: ureq::Error) -> FetchError {
    let origin = base.origin.to_string();
    let is_tls = match &error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    };
    // Only the words: some of the kinds carry parts of the answer.
    let source = printable(&error.to_string()).into();
    match is_tls {
        true => FetchError::Tls { origin, source },
        false => FetchError::Unreachable { origin, source },
    }
}

/// The CA certificates of a file, or the system's.
fn authorities(file: Option<&std::path::Path>) -> Result<Vec<Certificate<'static>>, FetchError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| FetchError::Authorities {
        file: file.map(std::path::Path::to_owned),
        source,
    };
    let certificates: Vec<CertificateDer<'static>> = match file {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| failed(error.into()))?,
        // Single files that can't be read matter only when nothing is left.
        None => rustls_native_certs::load_native_certs().certs,
    };
    if file.is_some() && certificates.is_empty() {
        return Err(failed(
            io::Error::other("it holds no certificate in PEM").into(),
        ));
    }
    let own = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
    Ok(certificates.iter().map(own).collect())
}
