//! Repositories with one small mistake for each code that a few lines can make.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use weft_tests::certificates::{Authority, Request};
use weft_tests::yaml;

/// Mistakes in the text of one file of the unit `text`: the file is named by its code.
const TEXTS: &[(&str, &str)] = &[
    ("WEFT0002", "a: [\n"),
    ("WEFT0003", "a:\n\tb: 1\n"),
    ("WEFT0004", "a: b\n\u{feff}c: d\n"),
    ("WEFT0005", "a: &x b\nc: *x\n"),
    ("WEFT0006", "a: !!str b\n"),
    ("WEFT0007", "%YAML 1.1\n---\na: b\n"),
    ("WEFT0008", "a: b\na: c\n"),
    ("WEFT0009", "12: b\n"),
    ("WEFT0101", "- a\n"),
    (
        "WEFT0102",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
    ),
    (
        "WEFT0103",
        "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: a}\nspec: {}\n",
    ),
];

/// Mistakes in an Export of the unit `text`, by code: what stands in its metadata and its spec.
const EXPORTS: &[(&str, &str, &str)] = &[
    ("WEFT0013", "annotations: {a: no}", "port: 80"),
    ("WEFT0014", "annotations: {a: \"1\"}", "port: 80.0"),
    ("WEFT0015", "annotations: {on: \"1\"}", "port: 80"),
    ("WEFT0017", "annotations: {a: x\u{2028}y}", "port: 80"),
    ("WEFT0104", "labels: {}", "{port: 80, portt: 80}"),
    ("WEFT0105", "labels: {}", "host: a.example"),
    ("WEFT0106", "labels: {}", "port: eighty"),
    ("WEFT0107", "labels: {}", "port: 70000"),
    ("WEFT0110", "uid: x", "port: 80"),
    ("WEFT0115", "labels: {weft.dev/x: y}", "port: 80"),
    ("WEFT0116", "labels: {}", "{port: 80, host: \"http://a\"}"),
    ("WEFT0118", "labels: {\"-x\": y}", "port: 80"),
    (
        "WEFT0123",
        "annotations: {weft.dev/max-connections: \"many\"}",
        "port: 80",
    ),
    (
        "WEFT0207",
        "labels: {}",
        "{port: 80, host: 169.254.169.254}",
    ),
];

/// Other mistakes, by their files.
const FILES: &[(&str, &str)] = &[
    (
        "peers/text/WEFT0122.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0122, namespace: shop, annotations: {weft.dev/expires: \"24.12.2036\"}}\nspec:\n  action: allow\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespace: a}}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/spoken/WEFT0124.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata: {name: spoken, annotations: {weft.dev/compatibility: \"yes\"}}\nspec: {gateways: []}\n",
    ),
    (
        "peers/east/WEFT0406.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0406, namespace: shop, annotations: {weft.dev/expires: \"2016-12-24T18:00:00Z\"}}\nspec:\n  action: allow\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespace: a}}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/text/WEFT0108.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0108, namespace: shop}\nspec:\n  action: alow\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/text/WEFT0109.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {name: Bad_Name, namespace: shop}\nspec: {port: 80}\n",
    ),
    (
        "peers/text/WEFT0111.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {name: w0111}\nspec: {port: 80}\n",
    ),
    (
        "peers/text/WEFT0113.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0113, namespace: shop}\nspec:\n  action: allow\n  from: [{workloadSelector: {matchExpressions: [{key: client.clusterlink.net/namespace, operator: In}]}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/text/WEFT0114.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0114, namespace: shop}\nspec:\n  action: allow\n  from: [{workloadSets: [a]}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/text/WEFT0117.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {name: w.0117, namespace: shop}\nspec: {port: 80}\n",
    ),
    (
        "peers/text/WEFT0120.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Workloads\nmetadata: {name: text}\nspec:\n  workloads:\n  - {addresses: [10.0.0.0/99], namespace: shop, serviceAccount: a}\n",
    ),
    (
        "peers/text/WEFT0201.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {name: twice, namespace: shop}\nspec: {port: 80}\n---\napiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {name: twice, namespace: shop}\nspec: {port: 81}\n",
    ),
    (
        "peers/text/WEFT0504.yaml",
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    ),
    (
        "peers/nobody/WEFT0202.yaml",
        "# a directory without a Peer\n",
    ),
    (
        "peers/other/WEFT0203.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata: {name: another}\nspec: {gateways: []}\n",
    ),
    (
        "peers/hosts/WEFT0213.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Workloads\nmetadata: {name: hosts}\nspec:\n  workloads:\n  - {addresses: [10.9.0.0/24], namespace: shop, serviceAccount: a}\n  - {addresses: [10.9.0.0/24], namespace: shop, serviceAccount: b}\n",
    ),
    (
        "peers/west/WEFT0112.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata: {name: w0112, namespace: shop}\nspec:\n  action: deny\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespace: nowhere}}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/west/WEFT0204.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: w0204, namespace: shop}\nspec: {port: 80, targetPort: 3001, sources: [{peer: nobody-at-all, exportName: a, exportNamespace: shop}]}\n",
    ),
    (
        "peers/west/WEFT0205.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: w0205, namespace: shop}\nspec: {port: 80, targetPort: 3002, sources: [{peer: east, exportName: leger, exportNamespace: shop}]}\n",
    ),
    (
        "peers/west/WEFT0206.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: w0206, namespace: shop}\nspec: {port: 80, targetPort: 3002, sources: [{peer: east, exportName: ledger, exportNamespace: shop}]}\n",
    ),
    (
        "peers/west/WEFT0208.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: w0208, namespace: shop}\nspec: {port: 80, targetPort: 3003, sources: []}\n",
    ),
    (
        "peers/west/WEFT0209.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0209, namespace: shop}\nspec:\n  action: allow\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: eest}}}]\n",
    ),
    (
        "peers/west/WEFT0212.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Instance\nmetadata: {name: weft, namespace: clusterlink-operator}\nspec: {peerLabels: {site: elsewhere}}\n",
    ),
    (
        "peers/west/WEFT0401.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: w0401, namespace: pay}\nspec: {port: 80, targetPort: 3004, sources: [{peer: east, exportName: ledger, exportNamespace: shop}]}\n",
    ),
    (
        "peers/east/WEFT0403.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0403, namespace: shop}\nspec:\n  action: allow\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/east/WEFT0404.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0404, namespace: shop}\nspec:\n  action: deny\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespce: shop}}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "peers/east/WEFT0405.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {name: w0405, namespace: shop}\nspec:\n  action: deny\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespace: a}, matchExpressions: [{key: client.clusterlink.net/namespace, operator: In, values: [b]}]}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    ("peers/WEFT0506.yaml", "a: b\n"),
    ("peers/twins/A.yaml", "# the same name\n"),
    ("peers/twins/a.yaml", "# the same name\n"),
    (
        "revocations.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Revocations\nmetadata: {name: test}\nspec:\n  certificates: []\n",
    ),
];

/// Lays down a repository whose shared files hold the whole fabric; the rest of it isn't linked then.
pub(crate) fn write_held(folder: &Path) {
    let fabric = "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: test}\nspec:\n  heartbeat: {interval: soon}\n";
    fs::write(folder.join("fabric.yaml"), fabric).expect("a file");
    let revocations = "apiVersion: weft.dev/v1alpha1\nkind: Revocations\nmetadata: {name: test}\nspec:\n  certificates:\n  - {fingerprint: xyz, reason: no digits, date: \"2026-01-01\"}\n";
    fs::write(folder.join("revocations.yaml"), revocations).expect("a file");
    let invariant = "apiVersion: weft.dev/v1alpha1\nkind: Invariant\nmetadata: {name: w0603}\nspec:\n  rule: never\n  losing: {count: 1}\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {}}]\n";
    fs::create_dir(folder.join("invariants")).expect("a folder");
    fs::write(folder.join("invariants/WEFT0603.yaml"), invariant).expect("a file");
}

/// What is told only where nothing is frozen, by files.
const WHOLE: &[(&str, &str)] = &[
    (
        "policies/WEFT0402.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata: {name: w0402}\nspec:\n  action: deny\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: nothing}}}]\n",
    ),
    (
        "policies/WEFT0210.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata: {name: w0210, annotations: {weft.dev/peers: site=nowhere}}\nspec:\n  action: deny\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {}}]\n",
    ),
    (
        "invariants/WEFT0601.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Invariant\nmetadata: {name: w0601}\nspec:\n  rule: never\n  from: [{workloadSelector: {matchLabels: {peer.clusterlink.net/name: west}}}]\n  to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
    ),
    (
        "invariants/WEFT0604.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Invariant\nmetadata: {name: w0604}\nspec:\n  rule: never\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: nothing}}}]\n",
    ),
];

/// Lays down a repository in which everything is understood.
pub(crate) fn write_whole(folder: &Path) {
    let authority = Authority::new("fabric");
    let file = |path: &str, text: &str| write_file(folder, path, text.as_bytes());
    file("fabric.yaml", &yaml::fabric());
    file("ca/fabric.pem", authority.pem());
    for name in ["east", "west"] {
        let peer = yaml::peer(name, ([192, 0, 2, 1], 4443).into());
        file(&format!("peers/{name}/peer.yaml"), &peer);
        file(
            &format!("peers/{name}/cert.pem"),
            &authority.peer(name).certificate,
        );
        file(
            &format!("peers/{name}/access.yaml"),
            &yaml::policy("shop", "all", "allow"),
        );
    }
    let export = yaml::export("shop", "ledger", ([127, 0, 0, 1], 9000).into());
    file("peers/east/ledger.yaml", &export);
    file(
        "peers/west/ledger.yaml",
        &yaml::import("shop", "ledger", 3000, "east"),
    );
    for (path, text) in WHOLE {
        file(path, text);
    }
}

/// Writes a file, and the folders that it is in.
pub(crate) fn write_file(folder: &Path, path: &str, text: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// Lays the repository down in a folder.
pub(crate) fn write(folder: &Path) {
    let file = |path: &str, text: &[u8]| write_file(folder, path, text);
    let authority = Authority::new("fabric");
    file("fabric.yaml", yaml::fabric().as_bytes());
    file("ca/fabric.pem", authority.pem().as_bytes());
    for (path, text) in FILES {
        file(path, text.as_bytes());
    }
    for (code, text) in TEXTS {
        file(&format!("peers/text/{code}.yaml"), text.as_bytes());
    }
    for (code, metadata, spec) in EXPORTS {
        let name = code.to_lowercase();
        let spec = spec.trim_start_matches('{').trim_end_matches('}');
        let text = format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: {name}\n  namespace: shop\n  {metadata}\nspec: {{{spec}}}\n"
        );
        let unit = match *code {
            // What is told only of what can be understood.
            "WEFT0207" => "east",
            _ => "text",
        };
        file(&format!("peers/{unit}/{code}.yaml"), text.as_bytes());
    }
    file("peers/text/WEFT0001.yaml", b"a: \xff\n");
    file("peers/text/WEFT0011.yaml", "[".repeat(80).as_bytes());
    let deep = format!("peers/text/{}WEFT0509.yaml", "d/".repeat(40));
    file(&deep, b"a: b\n");
    let link = folder.join("peers/text/WEFT0502.yaml");
    symlink("WEFT0101.yaml", link).expect("a link");

    let export = yaml::export("shop", "ledger", ([127, 0, 0, 1], 9000).into());
    file("peers/east/ledger.yaml", export.as_bytes());
    let import = yaml::import("shop", "ledger", 3000, "east");
    file("peers/west/ledger.yaml", import.as_bytes());
    let policy = yaml::policy("shop", "tills", "allow");
    file("peers/west/access.yaml", policy.as_bytes());

    let other = Authority::new("another");
    let good = |name: &str| authority.peer(name).certificate;
    let units = [
        ("text", good("text")),
        ("hosts", good("hosts")),
        ("twins", good("twins")),
        ("east", good("east")),
        ("west", good("west")),
        ("w0301", "no certificate\n".to_owned()),
        ("w0302", good("somebody")),
        ("w0303", other.peer("w0303").certificate),
        (
            "w0304",
            authority
                .issue(&Request::new("w0304").expired())
                .certificate,
        ),
        ("w0306", String::new()),
        (
            "w0307",
            authority
                .issue(&Request::new("w0307").also("east"))
                .certificate,
        ),
        ("w0311", good("w0311")),
        (
            "w0313",
            [good("w0313"), good("w0313"), good("w0313")].concat(),
        ),
    ];
    for (name, certificate) in &units {
        let peer = yaml::peer(name, ([192, 0, 2, 1], 4443).into());
        file(&format!("peers/{name}/peer.yaml"), peer.as_bytes());
        if !certificate.is_empty() {
            file(&format!("peers/{name}/cert.pem"), certificate.as_bytes());
        }
        if *name == "w0311" {
            let print = weft_tests::certificates::fingerprint(certificate);
            let text = format!(
                "apiVersion: weft.dev/v1alpha1\nkind: Revocations\nmetadata: {{name: test}}\nspec:\n  certificates:\n  - {{fingerprint: {print}, reason: lost, date: \"2026-01-01\"}}\n"
            );
            file("revocations.yaml", text.as_bytes());
        }
    }
}
