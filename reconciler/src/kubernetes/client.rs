//! The connection to an API server.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// The server may take so long for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How an API server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; absent, `KUBECONFIG`, the usual file, and inside a cluster its own server.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; absent, the current one.
    pub context: Option<String>,
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
    /// There is neither a kubeconfig nor a cluster around.
    #[error("no cluster is configured: there is no kubeconfig, and this doesn't run in a cluster")]
    Nowhere(#[source] Box<kube::config::InferConfigError>),
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
    let refused = |source: KubeconfigError| ConnectError::Kubeconfig {
        path: access.kubeconfig.clone(),
        source: Box::new(source),
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
    of_config(config, role)
}

/// Sets up the connection of a configuration.
pub fn of_config(mut config: Config, role: &str) -> Result<Connection, ConnectError> {
    config.connect_timeout = Some(CONNECT);
    // Each request is made by a loop that retries as the kind of the failure asks for.
    config.default_retry = false;
    let agent = format!("weft-{role}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = http::HeaderValue::from_str(&agent) {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    let (server, namespace) = (
        config.cluster_url.to_string(),
        config.default_namespace.clone(),
    );
    let client = Client::try_from(config).map_err(|source| ConnectError::Setup {
        server: server.clone(),
        source: Box::new(source),
    })?;
    Ok(Connection {
        client,
        server,
        namespace,
    })
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
