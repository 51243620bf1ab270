//! Scenarios 5 to 10.

use weft_tests::cluster::{Cluster, ECHO_PORT, echo_service};
use weft_tests::installation::{GATEWAY, SYSTEM, external_service};
use weft_tests::namespace::isolated;
use weft_tests::wait::{holds, wait_for};

use super::common::{Fabric, USER, client, import, policy};

#[test]
fn test_import_conflicting_target_port() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        let client = client(cluster);
        cluster.apply(&import(USER, "imp1", 80, 1234, ""));
        wait_for_import(cluster, USER, "imp1", "True", "True");
        cluster.apply(&import(USER, "imp2", 80, 1234, ""));
        wait_for_import(cluster, USER, "imp2", "False", "False");
        assert!(cluster.find("service", USER, "imp2").is_none());
        cluster.apply(&import(USER, "imp2", 80, 1235, ""));
        wait_for_import(cluster, USER, "imp2", "True", "True");
        cluster.wait_for_cut(&client, "imp2", 80);
    });
}

#[test]
fn test_import_conflicting_service() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        let client = client(cluster);
        cluster.apply(&foreign_service(SYSTEM, "taken"));
        cluster.apply(&import(SYSTEM, "taken", 80, 0, ""));
        let is_valid = |status| {
            cluster.wait_for_condition("import", SYSTEM, "taken", "ImportServiceValid", status);
        };
        is_valid("False");
        // The labels hand it over.
        cluster.kubectl(&[
            "label",
            "service",
            "taken",
            "--namespace",
            SYSTEM,
            "app.kubernetes.io/managed-by=clusterlink.net",
            "clusterlink.net/import-name=taken",
            "clusterlink.net/import-namespace=clusterlink-system",
        ]);
        is_valid("True");
        cluster.wait_for_cut(&client, "taken.clusterlink-system", 80);

        let before = cluster.find("service", SYSTEM, "taken").unwrap();
        cluster.delete("service", SYSTEM, "taken");
        wait_for("the Service is there again", || {
            let service = cluster
                .find("service", SYSTEM, "taken")
                .ok_or("it isn't there")?;
            let is_new = service["metadata"]["uid"] != before["metadata"]["uid"];
            holds(is_new, || "it is still there".to_owned())
        });
        is_valid("True");
        cluster.wait_for_cut(&client, "taken.clusterlink-system", 80);

        set_owner(cluster, SYSTEM, "taken", "other");
        is_valid("False");
        set_owner(cluster, SYSTEM, "taken", "clusterlink.net");
        is_valid("True");
    });
}

#[test]
fn test_import_unprivileged_namespace() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        let client = client(cluster);
        // What the Import's Service in the system namespace is called is learnt from an Import.
        cluster.apply(&import(USER, "imp", 80, 0, ""));
        wait_for_import(cluster, USER, "imp", "True", "True");
        let service = cluster.find("service", USER, "imp").unwrap();
        let external = service["spec"]["externalName"].as_str().unwrap().to_owned();
        let system = external.split('.').next().unwrap().to_owned();
        assert_eq!(external, format!("{system}.{SYSTEM}.svc.cluster.local"));
        cluster.delete("import", USER, "imp");
        cluster.wait_for_presence("service", USER, "imp", false);
        cluster.wait_for_presence("service", SYSTEM, &system, false);

        cluster.apply(&foreign_service(SYSTEM, &system));
        cluster.apply(&import(USER, "imp", 80, 0, ""));
        let is_valid = |status| {
            cluster.wait_for_condition("import", USER, "imp", "ImportServiceValid", status);
        };
        is_valid("False");
        cluster.delete("service", SYSTEM, &system);
        is_valid("True");
        cluster.wait_for_cut(&client, "imp", 80);

        set_owner(cluster, USER, "imp", "other");
        is_valid("False");
        let patch = r#"{"spec": {"externalName": "wrong.default.svc.cluster.local"}}"#;
        cluster.kubectl(&["patch", "service", "imp", "-n", USER, "--patch", patch]);
        set_owner(cluster, USER, "imp", "clusterlink.net");
        is_valid("True");
        cluster.wait_for_cut(&client, "imp", 80);
        let service = cluster.find("service", USER, "imp").unwrap();
        assert_eq!(service["spec"]["externalName"], external);

        cluster.delete("import", USER, "imp");
        cluster.wait_for_presence("service", USER, "imp", false);
        cluster.wait_for_presence("service", SYSTEM, &system, false);
    });
}

#[test]
fn test_import_delete() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        cluster.apply(&import(USER, "imp1", 80, 1234, ""));
        wait_for_import(cluster, USER, "imp1", "True", "True");
        cluster.delete("import", USER, "imp1");
        cluster.wait_for_presence("service", USER, "imp1", false);
        cluster.apply(&import(USER, "imp2", 80, 1234, ""));
        wait_for_import(cluster, USER, "imp2", "True", "True");
        cluster.wait_for_presence("service", USER, "imp2", true);
    });
}

#[test]
fn test_import_invalid_name() {
    isolated(|| {
        let cluster = Cluster::start(1, "cl0");
        cluster.create_definitions();
        let named = |length| import(USER, &"a".repeat(length), 80, 0, "");
        let kubectl = cluster.kubectl_command();
        let refused = kubectl
            .try_run(&["apply", "-f", "-"], &named(64))
            .unwrap_err();
        assert!(refused.contains("63"), "{refused}");
        cluster.apply(&named(63));
    });
}

#[test]
fn test_import_merge() {
    isolated(|| {
        let fabric = Fabric::two();
        let [cl0, cl1] = fabric.pair();
        for cluster in [cl0, cl1] {
            cluster.apply(&policy(USER, "allow", "allow"));
        }
        // Merged into a Service of its own that has no endpoints.
        cl1.apply(&import(USER, "merged", 8080, 0, "cl0").replace(
            "labels: {env: test}",
            "labels: {env: test, import.clusterlink.net/merge: \"true\"}",
        ));
        cl1.wait_for_condition("import", USER, "merged", "ImportServiceValid", "False");
        cl1.apply(
            &echo_service(USER)
                .replace("name: http-echo", "name: merged")
                .replace("app: http-echo", "app: nobody"),
        );
        cl1.wait_for_condition("import", USER, "merged", "ImportServiceValid", "True");
        let client = client(cl1);
        cl1.wait_for_answer(&client, "merged", ECHO_PORT, "cl0");

        cl1.scale(SYSTEM, GATEWAY, 0);
        cl1.wait_for_no_access(&client, "merged", ECHO_PORT);
        cl1.scale(SYSTEM, GATEWAY, 1);
        cl1.wait_for_answer(&client, "merged", ECHO_PORT, "cl0");

        cl1.delete("service", SYSTEM, "clusterlink");
        cl1.wait_for_no_access(&client, "merged", ECHO_PORT);
        cl1.apply(&external_service());
        cl1.wait_for_answer(&client, "merged", ECHO_PORT, "cl0");

        cl1.kubectl(&[
            "label",
            "import",
            "merged",
            "-n",
            USER,
            "import.clusterlink.net/merge-",
        ]);
        cl1.wait_for_no_access(&client, "merged", ECHO_PORT);
    });
}

/// Waits for both conditions of an Import.
fn wait_for_import(cluster: &Cluster, namespace: &str, name: &str, port: &str, service: &str) {
    cluster.wait_for_condition("import", namespace, name, "ImportTargetPortValid", port);
    cluster.wait_for_condition("import", namespace, name, "ImportServiceValid", service);
}

fn set_owner(cluster: &Cluster, namespace: &str, name: &str, owner: &str) {
    let label = format!("app.kubernetes.io/managed-by={owner}");
    cluster.kubectl(&[
        "label",
        "--overwrite",
        "service",
        name,
        "-n",
        namespace,
        &label,
    ]);
}

fn foreign_service(namespace: &str, name: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  ports: [{{port: 8080}}]
"
    )
}
