//! What `weft operator` makes of an Instance, and of changes to it, with its own account's token.

use serde_json::{Value, json};
use weft_tests::api_proxy::ApiProxy;
use weft_tests::api_server::{ApiServer, Kubectl};
use weft_tests::role::{OPERATOR, Operator, SYSTEM};
use weft_tests::wait::{holds, wait_for};

use super::common::BASE;

/// An operator, and one Instance.
struct Stage {
    operator: Operator,
    proxy: ApiProxy,
    kubectl: Kubectl,
    _server: ApiServer,
}

// === impl Stage ===

impl Stage {
    /// With an Instance of this spec.
    fn new(spec: &Value) -> Self {
        let server = ApiServer::start_own();
        let kubectl = server.kubectl();
        kubectl.run(&["apply", "--server-side", "-k", BASE]);
        let account = server.kubeconfig_of(OPERATOR, "cl-operator-controller-manager");
        let proxy = ApiProxy::start(&server);
        let stage = Self {
            operator: Operator::start(&proxy.kubeconfig_as(&account)),
            proxy,
            kubectl,
            _server: server,
        };
        let instance = json!({
            "apiVersion": "clusterlink.net/v1alpha1",
            "kind": "Instance",
            "metadata": {"name": "cl-instance", "namespace": OPERATOR},
            "spec": spec,
        });
        stage.kubectl.apply(&instance.to_string());
        stage
    }

    /// Changes fields of the Instance's spec.
    fn change(&self, spec: &Value) {
        self.patch(
            "instance",
            "cl-instance",
            OPERATOR,
            &json!({ "spec": spec }),
            &[],
        );
    }

    fn patch(&self, kind: &str, name: &str, namespace: &str, patch: &Value, more: &[&str]) {
        let patch = patch.to_string();
        let arguments = [
            "patch",
            kind,
            name,
            "-n",
            namespace,
            "--type=merge",
            "-p",
            &patch,
        ];
        self.kubectl.run(&[&arguments[..], more].concat());
    }

    /// Says what a cloud or the controller of Deployments would.
    fn set_status(&self, kind: &str, name: &str, status: &Value) {
        self.patch(
            kind,
            name,
            SYSTEM,
            &json!({ "status": status }),
            &["--subresource=status"],
        );
    }

    /// Waits until the external Service is as wanted: its type, its port and node port, and the
    /// annotation `example.org/a`.
    fn wait_for_front(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("service", "clusterlink", SYSTEM, what, wanted)
    }

    fn wait_for_deployment(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        self.wait_for("deployment", name, SYSTEM, what, wanted);
    }

    fn wait_for_instance(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("instance", "cl-instance", OPERATOR, what, |instance| {
            wanted(&instance["status"])
        })
    }

    fn wait_for(
        &self,
        kind: &str,
        name: &str,
        namespace: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for(what, || {
            let found = self.kubectl.find(&[kind, name, "-n", namespace]);
            let found = found.ok_or("it isn't there")?;
            holds(wanted(&found), || found.to_string())?;
            Ok(found)
        })
    }

    /// Nothing was refused.
    fn end(mut self) {
        assert!(self.operator.process().is_running());
        let refused = self.proxy.count(|seen| seen.status == 403);
        assert_eq!(refused, 0);
    }
}

fn first_port(service: &Value) -> &Value {
    &service["spec"]["ports"][0]
}

/// What a condition of an Instance's status says.
fn says<'a>(status: &'a Value, part: &str, kind: &str) -> (&'a Value, &'a Value) {
    let condition = &status[part]["conditions"][kind];
    (&condition["status"], &condition["reason"])
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// Whether a container gets an option, and this value of it.
fn has_option(deployment: &Value, option: &str, value: &str) -> bool {
    let arguments = container(deployment)["args"].as_array().unwrap();
    arguments
        .windows(2)
        .any(|pair| pair[0] == option && pair[1] == value)
}

#[test]
fn the_external_service_follows_the_instance() {
    let stage = Stage::new(&json!({}));
    let annotation = |service: &Value| service["metadata"]["annotations"]["example.org/a"].clone();
    stage.wait_for_front("inside alone, unless something else is said", |service| {
        service["spec"]["type"] == "ClusterIP" && first_port(service)["port"] == 443
    });
    stage.change(&json!({"ingress": {
        "type": "LoadBalancer", "port": 8443, "annotations": {"example.org/a": "one"},
    }}));
    let service = stage.wait_for_front("port and annotation came later", |service| {
        first_port(service)["port"] == 8443 && annotation(service) == "one"
    });
    assert_eq!(
        service["spec"]["ports"].as_array().unwrap().len(),
        1,
        "{service:#}"
    );
    assert_eq!(first_port(&service)["targetPort"], 4443);

    // Somebody else's annotation stays; ours changes and goes.
    let foreign = json!({"metadata": {"annotations": {"cloud.example/id": "7"}}});
    stage.patch("service", "clusterlink", SYSTEM, &foreign, &[]);
    stage.change(&json!({"ingress": {"annotations": {"example.org/a": "two"}}}));
    stage.wait_for_front("another value", |service| annotation(service) == "two");
    stage.change(&json!({"ingress": {
        "type": "NodePort", "port": 30555, "annotations": null,
    }}));
    let service = stage.wait_for_front("a node port, and no annotation of ours", |service| {
        service["spec"]["type"] == "NodePort"
            && first_port(service)["nodePort"] == 30555
            && annotation(service).is_null()
    });
    assert_eq!(service["metadata"]["annotations"]["cloud.example/id"], "7");
    assert_eq!(
        service["spec"]["ports"].as_array().unwrap().len(),
        1,
        "{service:#}"
    );
    stage.wait_for_instance("the status says the node port", |status| {
        status["ingress"]["port"] == 30555 && says(status, "ingress", "ServiceReady").0 == "True"
    });
    stage.change(&json!({"ingress": {"port": 30556}}));
    stage.wait_for_front("another node port", |service| {
        first_port(service)["nodePort"] == 30556
    });
    stage.change(&json!({"ingress": {"type": "none", "port": null}}));
    let service = stage.wait_for_front("nothing outside", |service| {
        service["spec"]["type"] == "ClusterIP"
    });
    assert!(first_port(&service)["nodePort"].is_null(), "{service:#}");
    stage.end();
}

#[test]
fn a_load_balancer_is_ready_once_it_has_an_address_or_a_name() {
    let stage = Stage::new(&json!({"ingress": {"type": "LoadBalancer"}}));
    stage.wait_for_front("it is there", |_| true);
    stage.wait_for_instance("it waits for the cloud", |status| {
        says(status, "ingress", "ServiceReady") == (&json!("False"), &json!("ProgressingMode"))
    });
    let given = |given: Value| json!({"loadBalancer": {"ingress": [given]}});
    stage.set_status(
        "service",
        "clusterlink",
        &given(json!({"hostname": "lb.example.org"})),
    );
    let instance = stage.wait_for_instance("a name is enough", |status| {
        says(status, "ingress", "ServiceReady") == (&json!("True"), &json!("Ready"))
    });
    let ingress = &instance["status"]["ingress"];
    assert_eq!(ingress["hostname"], "lb.example.org");
    assert_eq!(ingress["port"], 443);
    assert!(ingress["ip"].is_null(), "{ingress:#}");
    stage.set_status(
        "service",
        "clusterlink",
        &given(json!({"hostname": null, "ip": "192.0.2.7"})),
    );
    stage.wait_for_instance("an address", |status| {
        status["ingress"]["ip"] == "192.0.2.7" && status["ingress"]["hostname"].is_null()
    });
    stage.set_status("service", "clusterlink", &json!({"loadBalancer": null}));
    stage.wait_for_instance("the cloud took it back", |status| {
        says(status, "ingress", "ServiceReady").0 == "False" && status["ingress"]["ip"].is_null()
    });
    stage.end();
}

#[test]
fn the_deployments_follow_the_instance() {
    let stage = Stage::new(&json!({
        "containerRegistry": "registry.example/acme/",
        "tag": "v1",
        "peerLabels": {"site": "a"},
    }));
    let both = ["cl-controlplane", "cl-dataplane"];
    let image = |deployment: &Value| container(deployment)["image"].clone();
    for name in both {
        stage.wait_for_deployment(name, "the image", |deployment| {
            image(deployment) == "registry.example/acme/weft:v1"
                && has_option(deployment, "--log", "info")
                && deployment["spec"]["replicas"] == 1
        });
    }
    stage.change(&json!({
        "containerRegistry": "elsewhere.example",
        "tag": "v2",
        "logLevel": "debug",
        "dataplane": {"replicas": 3},
        "peerLabels": {"site": null, "zone": "b"},
    }));
    for name in both {
        stage.wait_for_deployment(name, "another image and level", |deployment| {
            image(deployment) == "elsewhere.example/weft:v2"
                && has_option(deployment, "--log", "debug")
        });
    }
    stage.wait_for_deployment("cl-dataplane", "gateways and labels", |deployment| {
        deployment["spec"]["replicas"] == 3
            && has_option(deployment, "--peer-label", "zone=b")
            && !has_option(deployment, "--peer-label", "site=a")
    });
    stage.wait_for_deployment("cl-controlplane", "one of it", |deployment| {
        deployment["spec"]["replicas"] == 1
    });

    // Readiness is what the controller of Deployments says of this generation.
    let status = |generation: u64, ready: u64| {
        json!({
            "observedGeneration": generation, "replicas": 3, "updatedReplicas": ready,
            "readyReplicas": ready, "availableReplicas": ready,
        })
    };
    let ready = |status: &Value| says(status, "dataplane", "DeploymentReady").0.clone();
    let live = stage
        .kubectl
        .find(&["deployment", "cl-dataplane", "-n", SYSTEM]);
    let generation = live.unwrap()["metadata"]["generation"].as_u64().unwrap();
    stage.set_status("deployment", "cl-dataplane", &status(generation, 3));
    stage.wait_for_instance("all are ready", |status| ready(status) == "True");
    stage.set_status("deployment", "cl-dataplane", &status(generation, 2));
    stage.wait_for_instance("one is lost", |status| ready(status) == "False");
    stage.set_status("deployment", "cl-dataplane", &status(generation, 3));
    stage.wait_for_instance("all are ready again", |status| ready(status) == "True");
    stage.change(&json!({"tag": "v3"}));
    stage.wait_for_instance("the new ones aren't known to be ready", |status| {
        ready(status) == "False"
    });
    stage.end();
}

#[test]
fn what_somebody_changed_or_deleted_comes_back() {
    let stage = Stage::new(&json!({"ingress": {"type": "NodePort", "port": 30557}}));
    stage.wait_for_front("it is there", |_| true);
    stage.wait_for_deployment("cl-dataplane", "it is there", |_| true);
    let generation = |object: &Value| object["metadata"]["generation"].as_u64().unwrap();
    let kubectl = &stage.kubectl;
    let deployment = |name: &str| kubectl.find(&["deployment", name, "-n", SYSTEM]).unwrap();
    let spec = deployment("cl-dataplane")["spec"].clone();
    let changes = [
        json!({"spec": {"replicas": 0}}),
        json!({"spec": {"template": {"spec": {"serviceAccountName": "default"}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "weft", "image": "evil"}]}}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
    ];
    for change in changes {
        let before = generation(&deployment("cl-dataplane"));
        stage.patch("deployment", "cl-dataplane", SYSTEM, &change, &[]);
        stage.wait_for_deployment(
            "cl-dataplane",
            &format!("it is as before {change}"),
            |live| {
                live["spec"] == spec
                    && live["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "weft-operator"
                    && (generation(live) > before || change["spec"].is_null())
            },
        );
    }
    let services = [
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 443, "nodePort": null}]}}),
        json!({"spec": {"selector": {"app": "another"}}}),
        json!({"spec": {"ports": [{"name": "https", "port": 443, "targetPort": 22, "nodePort": 30557}]}}),
    ];
    for change in services {
        stage.patch("service", "clusterlink", SYSTEM, &change, &[]);
        stage.wait_for_front(&format!("it is as before {change}"), |service| {
            service["spec"]["type"] == "NodePort"
                && service["spec"]["selector"] == json!({"app": "cl-dataplane"})
                && service["spec"]["ports"].as_array().unwrap().len() == 1
                && first_port(service)["nodePort"] == 30557
                && first_port(service)["targetPort"] == 4443
        });
    }
    let objects = [
        ("deployment", "cl-controlplane"),
        ("deployment", "cl-dataplane"),
        ("service", "clusterlink"),
        ("serviceaccount", "cl-dataplane"),
        ("rolebinding", "cl-controlplane"),
    ];
    for (kind, name) in objects {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let before = uid(&kubectl.find(&[kind, name, "-n", SYSTEM]).unwrap());
        kubectl.run(&["delete", kind, name, "-n", SYSTEM]);
        stage.wait_for(
            kind,
            name,
            SYSTEM,
            &format!("{kind} {name} is there again"),
            |live| uid(live) != before,
        );
    }
    kubectl.run(&[
        "delete",
        "clusterrolebinding",
        "clusterlink-system:cl-dataplane",
    ]);
    kubectl.wait_until(
        &["clusterrolebinding", "clusterlink-system:cl-dataplane"],
        |_| true,
    );
    // Then there is nothing to do, and nothing is done.
    stage.wait_for_instance("it is known", |status| !status["ingress"].is_null());
    stage.end();
}
