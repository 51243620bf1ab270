//! A Secret to what a Git server wants to see.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fabric::api::FabricSyncSpec;
use k8s_openapi::ByteString;
use kube::config::{Kubeconfig, KubeconfigError};

use crate::git::{Address, Credentials, Reference, Remote, Secret, SshOptions};
use crate::kubernetes::client::{Connection, of_config};

/// Why a FabricSync names no repository that could be fetched: a matter of its author's.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("spec.repository: {0}")]
    Address(#[from] crate::git::AddressError),
    #[error("spec.ref: {0}")]
    Reference(#[from] crate::git::NoReference),
    #[error("the Secret {0} has `{1}` and no `{2}`")]
    Half(String, &'static str, &'static str),
    #[error("can't write the credentials to {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The keys of a Secret, as other tools name them.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const BEARER_TOKEN: &str = "bearerToken";
const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";
const CA: &str = "ca.crt";

/// The repository of a FabricSync, with the credentials of its Secret; files that programs need go to
/// `directory`.
pub(super) fn remote(
    spec: &FabricSyncSpec,
    secret: Option<&BTreeMap<String, ByteString>>,
    directory: &Path,
) -> Result<Remote, RemoteError> {
    let mut remote = Remote::new(spec.repository.parse::<Address>()?);
    if let Some(reference) = &spec.reference {
        remote = remote.with_reference(reference.parse::<Reference>()?);
    }
    let Some(secret) = secret else {
        return Ok(remote);
    };
    let name = spec
        .secret_ref
        .as_ref()
        .map_or_else(String::new, |secret| secret.name.clone());
    let text = |key: &str| {
        let bytes = &secret.get(key)?.0;
        // Editors and `echo` end the line.
        let text = String::from_utf8_lossy(bytes);
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    let file = |key: &str| -> Result<Option<PathBuf>, RemoteError> {
        let Some(bytes) = secret.get(key) else {
            return Ok(None);
        };
        let path = directory.join(key);
        write(&path, &bytes.0).map_err(|source| RemoteError::File {
            path: path.clone(),
            source,
        })?;
        Ok(Some(path))
    };
    match (text(USERNAME), text(PASSWORD), text(BEARER_TOKEN)) {
        (_, _, Some(token)) => {
            remote = remote.with_credentials(Credentials::Bearer(Secret::Value(token)));
        }
        (Some(username), Some(password), None) => {
            let password = Secret::Value(password);
            remote = remote.with_credentials(Credentials::Basic { username, password });
        }
        (Some(_), None, None) => return Err(RemoteError::Half(name, USERNAME, PASSWORD)),
        (None, Some(_), None) => return Err(RemoteError::Half(name, PASSWORD, USERNAME)),
        (None, None, None) => {}
    }
    if let Some(authorities) = file(CA)? {
        remote = remote.with_authorities(authorities);
    }
    Ok(remote.with_ssh(SshOptions {
        identity: file(IDENTITY)?,
        known_hosts: file(KNOWN_HOSTS)?,
        ..SshOptions::default()
    }))
}

/// Writes what only we may read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

/// A kubeconfig out of a Secret. What is wrong with its text isn't said: that would quote it, in a
/// status and in the log.
fn parse(kubeconfig: &[u8]) -> Result<Kubeconfig, String> {
    let text = String::from_utf8_lossy(kubeconfig);
    Kubeconfig::from_yaml(&text).map_err(|error| match error {
        KubeconfigError::Parse(_) => "the Secret's `kubeconfig` is no kubeconfig".to_owned(),
        error => error.to_string(),
    })
}

/// The connection of a kubeconfig out of a Secret.
pub(super) async fn other_cluster(
    kubeconfig: &[u8],
    hub: &Connection,
) -> Result<Connection, String> {
    let kubeconfig = parse(kubeconfig)?;
    let is_foreign = |user: &kube::config::NamedAuthInfo| {
        let info = user.auth_info.as_ref();
        info.is_some_and(|info| {
            info.exec.is_some()
                || info.auth_provider.is_some()
                || info.token_file.is_some()
                || info.client_certificate.is_some()
                || info.client_key.is_some()
        })
    };
    let names_file = |cluster: &kube::config::NamedCluster| {
        let cluster = cluster.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.certificate_authority.is_some())
    };
    if kubeconfig.auth_infos.iter().any(is_foreign) || kubeconfig.clusters.iter().any(names_file) {
        return Err("a kubeconfig from a Secret may start no program and name no file".to_owned());
    }
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| error.to_string())?;
    let mut connection =
        of_config(config, "reconciler", hub.requests.clone()).map_err(|error| error.to_string())?;
    if connection.namespace == "default" {
        // The context says nothing of it.
        "clusterlink-system".clone_into(&mut connection.namespace);
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_doesnt_quote_it() {
        for text in [
            "s3cret-token",
            "users: s3cret-token",
            "users: [{name: a, user: {token: [s3cret-token]}}]",
            "users: [{name: a, user: {token: s3cret-token}]",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
