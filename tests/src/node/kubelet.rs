//! The kubelet: Pods as processes in network namespaces.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Node;
use super::deployment::is_part_of;
use crate::namespace::{Namespace, ip};
use crate::process::{Process, Signal};

mod container;

/// A container that ended starts again after this.
const RESTART: Duration = Duration::from_millis(500);
/// A probe may take so long.
const PROBE: Duration = Duration::from_secs(1);
/// So many probes in a row fail before a ready Pod is ready no more.
const FAILURES: u32 = 3;

/// A Pod that runs here.
#[derive(Debug)]
pub struct RunningPod {
    namespace: String,
    name: String,
    uid: String,
    address: Ipv4Addr,
    network: Namespace,
    folder: PathBuf,
    process: Mutex<Life>,
}

/// What became of the container.
#[derive(Debug, Default)]
struct Life {
    process: Option<Process>,
    ended: Option<Instant>,
    restarts: u32,
    failures: u32,
    is_ready: bool,
    /// When the Pod was told to end.
    told: Option<Instant>,
    /// What the processes before this one said.
    said: Vec<String>,
}

// === impl Node ===

impl Node {
    /// Runs the Pods that the API server holds for this machine, and says how they are.
    pub(super) async fn sync_pods(&self) -> Result<(), kube::Error> {
        self.write_hosts();
        let mut there = HashSet::new();
        let mut result = Ok(());
        for pod in self.seen.pods.state() {
            let is_ours = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if is_ours != Some(&self.name) {
                continue;
            }
            there.insert(pod.uid().unwrap_or_default());
            // One Pod that can't run holds no other up.
            if let Err(error) = self.sync_pod(&pod).await {
                result = Err(error);
            }
        }
        let mut gone = Vec::new();
        self.pods.lock().retain(|_, pod| {
            let stays = there.contains(&pod.uid);
            if !stays {
                gone.push(Arc::clone(pod));
            }
            stays
        });
        for pod in gone {
            pod.kill();
        }
        result
    }

    async fn sync_pod(&self, pod: &Pod) -> Result<(), kube::Error> {
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let running = self.pods.lock().get(&key).cloned();
        let running = running.filter(|running| pod.uid().as_ref() == Some(&running.uid));
        let running = match running {
            Some(running) => running,
            None => {
                let running = Arc::new(self.lay_pod(pod));
                self.pods.lock().insert(key, Arc::clone(&running));
                running
            }
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return self.end(pod, &running).await;
        }
        container::write_volumes(pod, &running.folder, &self.seen.secrets)?;
        if running.needs_start() {
            let account = container::needs_token(pod);
            if let Some(account) = account {
                self.write_token(pod, &running.folder, &account).await?;
            }
            running.start(pod, &self.seen.secrets);
        }
        running.probe(pod).await;
        self.report(pod, &running).await
    }

    /// Gives a Pod its address and folder.
    fn lay_pod(&self, pod: &Pod) -> RunningPod {
        let address = self.take_pod_address();
        let [.., high, low] = address.octets();
        let (number, short) = (self.number, format!("{high}-{low}"));
        let name = format!("pod{number}-{short}");
        let network = Namespace::new(&name);
        let node = &self.name;
        ip(&format!(
            "-n {node} link add v{short} type veth peer name eth0 netns {name}
-n {node} link set v{short} master pods up
-n {name} addr add {address}/16 dev eth0
-n {name} link set eth0 up
-n {name} route add default via 10.{number}.0.1
"
        ));
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).expect("the folder is ours");
        fs::write(folder.join("hosts"), self.hosts()).expect("the folder is ours");
        RunningPod {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            address,
            network,
            folder,
            process: Mutex::default(),
        }
    }

    /// Ends a Pod: asks, waits for as long as it is given, and insists.
    async fn end(&self, pod: &Pod, running: &RunningPod) -> Result<(), kube::Error> {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        if !running.has_ended(grace) {
            return Ok(());
        }
        let api: Api<Pod> = self.namespaced(pod);
        let mut parameters = DeleteParams::default().grace_period(0);
        parameters.preconditions = Some(kube::api::Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
        drop(api.delete(&pod.name_any(), &parameters).await?);
        Ok(())
    }

    async fn report(&self, pod: &Pod, running: &RunningPod) -> Result<(), kube::Error> {
        let (is_ready, restarts) = {
            let life = running.process.lock();
            (life.is_ready, life.restarts)
        };
        let text = if is_ready { "True" } else { "False" };
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let containers: Vec<_> = containers
            .map(|container| {
                json!({
                    "name": container.name,
                    "image": container.image,
                    "imageID": "",
                    "ready": is_ready,
                    "restartCount": restarts,
                })
            })
            .collect();
        let status = json!({
            "phase": "Running",
            "podIP": running.address.to_string(),
            "podIPs": [{"ip": running.address.to_string()}],
            "hostIP": self.address().to_string(),
            "conditions": [
                {"type": "Ready", "status": text},
                {"type": "ContainersReady", "status": text},
            ],
            "containerStatuses": containers,
        });
        let there = serde_json::to_value(&pod.status).unwrap_or_default();
        if !is_part_of(&status, &there) {
            let api: Api<Pod> = self.namespaced(pod);
            let patch = Patch::Merge(json!({ "status": status }));
            api.patch_status(&running.name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }

    /// Asks the API server for a token of the Pod's service account, as a kubelet does.
    async fn write_token(
        &self,
        pod: &Pod,
        folder: &Path,
        account: &str,
    ) -> Result<(), kube::Error> {
        let accounts: Api<ServiceAccount> = self.namespaced(pod);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: Vec::new(),
                bound_object_ref: None,
                expiration_seconds: Some(3600),
            },
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        let token = token.status.map(|status| status.token).unwrap_or_default();
        let folder = folder.join("token");
        let namespace = pod.namespace().unwrap_or_default();
        let written = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("token"), token))
            .and_then(|()| fs::write(folder.join("ca.crt"), &self.authority))
            .and_then(|()| fs::write(folder.join("namespace"), namespace));
        written.map_err(|error| kube::Error::Service(error.into()))
    }

    /// The names that cluster DNS would know.
    fn hosts(&self) -> String {
        let mut names = BTreeMap::new();
        for service in self.seen.services.state() {
            let address = service
                .spec
                .as_ref()
                .and_then(|spec| spec.cluster_ip.clone());
            let address = address.and_then(|text| text.parse::<Ipv4Addr>().ok());
            let namespace = service.namespace().unwrap_or_default();
            if let Some(address) = address {
                names.insert(format!("{}.{namespace}.svc", service.name_any()), address);
            }
        }
        let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        for (name, address) in names {
            text.push_str(&format!("{address} {name}.cluster.local {name}\n"));
        }
        text
    }

    /// Tells the Pods of the names; in place, as the file is mounted.
    fn write_hosts(&self) {
        let text = self.hosts();
        for pod in self.pods() {
            let path = pod.folder.join("hosts");
            if fs::read_to_string(&path).is_ok_and(|there| there != text) {
                fs::write(&path, &text).expect("the folder is ours");
            }
        }
    }
}

// === impl RunningPod ===

impl RunningPod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its network.
    pub fn network(&self) -> &Namespace {
        &self.network
    }

    /// What its container said, before its restarts too.
    pub fn lines(&self) -> Vec<String> {
        let life = self.process.lock();
        let mut lines = life.said.clone();
        lines.extend(life.process.iter().flat_map(Process::lines));
        lines
    }

    /// How often its container was started again.
    pub fn restarts(&self) -> u32 {
        self.process.lock().restarts
    }

    /// Sends a signal to its container.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process.lock().process {
            process.signal(signal);
        }
    }

    /// Ends its container at once; the Pod goes, or starts it again.
    pub(super) fn kill(&self) {
        let mut life = self.process.lock();
        if let Some(mut process) = life.process.take() {
            process.kill();
            life.said.extend(process.lines());
        }
    }

    fn needs_start(&self) -> bool {
        let mut life = self.process.lock();
        match life.process.as_mut().map(Process::is_running) {
            Some(true) => return false,
            Some(false) => {}
            None => return life.ended.is_none_or(|ended| ended.elapsed() >= RESTART),
        }
        if let Some(mut process) = life.process.take() {
            let status = process.wait();
            life.said.extend(process.lines());
            life.said.push(format!("--- ended with {status}"));
        }
        life.ended = Some(Instant::now());
        life.restarts += 1;
        life.is_ready = false;
        false
    }

    fn start(&self, pod: &Pod, secrets: &container::Secrets) {
        let Some(mut command) =
            container::command(pod, self.address, &self.network, &self.folder, secrets)
        else {
            // Served by the test itself, once.
            let mut life = self.process.lock();
            if !life.is_ready {
                container::serve(pod, self.address, &self.network);
                life.is_ready = true;
            }
            life.ended = Some(Instant::now() + Duration::from_secs(3600));
            return;
        };
        let name = format!("{}/{}", self.namespace, self.name);
        self.process.lock().process = Some(Process::start(&name, &mut command));
    }

    /// Asks the container whether it is ready, where it is to be asked.
    async fn probe(&self, pod: &Pod) {
        if self.process.lock().process.is_none() {
            return;
        }
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let probe = container.and_then(|container| container.readiness_probe.as_ref());
        let get = probe.and_then(|probe| probe.http_get.as_ref());
        let is_well = match (container, get) {
            (Some(container), Some(get)) => {
                let port = match &get.port {
                    IntOrString::Int(port) => Some(*port),
                    IntOrString::String(name) => container
                        .ports
                        .iter()
                        .flatten()
                        .find(|port| port.name.as_ref() == Some(name))
                        .map(|port| port.container_port),
                };
                let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
                let path = get.path.as_deref().unwrap_or("/");
                let asked = ask(SocketAddr::from((self.address, port)), path);
                let answer = tokio::time::timeout(PROBE, asked).await;
                matches!(answer, Ok(Ok(status)) if (200..400).contains(&status))
            }
            _ => true,
        };
        let mut life = self.process.lock();
        if is_well {
            life.failures = 0;
            life.is_ready = true;
        } else {
            life.failures += 1;
            if life.failures >= FAILURES {
                life.is_ready = false;
            }
        }
    }

    /// Asks the container to end, and says whether it has.
    fn has_ended(&self, grace: Duration) -> bool {
        let mut life = self.process.lock();
        let told = life.told;
        let Some(process) = &mut life.process else {
            return true;
        };
        match told {
            None => {
                process.signal(Signal::TERM);
                life.told = Some(Instant::now());
                false
            }
            Some(told) if process.is_running() && told.elapsed() < grace => false,
            Some(_) => {
                process.kill();
                true
            }
        }
    }
}

/// The status of the answer to a GET request.
async fn ask(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let status = String::from_utf8_lossy(&head)
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse().ok());
    status.ok_or_else(|| io::Error::other("not an HTTP answer"))
}
