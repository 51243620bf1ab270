//! A cluster: a real API server, and a machine that makes processes of its Pods.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Service;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::api_server::{ApiServer, Kubectl};
use crate::binary::{clean, weft};
use crate::node::{Node, RunningPod};
use crate::wait::{DEADLINE, holds, wait_for};

/// The port of the services that the tests export.
pub const ECHO_PORT: u16 = 8080;

/// A cluster; only inside [`isolated`](crate::namespace::isolated).
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: TempDir,
    server: ApiServer,
    node: Arc<Node>,
    client: ClientOf,
    tasks: JoinSet<()>,
    runtime: Runtime,
}

/// A client that is no secret in a panic's message.
struct ClientOf(Client);

// === impl Cluster ===

impl Cluster {
    /// Starts cluster `number`, from 1 on; there is nothing in it yet.
    pub fn start(number: u8, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = ApiServer::bare();
        let address = server.address().parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut tasks = JoinSet::new();
        let (client, node) = runtime.block_on(async {
            let (client, authority) = client_of(&server.kubeconfig()).await;
            let pods = folder.path().join("pods");
            let node = Node::start(number, client.clone(), address, authority, pods, &mut tasks);
            (client, node.await)
        });
        Self {
            name: name.to_owned(),
            folder,
            server,
            node,
            client: ClientOf(client),
            tasks,
            runtime,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// A folder of its own, for what a test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its machine.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The address by which other clusters reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.node.address()
    }

    /// Its API server.
    pub fn server(&mut self) -> &mut ApiServer {
        &mut self.server
    }

    /// Installs the definitions of our kinds.
    pub fn create_definitions(&self) {
        self.server.create_definitions();
    }

    /// Runs kubectl; what it wrote.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.server.kubectl().run(arguments)
    }

    /// `kubectl` as the cluster's administrator.
    pub fn kubectl_command(&self) -> Kubectl {
        self.server.kubectl()
    }

    /// Applies objects, as `kubectl apply -f -` does.
    pub fn apply(&self, yaml: &str) {
        self.server.kubectl().apply(yaml);
    }

    /// Deletes an object that is there.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.kubectl(&["delete", kind, name, "--namespace", namespace]);
    }

    /// An object, where there is one.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.server.kubectl().find(&[kind, name, "-n", namespace])
    }

    /// Waits until a condition of an object has a status.
    pub fn wait_for_condition(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        condition: &str,
        status: &str,
    ) {
        let what = format!(
            "{} {kind} {namespace}/{name}: {condition}={status}",
            self.name
        );
        wait_for(&what, || {
            let object = self.find(kind, namespace, name).ok_or("it isn't there")?;
            let conditions = &object["status"]["conditions"];
            let found = conditions.as_array().into_iter().flatten();
            let found = found.filter(|found| found["type"] == condition);
            let is_so = found.clone().any(|found| found["status"] == status);
            holds(is_so, || object["status"].to_string())
        });
    }

    /// Waits until there is such an object, or none.
    pub fn wait_for_presence(&self, kind: &str, namespace: &str, name: &str, is_there: bool) {
        wait_for(
            &format!(
                "{} {kind} {namespace}/{name} present: {is_there}",
                self.name
            ),
            || {
                let object = self.find(kind, namespace, name);
                holds(object.is_some() == is_there, || format!("{object:?}"))
            },
        );
    }

    /// Runs `weft` against this cluster, to its end; what it wrote.
    pub fn weft(&self, directory: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(weft());
        clean(&mut command)
            .args(arguments)
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .current_dir(directory);
        let output = run(command, "");
        succeeded(&format!("weft {arguments:?} on {}", self.name), &output)
    }

    /// Scales a Deployment and waits until it is so, down to the last Pod.
    pub fn scale(&self, namespace: &str, deployment: &str, replicas: usize) {
        let count = format!("--replicas={replicas}");
        self.kubectl(&["scale", "deployment", deployment, "-n", namespace, &count]);
        wait_for(
            &format!("{deployment} of {} is scaled to {replicas}", self.name),
            || {
                let object = self
                    .find("deployment", namespace, deployment)
                    .ok_or("it isn't there")?;
                let count = |name: &str| object["status"][name].as_u64().unwrap_or(0);
                let is_so = count("readyReplicas") == replicas as u64
                    && count("replicas") == replicas as u64
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"];
                holds(is_so, || object["status"].to_string())
            },
        );
    }

    /// Waits until a Deployment is rolled out.
    pub fn wait_for_rollout(&self, namespace: &str, deployment: &str) {
        let name = format!("deployment/{deployment}");
        let timeout = format!("--timeout={}s", DEADLINE.as_secs());
        self.kubectl(&["rollout", "status", &name, "-n", namespace, &timeout]);
    }

    /// Makes a Service `http-echo` and its Pod, which answers with the cluster's name.
    pub fn serve_echo(&self, namespace: &str) {
        self.apply(&echo_service(namespace));
        let text = format!("-text={}", self.name);
        let container = json!({"name": "echo", "image": "http-echo", "args": [text]});
        let labels = json!({"app": "http-echo"});
        self.create_pod(namespace, "http-echo", &labels, "default", &container);
        wait_for("http-echo has an endpoint", || {
            let endpoints = self.node.endpoints(namespace, "http-echo", ECHO_PORT);
            holds(!endpoints.is_empty(), || "none".to_owned())
        });
    }

    /// Makes a Pod whose connections the test makes itself.
    pub fn client(&self, namespace: &str, name: &str, account: &str) -> Arc<RunningPod> {
        let container = json!({"name": "client", "image": "pause"});
        self.create_pod(namespace, name, &json!({"app": name}), account, &container);
        wait_for(&format!("the Pod {name} runs"), || {
            self.node
                .pod(namespace, name)
                .ok_or_else(|| "no".to_owned())
        })
    }

    /// Connects from a Pod to a Service that it names as programs do (`name` or `name.namespace`).
    ///
    /// What DNS and kube-proxy do is played: the name leads through an ExternalName to the Service
    /// with a ClusterIP, of whose ready endpoints one is chosen. The connection is the Pod's own.
    pub fn dial(&self, pod: &RunningPod, service: &str, port: u16) -> io::Result<TcpStream> {
        let (name, namespace) = service
            .split_once('.')
            .unwrap_or_else(|| (service, pod.namespace()));
        let (mut name, mut namespace) = (name.to_owned(), namespace.to_owned());
        // An ExternalName leads to a Service that is none.
        for _ in 0..2 {
            let api: Api<Service> = Api::namespaced(self.client.0.clone(), &namespace);
            let found = self
                .runtime
                .block_on(api.get_opt(&name))
                .map_err(io::Error::other)?;
            let missing = || {
                let text = format!("no Service {namespace}/{name}");
                io::Error::new(io::ErrorKind::NotFound, text)
            };
            let spec = found.and_then(|service| service.spec).ok_or_else(missing)?;
            let Some(external) = spec.external_name.filter(|external| !external.is_empty()) else {
                let endpoints = self.node.endpoints(&namespace, &name, port);
                let index = rand::random_range(0..endpoints.len().max(1));
                let endpoint = endpoints.get(index).copied();
                // As kube-proxy does where nothing is ready.
                let endpoint = endpoint.ok_or(io::ErrorKind::ConnectionRefused)?;
                return pod.network().enter(|| crate::network::connect(endpoint));
            };
            let parts: Vec<_> = external.trim_end_matches('.').splitn(3, '.').collect();
            let [first, second, "svc.cluster.local"] = parts.as_slice() else {
                let text = format!("nobody knows {external}");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            };
            (name, namespace) = ((*first).to_owned(), (*second).to_owned());
        }
        Err(io::Error::other(format!(
            "{service} leads from name to name"
        )))
    }

    /// Asks a Service by HTTP, from a Pod; the body of its answer.
    pub fn get(&self, pod: &RunningPod, service: &str, port: u16) -> io::Result<String> {
        let mut stream = self.dial(pod, service, port)?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let cut = io::ErrorKind::UnexpectedEof;
        let (_, body) = text.split_once("\r\n\r\n").ok_or(cut)?;
        Ok(body.to_owned())
    }

    /// Waits until a Service answers with a text.
    pub fn wait_for_answer(&self, pod: &RunningPod, service: &str, port: u16, wanted: &str) {
        wait_for(
            &format!("{service} answers {} with {wanted}", self.name),
            || {
                let answer = self
                    .get(pod, service, port)
                    .map_err(|error| error.to_string())?;
                holds(answer == wanted, || answer)
            },
        );
    }

    /// Waits until connections to a Service are accepted, and cut without an answer.
    pub fn wait_for_cut(&self, pod: &RunningPod, service: &str, port: u16) {
        wait_for(
            &format!("{service} cuts the connections of {}", self.name),
            || match self.get(pod, service, port) {
                Err(error) if is_cut(&error) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
    }

    /// Waits until a Service has no ready endpoint, or doesn't answer.
    pub fn wait_for_no_access(&self, pod: &RunningPod, service: &str, port: u16) {
        wait_for(
            &format!("{service} is out of reach of {}", self.name),
            || match self.get(pod, service, port) {
                Err(_) => Ok(()),
                Ok(answer) => Err(answer),
            },
        );
    }

    fn create_pod(
        &self,
        namespace: &str,
        name: &str,
        labels: &Value,
        account: &str,
        container: &Value,
    ) {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "serviceAccountName": account,
                "nodeName": self.node.name(),
                "containers": [container],
            },
        });
        self.apply(&pod.to_string());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pod in self.node.pods() {
                let lines = pod.lines();
                if !lines.is_empty() {
                    eprintln!("--- {} {}/{} said:", self.name, pod.namespace(), pod.name());
                    eprintln!("{}\n---", lines.join("\n"));
                }
            }
        }
        let _inside = self.runtime.enter();
        self.tasks.abort_all();
        self.node.stop();
    }
}

impl std::fmt::Debug for ClientOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Whether a connection was made and then ended without an answer: as a gateway ends those that it
/// doesn't allow, or can't bring anywhere.
pub fn is_cut(error: &io::Error) -> bool {
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&error.kind())
}

/// The Service of [`Cluster::serve_echo`].
pub fn echo_service(namespace: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: http-echo
  namespace: {namespace}
spec:
  selector:
    app: http-echo
  ports:
  - port: {ECHO_PORT}
"
    )
}

/// What a program wrote, that has to have succeeded.
fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // One that doesn't read is no failure.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("own child")
}

async fn client_of(path: &Path) -> (Client, Vec<u8>) {
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let cluster = kubeconfig
        .clusters
        .first()
        .and_then(|cluster| cluster.cluster.clone());
    let authority = cluster.and_then(|cluster| cluster.certificate_authority_data);
    // Base64, as the bytes in any object are.
    let authority: ByteString = serde_json::from_value(json!(authority)).expect("an authority");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let client = Client::try_from(config.expect("a kubeconfig")).expect("a client");
    (client, authority.0)
}
