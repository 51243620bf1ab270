//! What ClusterLink's users have in their files is taken as it stands.

use fabric::diagnostic::Effect;
use fabric::document::Limits;
use fabric::resource;
use weft_tests::api_server::ApiServer;

const SAMPLES: &str = include_str!("samples.yaml");

/// As `kubectl apply --validate=strict` is run by hand.
const APPLY: [&str; 4] = ["apply", "--validate=strict", "-f", "-"];

#[test]
fn what_clusterlinks_users_apply_is_taken_as_it_stands() {
    let server = ApiServer::start();
    let kubectl = server.kubectl();
    kubectl.run(&["create", "namespace", "clusterlink-operator"]);
    let said = kubectl.run_with(&APPLY, SAMPLES);
    assert_eq!(said.matches(" created\n").count(), 11, "{said}");
    let said = kubectl.run_with(&APPLY, SAMPLES);
    assert_eq!(said.matches(" unchanged\n").count(), 11, "{said}");

    // What was left out is what it is in ClusterLink.
    let import = ["import", "-n", "default", "iperf3-server"];
    assert_eq!(
        kubectl.find(&import).unwrap()["spec"]["lbScheme"],
        "round-robin"
    );
    let second = ["instance", "-n", "clusterlink-operator", "second"];
    let second = kubectl.find(&second).unwrap()["spec"].take();
    assert_eq!(second["dataplane"]["replicas"], 1);
    assert_eq!(second["tag"], "latest");

    // A repository takes them too.
    let file = resource::read(SAMPLES.as_bytes(), &Limits::default());
    assert_eq!(file.resources.len(), 11);
    let mistakes = file
        .findings
        .iter()
        .filter(|one| one.effect >= Effect::Fail);
    assert_eq!(
        mistakes.collect::<Vec<_>>(),
        Vec::<&fabric::diagnostic::Finding>::new()
    );
}
