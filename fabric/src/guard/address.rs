//! What kind of place an address or a name stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Class;

/// Metadata services by their address, as the clouds document them.
const METADATA: &[IpAddr] = &[
    // AWS, Azure, Google, OpenStack and most others.
    V4_METADATA,
    // AWS: credentials of ECS tasks and of EKS pods.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Alibaba.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host agent.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS over IPv6: instances and EKS pods.
    V6_METADATA,
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];
const V4_METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const V6_METADATA: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));

const LOOPBACK_NAMES: &[&str] = &[
    "localhost",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
    "localhost.localdomain",
    "localhost4.localdomain4",
    "localhost6.localdomain6",
];

const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "instance-data",
];

/// What a name in lower case stands for by itself, and the addresses that it is known to have.
pub(super) fn of_name(name: &str) -> Option<(Class, &'static [IpAddr])> {
    const HOME: &[IpAddr] = &[
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    const CLOUD: &[IpAddr] = &[V4_METADATA, V6_METADATA];
    if LOOPBACK_NAMES.contains(&name) || name.ends_with(".localhost") {
        return Some((Class::Loopback, HOME));
    }
    // EC2's own resolver knows `instance-data` under each region's domain.
    let in_region = name.starts_with("instance-data.") && name.ends_with(".internal");
    (METADATA_NAMES.contains(&name) || in_region).then_some((Class::Metadata, CLOUD))
}

/// The class of an address, also of an IPv4 address inside an IPv6 one.
pub(super) fn class(address: IpAddr) -> Option<Class> {
    forms(address).find_map(plain_class)
}

/// The address itself, and every IPv4 address that a translator on the way may make of it.
pub(super) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let embedded = match address {
        IpAddr::V6(address) => embedded(address),
        IpAddr::V4(_) => Vec::new(),
    };
    std::iter::once(address).chain(embedded.into_iter().map(IpAddr::V4))
}

fn plain_class(address: IpAddr) -> Option<Class> {
    if METADATA.contains(&address) {
        return Some(Class::Metadata);
    }
    let (is_loopback, is_unspecified, is_link_local) = match address {
        IpAddr::V4(v4) => (v4.is_loopback(), v4.octets()[0] == 0, v4.is_link_local()),
        IpAddr::V6(v6) => (
            v6.is_loopback(),
            v6.is_unspecified(),
            v6.is_unicast_link_local(),
        ),
    };
    match () {
        () if is_loopback => Some(Class::Loopback),
        () if is_unspecified => Some(Class::Unspecified),
        () if is_link_local => Some(Class::LinkLocal),
        () => None,
    }
}

fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let [_, _, _, _, _, _, a, b] = segments;
    let octets = address.octets();
    let joined = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let last = joined(a, b);
    match segments {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // Mapped, compatible (deprecated) and translated (SIIT) addresses; NAT64.
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0, 0, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        // NAT64 of a site (RFC 8215): where the IPv4 address stands depends on the length of the
        // site's prefix (RFC 6052), so each place counts; octet 8 is always left out.
        [0x64, 0xff9b, 1, ..] => {
            let [.., o6, o7, _, o9, o10, o11, o12, _, _, _] = octets;
            let mut places = vec![
                last,
                Ipv4Addr::new(o6, o7, o9, o10),
                Ipv4Addr::new(o7, o9, o10, o11),
                Ipv4Addr::new(o9, o10, o11, o12),
            ];
            // The wrong places mostly hold zeros, and 0.0.0.0/8 leads no translator anywhere.
            places.retain(|place| place.octets()[0] != 0);
            places
        }
        // 6to4.
        [0x2002, high, low, ..] => vec![joined(high, low)],
        _ => Vec::new(),
    }
}
