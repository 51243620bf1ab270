//! What is wrong with one object, or the text around it.

use super::{Code, Example};

pub(super) const EXAMPLES: &[(Code, Example)] = &[
    (
        Code::Syntax,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: \"books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::Tab,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata:\n\
                \tname: books\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata:\n\
                \x20 name: books\n\
                \x20 namespace: pay\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::ByteOrderMark,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                \u{feff}spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::Anchor,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: &m {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::Tag,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: !!str books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::Directive,
        Example {
            path: "peers/west/books.yaml",
            wrong: "%TAG ! tag:example.com,2026:\n\
                ---\n\
                apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::DuplicateKey,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80, port: 81}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::KeyNotString,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {12: a}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {\"12\": a}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::AmbiguousScalar,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {beta: no}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {beta: \"no\"}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::DecimalNumber,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80.0}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::AmbiguousKey,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {on: \"1\"}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {\"on\": \"1\"}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::LineSeparator,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                # ours\u{2028}not theirs\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                # ours, not theirs\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NotAnObject,
        Example {
            path: "peers/west/books.yaml",
            wrong: "- books\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::UnknownKind,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: v1\n\
                kind: Service\n\
                metadata: {name: books, namespace: pay}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::MisplacedKind,
        Example {
            path: "policies/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::UnknownField,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80, protocol: TCP}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::MissingField,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::WrongType,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: \"80\"}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::OutOfRange,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 70000}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NotOneOf,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: permit\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::BadName,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: Books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::ServerField,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n\
                status: {conditions: []}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NoNamespace,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NamespaceIgnored,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::BadSelector,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchExpressions: [{key: client.clusterlink.net/labels.app, operator: In}]}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchExpressions: [{key: client.clusterlink.net/labels.app, operator: In, values: [web]}]}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::WorkloadSets,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSets: [web]}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::ReservedLabel,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {weft.dev/tier: gold}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {tier: gold}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::BadHost,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: \"http://books.internal\", port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::UnlikelyName,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books.v2, namespace: pay}\n\
                spec: {port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books-v2, namespace: pay}\n\
                spec: {port: 80}\n",
        },
    ),
    (
        Code::BadLabel,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {tier: \"pure gold\"}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, labels: {tier: pure-gold}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::BadFingerprint,
        Example {
            path: "revocations.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Revocations\n\
                metadata: {name: acme}\n\
                spec:\n\
                \x20 certificates:\n\
                \x20 - {fingerprint: \"A1:B2:C3\", reason: key compromise, date: \"2026-01-01\"}\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Revocations\n\
                metadata: {name: acme}\n\
                spec:\n\
                \x20 certificates:\n\
                \x20 - {fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, reason: key compromise, date: \"2026-01-01\"}\n",
        },
    ),
    (
        Code::BadAddress,
        Example {
            path: "peers/west/workloads.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Workloads\n\
                metadata: {name: west}\n\
                spec:\n\
                \x20 workloads:\n\
                \x20 - {addresses: [10.9.0.0/33], namespace: pay, serviceAccount: default}\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Workloads\n\
                metadata: {name: west}\n\
                spec:\n\
                \x20 workloads:\n\
                \x20 - {addresses: [10.9.0.0/24], namespace: pay, serviceAccount: default}\n",
        },
    ),
    (
        Code::BadDuration,
        Example {
            path: "fabric.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Fabric\n\
                metadata: {name: acme}\n\
                spec: {heartbeat: {interval: 2 seconds}}\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Fabric\n\
                metadata: {name: acme}\n\
                spec: {heartbeat: {interval: 2s}}\n",
        },
    ),
    (
        Code::BadTime,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay, annotations: {weft.dev/expires: \"24.12.2036\"}}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay, annotations: {weft.dev/expires: \"2036-12-24T18:00:00Z\"}}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::BadLimit,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, annotations: {weft.dev/max-connections: \"many\"}}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay, annotations: {weft.dev/max-connections: \"100\"}}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::BadCompatibility,
        Example {
            path: "peers/west/peer.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Peer\n\
                metadata: {name: west, annotations: {weft.dev/compatibility: \"yes\"}}\n\
                spec: {gateways: [{host: west.example, port: 443}]}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Peer\n\
                metadata: {name: west, annotations: {weft.dev/compatibility: clusterlink}}\n\
                spec: {gateways: [{host: west.example, port: 443}]}\n",
        },
    ),
];
