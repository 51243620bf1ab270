//! Removes Weft from a cluster.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fabric::crd::CustomKind;
use fabric::mark;
use fabric::name::PeerName;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::deploy::SYSTEM;
use crate::cluster::{ClusterArgs, run_role};
use crate::failure::Hint as _;
use crate::install::{self, Place};
use crate::output::tell;

/// The namespace of the operator.
const OPERATOR: &str = "clusterlink-operator";
/// What is still there by then is held by somebody's finalizer, or by a namespace that can't end.
const GONE: Duration = Duration::from_secs(120);

/// Remove Weft from a cluster
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Delete {
    Peer(Peer),
}

/// Remove Weft from a cluster: all that was installed, and all that it made
///
/// The Services of Imports go too, in every namespace; Services of others stay. With the definitions
/// of our kinds go all objects of these kinds: where some were applied by hand, `--yes` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// The peer's name
    #[arg(long, value_name = "NAME")]
    name: PeerName,

    /// The namespace of the gateways
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM)]
    namespace: String,

    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete objects too that were applied by hand
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is to be deleted, in this order.
struct Removal<'a> {
    client: &'a Client,
    is_trial: bool,
    count: usize,
    /// What must be gone in the end, and the uid that it had.
    waits: Vec<(Place, Option<String>)>,
}

impl Delete {
    /// Removes.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let Self::Peer(peer) = self;
        run_role(peer.remove())
    }
}

impl Peer {
    async fn remove(self) -> anyhow::Result<()> {
        let connection = self.cluster.reach("delete").await?;
        let client = &connection.client;
        self.check_objects(client).await?;
        let mut removal = Removal {
            client,
            is_trial: self.dry_run,
            count: 0,
            waits: Vec::new(),
        };
        // First who would make it all anew: the operator, and everybody's access. Their processes still
        // run for a while.
        let of_weft = "app.kubernetes.io/part-of=weft";
        let of_operator = "app.kubernetes.io/managed-by=weft-operator";
        for kind in ["Deployment", "ClusterRoleBinding", "RoleBinding"] {
            removal.labelled(kind, of_weft).await?;
        }
        // The one of an installation without an operator.
        removal.labelled("Service", of_weft).await?;
        for kind in [
            "ClusterRoleBinding",
            "RoleBinding",
            "Deployment",
            "Service",
            "ServiceAccount",
        ] {
            removal.labelled(kind, of_operator).await?;
        }
        removal
            .labelled("Service", "clusterlink.net/import-name")
            .await?;
        let slices = "clusterlink.net/dataplane-endpointslice-name";
        removal.labelled("EndpointSlice", slices).await?;
        // Nobody is left who would finish what a finalizer waits for.
        let mut namespaces = BTreeSet::from([self.namespace.clone(), OPERATOR.to_owned()]);
        for instance in install::list(client, "Instance", "").await? {
            removal.release(&instance).await?;
            let namespace = instance.data["spec"]["namespace"].as_str();
            namespaces.extend(namespace.map(str::to_owned));
        }
        for kind in CustomKind::ALL {
            let name = format!("{}.{}", kind.plural(), kind.group());
            let object =
                json!({ "kind": "CustomResourceDefinition", "metadata": { "name": name } });
            removal.delete(Place::of(&object)?, None).await?;
        }
        for kind in ["ClusterRole", "ServiceAccount", "Secret"] {
            removal.labelled(kind, of_weft).await?;
        }
        for lease in ["weft-reconciler", "weft-operator"] {
            for namespace in &namespaces {
                let metadata = json!({ "name": lease, "namespace": namespace });
                let object = json!({ "kind": "Lease", "metadata": metadata });
                removal.delete(Place::of(&object)?, None).await?;
            }
        }
        removal.labelled("Namespace", of_weft).await?;
        let (count, waits) = (removal.count, std::mem::take(&mut removal.waits));
        if self.dry_run {
            tell!("{count} objects would be deleted");
            return Ok(());
        }
        wait_until_gone(client, &waits).await?;
        tell!(
            "removed the peer {} from {}: {count} objects",
            self.name,
            connection.server
        );
        Ok(())
    }

    /// Refuses to take objects away that people applied, unless that was said.
    async fn check_objects(&self, client: &Client) -> anyhow::Result<()> {
        let mut by_hand = Vec::new();
        for kind in CustomKind::ALL {
            let is_ours = kind.in_repository().is_none() || kind == CustomKind::Instance;
            if is_ours {
                continue;
            }
            for object in install::list(client, kind.as_str(), "").await? {
                let labels = object.metadata.labels.as_ref();
                if !labels.is_some_and(|labels| labels.contains_key(mark::SYNC)) {
                    let resource = reconciler::kubernetes::resource::resource(kind);
                    by_hand.push(Place::of_live(&resource, &object).to_string());
                }
            }
        }
        if by_hand.is_empty() || self.yes {
            return Ok(());
        }
        let count = by_hand.len();
        by_hand.truncate(10);
        let failed: anyhow::Result<()> = Err(anyhow::anyhow!(
            "{count} {} applied by hand and would go with the kinds: {}{}",
            if count == 1 {
                "object was"
            } else {
                "objects were"
            },
            by_hand.join(", "),
            if count > 10 { ", ..." } else { "" }
        ));
        failed.hint(|| "--yes deletes them too".to_owned())
    }
}

// === impl Removal ===

impl Removal<'_> {
    /// Deletes the objects of a kind that a label selects.
    async fn labelled(&mut self, kind: &str, label: &str) -> anyhow::Result<()> {
        let resource = install::resource(kind)?;
        for object in install::list(self.client, kind, label).await? {
            // Import Services that somebody else took over carry another manager's name.
            let labels = object.metadata.labels.as_ref();
            let manager = labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by"));
            let is_import = label.starts_with("clusterlink.net/import-name");
            if is_import && manager.map(String::as_str) != Some("clusterlink.net") {
                continue;
            }
            let place = Place::of_live(&resource, &object);
            self.delete(place, object.metadata.uid.as_deref()).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, place: Place, uid: Option<&str>) -> anyhow::Result<()> {
        if self.is_trial {
            let api = install::api(self.client, &place.resource, place.namespace.as_deref());
            if matches!(api.get_opt(&place.name).await, Ok(Some(_))) {
                self.count += 1;
                tell!("would delete {place}");
            }
            return Ok(());
        }
        if install::delete(self.client, &place, uid).await? {
            self.count += 1;
            tell!("deleted {place}");
            self.waits.push((place, uid.map(str::to_owned)));
        }
        Ok(())
    }

    /// Takes our finalizer from an Instance.
    async fn release(&self, instance: &DynamicObject) -> anyhow::Result<()> {
        let finalizers = instance.metadata.finalizers.iter().flatten();
        let rest: Vec<_> = finalizers
            .filter(|name| *name != reconciler::operator::FINALIZER)
            .collect();
        if self.is_trial || rest.len() == instance.metadata.finalizers.iter().flatten().count() {
            return Ok(());
        }
        let resource = install::resource("Instance")?;
        let place = Place::of_live(&resource, instance);
        let api = install::api(self.client, &resource, place.namespace.as_deref());
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": rest } }));
        api.patch(&place.name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("cannot release the {place}"))?;
        Ok(())
    }
}

async fn wait_until_gone(
    client: &Client,
    places: &[(Place, Option<String>)],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    for (place, uid) in places {
        let api = install::api(client, &place.resource, place.namespace.as_deref());
        loop {
            let found = api.get_opt(&place.name).await;
            let found = found.with_context(|| format!("cannot look for the {place}"))?;
            let Some(found) = found else { break };
            // A process that was about to end has made it anew.
            if uid.is_some()
                && found.metadata.uid != *uid
                && found.metadata.deletion_timestamp.is_none()
            {
                install::delete(client, place, found.metadata.uid.as_deref()).await?;
            }
            if begun.elapsed() > GONE {
                bail!(
                    "{place} is still there after {} s: something holds it",
                    GONE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
