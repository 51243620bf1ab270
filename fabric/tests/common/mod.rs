//! Trees made of texts, and certificates for them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::diagnostic::Effect;
use fabric::fabric::{Build, LastGood, build};
use fabric::origin::Revision;
use fabric::tree::{Blob, EntryKind, Limits, Tree, TreeBuilder, Visit};
use jiff::Timestamp;

/// Files by their paths, to be changed and built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, String>);

impl Files {
    /// A fabric with a CA and the peers `east` and `west`, each with its certificate: west exports
    /// `pay/ledger`, east imports it, and both sides allow it.
    pub(crate) fn two_peers() -> Self {
        let authority = Authority::new("acme");
        let mut files = Self::default();
        files
            .put(
                "fabric.yaml",
                "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n",
            )
            .put("ca/acme.pem", &authority.pem())
            .put("peers/east/cert.pem", &authority.leaf("east"))
            .put("peers/west/cert.pem", &authority.leaf("west"))
            .put("peers/east/peer.yaml", &peer("east", "{region: eu}"))
            .put("peers/west/peer.yaml", &peer("west", "{region: us}"))
            .put("peers/west/ledger.yaml", &export("pay", "ledger", 8080))
            .put(
                "peers/east/ledger.yaml",
                &import("shop", "ledger", 9000, "west", "pay/ledger"),
            )
            .put("peers/east/policy.yaml", &allow_all("shop"))
            .put("peers/west/policy.yaml", &allow_all("pay"));
        files
    }

    pub(crate) fn put(&mut self, path: &str, text: &str) -> &mut Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn remove(&mut self, path: &str) -> &mut Self {
        assert!(self.0.remove(path).is_some(), "no file {path}");
        self
    }

    pub(crate) fn replace(&mut self, path: &str, from: &str, to: &str) -> &mut Self {
        let text = self.0.get_mut(path).unwrap();
        assert!(text.contains(from), "{path} holds no {from:?}");
        *text = text.replace(from, to);
        self
    }

    pub(crate) fn tree(&self, revision: &str) -> Tree {
        self.builder(revision).finish()
    }

    pub(crate) fn builder(&self, revision: &str) -> TreeBuilder {
        let mut builder = Tree::builder(Revision::commit(revision), Limits::default());
        for (path, text) in &self.0 {
            let kind = EntryKind::File {
                size: text.len() as u64,
            };
            let blob = match builder.visit(path.as_bytes(), kind) {
                Visit::Read => Blob::new(text.clone().into_bytes(), Limits::default().document),
                Visit::Search => Blob::searched(text.as_bytes()),
                Visit::Skip => continue,
            };
            builder.add(path.as_bytes(), Arc::new(blob));
        }
        builder
    }

    pub(crate) fn build(&self) -> Build {
        build(&self.tree("head"), &LastGood::default(), now())
    }
}

/// A CA that signs leaves.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        valid(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn leaf(&self, name: &str) -> String {
        self.leaf_of(name, &rcgen::KeyPair::generate().unwrap())
    }

    pub(crate) fn leaf_of(&self, name: &str, key: &rcgen::KeyPair) -> String {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        valid(&mut params);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }
}

fn valid(params: &mut rcgen::CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
}

/// The moment of the tests: early in the certificates' life.
pub(crate) fn now() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn peer(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata:\n  name: {name}\n  labels: {labels}\nspec:\n  gateways: [{{host: {name}.example.com, port: 4443}}]\n"
    )
}

pub(crate) fn export(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{host: {name}.example.com, port: {port}}}\n"
    )
}

pub(crate) fn import(namespace: &str, name: &str, port: u16, peer: &str, export: &str) -> String {
    let (export_namespace, export_name) = export.split_once('/').unwrap();
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  port: {port}\n  targetPort: {port}\n  sources:\n  - peer: {peer}\n    exportName: {export_name}\n    exportNamespace: {export_namespace}\n"
    )
}

/// A policy that lets labelled clients in; it provokes no warning.
pub(crate) fn allow_all(namespace: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: allow, namespace: {namespace}}}\nspec:\n  action: allow\n  from: [{{workloadSelector: {{matchLabels: {{client.clusterlink.net/labels.app: till}}}}}}]\n  to: [{{workloadSelector: {{}}}}]\n"
    )
}

/// What is reported of at least an effect, a line each: code, effect, place, message.
pub(crate) fn report(build: &Build, least: Effect) -> String {
    let lines = build
        .diagnostics
        .iter()
        .filter(|d| d.effect >= least)
        .map(|d| {
            let span = d.span();
            format!(
                "{} {:?} {}:{}:{} {}\n",
                d.code,
                d.effect,
                d.path(),
                span.line,
                span.column,
                d.message
            )
        });
    lines.collect()
}
