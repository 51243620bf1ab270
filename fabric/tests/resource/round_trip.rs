//! An object that is written and read again is the same object.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use fabric::api::{
    AccessPolicy, AccessPolicySpec, Action, Certificates, Dataplane, DataplaneType, Duration,
    Export, ExportHosts, ExportSpec, Fabric, FabricSpec, Fingerprint, Gate, Gateway, Heartbeat,
    Import, ImportSource, ImportSpec, Ingress, IngressType, Instance, InstanceSpec, LabelSelector,
    Limits, LoadBalancing, LogLevel, Metadata, Object, Operator, Peer, PeerSpec, Peering,
    PrivilegedAccessPolicy, Prune, Requirement, Revocation, Revocations, RevocationsSpec, Workload,
    WorkloadSetOrSelector, Workloads, WorkloadsSpec,
};
use fabric::diagnostic::Effect;
use fabric::host::parse_network;
use fabric::{document, resource};
use proptest::array::uniform6;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Names that YAML tools fall over, and their bounds.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "no", "y", "on", "null", "true", "1e3", "0755", "0x1f", "12", "default", "a-b", "0o17",
            "1-1-1", "inf", "nan"
        ])
        .prop_map(str::to_owned),
        "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    ]
}

fn subdomain() -> impl Strategy<Value = String> {
    vec(label(), 1..3).prop_map(|labels| labels.join("."))
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>()
            .prop_filter("an IPv4 address has a spelling of its own", |address| {
                address.to_ipv4_mapped().is_none()
            })
            .prop_map(|address| address.to_string()),
        subdomain().prop_map(|name| format!("{name}.internal")),
        Just("DB.Internal.".to_owned()),
    ]
}

/// Any text, odd ones more often than they come by themselves.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        select(vec![
            "",
            " ",
            "a: b",
            "- a",
            "# a",
            "~",
            "no",
            "0755",
            "80",
            "80.0",
            "1e3",
            "true",
            "12:30:45",
            "2026-01-01",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "a\nb\n",
            "\ta",
            "{}",
            "[a]",
            "'",
            "\"",
            "\\",
            "é\u{feff}\u{2028}\u{0}\u{85}",
            "---",
            "...",
            "?",
            "<<",
            "=",
            ".inf",
            "1_000",
            "+80",
            "-",
            "|",
            ">"
        ])
        .prop_map(str::to_owned),
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![
        "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?",
        label().prop_map(|name| format!("example.com/{name}")),
        select(vec!["on", "12", "y"]).prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        Just(String::new()),
        "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?",
        select(vec!["no", "1.20", "0755", "1e3", "2026-01-01", "1_000"]).prop_map(str::to_owned),
    ];
    btree_map(key, value, 0..3)
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = label().prop_map(|name| format!("example.com/{name}"));
    btree_map(key, text(), 0..3)
}

fn metadata(name: impl Strategy<Value = String>) -> impl Strategy<Value = Metadata> {
    (name, option::of(label()), labels(), annotations()).prop_map(
        |(name, namespace, labels, annotations)| Metadata {
            name,
            namespace,
            labels,
            annotations,
        },
    )
}

fn port() -> impl Strategy<Value = NonZeroU16> {
    prop_oneof![
        Just(NonZeroU16::MIN),
        Just(NonZeroU16::MAX),
        any::<NonZeroU16>()
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..=999_999_999_u64).prop_map(Duration::from_secs),
        (1..=999_999_999_u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
        Just(Duration::from_millis(3_600_000 * 999_999_998 + 1)),
    ]
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let key = text().prop_filter("a key isn't empty", |key| !key.is_empty());
    let requirement = (
        key,
        select(vec![
            Operator::In,
            Operator::NotIn,
            Operator::Exists,
            Operator::DoesNotExist,
        ]),
        vec(text(), 1..3),
    )
        .prop_map(|(key, operator, values)| Requirement {
            key,
            operator,
            values: match operator {
                Operator::In | Operator::NotIn => values,
                Operator::Exists | Operator::DoesNotExist => Vec::new(),
            },
        });
    (btree_map(text(), text(), 0..3), vec(requirement, 0..3)).prop_map(
        |(match_labels, match_expressions)| LabelSelector {
            match_labels,
            match_expressions,
        },
    )
}

fn policy() -> impl Strategy<Value = AccessPolicySpec> {
    let side = || {
        let entry = selector().prop_map(|selector| WorkloadSetOrSelector {
            workload_sets: Vec::new(),
            workload_selector: Some(selector),
        });
        vec(entry, 1..3)
    };
    (select(vec![Action::Allow, Action::Deny]), side(), side())
        .prop_map(|(action, from, to)| AccessPolicySpec { action, from, to })
}

fn fabric() -> impl Strategy<Value = Fabric> {
    let allow = prop_oneof![
        host(),
        Just("10.0.0.0/8".to_owned()),
        Just("::/0".to_owned())
    ];
    let gates = select(vec![
        Gate::WidensAccess,
        Gate::Prune,
        Gate::Certificate,
        Gate::PrivilegedPolicy,
    ]);
    let spec = (
        (
            select(vec![Peering::Mesh, Peering::Explicit]),
            vec(allow, 0..3),
            (any::<u32>(), 0..=100_u32),
            vec(gates, 0..4),
        ),
        (duration(), 1..=99_u8),
        (duration(), duration(), 1..=u32::MAX, 1..=u32::MAX),
        (any::<[u32; 10]>(), uniform6(duration())),
    )
        .prop_map(
            |(
                (peering, allow, (max_count, max_percent), gates),
                (validity, renew_at),
                (interval, timeout, down, up),
                (numbers, [handshake, dial, open, connect, idle, half_closed]),
            )| FabricSpec {
                peering,
                export_hosts: ExportHosts { allow },
                prune: Prune {
                    max_count,
                    max_percent,
                },
                gates,
                certificates: Certificates {
                    validity,
                    renew_at: format!("{renew_at}%"),
                },
                heartbeat: Heartbeat {
                    interval,
                    timeout,
                    down,
                    up,
                },
                limits: Limits {
                    connections_per_import: numbers[0],
                    connections_per_export: numbers[1],
                    connections_per_client: numbers[2],
                    new_connections_per_import: numbers[3],
                    new_connections_per_export: numbers[4],
                    tunnels_per_peer: numbers[5],
                    handshakes: numbers[6],
                    handshakes_per_address: numbers[7],
                    header_bytes: numbers[8],
                    message_bytes: numbers[9],
                    handshake_timeout: handshake,
                    dial_timeout: dial,
                    open_timeout: open,
                    connect_timeout: connect,
                    idle_timeout: idle,
                    half_closed_timeout: half_closed,
                },
            },
        );
    (metadata(subdomain()), spec).prop_map(|(metadata, spec)| Fabric { metadata, spec })
}

fn revocations() -> impl Strategy<Value = Revocations> {
    let date = select(vec!["2026-01-01", "2024-02-29"]).prop_map(str::to_owned);
    let revocation =
        (any::<[u8; 4]>(), option::of(text()), option::of(date)).prop_map(|(der, reason, date)| {
            Revocation {
                fingerprint: Fingerprint::of_der(&der),
                reason,
                date,
            }
        });
    (metadata(subdomain()), vec(revocation, 0..3)).prop_map(|(metadata, certificates)| {
        Revocations {
            metadata,
            spec: RevocationsSpec { certificates },
        }
    })
}

fn workloads() -> impl Strategy<Value = Workloads> {
    let address = select(vec![
        "10.9.0.0/24",
        "10.9.1.7",
        "::1",
        "2001:db8::/32",
        "0.0.0.0/0",
    ])
    .prop_map(|text| parse_network(text).unwrap());
    let workload = (vec(address, 1..3), label(), subdomain(), labels()).prop_map(
        |(addresses, namespace, service_account, labels)| Workload {
            addresses,
            namespace,
            service_account,
            labels,
        },
    );
    (metadata(subdomain()), vec(workload, 0..3)).prop_map(|(metadata, workloads)| Workloads {
        metadata,
        spec: WorkloadsSpec { workloads },
    })
}

fn import() -> impl Strategy<Value = Import> {
    let source =
        (subdomain(), subdomain(), label()).prop_map(|(peer, export_name, export_namespace)| {
            ImportSource {
                peer,
                export_name,
                export_namespace,
            }
        });
    let scheme = select(vec![
        LoadBalancing::RoundRobin,
        LoadBalancing::Random,
        LoadBalancing::Static,
    ]);
    let spec = (port(), any::<u16>(), vec(source, 0..3), scheme).prop_map(
        |(port, target_port, sources, lb_scheme)| ImportSpec {
            port,
            target_port,
            sources,
            lb_scheme,
        },
    );
    (metadata(label()), spec).prop_map(|(metadata, spec)| Import { metadata, spec })
}

fn instance() -> impl Strategy<Value = Instance> {
    let dataplane = (
        select(vec![DataplaneType::Envoy, DataplaneType::Go]),
        1..=10_u32,
    )
        .prop_map(|(kind, replicas)| Dataplane { kind, replicas });
    let ingress = (
        select(vec![
            IngressType::None,
            IngressType::LoadBalancer,
            IngressType::NodePort,
        ]),
        option::of(1..=u16::MAX),
        annotations(),
    )
        .prop_map(|(kind, port, annotations)| Ingress {
            kind,
            port,
            annotations,
        });
    let log_level = select(vec![
        LogLevel::Trace,
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Fatal,
    ]);
    let spec = (
        dataplane,
        ingress,
        log_level,
        text(),
        text(),
        label(),
        labels(),
    )
        .prop_map(
            |(dataplane, ingress, log_level, container_registry, tag, namespace, peer_labels)| {
                InstanceSpec {
                    dataplane,
                    ingress,
                    log_level,
                    container_registry,
                    tag,
                    namespace,
                    peer_labels,
                }
            },
        );
    (metadata(subdomain()), spec).prop_map(|(metadata, spec)| Instance { metadata, spec })
}

fn object() -> impl Strategy<Value = Object> {
    let gateway = (host(), port()).prop_map(|(host, port)| Gateway { host, port });
    prop_oneof![
        fabric().prop_map(Object::Fabric),
        revocations().prop_map(Object::Revocations),
        workloads().prop_map(Object::Workloads),
        (metadata(subdomain()), vec(gateway, 0..3)).prop_map(|(metadata, gateways)| {
            Object::Peer(Peer {
                metadata,
                spec: PeerSpec { gateways },
            })
        }),
        (metadata(subdomain()), option::of(host()), port()).prop_map(|(metadata, host, port)| {
            Object::Export(Export {
                metadata,
                spec: ExportSpec { host, port },
            })
        }),
        import().prop_map(Object::Import),
        (metadata(subdomain()), policy())
            .prop_map(|(metadata, spec)| { Object::AccessPolicy(AccessPolicy { metadata, spec }) }),
        (metadata(subdomain()), policy()).prop_map(|(metadata, spec)| {
            Object::PrivilegedAccessPolicy(PrivilegedAccessPolicy { metadata, spec })
        }),
        instance().prop_map(Object::Instance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(object in object()) {
        let yaml = serde_yaml::to_string(&object).unwrap();
        let json = serde_json::to_string(&object).unwrap();
        for text in [yaml, json] {
            let file = resource::read(text.as_bytes(), &document::Limits::default());
            // A byte order mark inside is never read, and the writer, which is of YAML 1.1, doesn't
            // quote a merge key and indents what follows these two: WEFT0017 warns of them.
            if text.contains(['\u{feff}', '\u{2028}', '\u{2029}']) || text.contains("<<: ") {
                continue;
            }
            prop_assert!(
                file.findings.iter().all(|finding| finding.effect < Effect::Freeze),
                "{:#?}\n{text}", file.findings
            );
            prop_assert_eq!(file.resources.len(), 1, "{}", &text);
            prop_assert_eq!(&file.resources[0].object, &object, "{}", &text);
        }
        let stored: Object = serde_json::from_str(&serde_json::to_string(&object).unwrap()).unwrap();
        prop_assert_eq!(stored, object);
    }
}

#[test]
fn an_object_is_written_in_the_usual_order() {
    let text = "spec: {port: 80}\nmetadata: {namespace: b, name: a}\nkind: Export\n\
                apiVersion: clusterlink.net/v1alpha1\n";
    let file = resource::read(text.as_bytes(), &document::Limits::default());
    assert_eq!(
        serde_yaml::to_string(&file.resources[0].object).unwrap(),
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: a\n  namespace: b\n\
         spec:\n  port: 80\n"
    );
}
