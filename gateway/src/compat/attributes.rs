//! What `/authz` says: which service, and who asks for it.

use std::collections::BTreeMap;

use fabric::attributes::{Client, PeerAttributes};
use fabric::name::ObjectName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const NAMESPACE: &str = "client.clusterlink.net/namespace";
const SERVICE_ACCOUNT: &str = "client.clusterlink.net/service-account";
const LABELS: &str = "client.clusterlink.net/labels.";
const PEER_NAME: &str = "peer.clusterlink.net/name";
const PEER_LABELS: &str = "peer.clusterlink.net/labels.";

/// The body of `POST /authz`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Authorization {
    service_name: String,
    service_namespace: String,
    /// Go writes a map that isn't there as null.
    src_attributes: Option<BTreeMap<String, String>>,
}

// === impl Authorization ===

impl Authorization {
    /// What a client's connection to an export asks for.
    ///
    /// Nothing at all is said of a client that isn't known, as ClusterLink does: then the other side
    /// denies where any of its policies looks at who asks.
    pub(super) fn new(export: &ObjectName, client: Option<&Client>, own: &PeerAttributes) -> Self {
        let mut attributes = BTreeMap::new();
        if let Some(client) = client {
            let mut say = |key: String, value: &str| attributes.insert(key, value.to_owned());
            say(NAMESPACE.to_owned(), &client.namespace);
            say(SERVICE_ACCOUNT.to_owned(), &client.service_account);
            for (key, value) in &client.labels {
                say(format!("{LABELS}{key}"), value);
            }
            say(PEER_NAME.to_owned(), own.name.as_str());
            for (key, value) in &own.labels {
                say(format!("{PEER_LABELS}{key}"), value);
            }
        }
        Self {
            service_name: export.name().to_owned(),
            service_namespace: export.namespace().to_owned(),
            src_attributes: Some(attributes),
        }
    }

    /// What a body says; none where it says nothing.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        // By itself, the type would take a list, too.
        let object: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
        serde_json::from_value(Value::Object(object)).ok()
    }

    /// The export that is asked for; none where it is no name of one.
    pub(super) fn export(&self) -> Option<ObjectName> {
        ObjectName::new(&self.service_namespace, &self.service_name).ok()
    }

    /// The export as it was asked for, for people.
    pub(super) fn asked(&self) -> String {
        let short = |text: &str| -> String {
            text.chars()
                .take(64)
                .flat_map(char::escape_default)
                .collect()
        };
        format!(
            "{}/{}",
            short(&self.service_namespace),
            short(&self.service_name)
        )
    }

    /// The client, where it is known.
    ///
    /// What is said of the peer isn't looked at: that comes from its certificate.
    pub(super) fn client(&self) -> Option<Client> {
        let attributes = self.src_attributes.as_ref()?;
        let labels = attributes
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(LABELS)?.to_owned(), value.clone())));
        Some(Client {
            // ClusterLink says both or nothing.
            namespace: attributes.get(NAMESPACE)?.clone(),
            service_account: attributes.get(SERVICE_ACCOUNT)?.clone(),
            labels: labels.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client() -> Client {
        Client {
            namespace: "shop".to_owned(),
            service_account: "till".to_owned(),
            labels: [("app.example/tier".to_owned(), "front".to_owned())].into(),
        }
    }

    #[test]
    fn row_87_attributes_have_clusterlinks_keys() {
        let own = PeerAttributes {
            name: "west".parse().unwrap(),
            labels: [("region".to_owned(), "eu".to_owned())].into(),
        };
        let export = "pay/ledger".parse().unwrap();
        let known = Authorization::new(&export, Some(&client()), &own);
        let expected = json!({
            "ServiceName": "ledger",
            "ServiceNamespace": "pay",
            "SrcAttributes": {
                "client.clusterlink.net/labels.app.example/tier": "front",
                "client.clusterlink.net/namespace": "shop",
                "client.clusterlink.net/service-account": "till",
                "peer.clusterlink.net/labels.region": "eu",
                "peer.clusterlink.net/name": "west",
            },
        });
        assert_eq!(serde_json::to_value(&known).unwrap(), expected);
        assert_eq!(known.client(), Some(client()));
        assert_eq!(known.export(), Some(export.clone()));
        let unknown = Authorization::new(&export, None, &own);
        assert_eq!(
            serde_json::to_value(&unknown).unwrap()["SrcAttributes"],
            json!({})
        );
        assert_eq!(unknown.client(), None);
    }

    #[test]
    fn a_client_is_known_whole_or_not_at_all() {
        for (attributes, known) in [
            (json!(null), false),
            (json!({}), false),
            (json!({"peer.clusterlink.net/name": "west"}), false),
            (json!({NAMESPACE: "shop"}), false),
            (json!({SERVICE_ACCOUNT: "till"}), false),
            (json!({NAMESPACE: "shop", SERVICE_ACCOUNT: "till"}), true),
        ] {
            let body = json!({"ServiceName": "x", "SrcAttributes": attributes, "More": 1});
            let read: Authorization = serde_json::from_value(body).unwrap();
            assert_eq!(read.client().is_some(), known, "{read:?}");
        }
        let odd: Authorization = serde_json::from_str(r#"{"ServiceName":"A b"}"#).unwrap();
        assert_eq!((odd.export(), odd.asked()), (None, "/A b".to_owned()));
    }
}
