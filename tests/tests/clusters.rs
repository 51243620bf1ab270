//! The harness's clusters do what they say.

use weft_tests::cluster::{Cluster, ECHO_PORT};
use weft_tests::namespace::isolated;

#[test]
fn pods_services_and_names_work() {
    isolated(|| {
        let clusters = [Cluster::start(1, "one"), Cluster::start(2, "two")];
        let [one, two] = &clusters;
        one.serve_echo("default");
        let client = one.client("default", "client", "default");
        one.wait_for_answer(&client, "http-echo", ECHO_PORT, "one");
        let missing = one.get(&client, "nothing", 80).unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);

        // A Pod of another cluster doesn't get there, but for what a node port lets in.
        let pod = one.node().pod("default", "http-echo").unwrap();
        let stranger = two.client("default", "client", "default");
        let at = std::net::SocketAddr::from((pod.address(), ECHO_PORT));
        let refused = stranger
            .network()
            .enter(|| std::net::TcpStream::connect(at));
        assert!(refused.is_err(), "{refused:?}");
        one.kubectl(&["patch", "service", "http-echo", "--patch", NODE_PORT]);
        let at = (one.address(), 30_080).into();
        weft_tests::wait::wait_for("the node port answers", || {
            let answer = stranger
                .network()
                .enter(|| weft_tests::network::http_get(at, "/"));
            answer
                .map(|answer| assert_eq!(answer.body, "one"))
                .map_err(|error| error.to_string())
        });

        // A namespace goes with what is in it.
        one.kubectl(&["create", "namespace", "other"]);
        one.serve_echo("other");
        one.kubectl(&["delete", "namespace", "other", "--timeout=50s"]);
        assert!(one.find("pod", "other", "http-echo").is_none());
    });
}

const NODE_PORT: &str =
    r#"{"spec": {"type": "NodePort", "ports": [{"port": 8080, "nodePort": 30080}]}}"#;
