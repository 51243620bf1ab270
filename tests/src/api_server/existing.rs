//! Clusters that exist: each context of the kubeconfig that `WEFT_TEST_KUBECONFIG` names is one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use parking_lot::Mutex;
use serde_json::Value;

use super::Kubectl;

/// A cluster that exists, taken by one test; it is swept before and after.
#[derive(Debug)]
pub(super) struct Existing {
    context: String,
    /// The address, as `host:port`.
    pub(super) address: String,
    kubectl: Kubectl,
}

/// The contexts that no test has now.
static FREE: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| {
    let config = read(&file().expect("asked for only where there is one"));
    let contexts = config["contexts"].as_array().cloned().unwrap_or_default();
    let names = contexts
        .iter()
        .filter_map(|context| context["name"].as_str());
    Mutex::new(names.map(str::to_owned).collect())
});

// === impl Existing ===

impl Existing {
    /// One that no other test has; none where the environment names no kubeconfig.
    ///
    /// The cluster's own kubeconfig is written into the folder.
    pub(super) fn take(directory: &Path) -> Option<Self> {
        let file = file()?;
        let context = FREE.lock().pop().expect(
            "WEFT_TEST_KUBECONFIG has a context for each cluster that the tests have at a time; \
             with --test-threads=1 these are two",
        );
        let mut config = read(&file);
        config["current-context"] = context.clone().into();
        let named = |list: &str, name: &Value| {
            let list = config[list].as_array()?;
            list.iter().find(|entry| entry["name"] == *name).cloned()
        };
        let found = named("contexts", &context.clone().into()).expect("the context is there");
        let cluster = named("clusters", &found["context"]["cluster"]).expect("its cluster");
        let user = named("users", &found["context"]["user"]).expect("its user");
        // What other parts of the harness look at is the only one.
        config["contexts"] = vec![found].into();
        config["clusters"] = vec![cluster.clone()].into();
        config["users"] = vec![user].into();
        let kubeconfig = directory.join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).expect("the folder is ours");
        let url = cluster["cluster"]["server"].as_str().unwrap_or_default();
        let address = url.trim_start_matches("https://").trim_end_matches('/');
        let existing = Self {
            context,
            address: address.to_owned(),
            kubectl: Kubectl {
                kubeconfig,
                home: directory.to_owned(),
            },
        };
        existing.sweep();
        Some(existing)
    }

    /// Removes whatever a test may have made.
    fn sweep(&self) {
        // Nobody is there who would let them go.
        let instances = ["get", "instances.clusterlink.net", "-A", "-o", "json"];
        if let Ok(list) = self.kubectl.try_run(&instances, "") {
            let list: Value = serde_json::from_str(&list).expect("kubectl prints JSON");
            for instance in list["items"].as_array().into_iter().flatten() {
                let text = |field: &str| instance["metadata"][field].as_str().unwrap_or_default();
                let patch = r#"{"metadata":{"finalizers":null}}"#;
                self.kubectl.run(&[
                    "patch",
                    "instances.clusterlink.net",
                    "-n",
                    text("namespace"),
                    text("name"),
                    "--type=merge",
                    "-p",
                    patch,
                ]);
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["deploy/base", "schemas/crds"] {
            let folder = root.join(folder).display().to_string();
            let delete = [
                "delete",
                "--ignore-not-found",
                "--timeout=120s",
                "-k",
                &folder,
            ];
            self.kubectl.run(&delete);
        }
        let namespaces = [
            "delete",
            "namespace",
            "--ignore-not-found",
            "--timeout=120s",
            "clusterlink-system",
            "clusterlink-operator",
            "shop",
        ];
        self.kubectl.run(&namespaces);
    }
}

impl Drop for Existing {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sweep();
        }
        FREE.lock().push(std::mem::take(&mut self.context));
    }
}

fn file() -> Option<PathBuf> {
    env::var_os("WEFT_TEST_KUBECONFIG").map(PathBuf::from)
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("can't read {}: {error}", file.display()));
    serde_yaml::from_str(&text).expect("the kubeconfig is YAML")
}
