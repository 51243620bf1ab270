//! What the server says of objects that it isn't to keep.

use std::path::Path;
use std::sync::{Arc, Weak};

use fabric::crd::CustomKind;
use futures::StreamExt as _;
use futures::stream;
use http::{Request, StatusCode};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::Value;
use weft_tests::api_server::ApiServer;

/// Dry runs that are under way at once; a server of two cores gains nothing by more.
const AT_ONCE: usize = 8;

/// What the server says of an object: as it would store it, or why it refuses it.
pub(crate) type Verdict = Result<Value, String>;

/// A server with the namespaces of the corpus, shared by the tests that keep nothing in it; it ends
/// with the last of them.
pub(crate) fn shared() -> Arc<ApiServer> {
    static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(ApiServer::start());
    server.kubectl().run(&["create", "namespace", "shop"]);
    *shared = Arc::downgrade(&server);
    server
}

/// The verdict over each object, under strict validation of fields.
pub(crate) fn judge(kubeconfig: &Path, objects: &[Value]) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        let verdicts = stream::iter(objects).map(|object| create(&client, object));
        verdicts.buffered(AT_ONCE).collect().await
    })
}

/// The kind that an object claims to be.
pub(crate) fn kind(object: &Value) -> Option<CustomKind> {
    let kind = object["kind"].as_str()?;
    CustomKind::ALL.into_iter().find(|one| one.as_str() == kind)
}

async fn create(client: &Client, object: &Value) -> Verdict {
    let kind = kind(object).expect("an object that goes to the server says its kind");
    let (group, version, plural) = (kind.group(), kind.version(), kind.plural());
    // As kubectl, which asks at the namespace that the object names.
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or("default");
    let folder = match kind.is_namespaced() {
        true => format!("namespaces/{namespace}/{plural}"),
        false => plural.to_owned(),
    };
    let path = format!("/apis/{group}/{version}/{folder}?dryRun=All&fieldValidation=Strict");
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(stored) => Ok(stored),
        Err(kube::Error::Api(status)) => {
            let is_about_the_object = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
            let is_refusal = is_about_the_object.iter().any(|code| *code == status.code);
            assert!(is_refusal, "{object}: {status:?}");
            Err(status.message)
        }
        Err(error) => panic!("{object}: {error}"),
    }
}
