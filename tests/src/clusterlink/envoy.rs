//! Envoy with ClusterLink's listeners, clusters and filters.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::certificates::IdentityFiles;
use crate::process::Process;

/// What goes into the configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub admin: SocketAddr,
    pub control: SocketAddr,
    pub gateway: SocketAddr,
    pub import: SocketAddr,
    pub files: IdentityFiles,
    pub ca: PathBuf,
}

/// Starts Envoy with a configuration.
pub(super) fn start(binary: &Path, config: &Path) -> Process {
    let mut command = Command::new(binary);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", "1", "--log-level", "warning"])
        // Several of them run beside each other.
        .args(["--disable-hot-restart"]);
    Process::start("envoy", &mut command)
}

// === impl Config ===

impl Config {
    /// Imports from a peer: the client's connection, an internal CONNECT, the control plane's word,
    /// and a CONNECT to the other gateway.
    pub(super) fn import(&self, remote: &str, gateway: SocketAddr) -> String {
        let tunneling = json!({
            "hostname": "egress-router:443",
            "headers_to_add": [
                header("x-import-name", "service"),
                header("x-import-namespace", "shop"),
                header("x-client-ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            ],
        });
        let import = json!({
            "name": "import-shop/service",
            "address": address(self.import),
            "filter_chains": [{"filters": [{
                "name": "tcp",
                "typed_config": {
                    "@type": url("extensions.filters.network.tcp_proxy.v3.TcpProxy"),
                    "stat_prefix": "import",
                    "cluster": "egress-router",
                    "tunneling_config": tunneling,
                },
            }]}],
        });
        let egress = json!({
            "name": "egress-router",
            "internal_listener": {},
            "filter_chains": [{"filters": [manager(
                "egress",
                &[filter("authz", &self.authorization(false))],
            )]}],
        });
        let internal = json!({
            "name": "egress-router",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "egress-router",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                    "envoy_internal_address": {"server_listener_name": "egress-router"},
                }}}]}],
            },
            "typed_extension_protocol_options": http2(),
        });
        let mut peer = cluster(&format!("remote-peer-{remote}"), gateway);
        let endpoint = peer.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint");
        *endpoint.expect("it is there") = json!({
            "address": address(gateway),
            "hostname": format!("{remote}:443"),
        });
        peer["transport_socket"] = json!({
            "name": "tls",
            "typed_config": {
                "@type": url("extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
                "sni": remote,
                "common_tls_context": self.tls(),
            },
        });
        self.bootstrap(&[import, egress], &[internal, peer])
    }

    /// Exports a service: TLS, the control plane's word, and a connection to the service.
    pub(super) fn export(&self, service: SocketAddr) -> String {
        let execute = |with_body| {
            json!({"action": {
                "name": "authz",
                "typed_config": {
                    "@type": url("extensions.filters.http.composite.v3.ExecuteFilterAction"),
                    "typed_config": filter("authz", &self.authorization(with_body)),
                },
            }})
        };
        let matcher = json!({
            "@type": url("extensions.common.matching.v3.ExtensionWithMatcher"),
            "xds_matcher": {
                "matcher_tree": {
                    "input": {
                        "name": "method",
                        "typed_config": {
                            "@type": url("type.matcher.v3.HttpRequestHeaderMatchInput"),
                            "header_name": ":method",
                        },
                    },
                    "exact_match_map": {"map": {"CONNECT": execute(false)}},
                },
                "on_no_match": execute(true),
            },
            "extension_config": {
                "name": "composite",
                "typed_config": {
                    "@type": url("extensions.filters.http.composite.v3.Composite"),
                },
            },
        });
        let ingress = json!({
            "name": "ingress-router",
            "address": address(self.gateway),
            "filter_chains": [{
                "transport_socket": {
                    "name": "tls",
                    "typed_config": {
                        "@type": url("extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
                        "require_client_certificate": true,
                        "common_tls_context": self.tls(),
                    },
                },
                "filters": [manager("ingress", &[filter("authz", &matcher)])],
            }],
        });
        let service = cluster("export-shop/service", service);
        self.bootstrap(&[ingress], &[service])
    }

    fn bootstrap(&self, listeners: &[Value], clusters: &[Value]) -> String {
        let mut control = cluster("controlplane", self.control);
        control["typed_extension_protocol_options"] = http2();
        let clusters: Vec<_> = clusters.iter().cloned().chain([control]).collect();
        let bootstrap = json!({
            "admin": {"address": address(self.admin)},
            "bootstrap_extensions": [{
                "name": "internal",
                "typed_config": {
                    "@type": url("extensions.bootstrap.internal_listener.v3.InternalListener"),
                },
            }],
            "static_resources": {"listeners": listeners, "clusters": clusters},
        });
        // JSON is YAML.
        bootstrap.to_string()
    }

    fn authorization(&self, with_body: bool) -> Value {
        let mut authorization = json!({
            "@type": url("extensions.filters.http.ext_authz.v3.ExtAuthz"),
            "transport_api_version": "V3",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": "controlplane"},
                "timeout": "30s",
            },
            // What it sets decides where the request goes.
            "clear_route_cache": true,
            "include_peer_certificate": true,
        });
        if with_body {
            authorization["with_request_body"] = json!({"max_request_bytes": 65536});
        }
        authorization
    }

    fn tls(&self) -> Value {
        let file = |path: &Path| json!({"filename": path});
        json!({
            "tls_certificates": [{
                "certificate_chain": file(&self.files.certificate),
                "private_key": file(&self.files.key),
            }],
            "validation_context": {"trusted_ca": file(&self.ca)},
        })
    }
}

fn manager(name: &str, filters: &[Value]) -> Value {
    let router = json!({"@type": url("extensions.filters.http.router.v3.Router")});
    let filters: Vec<_> = filters
        .iter()
        .cloned()
        .chain([filter("router", &router)])
        .collect();
    json!({
        "name": "http",
        "typed_config": {
            "@type": url("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [
                    {
                        "match": {"connect_matcher": {}},
                        "route": {
                            "cluster_header": "host",
                            "auto_host_rewrite": name == "egress",
                            "upgrade_configs": [{
                                "upgrade_type": "CONNECT",
                                // Towards the service raw bytes, towards the other gateway CONNECT.
                                "connect_config": if name == "ingress" { json!({}) } else { Value::Null },
                            }],
                        },
                    },
                    {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
                ],
            }]},
            "http_filters": filters,
            "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        },
    })
}

fn cluster(name: &str, to: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(to)}}]}],
        },
    })
}

fn filter(name: &str, config: &Value) -> Value {
    json!({"name": name, "typed_config": config})
}

fn header(key: &str, value: &str) -> Value {
    json!({"header": {"key": key, "value": value}})
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn http2() -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": url("extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }})
}

fn url(name: &str) -> String {
    format!("type.googleapis.com/envoy.{name}")
}
