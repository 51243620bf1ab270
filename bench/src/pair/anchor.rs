//! Gateways that others made, configured for the same work.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Kind, Pair};
use crate::ports::free_addresses;
use crate::process::{Process, clean};
use crate::stage::{EXPORTER, IMPORTER, Stage};

/// Envoy's worker threads; HAProxy's and nginx's stand in their configuration.
const CONCURRENCY: &str = "2";

/// A pair that is being put together.
#[derive(Debug)]
pub(super) struct Anchor<'a> {
    stage: &'a Stage,
    folder: &'a Path,
    import: SocketAddr,
    gateway: SocketAddr,
    service: SocketAddr,
}

// === impl Anchor ===

impl<'a> Anchor<'a> {
    /// Ports for a pair in front of a service.
    pub(super) fn new(stage: &'a Stage, folder: &'a Path, service: SocketAddr) -> Result<Self> {
        let [import, gateway] = free_addresses()?;
        Ok(Self {
            stage,
            folder,
            import,
            gateway,
            service,
        })
    }

    /// HAProxy without TLS, which leaves the bytes in the kernel.
    pub(super) fn splice(&self) -> Result<Pair> {
        self.plain(Kind::Splice, include_str!("../../anchors/splice.cfg"))
    }

    /// HAProxy without TLS, which copies the bytes as whoever seals them must.
    pub(super) fn copy(&self) -> Result<Pair> {
        self.plain(Kind::Copy, include_str!("../../anchors/copy.cfg"))
    }

    fn plain(&self, kind: Kind, template: &str) -> Result<Pair> {
        let start = |name: &str, from: SocketAddr, to: SocketAddr| {
            let text = template
                .replace("{from}", &from.to_string())
                .replace("{to}", &to.to_string());
            self.haproxy(name, &text)
        };
        self.pair(
            kind,
            start("import", self.import, self.gateway)?,
            start("export", self.gateway, self.service)?,
        )
    }

    /// HAProxy with mutual TLS.
    pub(super) fn haproxy_pair(&self) -> Result<Pair> {
        let import = include_str!("../../anchors/haproxy-import.cfg");
        let export = include_str!("../../anchors/haproxy-export.cfg");
        self.pair(
            Kind::Haproxy,
            self.haproxy("import", &self.fill(import, IMPORTER)?)?,
            self.haproxy("export", &self.fill(export, EXPORTER)?)?,
        )
    }

    /// nginx with mutual TLS.
    pub(super) fn nginx_pair(&self) -> Result<Pair> {
        let start = |name: &str, template: &str, peer: &str| {
            let file = self.write(&format!("{name}.conf"), &self.fill(template, peer)?)?;
            let mut command = clean(nginx());
            command
                .args(["-e", "stderr"])
                .arg("-p")
                .arg(self.folder)
                .arg("-c")
                .arg(file);
            Process::start(name, self.folder, &mut command)
        };
        let import = include_str!("../../anchors/nginx-import.conf");
        let export = include_str!("../../anchors/nginx-export.conf");
        self.pair(
            Kind::Nginx,
            start("import", import, IMPORTER)?,
            start("export", export, EXPORTER)?,
        )
    }

    /// Envoy as ClusterLink configures it.
    pub(super) fn envoy_clusterlink(&self) -> Result<Pair> {
        let import = include_str!("../../anchors/envoy-clusterlink-import.yaml");
        self.envoy_pair(Kind::EnvoyClusterlink, import, "[http/1.1]")
    }

    /// Envoy with connections pooled by HTTP/2.
    pub(super) fn envoy_http2(&self) -> Result<Pair> {
        let import = include_str!("../../anchors/envoy-http2-import.yaml");
        self.envoy_pair(Kind::EnvoyHttp2, import, "[h2]")
    }

    fn envoy_pair(&self, kind: Kind, import: &str, protocols: &str) -> Result<Pair> {
        let program = self.stage.envoy()?;
        let start = |name: &str, template: &str, peer: &str| {
            let text = self.fill(template, peer)?.replace("{alpn}", protocols);
            let file = self.write(&format!("{name}.yaml"), &text)?;
            let mut command = clean(program);
            command
                .arg("--config-path")
                .arg(file)
                .args(["--concurrency", CONCURRENCY, "--disable-hot-restart"])
                .args(["--log-level", "warning"]);
            Process::start(name, self.folder, &mut command)
        };
        let export = include_str!("../../anchors/envoy-export.yaml");
        self.pair(
            kind,
            start("import", import, IMPORTER)?,
            start("export", export, EXPORTER)?,
        )
    }

    fn haproxy(&self, name: &str, text: &str) -> Result<Process> {
        let file = self.write(&format!("{name}.cfg"), text)?;
        let mut command = clean(haproxy());
        command.arg("-db").arg("-f").arg(file);
        Process::start(name, self.folder, &mut command)
    }

    fn pair(&self, kind: Kind, import: Process, export: Process) -> Result<Pair> {
        Ok(Pair {
            kind,
            targets: vec![self.import],
            admins: Vec::new(),
            processes: vec![import, export],
        })
    }

    /// A template with the addresses of this pair and the files of a peer.
    fn fill(&self, template: &str, peer: &str) -> Result<String> {
        let mut text = template.to_owned();
        for (name, address) in [
            ("import", self.import),
            ("gateway", self.gateway),
            ("service", self.service),
        ] {
            text = text
                .replace(&format!("{{{name}}}"), &address.to_string())
                .replace(&format!("{{{name}.ip}}"), &address.ip().to_string())
                .replace(&format!("{{{name}.port}}"), &address.port().to_string());
        }
        for (name, file) in [
            ("folder", self.folder.to_owned()),
            ("authority", self.stage.authority()),
            ("certificate", self.stage.certificate(peer)),
            ("key", self.stage.key(peer)),
            ("identity", self.identity(peer)?),
        ] {
            text = text.replace(&format!("{{{name}}}"), &file.to_string_lossy());
        }
        Ok(text)
    }

    /// Certificate and key of a peer in one file, as HAProxy wants them.
    fn identity(&self, peer: &str) -> Result<PathBuf> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let certificate = read(self.stage.certificate(peer))?;
        let key = read(self.stage.key(peer))?;
        self.write(&format!("{peer}.pem"), &(certificate + &key))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// Says its version.
pub(super) fn haproxy_version() -> Command {
    let mut command = clean(haproxy());
    command.arg("-v");
    command
}

/// Says its version.
pub(super) fn nginx_version() -> Command {
    let mut command = clean(nginx());
    command.arg("-v");
    command
}

/// Says its version.
pub(super) fn envoy_version(stage: &Stage) -> Result<Command> {
    let mut command = clean(stage.envoy()?);
    command.arg("--version");
    Ok(command)
}

fn haproxy() -> PathBuf {
    system("haproxy")
}

fn nginx() -> PathBuf {
    system("nginx")
}

/// Where the distribution puts servers, which isn't on every user's path.
fn system(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    match path.exists() {
        true => path,
        false => name.into(),
    }
}
