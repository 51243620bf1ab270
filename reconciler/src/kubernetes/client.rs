//! The connection to an API server.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use http_body_util::{BodyExt as _, Full};
use kube::client::{ClientBuilder, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::time::timeout;
use tower::util::MapResponseLayer;

use super::count::{Count, Requests};

/// The server may take so long for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that hasn't told its version by then won't: it takes milliseconds.
const ANSWER: Duration = Duration::from_secs(20);

/// How an API server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; absent, `KUBECONFIG`, the usual file, and inside a cluster its own server.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; absent, the current one.
    pub context: Option<String>,
    /// Whether requests are sent again that an overloaded server refused: for commands that end, not
    /// for loops that know better.
    pub retries: bool,
}

/// An API server, and who we are there.
#[derive(Clone)]
pub struct Connection {
    /// The client; cheap to clone.
    pub client: Client,
    /// The server's address, for messages.
    pub server: String,
    /// The namespace of the context, or of the Pod that this runs in.
    pub namespace: String,
    /// What was sent so far.
    pub requests: Requests,
}

/// Why an API server can't be connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig can't be used.
    #[error("can't use the kubeconfig{}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file, where one was named.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The kubeconfig doesn't have the context that was named.
    #[error("the kubeconfig{} has no context {name}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    NoContext {
        /// The file, where one was named.
        path: Option<PathBuf>,
        /// The context.
        name: String,
    },
    /// There is neither a kubeconfig nor a cluster around.
    #[error("no cluster is configured: there is no kubeconfig, and this doesn't run in a cluster")]
    Nowhere(#[source] Box<kube::config::InferConfigError>),
    /// The server isn't there, or doesn't answer.
    #[error("the API server {server} can't be reached{}", if source.is_none() { ": no answer came in time" } else { "" })]
    Unreachable {
        /// The server's address.
        server: String,
        /// Why; none where no answer came in time.
        #[source]
        source: Option<Box<kube::Error>>,
    },
    /// The server doesn't take our credentials.
    #[error("the API server {server} doesn't accept the credentials of the kubeconfig")]
    Stranger {
        /// The server's address.
        server: String,
    },
    /// The client can't be made of the configuration.
    #[error("can't set up the connection to {server}")]
    Setup {
        /// The server's address.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Sets up the connection; nothing is sent yet.
///
/// `role` is told to the server as the user agent, so that its logs tell our roles apart.
pub async fn connect(access: &Access, role: &str) -> Result<Connection, ConnectError> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let refused = |source: KubeconfigError| {
        let path = access.kubeconfig.clone();
        match source {
            KubeconfigError::LoadContext(name) => ConnectError::NoContext { path, name },
            source => ConnectError::Kubeconfig {
                path,
                source: Box::new(source),
            },
        }
    };
    let config = match (&access.kubeconfig, &access.context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(refused)?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(refused)?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(refused)?,
        (None, None) => Config::infer()
            .await
            .map_err(|source| ConnectError::Nowhere(Box::new(source)))?,
    };
    of_config_with(config, role, access.retries, Requests::default())
}

/// Asks the server for its version: whether it is there, and knows us.
pub async fn reach(connection: &Connection) -> Result<(), ConnectError> {
    let server = || connection.server.clone();
    match timeout(ANSWER, connection.client.apiserver_version()).await {
        Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
            Err(ConnectError::Stranger { server: server() })
        }
        // Whatever it says else: it is there.
        Ok(Ok(_) | Err(kube::Error::Api(_))) => Ok(()),
        Ok(Err(source)) => Err(ConnectError::Unreachable {
            server: server(),
            source: Some(Box::new(source)),
        }),
        Err(_) => Err(ConnectError::Unreachable {
            server: server(),
            source: None,
        }),
    }
}

/// Sets up the connection of a configuration, whose requests are counted with others.
pub fn of_config(
    config: Config,
    role: &str,
    requests: Requests,
) -> Result<Connection, ConnectError> {
    of_config_with(config, role, false, requests)
}

fn of_config_with(
    mut config: Config,
    role: &str,
    retries: bool,
    requests: Requests,
) -> Result<Connection, ConnectError> {
    config.connect_timeout = Some(CONNECT);
    config.default_retry = retries;
    let agent = format!("weft-{role}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = http::HeaderValue::from_str(&agent) {
        config.headers.push((header::USER_AGENT, agent));
    }
    let (server, namespace) = (
        config.cluster_url.to_string(),
        config.default_namespace.clone(),
    );
    let builder = ClientBuilder::try_from(config).map_err(|source| ConnectError::Setup {
        server: server.clone(),
        source: Box::new(source),
    })?;
    let client = builder
        .with_layer(&MapResponseLayer::new(keep_retry_after))
        .with_layer(&Count(requests.clone()))
        .build();
    Ok(Connection {
        client,
        server,
        namespace,
        requests,
    })
}

/// The client library keeps a failed answer's body alone, and servers that throttle say in a header
/// when to come back: such an answer gets a body that says it too.
fn keep_retry_after(response: Response<Box<DynBody>>) -> Response<Box<DynBody>> {
    let code = response.status();
    if !code.is_server_error() && code != http::StatusCode::TOO_MANY_REQUESTS {
        return response;
    }
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok());
    let Some(seconds) = after.and_then(|after| after.trim().parse::<u32>().ok()) else {
        return response;
    };
    let status = serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code.as_u16(),
        "reason": "TooManyRequests",
        "message": format!("the server is overloaded ({code}), and asks to come back in {seconds} s"),
        "details": {"retryAfterSeconds": seconds},
    });
    let body = Full::new(Bytes::from(status.to_string()));
    let body = body.map_err(|never: std::convert::Infallible| match never {});
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_ENCODING);
    Response::from_parts(parts, Box::new(body))
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::api::{Api, DynamicObject};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::kubernetes::resource::api;
    use crate::kubernetes::write::Failure;

    /// What the answer of a server calls for.
    async fn failure(answer: &'static str) -> Failure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let connection = of_config(config, "test", Requests::default()).unwrap();
        let objects: Api<DynamicObject> = api(
            &connection.client,
            fabric::crd::CustomKind::Export,
            Some("shop"),
        );
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let (result, ()) = futures::join!(objects.get("a"), serve);
        Failure::of(&result.unwrap_err())
    }

    #[tokio::test]
    async fn a_server_says_in_a_header_when_to_come_back() {
        let throttled =
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nlate";
        let after = Some(Duration::from_secs(7));
        assert_eq!(failure(throttled).await, Failure::Throttled(after));
        let starting =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
        let after = Some(Duration::from_secs(1));
        assert_eq!(failure(starting).await, Failure::Throttled(after));
        let without = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nlate";
        assert_eq!(failure(without).await, Failure::Throttled(None));
        let broken = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(failure(broken).await, Failure::Unavailable);
    }
}
