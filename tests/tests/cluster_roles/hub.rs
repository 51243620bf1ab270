//! A hub and its rights, here and in another cluster.

use std::fs;

use serde_json::json;
use weft_tests::api_proxy::ApiProxy;
use weft_tests::api_server::{ApiServer, Kubectl, has_condition};
use weft_tests::certificates::Authority;
use weft_tests::repository::FabricRepository;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::yaml;

use super::stage::SHOP;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base");

/// A cluster with the base, in which an account has the reconciler's roles.
fn cluster(account: &str) -> (ApiServer, Kubectl, ApiProxy) {
    let server = ApiServer::start_own();
    let kubectl = server.kubectl();
    kubectl.run(&["apply", "--server-side", "-k", BASE]);
    kubectl.run(&["create", "namespace", SHOP]);
    kubectl.run(&["create", "serviceaccount", account, "-n", SYSTEM]);
    let subject = format!("--serviceaccount={SYSTEM}:{account}");
    let everywhere = "--clusterrole=cl-controlplane";
    kubectl.run(&[
        "create",
        "clusterrolebinding",
        account,
        everywhere,
        &subject,
    ]);
    let own = "--clusterrole=cl-controlplane-system";
    kubectl.run(&[
        "create",
        "rolebinding",
        account,
        own,
        &subject,
        "-n",
        SYSTEM,
    ]);
    let proxy = ApiProxy::start(&server);
    (server, kubectl, proxy)
}

/// Gives an account more in the system namespace, in the words of the documentation.
fn give(kubectl: &Kubectl, account: &str, verbs: &str, resource: &str, name: &str) {
    let role = [
        "create",
        "role",
        name,
        "-n",
        SYSTEM,
        "--verb",
        verbs,
        "--resource",
        resource,
        "--resource-name",
        name,
    ];
    kubectl.run(&role);
    let (role, subject) = (
        format!("--role={name}"),
        format!("--serviceaccount={SYSTEM}:{account}"),
    );
    kubectl.run(&["create", "rolebinding", name, &role, &subject, "-n", SYSTEM]);
}

#[test]
fn a_hub_needs_what_the_documentation_says_and_no_more() {
    let (hub, here, hub_proxy) = cluster("cl-controlplane");
    give(
        &here,
        "cl-controlplane",
        "get,list,watch",
        "secrets",
        "east-kubeconfig",
    );
    let (member, there, member_proxy) = cluster("hub");
    give(&there, "hub", "get,update", "leases", "weft-hub");

    let repository = FabricRepository::new();
    repository.write("fabric.yaml", yaml::fabric());
    repository.write("ca/test.pem", Authority::new("test").pem());
    for peer in ["east", "west"] {
        let path = format!("peers/{peer}/peer.yaml");
        repository.write(&path, yaml::peer(peer, "192.0.2.1:4443".parse().unwrap()));
    }
    let export = |port: u16| yaml::export(SHOP, "ledger", ([127, 0, 0, 1], port).into());
    repository.write("peers/west/export.yaml", export(8000));
    repository.write("peers/east/export.yaml", export(8000));
    let import = yaml::import(SHOP, "books", 80, "west");
    let import = import.replace("exportName: books", "exportName: ledger");
    repository.write("peers/east/import.yaml", import);
    repository.write(
        "peers/east/policy.yaml",
        yaml::policy(SHOP, "allow", "allow"),
    );
    repository.commit("Begin");
    let account = member.kubeconfig_of(SYSTEM, "hub");
    let kubeconfig = fs::read_to_string(member_proxy.kubeconfig_as(&account)).unwrap();
    let objects = [
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "east-kubeconfig", "namespace": SYSTEM},
            "stringData": {"kubeconfig": kubeconfig},
        }),
        json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "FabricSync",
            "metadata": {"name": "east", "namespace": SYSTEM},
            "spec": {
                "peer": "east",
                "repository": repository.url(),
                "interval": "1s",
                "kubeconfigSecretRef": {"name": "east-kubeconfig"},
            },
        }),
    ];
    for object in objects {
        here.apply(&object.to_string());
    }
    let account = hub.kubeconfig_of(SYSTEM, "cl-controlplane");
    let account = hub_proxy.kubeconfig_as(&account);
    let arguments = ["--hub", "--lease-duration", "2s"];
    let mut reconciler = Reconciler::start("hub", &account, &arguments);
    let in_force = |commit: &str| {
        here.wait_until(&["fabricsync", "east", "-n", SYSTEM], |sync| {
            sync["status"]["revision"] == commit && has_condition(sync, "Ready", "True")
        });
    };
    in_force(&repository.head());
    there.wait_until(&["service", "books", "-n", SHOP], |_| true);
    there.run(&["delete", "export", "ledger", "-n", SHOP]);
    there.wait_until(&["export", "ledger", "-n", SHOP], |_| true);
    repository.write("peers/east/export.yaml", export(8001));
    repository.remove("peers/east/policy.yaml");
    in_force(&repository.commit("Change one, and take one away"));
    there.wait_until_gone(&["accesspolicy", "allow", "-n", SHOP]);
    let secrets = hub_proxy.count(|seen| seen.path.ends_with("/secrets"));
    assert_ne!(secrets, 0, "it went by another way");
    let leases = member_proxy.count(|seen| seen.path.ends_with("/leases/weft-hub"));
    assert_ne!(leases, 0, "it went by another way");
    for (name, proxy) in [("here", &hub_proxy), ("there", &member_proxy)] {
        let mut refused = proxy.requests();
        refused.retain(|seen| [401, 403].contains(&seen.status));
        assert!(refused.is_empty(), "{name}: {refused:#?}");
    }
    assert!(reconciler.process().is_running());
}
