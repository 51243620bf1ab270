//! At which port the gateways of a cluster listen for each Import.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::name::ObjectName;

/// The first port that is leased.
const FIRST: u16 = 1024;
/// The first one that isn't any more: systems give the ports from there on to clients.
const END: u16 = 49_152;

/// What one Import wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The Import.
    pub import: ObjectName,
    /// When it was made, in seconds since 1970: of two equal wishes the older one's counts.
    pub created: i64,
    /// The port that its spec wants; none for any.
    pub port: Option<u16>,
    /// The port that it has by its status.
    pub held: Option<u16>,
}

/// Why an Import gets no port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another Import has it.
    Taken(u16, ObjectName),
    /// The gateways need it themselves.
    Reserved(u16),
    /// There is none left.
    Exhausted,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot generate listening port: ")?;
        match self {
            Self::Taken(port, by) => write!(f, "port {port} is already in use by service {by}"),
            Self::Reserved(port) => write!(f, "port {port} is the gateway's own"),
            Self::Exhausted => f.write_str("no port is left"),
        }
    }
}

/// Gives each Import its port: who has one keeps it, who wants a certain one goes before who doesn't,
/// and the older before the newer.
///
/// What isn't wished for is chosen by the Import's name, so that a choice that wasn't written down yet
/// is made the same way again.
#[must_use]
pub fn lease(
    mut wishes: Vec<Wish>,
    reserved: &[u16],
) -> BTreeMap<ObjectName, Result<u16, Conflict>> {
    wishes.sort_by(|a, b| (a.created, &a.import).cmp(&(b.created, &b.import)));
    let mut taken: BTreeMap<u16, ObjectName> = BTreeMap::new();
    let mut leases = BTreeMap::new();
    let may_hold = |wish: &Wish| {
        let held = wish.held?;
        let is_wanted = wish.port.is_none_or(|port| port == held);
        (is_wanted && held != 0 && !reserved.contains(&held)).then_some(held)
    };
    for wish in &wishes {
        if let Some(held) = may_hold(wish)
            && !taken.contains_key(&held)
        {
            taken.insert(held, wish.import.clone());
            leases.insert(wish.import.clone(), Ok(held));
        }
    }
    for wish in &wishes {
        let (Some(port), false) = (wish.port, leases.contains_key(&wish.import)) else {
            continue;
        };
        let lease = match taken.get(&port) {
            _ if reserved.contains(&port) => Err(Conflict::Reserved(port)),
            Some(by) => Err(Conflict::Taken(port, by.clone())),
            None => {
                taken.insert(port, wish.import.clone());
                Ok(port)
            }
        };
        leases.insert(wish.import.clone(), lease);
    }
    for wish in &wishes {
        if leases.contains_key(&wish.import) {
            continue;
        }
        let is_free = |port: &u16| !taken.contains_key(port) && !reserved.contains(port);
        let first = FIRST + hash(&wish.import) % (END - FIRST);
        let lease = (first..END)
            .chain(FIRST..first)
            .find(is_free)
            .ok_or(Conflict::Exhausted);
        if let Ok(port) = lease {
            taken.insert(port, wish.import.clone());
        }
        leases.insert(wish.import.clone(), lease);
    }
    leases
}

fn hash(import: &ObjectName) -> u16 {
    Digest::of_bytes(import.to_string().as_bytes()).first_two()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wish(name: &str, created: i64, port: Option<u16>, held: Option<u16>) -> Wish {
        Wish {
            import: ObjectName::new("shop", name).unwrap(),
            created,
            port,
            held,
        }
    }

    fn name(name: &str) -> ObjectName {
        ObjectName::new("shop", name).unwrap()
    }

    #[test]
    fn who_comes_first_has_the_port() {
        let leases = lease(
            vec![
                wish("b", 1, Some(1234), None),
                wish("a", 2, Some(1234), None),
            ],
            &[4443],
        );
        assert_eq!(leases[&name("b")], Ok(1234));
        let conflict = leases[&name("a")].clone().unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "cannot generate listening port: port 1234 is already in use by service shop/b"
        );
        // Who has it keeps it, however old the other one is.
        let leases = lease(
            vec![
                wish("b", 1, Some(1234), None),
                wish("a", 2, None, Some(1234)),
            ],
            &[4443],
        );
        assert_eq!(leases[&name("a")], Ok(1234));
        assert!(leases[&name("b")].is_err());
        let leases = lease(vec![wish("a", 1, Some(4443), None)], &[4443]);
        assert_eq!(leases[&name("a")], Err(Conflict::Reserved(4443)));
        // Who wants another one now lets go of the old one.
        let leases = lease(
            vec![
                wish("a", 1, Some(1235), Some(1234)),
                wish("b", 2, Some(1234), None),
            ],
            &[],
        );
        assert_eq!(leases[&name("a")], Ok(1235));
        assert_eq!(leases[&name("b")], Ok(1234));
    }

    #[test]
    fn a_choice_is_made_the_same_way_again() {
        let once = lease(vec![wish("a", 1, None, None)], &[]);
        assert_eq!(once, lease(vec![wish("a", 1, None, None)], &[]));
        let port = once[&name("a")].clone().unwrap();
        let other = lease(vec![wish("a", 1, None, None)], &[port]);
        assert_ne!(other[&name("a")], Ok(port));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_port_is_given_twice(
            wishes in prop::collection::vec(
                (0_i64..4, prop::option::of(1024_u16..1032), prop::option::of(1024_u16..1032)), 0..12),
        ) {
            let wishes: Vec<_> = wishes
                .into_iter()
                .enumerate()
                .map(|(n, (created, port, held))| wish(&format!("i{n}"), created, port, held))
                .collect();
            let reserved = [1025, 1030];
            let leases = lease(wishes.clone(), &reserved);
            prop_assert_eq!(leases.len(), wishes.len());
            let mut ports: Vec<_> = leases.values().filter_map(|lease| lease.clone().ok()).collect();
            let count = ports.len();
            ports.sort_unstable();
            ports.dedup();
            prop_assert_eq!(ports.len(), count);
            prop_assert!(ports.iter().all(|port| !reserved.contains(port)));
            for wish in &wishes {
                let lease = &leases[&wish.import];
                if let (Some(port), Ok(leased)) = (wish.port, lease) {
                    prop_assert_eq!(port, *leased);
                }
                prop_assert!(wish.port.is_some() || lease.is_ok());
            }
            // What was given is kept the next time.
            let again: Vec<_> = wishes
                .iter()
                .map(|wish| Wish { held: leases[&wish.import].clone().ok(), ..wish.clone() })
                .collect();
            prop_assert_eq!(lease(again, &reserved), leases);
        }
    }
}
