//! The objects of an installation.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fabric::api::{Dataplane, Ingress, InstanceSpec};
use serde_json::{Value, json};

use super::SYSTEM;
use super::options::Options;
use crate::certificate::folder::{CERTIFICATE, KEY};
use crate::command::create::peer_folder;
use crate::failure::Hint as _;
use crate::install;

/// The largest certificate or key file.
const MAX_FILE: u64 = 256 * 1024;

/// The objects of an installation.
#[derive(Debug)]
pub(super) struct Installation {
    /// The folder with the peer's certificate.
    pub(super) folder: PathBuf,
    /// Namespaces, roles, the operator.
    pub(super) base: Vec<Value>,
    /// The peer's certificate and the CA's.
    pub(super) secrets: Vec<Value>,
    /// The Instance.
    pub(super) instance: Value,
    /// The FabricSync, where the cluster is to keep to a repository.
    pub(super) sync: Option<Value>,
    spec: InstanceSpec,
    controlplane_replicas: u32,
}

// === impl Installation ===

impl Installation {
    /// All that the options ask for, with the certificate that lies where they say.
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        options.check()?;
        let folder = match &options.certs {
            Some(folder) => folder.clone(),
            None => peer_folder(&options.path, options.fabric.as_deref(), &options.name)?,
        };
        let spec = InstanceSpec {
            dataplane: Dataplane {
                kind: options.dataplane,
                replicas: options.dataplane_replicas,
            },
            ingress: Ingress {
                kind: options.ingress,
                port: options.ingress_port,
                annotations: options.ingress_annotations.iter().cloned().collect(),
            },
            log_level: options.log_level,
            container_registry: options.container_registry.clone(),
            tag: options.tag.clone(),
            namespace: options.namespace.clone(),
            peer_labels: options.label.iter().cloned().collect(),
        };
        let mut base = install::base()?;
        if options.namespace != SYSTEM {
            base.retain(|object| object["metadata"]["name"] != SYSTEM);
        }
        let registry = options.container_registry.trim_end_matches('/');
        for object in base
            .iter_mut()
            .filter(|object| object["kind"] == "Deployment")
        {
            let image = format!("{registry}/weft:{}", options.tag);
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        }
        Ok(Self {
            secrets: secrets(&folder, &options.namespace, &options.name)?,
            folder,
            base,
            instance: json!({
                "apiVersion": "clusterlink.net/v1alpha1",
                "kind": "Instance",
                "metadata": { "name": "cl-instance", "namespace": "clusterlink-operator" },
                "spec": spec,
            }),
            sync: options.repo.as_ref().map(|repo| {
                let mut sync = json!({
                    "apiVersion": "weft.dev/v1alpha1",
                    "kind": "FabricSync",
                    "metadata": { "name": "weft", "namespace": options.namespace },
                    "spec": {
                        "peer": options.name,
                        "repository": repo,
                        "ref": options.reference,
                        "interval": options.interval,
                    },
                });
                if options.git_secret {
                    sync["spec"]["secretRef"] = json!({ "name": "weft-git" });
                }
                sync
            }),
            spec,
            controlplane_replicas: options.controlplane_replicas,
        })
    }

    /// Everything, in the order in which it is applied.
    pub(super) fn all(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = install::definitions()?;
        objects.extend(self.base.iter().cloned());
        objects.extend(self.secrets.iter().cloned());
        objects.extend(self.sync.clone());
        objects.push(self.instance.clone());
        Ok(objects)
    }

    /// Everything, with the keys masked.
    pub(super) fn masked(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = self.all()?;
        for object in &mut objects {
            if let Some(Value::Object(data)) = object.get_mut("stringData") {
                for (key, value) in data.iter_mut() {
                    if key.contains("key") {
                        *value = json!("(masked)");
                    }
                }
            }
        }
        Ok(objects)
    }

    /// Everything without an operator: what it would make of the Instance instead.
    pub(super) fn without_operator(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = install::definitions()?;
        let is_needed = |object: &&Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            !name.starts_with("cl-operator") && name != "clusterlink-operator"
        };
        objects.extend(self.base.iter().filter(is_needed).cloned());
        objects.extend(self.secrets.iter().cloned());
        objects.extend(
            reconciler::operator::objects(&self.spec)
                .into_iter()
                .map(|mut object| {
                    if object["kind"] == "Deployment"
                        && object["metadata"]["name"] == "cl-controlplane"
                    {
                        object["spec"]["replicas"] = json!(self.controlplane_replicas);
                    }
                    object
                }),
        );
        objects.extend(self.sync.clone());
        Ok(objects)
    }
}

fn secrets(
    folder: &Path,
    namespace: &str,
    peer: &fabric::name::PeerName,
) -> anyhow::Result<Vec<Value>> {
    let read = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        read_bounded(&path)
            .with_context(|| format!("cannot read {}", path.display()))
            .hint(|| format!("`weft create peer-cert --name {peer}` makes it"))
    };
    let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
    let file = fabric::identity::read(certificate.as_bytes());
    let leaf = file.certificates.iter().find(|facts| !facts.is_authority);
    let leaf = leaf.with_context(|| {
        format!(
            "certificate is not in PEM format: {}",
            folder.join(CERTIFICATE).display()
        )
    })?;
    if !leaf.proves(peer) {
        anyhow::bail!(
            "the certificate {} is of {}, not of the peer {peer}",
            folder.join(CERTIFICATE).display(),
            leaf.dns_names.join(", ")
        );
    }
    // The peer's certificate comes with its CA's behind it.
    let authorities = authorities(&certificate);
    let authorities = match authorities.is_empty() {
        false => authorities,
        true => {
            let path = folder.join("..").join(CERTIFICATE);
            read_bounded(&path)
                .with_context(|| format!("cannot read the CA's certificate {}", path.display()))?
        }
    };
    let secret = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": { "app.kubernetes.io/part-of": "weft" },
            },
            "stringData": data,
        })
    };
    Ok(vec![
        secret("cl-ca", json!({ "ca": authorities })),
        secret(
            "cl-peer",
            json!({ "cert.pem": certificate, "key.pem": key, "ca.pem": authorities }),
        ),
    ])
}

/// The certificates of authorities in a PEM file.
fn authorities(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let blocks = text
        .split(BEGIN)
        .skip(1)
        .map(|block| format!("{BEGIN}{block}"));
    blocks
        .filter(|block| {
            let file = fabric::identity::read(block.as_bytes());
            file.certificates.iter().any(|facts| facts.is_authority)
        })
        .collect()
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}
