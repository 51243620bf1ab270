//! What the commands say, on success and on failing.

use std::fs;

use serde_json::json;
use weft_tests::api_server::ApiServer;
use weft_tests::network::Loopback;
use weft_tests::role::{OPERATOR, SYSTEM};

use super::common::{certificates, run, told};

#[test]
fn progress_and_what_to_do_next() {
    let server = ApiServer::bare();
    let folder = certificates(&["east"]);
    let folder = folder.path();
    let weft = |arguments: &[&str]| {
        let output = run(folder, &server.kubeconfig(), arguments);
        assert_eq!(output.stdout, b"", "what it says is no result");
        told(folder, &output)
    };
    let trial = weft(&["deploy", "peer", "--name", "east", "--dry-run=server"]);
    insta::assert_snapshot!("deploy_tried_at_the_server", trial);
    assert_eq!(server.kubectl().run(&["get", "crds", "-o", "name"]), "");

    let deploy = ["deploy", "peer", "--name", "east", "--ingress", "NodePort"];
    let first = weft(&deploy);
    insta::assert_snapshot!("deploy", first);
    // The same again, for what is there already.
    assert_eq!(weft(&deploy), first);
    let repo = ["--repo", "https://git.example.com/acme.git", "--git-secret"];
    let next = weft(&[&deploy[..], &repo].concat());
    let next: Vec<_> = next.lines().filter(|line| !first.contains(line)).collect();
    insta::assert_snapshot!("deploy_of_a_repository_adds", next.join("\n"));
    let operator = weft(&["deploy", "peer", "--name", "east", "--start", "operator"]);
    let operator: Vec<_> = operator
        .lines()
        .filter(|line| !first.contains(line))
        .collect();
    insta::assert_snapshot!("deploy_of_the_operator_alone", operator.join("\n"));
    let none = ["deploy", "peer", "--name", "east", "--start", "none"];
    let file = weft(&[&none[..], &repo].concat());
    insta::assert_snapshot!("deploy_of_a_file", file);
    // Where it is installed, all of it can be tried.
    let again = weft(&[&deploy[..], &["--dry-run=server"]].concat());
    assert!(!again.contains("can't be tried"), "{again}");
    assert_eq!(
        again.matches("would apply ").count(),
        first.matches("applied ").count()
    );
    let removal = weft(&["delete", "peer", "--name", "east", "--dry-run"]);
    insta::assert_snapshot!("delete_tried", removal);

    // What people applied isn't taken away unasked.
    server.kubectl().run(&["create", "namespace", "shop"]);
    let export = weft_tests::yaml::export("shop", "ledger", ([10, 0, 0, 1], 80).into());
    server.kubectl().apply(&export);
    let removal = weft(&["delete", "peer", "--name", "east"]);
    insta::assert_snapshot!("delete_of_what_people_applied", removal);
    let export = server.kubectl().find(&["export", "ledger", "-n", "shop"]);
    assert!(export.is_some());
}

#[test]
fn a_cluster_that_cant_be_had_is_told() {
    let folder = certificates(&["east"]);
    let folder = folder.path();
    let away = Loopback::take();
    let config = |server: &str, user: serde_json::Value| {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "current-context": "c",
        });
        let file = folder.join("kubeconfig");
        fs::write(&file, config.to_string()).unwrap();
        file
    };
    let away = config(&format!("https://{}", away.at(6443)), json!({}));
    let missing = folder.join("missing");
    let mut all = String::new();
    for (kubeconfig, arguments) in [
        (&away, &["deploy", "peer", "--name", "east"][..]),
        (
            &away,
            &["deploy", "peer", "--name", "east", "--dry-run=server"],
        ),
        (&away, &["delete", "peer", "--name", "east"]),
        (
            &away,
            &["deploy", "peer", "--name", "east", "--context", "other"],
        ),
        (
            &away,
            &["delete", "peer", "--name", "east", "--context", "other"],
        ),
        (&missing, &["deploy", "peer", "--name", "east"]),
        (
            &missing,
            &[
                "deploy",
                "peer",
                "--name",
                "east",
                "--kubeconfig",
                "nowhere",
            ],
        ),
    ] {
        let output = run(folder, kubeconfig, arguments);
        all += &format!(
            "$ weft {}\n{}\n\n",
            arguments.join(" "),
            told(folder, &output)
        );
    }
    insta::assert_snapshot!("no_cluster", all);

    // A server that doesn't know us.
    let server = ApiServer::bare();
    let text = fs::read_to_string(server.kubeconfig()).unwrap();
    let mut stranger: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    stranger["users"][0]["user"] = json!({"token": "nonsense"});
    let file = folder.join("stranger");
    fs::write(&file, stranger.to_string()).unwrap();
    let output = run(folder, &file, &["deploy", "peer", "--name", "east"]);
    insta::assert_snapshot!("a_stranger", told(folder, &output));
    // One that knows us, and lets us do nothing.
    server.create_definitions();
    server.kubectl().run(&["create", "namespace", SYSTEM]);
    server
        .kubectl()
        .run(&["create", "serviceaccount", "nobody", "-n", SYSTEM]);
    let nobody = server.kubeconfig_of(SYSTEM, "nobody");
    let mut both = String::new();
    for command in ["deploy", "delete"] {
        let output = run(folder, &nobody, &[command, "peer", "--name", "east"]);
        both += &format!("{}\n\n", told(folder, &output));
    }
    insta::assert_snapshot!("nobody", both);
}

#[test]
fn a_namespace_of_another_instance_is_left_to_it() {
    let server = ApiServer::start_own();
    let kubectl = server.kubectl();
    let folder = certificates(&["east"]);
    let folder = folder.path();
    let deploy = |more: &[&str]| {
        let arguments = [&["deploy", "peer", "--name", "east"], more].concat();
        run(folder, &server.kubeconfig(), &arguments)
    };
    kubectl.run(&["create", "namespace", "teams"]);
    let instance = |name: &str, namespace: &str| {
        json!({
            "apiVersion": "clusterlink.net/v1alpha1",
            "kind": "Instance",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"namespace": SYSTEM},
        })
        .to_string()
    };
    kubectl.apply(&instance("theirs", "teams"));
    let refused = deploy(&[]);
    let nothing = kubectl.run(&["get", "deployments", "-A", "-o", "name"]);
    assert_eq!(nothing, "", "it ended before it began");
    // Where it belongs to nobody, it is deployed, and stays there.
    kubectl.run(&["delete", "instance", "theirs", "-n", "teams"]);
    let first = deploy(&[]);
    assert!(first.status.success(), "{}", told(folder, &first));
    let elsewhere = deploy(&["--namespace", "teams"]);
    let own = kubectl.find(&["instance", "cl-instance", "-n", OPERATOR]);
    assert_eq!(own.unwrap()["spec"]["namespace"], SYSTEM);
    // One that came later is no reason not to bring ours to another version.
    kubectl.apply(&instance("a-later-one", "teams"));
    let again = deploy(&["--tag", "v2"]);
    assert!(again.status.success(), "{}", told(folder, &again));
    let absent = deploy(&["--namespace", "nowhere"]);
    let told = [refused, elsewhere, absent].map(|output| told(folder, &output));
    insta::assert_snapshot!("other_namespaces", told.join("\n\n"));
}

#[test]
fn wrong_flags_are_told() {
    let folder = certificates(&["east"]);
    let folder = folder.path();
    // None of these gets as far as a cluster.
    let nowhere = folder.join("nowhere");
    fs::create_dir(folder.join("others")).unwrap();
    let pair = folder.join("default_fabric/east");
    for file in ["cert.pem", "key.pem"] {
        fs::copy(pair.join(file), folder.join("others").join(file)).unwrap();
    }
    let mut all = String::new();
    for line in [
        "deploy peer",
        "deploy peer --name East",
        "deploy peer --name west",
        "deploy peer --name west --certs others",
        "deploy peer --name east --ingress LB",
        "deploy peer --name east --ingress NodePort --ingress-port 80",
        "deploy peer --name east --ingress-port 70000",
        "deploy peer --name east --ingress-annotations nothing",
        "deploy peer --name east --label a=b/c",
        "deploy peer --name east --dataplane-replicas 11",
        "deploy peer --name east --dataplane other",
        "deploy peer --name east --log-level loud",
        "deploy peer --name east --start some",
        "deploy peer --name east --dry-run=maybe",
        "deploy peer --name east --ref main",
        "deploy peer --name east --git-secret",
        "deploy peer --name east --repo git@example.com:acme.git --interval often",
        "delete peer",
        "delete peer --name -",
        "delete peer --name east --all",
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let output = run(folder, &nowhere, &arguments);
        assert_ne!(output.status.code(), Some(0), "{line}");
        all += &format!("$ weft {line}\n{}\n\n", told(folder, &output));
    }
    insta::assert_snapshot!("wrong_flags", all);
}
