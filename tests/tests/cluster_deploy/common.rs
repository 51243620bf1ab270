//! What the tests begin with.

use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize as _;
use serde_json::Value;
use tempfile::TempDir;
use weft_tests::binary::{self, clean, weft};

/// The kustomize base.
pub(crate) const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base");
/// The definitions of our kinds.
pub(crate) const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/crds");

/// A folder with a fabric's CA, and a certificate of each peer.
pub(crate) fn certificates(peers: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = binary::run(folder.path(), arguments);
        assert!(output.status.success(), "{}", said(&output));
    };
    run(&["create", "fabric"]);
    for peer in peers {
        run(&["create", "peer-cert", "--name", peer]);
    }
    folder
}

/// Runs `weft` in a folder, against a cluster, to its end.
pub(crate) fn run(folder: &Path, kubeconfig: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(weft());
    clean(&mut command)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .current_dir(folder);
    command.output().unwrap()
}

/// What a command wrote to stderr, and its exit code; paths and addresses are masked.
pub(crate) fn told(folder: &Path, output: &Output) -> String {
    let folder = folder.to_str().unwrap();
    let text = said(output).replace(folder, "FOLDER");
    // Why is the authorizer's own matter.
    let text = text.replace(": no bound role allows it", "");
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        let bare = word.trim_end();
        let is_address = bare.starts_with("https://127.") || bare.starts_with("http://127.");
        match is_address {
            true => {
                let end = word.len() - word.trim_end_matches([' ', '\n', ':', ',']).len();
                format!("SERVER{}", &word[word.len() - end..])
            }
            false => word.to_owned(),
        }
    });
    let code = output.status.code().unwrap();
    format!("{}exit code {code}", words.collect::<String>())
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The objects of a YAML stream.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// Kind, namespace and name.
pub(crate) fn place(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    format!("{} {namespace}/{name}", text(&object["kind"]))
}
