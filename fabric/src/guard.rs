//! Guard rails on export hosts: what a gateway refuses to connect to unless the fabric allows it.
//!
//! An export makes the exporting gateway connect somewhere. Loopback, link-local and metadata
//! services trust whoever reaches them, so an export of one hands that trust to the whole fabric.
//! The text of a host is checked with the repository, what a name resolves to at connect time.

mod address;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::ExportHosts;
use crate::name::check_subdomain;

/// Tells which hosts exports may aim at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportHostGuard {
    /// The allowed addresses.
    ranges: Vec<IpNet>,
    /// The allowed names, lower case and without a dot at the end.
    names: BTreeSet<String>,
    /// What the allow list holds and can't be understood.
    not_understood: Vec<String>,
}

/// Why a host is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} {class}")]
pub struct Refusal {
    /// The name or address that is refused; a name that resolves to a refused address with it.
    pub host: String,
    /// What kind of host it is.
    pub class: Class,
}

/// The kinds of host that are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The gateway's own host.
    Loopback,
    /// No address in particular, which systems take for the own host.
    Unspecified,
    /// The gateway's own link.
    LinkLocal,
    /// A cloud's metadata service, which hands out credentials.
    Metadata,
    /// An address in a spelling that programs read differently; never allowed.
    NotCanonical,
}

// === impl ExportHostGuard ===

impl ExportHostGuard {
    /// The guard with a fabric's exceptions.
    #[must_use]
    pub fn new(hosts: &ExportHosts) -> Self {
        let mut guard = Self::default();
        for entry in &hosts.allow {
            let address = entry.parse::<IpAddr>().map(IpNet::from);
            if let Ok(range) = entry.parse::<IpNet>().or(address) {
                guard.ranges.push(range);
                continue;
            }
            let name = normal(entry);
            if check_subdomain(&name).is_ok() && !looks_like_address(&name) {
                guard.names.insert(name);
            } else {
                guard.not_understood.push(entry.clone());
            }
        }
        guard
    }

    /// The entries of the allow list that are no range, no address and no name; they allow nothing.
    #[must_use]
    pub fn not_understood(&self) -> &[String] {
        &self.not_understood
    }

    /// Checks what can be told of a host by its text alone.
    pub fn check_text(&self, host: &str) -> Result<(), Refusal> {
        let refuse = |class| {
            let host = host.to_owned();
            Err(Refusal { host, class })
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return match address.to_string() == host {
                true => self.check_address(address, None),
                false => refuse(Class::NotCanonical),
            };
        }
        let name = normal(host);
        if looks_like_address(&name) {
            return refuse(Class::NotCanonical);
        }
        let Some((class, addresses)) = address::of_name(&name) else {
            return Ok(());
        };
        // Who allows an address allows the names that stand for it; which address the name has
        // is checked when it is resolved.
        let is_allowed = self.names.contains(&name)
            || addresses
                .iter()
                .any(|address| self.allows_address(*address));
        if is_allowed { Ok(()) } else { refuse(class) }
    }

    /// Checks an address that is about to be connected to, and the name that it was found by.
    pub fn check_address(&self, address: IpAddr, name: Option<&str>) -> Result<(), Refusal> {
        let Some(class) = address::class(address) else {
            return Ok(());
        };
        let is_named = name.is_some_and(|name| self.names.contains(&normal(name)));
        if is_named || self.allows_address(address) {
            return Ok(());
        }
        Err(Refusal {
            host: match name {
                Some(name) => format!("{name} ({address})"),
                None => address.to_string(),
            },
            class,
        })
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        address::forms(address).any(|form| self.ranges.iter().any(|range| range.contains(&form)))
    }
}

/// A name as names are compared: lower case, without the root's dot.
fn normal(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

/// Whether a resolver may read a host as an address although it is no canonical one: `127.1`,
/// `0177.0.0.1`, `2130706433`, `0x7f000001`, `[::1]`, `fe80::1%eth0`.
fn looks_like_address(name: &str) -> bool {
    // No DNS name ends in a number: there is no such top-level domain, and URLs are read so too.
    let is_number = |label: &str| {
        let digits = label.strip_prefix("0x").unwrap_or("-");
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex || (!label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name.contains([':', '[', ']', '%']) || name.rsplit('.').next().is_some_and(is_number)
}

// === impl Class ===

impl Class {
    /// The class in one word, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Unspecified => "unspecified",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::NotCanonical => "not-canonical",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "is the gateway's own host (loopback)",
            Self::Unspecified => "is no host in particular, and may be taken for the gateway's own",
            Self::LinkLocal => "is on the gateway's own link (link-local)",
            Self::Metadata => "is a cloud's metadata service",
            Self::NotCanonical => "is an address in an unusual spelling",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str]) -> ExportHostGuard {
        let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
        ExportHostGuard::new(&ExportHosts { allow })
    }

    fn class(result: Result<(), Refusal>) -> Option<Class> {
        result.err().map(|refusal| refusal.class)
    }

    #[test]
    fn texts() {
        use Class::{LinkLocal, Loopback, Metadata, NotCanonical, Unspecified};
        for (host, expected) in [
            ("10.0.0.1", None),
            ("192.168.0.12", None),
            ("fd00::1", None),
            ("2001:db8::1", None),
            ("ledger", None),
            ("ledger.bank.svc.cluster.local", None),
            ("1st.example.com", None),
            ("0x.example.com", None),
            ("notlocalhost", None),
            ("localhost.example.com", None),
            ("metadata.example.com", None),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.0.9", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("64:ff9b::7f00:1", Some(Loopback)),
            ("64:ff9b:1::7f00:1", Some(Loopback)),
            ("64:ff9b:1:7f00:0:100::", Some(Loopback)),
            ("64:ff9b:1::a00:1", None),
            ("64:ff9b::a00:1", None),
            ("2002:7f00:1::", Some(Loopback)),
            ("::7f00:1", Some(Loopback)),
            ("::127.0.0.1", Some(NotCanonical)),
            ("::ffff:0:127.0.0.1", Some(NotCanonical)),
            ("::ffff:0:7f00:1", Some(Loopback)),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("::", Some(Unspecified)),
            ("::ffff:0.0.0.0", Some(Unspecified)),
            ("169.254.1.1", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("febf::1", Some(LinkLocal)),
            ("169.254.169.254", Some(Metadata)),
            ("169.254.170.2", Some(Metadata)),
            ("::ffff:169.254.169.254", Some(Metadata)),
            ("64:ff9b::a9fe:a9fe", Some(Metadata)),
            ("fd00:ec2::254", Some(Metadata)),
            ("100.100.100.200", Some(Metadata)),
            ("168.63.129.16", Some(Metadata)),
            ("localhost", Some(Loopback)),
            ("LocalHost.", Some(Loopback)),
            ("db.localhost", Some(Loopback)),
            ("localhost.localdomain", Some(Loopback)),
            ("ip6-localhost", Some(Loopback)),
            ("metadata", Some(Metadata)),
            ("metadata.google.internal", Some(Metadata)),
            ("Metadata.Google.Internal.", Some(Metadata)),
            ("instance-data", Some(Metadata)),
            ("instance-data.ec2.internal", Some(Metadata)),
            ("127.1", Some(NotCanonical)),
            ("0177.0.0.1", Some(NotCanonical)),
            ("127.0.0.01", Some(NotCanonical)),
            ("2130706433", Some(NotCanonical)),
            ("0x7f000001", Some(NotCanonical)),
            ("0X7F.1", Some(NotCanonical)),
            ("0x7f.0x1", Some(NotCanonical)),
            ("127.0.0.1.", Some(NotCanonical)),
            ("10.0.0.1.", Some(NotCanonical)),
            ("[::1]", Some(NotCanonical)),
            ("fe80::1%eth0", Some(NotCanonical)),
            ("0:0:0:0:0:0:0:1", Some(NotCanonical)),
            ("FD00::1", Some(NotCanonical)),
        ] {
            assert_eq!(class(guard(&[]).check_text(host)), expected, "{host}");
        }
    }

    proptest::proptest! {
        /// What the text lets through as an address, the address lets through too.
        #[test]
        fn text_and_address_agree(address: IpAddr, text in ".{0,20}") {
            let guard = guard(&["127.0.0.1", "fe80::/64"]);
            let by_text = guard.check_text(&address.to_string());
            assert_eq!(by_text, guard.check_address(address, None));
            let _ = guard.check_text(&text);
        }
    }

    #[test]
    fn exceptions() {
        for (allow, host, is_allowed) in [
            (["127.0.0.0/8"], "127.0.0.1", true),
            (["127.0.0.0/8"], "::ffff:127.0.0.1", true),
            (["127.0.0.0/8"], "localhost", true),
            (["127.0.0.0/8"], "::1", false),
            (["127.0.0.0/8"], "169.254.169.254", false),
            (["127.0.0.0/8"], "127.1", false),
            (["127.0.0.0/8"], "metadata.google.internal", false),
            (["::1"], "localhost", true),
            (["::1"], "127.0.0.1", false),
            (["169.254.169.254"], "metadata.google.internal", true),
            (["169.254.169.254"], "169.254.169.253", false),
            (["localhost"], "localhost", true),
            (["LOCALHOST."], "localhost", true),
            (["localhost"], "a.localhost", false),
            (["localhost"], "127.0.0.1", false),
            (["127.1"], "127.0.0.1", false),
        ] {
            assert_eq!(
                guard(&allow).check_text(host).is_ok(),
                is_allowed,
                "{allow:?} {host}"
            );
        }
        let odd = guard(&[
            "127.1",
            "a b",
            "10.0.0.0/33",
            "db.example.com",
            "10.0.0.0/8",
        ]);
        assert_eq!(odd.not_understood(), ["127.1", "a b", "10.0.0.0/33"]);
    }

    #[test]
    fn addresses_that_names_resolve_to() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let plain = guard(&[]);
        assert_eq!(plain.check_address(address("10.0.0.1"), Some("db")), Ok(()));
        let refusal = plain.check_address(address("::ffff:127.0.0.1"), Some("db.example.com"));
        assert_eq!(
            refusal.unwrap_err().to_string(),
            "db.example.com (::ffff:127.0.0.1) is the gateway's own host (loopback)"
        );
        let named = guard(&["db.example.com"]);
        let home = address("127.0.0.1");
        assert_eq!(named.check_address(home, Some("DB.example.com.")), Ok(()));
        assert!(
            named
                .check_address(home, Some("other.example.com"))
                .is_err()
        );
        assert!(named.check_address(home, None).is_err());
    }
}
