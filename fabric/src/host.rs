//! Hosts and address ranges, in the one spelling that every tool reads alike.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::{NameError, check_subdomain};

/// Something that can be dialled: an IP address in its canonical spelling, or a DNS name.
///
/// Anything that some resolver would take for an address but that isn't its canonical spelling
/// (`127.1`, `0x7f.1`, `2130706433`) is no host at all: a guard that reads it otherwise than the
/// resolver would let it through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address; never an IPv4 address that is mapped into IPv6.
    Address(IpAddr),
    /// A DNS name in lower case and without a dot at its end.
    Name(Arc<str>),
}

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Some tools read it as this address.
    #[error("it isn't an address in its usual spelling, but some tools read it as {0}")]
    Spelling(IpAddr),
    /// It ends like an address, yet is none.
    #[error("it is neither an address nor a DNS name: its last part is a number")]
    Number,
    /// An IPv6 address in brackets.
    #[error("an address stands without brackets here")]
    Brackets,
    /// A host with a port behind it.
    #[error("a port has a field of its own")]
    Port,
    /// A URL or a path.
    #[error("it is a URL or a path, and a host is wanted")]
    Url,
    /// Neither an IPv6 address nor a name.
    #[error("it isn't an IPv6 address")]
    Colon,
    /// Not a DNS name.
    #[error("it isn't a DNS name: {0}")]
    Name(#[from] NameError),
}

/// Why a text is no address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Bits are set behind the prefix.
    #[error("bits are set behind its prefix; the range is {0}")]
    HostBits(IpNet),
    /// Another spelling of this range.
    #[error("it isn't in its usual spelling, which is {0}")]
    Spelling(String),
    /// The prefix is longer than the address.
    #[error("its prefix length isn't a number from 0 to {0}")]
    Prefix(u8),
    /// No address at all.
    #[error("it is neither an IP address nor a range such as 10.9.0.0/24")]
    Syntax,
}

// === impl Host ===

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let canonical = address.to_canonical();
            return if canonical.to_string() == text {
                Ok(Self::Address(address))
            } else {
                Err(HostError::Spelling(canonical))
            };
        }
        if text.starts_with('[') {
            return Err(HostError::Brackets);
        }
        if text.contains('/') {
            return Err(HostError::Url);
        }
        if let Some((_, port)) = text.rsplit_once(':') {
            let one = text.matches(':').count() == 1;
            return Err(match one && port.parse::<u16>().is_ok() {
                true => HostError::Port,
                false => HostError::Colon,
            });
        }
        // A dot at the end says that no search domain is to be tried; resolvers know it.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(match loose_ipv4(&name) {
                Some(address) => HostError::Spelling(address.into()),
                None => HostError::Number,
            });
        }
        check_subdomain(&name)?;
        Ok(Self::Name(name.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads an address range in CIDR notation, or an address as the range that holds it alone.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let (address_text, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address_text.parse::<IpAddr>() else {
        return Err(match loose_ipv4(address_text) {
            Some(address) => NetworkError::Spelling(match prefix {
                Some(prefix) => format!("{address}/{prefix}"),
                None => address.to_string(),
            }),
            None => NetworkError::Syntax,
        });
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => widest,
        Some(prefix) => prefix
            .parse::<u8>()
            .ok()
            .filter(|length| length.to_string() == prefix)
            .ok_or(NetworkError::Prefix(widest))?,
    };
    let network = IpNet::new(address, length).map_err(|_| NetworkError::Prefix(widest))?;
    // An IPv4 client is never seen as its IPv6 image, so such a range would hold nobody.
    if let IpAddr::V6(mapped) = address
        && let (Some(inner), Some(length)) = (mapped.to_ipv4_mapped(), length.checked_sub(96))
    {
        return Err(NetworkError::Spelling(match prefix {
            Some(_) => format!("{inner}/{length}"),
            None => inner.to_string(),
        }));
    }
    if network.trunc() != network {
        return Err(NetworkError::HostBits(network.trunc()));
    }
    if address.to_string() != address_text {
        return Err(NetworkError::Spelling(match prefix {
            Some(_) => network.to_string(),
            None => address.to_string(),
        }));
    }
    Ok(network)
}

/// Whether the last part of a name makes resolvers take the whole for an IPv4 address.
fn is_number(part: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        || part.strip_prefix("0x").is_some_and(hex)
}

/// Reads an IPv4 address as old C libraries do: one to four parts, decimal, octal or hexadecimal,
/// the last of which fills what is left.
fn loose_ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| {
        let lower = part.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some("") => Some(0),
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => {
                u32::from_str_radix(&lower, 8).ok()
            }
            None => lower.parse().ok(),
        }
        .filter(|_| !part.starts_with('+'))
    };
    let parts = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|&part| part > 255) {
        return None;
    }
    let mut high: u32 = 0;
    let mut room: u32 = 32;
    for part in first {
        room -= 8;
        high |= part << room;
    }
    let fits = room == 32 || *last < 1 << room;
    fits.then(|| Ipv4Addr::from(high | last))
}

/// The address that an IPv6 address carries, where it only wraps an IPv4 address (mapped,
/// translated by NAT64, 6to4): what guards must look at too.
#[must_use]
pub fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(pair(g, h)),
        [0x2002, ..] => Some(pair(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let name = |text: &str| Ok(Host::Name(text.into()));
        let address = |text: &str| Ok(Host::Address(text.parse().unwrap()));
        let spelling = |text: &str| Err(HostError::Spelling(text.parse().unwrap()));
        for (text, expected) in [
            ("192.168.0.12", address("192.168.0.12")),
            ("::1", address("::1")),
            ("2001:db8::1", address("2001:db8::1")),
            ("db.internal", name("db.internal")),
            ("DB.Internal.", name("db.internal")),
            ("localhost", name("localhost")),
            ("1st.example", name("1st.example")),
            ("0xdeadbeef.example", name("0xdeadbeef.example")),
            ("127.1", spelling("127.0.0.1")),
            ("127.0.0.1.", spelling("127.0.0.1")),
            ("0177.0.0.1", spelling("127.0.0.1")),
            ("2130706433", spelling("127.0.0.1")),
            ("0x7f.1", spelling("127.0.0.1")),
            ("0X7F000001", spelling("127.0.0.1")),
            ("0x", spelling("0.0.0.0")),
            ("010.0.0.1", spelling("8.0.0.1")),
            ("::FFFF:127.0.0.1", spelling("127.0.0.1")),
            ("::ffff:127.0.0.1", spelling("127.0.0.1")),
            ("2001:0db8::1", spelling("2001:db8::1")),
            ("0:0:0:0:0:0:0:1", spelling("::1")),
            ("256.0.0.1", Err(HostError::Number)),
            ("1.2.3.4.5", Err(HostError::Number)),
            ("db.example.5", Err(HostError::Number)),
            ("4294967296", Err(HostError::Number)),
            ("[::1]", Err(HostError::Brackets)),
            ("[::1]:443", Err(HostError::Brackets)),
            ("db:5432", Err(HostError::Port)),
            ("fe80::1%eth0", Err(HostError::Colon)),
            ("https://db", Err(HostError::Url)),
            ("db/x", Err(HostError::Url)),
            ("", Err(NameError::Empty.into())),
            (".", Err(NameError::Empty.into())),
            ("a..b", Err(NameError::Edge.into())),
            ("db..", Err(NameError::Edge.into())),
            ("-db", Err(NameError::Edge.into())),
            (
                "d_b",
                Err(NameError::Character('_', ", and '.' between parts").into()),
            ),
            (
                "１２７.0.0.1.x",
                Err(NameError::Character('１', ", and '.' between parts").into()),
            ),
        ] {
            assert_eq!(text.parse::<Host>(), expected, "{text:?}");
        }
    }

    #[test]
    fn networks() {
        let good = |text: &str| Ok(text.parse().unwrap());
        let spelling = |text: &str| Err(NetworkError::Spelling(text.to_owned()));
        for (text, expected) in [
            ("10.9.0.0/24", good("10.9.0.0/24")),
            ("10.9.0.1", good("10.9.0.1/32")),
            ("0.0.0.0/0", good("0.0.0.0/0")),
            ("2001:db8::/32", good("2001:db8::/32")),
            ("::1", good("::1/128")),
            (
                "10.9.0.1/24",
                Err(NetworkError::HostBits("10.9.0.0/24".parse().unwrap())),
            ),
            (
                "2001:db8::1/32",
                Err(NetworkError::HostBits("2001:db8::/32".parse().unwrap())),
            ),
            ("10.9/16", spelling("10.0.0.9/16")),
            ("2001:DB8::/32", spelling("2001:db8::/32")),
            ("::ffff:10.0.0.0/104", spelling("10.0.0.0/8")),
            ("10.9.0.0/33", Err(NetworkError::Prefix(32))),
            ("10.9.0.0/024", Err(NetworkError::Prefix(32))),
            ("10.9.0.0/", Err(NetworkError::Prefix(32))),
            ("::/129", Err(NetworkError::Prefix(128))),
            ("10.9.0.0/255.255.255.0", Err(NetworkError::Prefix(32))),
            ("east", Err(NetworkError::Syntax)),
            ("", Err(NetworkError::Syntax)),
        ] {
            assert_eq!(parse_network(text), expected, "{text:?}");
        }
    }

    #[test]
    fn embedded_addresses() {
        for (text, inner) in [
            ("::ffff:127.0.0.1", Some("127.0.0.1")),
            ("64:ff9b::169.254.169.254", Some("169.254.169.254")),
            ("2002:7f00:1::", Some("127.0.0.1")),
            ("2001:db8::1", None),
            ("::1", None),
        ] {
            let inner = inner.map(|inner| inner.parse().unwrap());
            assert_eq!(embedded_ipv4(text.parse().unwrap()), inner, "{text}");
        }
    }
}
