//! What is wrong between objects.

use super::{Code, Example};

pub(super) const EXAMPLES: &[(Code, Example)] = &[
    (
        Code::DuplicateObject,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n\
                ---\n\
                apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: other.internal, port: 81}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NoPeer,
        Example {
            path: "peers/south/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Peer\n\
                metadata: {name: south}\n\
                spec: {gateways: []}\n\
                ---\n\
                apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::PeerMisnamed,
        Example {
            path: "peers/south/peer.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Peer\n\
                metadata: {name: north}\n\
                spec: {gateways: []}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Peer\n\
                metadata: {name: south}\n\
                spec: {gateways: []}\n",
        },
    ),
    (
        Code::UnknownPeer,
        Example {
            path: "peers/east/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: [{peer: wset, exportName: ledger, exportNamespace: pay}]}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n",
        },
    ),
    (
        Code::UnknownExport,
        Example {
            path: "peers/east/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: [{peer: west, exportName: leger, exportNamespace: pay}]}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n",
        },
    ),
    (
        Code::PortClash,
        Example {
            path: "peers/east/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 80, targetPort: 9000, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n\
                ---\n\
                apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: more, namespace: shop}\n\
                spec: {port: 80, targetPort: 9000, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 80, targetPort: 9002, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n\
                ---\n\
                apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: more, namespace: shop}\n\
                spec: {port: 80, targetPort: 9003, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n",
        },
    ),
    (
        Code::ExportHostRefused,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: 127.0.0.1, port: 80}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Export\n\
                metadata: {name: books, namespace: pay}\n\
                spec: {host: books.internal, port: 80}\n",
        },
    ),
    (
        Code::NoSources,
        Example {
            path: "peers/east/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: []}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Import\n\
                metadata: {name: books, namespace: shop}\n\
                spec: {port: 9001, sources: [{peer: west, exportName: ledger, exportNamespace: pay}]}\n",
        },
    ),
    (
        Code::UnknownPeerInPolicy,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: eats}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::SelectsNobody,
        Example {
            path: "policies/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books, annotations: {weft.dev/peers: \"region=mars\"}}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books, annotations: {weft.dev/peers: \"region=eu\"}}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {}}]\n",
        },
    ),
    (
        Code::NoFabric,
        Example {
            path: "fabric.yaml",
            wrong: "# to be written\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Fabric\n\
                metadata: {name: acme}\n\
                spec: {}\n",
        },
    ),
    (
        Code::PeerLabelsDiffer,
        Example {
            path: "peers/west/instance.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Instance\n\
                metadata: {name: cl-instance}\n\
                spec: {peerLabels: {region: asia}}\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: Instance\n\
                metadata: {name: cl-instance}\n\
                spec: {}\n",
        },
    ),
    (
        Code::OverlappingWorkloads,
        Example {
            path: "peers/west/workloads.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Workloads\n\
                metadata: {name: west}\n\
                spec:\n\
                \x20 workloads:\n\
                \x20 - {addresses: [10.9.0.1], namespace: pay, serviceAccount: default}\n\
                \x20 - {addresses: [10.9.0.1], namespace: shop, serviceAccount: default}\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Workloads\n\
                metadata: {name: west}\n\
                spec:\n\
                \x20 workloads:\n\
                \x20 - {addresses: [10.9.0.1], namespace: pay, serviceAccount: default}\n\
                \x20 - {addresses: [10.9.0.2], namespace: shop, serviceAccount: default}\n",
        },
    ),
    (
        Code::ImportNeverAllowed,
        Example {
            path: "peers/east/deny.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: PrivilegedAccessPolicy\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 action: deny\n\
                \x20 from: [{workloadSelector: {}}]\n\
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
        Code::PolicyMatchesNothing,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: leger}}}]\n",
            right: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: web}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
        },
    ),
    (
        Code::AllowsEverything,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {}}]\n\
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
        Code::UnknownAttribute,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchLabels: {client.clusterlink.net/label.app: web}}}]\n\
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
        Code::Contradiction,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay}\n\
                spec:\n\
                \x20 action: allow\n\
                \x20 from: [{workloadSelector: {matchExpressions: [{key: client.clusterlink.net/labels.app, operator: In, values: [web]}, {key: client.clusterlink.net/labels.app, operator: NotIn, values: [web]}]}}]\n\
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
        Code::InvariantBroken,
        Example {
            path: "invariants/books.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: never\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: only\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
        },
    ),
    (
        Code::BadInvariant,
        Example {
            path: "invariants/books.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: only\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/nam: east}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: only\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
        },
    ),
    (
        Code::InvariantSelectsNothing,
        Example {
            path: "invariants/books.yaml",
            wrong: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: never\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: south}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
            right: "apiVersion: weft.dev/v1alpha1\n\
                kind: Invariant\n\
                metadata: {name: books}\n\
                spec:\n\
                \x20 rule: only\n\
                \x20 from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: east}}}]\n\
                \x20 to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
        },
    ),
    (
        Code::PolicyExpired,
        Example {
            path: "peers/west/books.yaml",
            wrong: "apiVersion: clusterlink.net/v1alpha1\n\
                kind: AccessPolicy\n\
                metadata: {name: books, namespace: pay, annotations: {weft.dev/expires: \"2016-12-24T18:00:00Z\"}}\n\
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
];
