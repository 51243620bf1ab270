//! An API server of the binaries that `KUBEBUILDER_ASSETS` names: `kube-apiserver` and `etcd`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::json;

use crate::certificates::{Authority, Request};
use crate::network::Loopback;
use crate::process::Process;
use crate::wait::{holds, wait_for};

/// The folder with the binaries; none where the environment names none.
pub(super) fn folder() -> Option<PathBuf> {
    env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from)
}

/// Starts both; what was stored in the folder before is there again. The last one is the server.
pub(super) fn start(assets: &Path, directory: &Path, loopback: &Loopback) -> Vec<Process> {
    let pki = directory.join("pki");
    if !pki.exists() {
        create_keys(&pki, directory, loopback);
    }
    let (client, peer) = (loopback.at(2379), loopback.at(2380));
    let mut etcd = Command::new(assets.join("etcd"));
    etcd.arg("--data-dir")
        .arg(directory.join("etcd"))
        .args(["--name", "default", "--unsafe-no-fsync"])
        .arg(format!("--listen-client-urls=http://{client}"))
        .arg(format!("--advertise-client-urls=http://{client}"))
        .arg(format!("--listen-peer-urls=http://{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
        .arg(format!("--initial-cluster=default=http://{peer}"));
    let etcd = Process::start("etcd", &mut etcd);
    let address = loopback.at(6443);
    let file = |name: &str| pki.join(name).display().to_string();
    let mut server = Command::new(assets.join("kube-apiserver"));
    server
        .arg(format!("--etcd-servers=http://{client}"))
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--advertise-address={}", address.ip()))
        .arg(format!("--secure-port={}", address.port()))
        .arg(format!("--cert-dir={}", pki.display()))
        .arg(format!("--tls-cert-file={}", file("server.pem")))
        .arg(format!("--tls-private-key-file={}", file("server.key")))
        .arg(format!("--client-ca-file={}", file("ca.pem")))
        .arg(format!(
            "--service-account-key-file={}",
            file("accounts.pub")
        ))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ))
        .arg(format!("--service-account-issuer=https://{address}"))
        .args(["--service-cluster-ip-range=10.96.0.0/16"])
        .args(["--service-node-port-range=30000-32767"])
        .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
        // There is no controller that would make the accounts' objects.
        .args(["--disable-admission-plugins=ServiceAccount"]);
    let server = Process::start("kube-apiserver", &mut server);
    let mut processes = vec![etcd, server];
    let kubeconfig = directory.join("kubeconfig");
    wait_for("the API server is ready", || {
        for process in &mut processes {
            assert!(process.is_running(), "it ended: {:?}", process.lines());
        }
        let output = Command::new("kubectl")
            .env("KUBECONFIG", &kubeconfig)
            .args(["get", "--raw", "/readyz"])
            .output()
            .map_err(|error| error.to_string())?;
        holds(output.status.success(), || {
            String::from_utf8_lossy(&output.stderr).into_owned()
        })
    });
    processes
}

/// The server's own certificate, its administrator's, the key of service accounts, and a kubeconfig.
fn create_keys(pki: &Path, directory: &Path, loopback: &Loopback) {
    fs::create_dir_all(pki).expect("a folder for the server's keys");
    let authority = Authority::new("kubernetes");
    let address = loopback.at(6443);
    let server = authority.issue(&Request::new(&address.ip().to_string()));
    let admin = authority.issue(&Request::new("admin").of_organization("system:masters"));
    server.write(pki, "server");
    let accounts = KeyPair::generate().expect("a key");
    let public = accounts.public_key_pem();
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("accounts.key", &accounts.serialize_pem()),
        ("accounts.pub", &public),
    ] {
        fs::write(pki.join(name), text).expect("the folder is ours");
    }
    let encode = |text: &str| STANDARD.encode(text);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority-data": encode(authority.pem()),
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(&admin.certificate),
            "client-key-data": encode(&admin.key),
        }}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    });
    let file = directory.join("kubeconfig");
    fs::write(file, kubeconfig.to_string()).expect("the folder is ours");
}
