//! Scenarios 3 and 4.

use weft_tests::namespace::isolated;

use super::common::{Fabric, USER, client, export, import, peer, peer_at, policy};

#[test]
fn test_export_host() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        cluster.kubectl(&["create", "namespace", "other"]);
        let host = "  host: http-echo.default.svc.cluster.local\n";
        cluster.apply(&export("other", "elsewhere", host));
        cluster.wait_for_condition("export", "other", "elsewhere", "ExportValid", "True");
        // A peer of itself.
        cluster.apply(&peer(cluster));
        let import = import("other", "here", 80, 0, "cl0");
        cluster.apply(&import.replace(
            "exportName: http-echo, exportNamespace: default",
            "exportName: elsewhere, exportNamespace: other",
        ));
        cluster.apply(&policy("other", "allow", "allow"));
        let client = cluster.client("other", "client", "default");
        cluster.wait_for_answer(&client, "here", 80, "cl0");
    });
}

#[test]
fn test_export_service_not_exist() {
    isolated(|| {
        let fabric = Fabric::new(2);
        let [cl0, cl1] = fabric.pair();
        cl0.delete("service", USER, "http-echo");
        cl0.apply(&export(USER, "http-echo", ""));
        cl0.wait_for_condition("export", USER, "http-echo", "ExportValid", "False");
        cl0.apply(&policy(USER, "allow", "allow"));
        cl1.apply(&peer(cl0));
        cl0.apply(&peer_at("cl1", &[]));
        cl1.apply(&import(USER, "imported", 80, 0, "cl0"));
        cl1.apply(&policy(USER, "allow", "allow"));
        let client = client(cl1);
        cl1.wait_for_cut(&client, "imported", 80);

        cl0.apply(&weft_tests::cluster::echo_service(USER));
        cl0.wait_for_condition("export", USER, "http-echo", "ExportValid", "True");
        cl1.wait_for_answer(&client, "imported", 80, "cl0");

        cl0.delete("service", USER, "http-echo");
        cl0.wait_for_condition("export", USER, "http-echo", "ExportValid", "False");
        cl1.wait_for_cut(&client, "imported", 80);
    });
}
