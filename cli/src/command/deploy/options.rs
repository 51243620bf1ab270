//! The options of an installation: ClusterLink's, and ours.

use std::path::PathBuf;

use clap::ValueEnum;
use fabric::api::{
    DataplaneType, Duration, IngressType, LogLevel, check_label_key, check_label_value,
};
use fabric::name::PeerName;

use super::SYSTEM;

/// The options of an installation.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The peer's name
    #[arg(long, value_name = "NAME", value_parser = peer_name)]
    pub(super) name: PeerName,

    /// The fabric's name; without it the one of the fabric.yaml around, or `default_fabric`
    #[arg(long, value_name = "NAME")]
    pub(super) fabric: Option<String>,

    /// The folder that holds the fabric's folder, as for `weft create peer-cert`
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(super) path: PathBuf,

    /// The folder with the peer's cert.pem and key.pem, instead of the one below --path
    #[arg(long, value_name = "FOLDER")]
    pub(super) certs: Option<PathBuf>,

    /// The namespace of the gateways; any other than the default must exist
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM)]
    pub(super) namespace: String,

    /// What to install: all of it, all but the Instance, or nothing but a file with everything
    #[arg(long, value_enum, value_name = "WHAT", default_value = "all")]
    pub(super) start: Start,

    /// How other peers reach the gateways: none, NodePort or LoadBalancer
    #[arg(long, value_name = "TYPE", default_value = "LoadBalancer", value_parser = ingress, help_heading = "Gateways")]
    pub(super) ingress: IngressType,

    /// The external port; without it 443, or for a NodePort what Kubernetes allocates
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Gateways")]
    pub(super) ingress_port: Option<u16>,

    /// An annotation of the external Service; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Gateways")]
    pub(super) ingress_annotations: Vec<(String, String)>,

    /// How many gateways run
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10), help_heading = "Gateways")]
    pub(super) dataplane_replicas: u32,

    /// How many reconcilers run; one of them works. Only with `--start none`
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10), help_heading = "Gateways")]
    pub(super) controlplane_replicas: u32,

    /// ClusterLink's choice of data plane; both mean Weft's gateway
    #[arg(long, value_name = "TYPE", default_value = "envoy", value_parser = dataplane, hide = true)]
    pub(super) dataplane: DataplaneType,

    /// A label of this peer, for a cluster without a repository; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, help_heading = "Gateways")]
    pub(super) label: Vec<(String, String)>,

    /// The registry of the images
    #[arg(
        long,
        value_name = "REGISTRY",
        default_value = "ghcr.io/weft-dev",
        help_heading = "Images"
    )]
    pub(super) container_registry: String,

    /// The tag of the images
    #[arg(
        long,
        value_name = "TAG",
        default_value = "latest",
        help_heading = "Images"
    )]
    pub(super) tag: String,

    /// How much is logged: trace, debug, info, warning, error or fatal (as error)
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level, help_heading = "Images")]
    pub(super) log_level: LogLevel,

    /// The fabric repository that the cluster keeps to, at an address that a Pod can reach
    #[arg(long, value_name = "URL", help_heading = "Repository")]
    pub(super) repo: Option<String>,

    /// The branch or tag that is followed
    #[arg(
        long = "ref",
        value_name = "REF",
        default_value = "main",
        requires = "repo",
        help_heading = "Repository"
    )]
    pub(super) reference: String,

    /// How often the repository is looked into
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        requires = "repo",
        help_heading = "Repository"
    )]
    pub(super) interval: Duration,

    /// The Secret `weft-git` of the namespace holds the repository's credentials
    #[arg(long, requires = "repo", help_heading = "Repository")]
    pub(super) git_secret: bool,

    /// Change nothing: print what would be installed, or ask the server whether it would accept it
    #[arg(long, value_enum, value_name = "BY", num_args = 0..=1, default_missing_value = "client")]
    pub(super) dry_run: Option<DryRun>,

    /// Wait until the gateways and the reconciler are ready
    #[arg(long)]
    pub(super) wait: bool,
}

/// What to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Start {
    /// All of it
    All,
    /// All but the Instance, which is written to a file
    Operator,
    /// Nothing: a file with everything is written, without the operator
    None,
}

/// Who says what would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// This program, by printing it
    Client,
    /// The server
    Server,
}

impl Options {
    /// Checks what one option says of another.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let (IngressType::NodePort, Some(port)) = (self.ingress, self.ingress_port)
            && !(30_000..=32_767).contains(&port)
        {
            anyhow::bail!("nodeport number {port} is not in the valid range (30000:32767)");
        }
        Ok(())
    }
}

fn peer_name(text: &str) -> Result<PeerName, String> {
    text.parse()
        .map_err(|error| format!("peer name is not a valid DNS name: {error}"))
}

fn ingress(text: &str) -> Result<IngressType, String> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(IngressType::None),
        "nodeport" => Ok(IngressType::NodePort),
        "loadbalancer" => Ok(IngressType::LoadBalancer),
        _ => Err("it is none, NodePort or LoadBalancer".to_owned()),
    }
}

fn dataplane(text: &str) -> Result<DataplaneType, String> {
    match text {
        "envoy" => Ok(DataplaneType::Envoy),
        "go" => Ok(DataplaneType::Go),
        _ => Err(format!("undefined dataplane-type {text}")),
    }
}

fn level(text: &str) -> Result<LogLevel, String> {
    Ok(match text {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warning,
        "error" => LogLevel::Error,
        "fatal" => LogLevel::Fatal,
        _ => return Err("it is trace, debug, info, warning, error or fatal".to_owned()),
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is written KEY=VALUE")?;
    check_label_key(key).map_err(|error| format!("{key:?} is no key: {error}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = pair(text)?;
    check_label_value(&value).map_err(|error| format!("{value:?} is no label value: {error}"))?;
    Ok((key, value))
}
