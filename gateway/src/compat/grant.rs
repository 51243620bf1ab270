//! Access that was granted, as the token that the peer brings back.
//!
//! The token says by itself what it grants and to whom, with a MAC under a key that every replica of
//! the gateway derives from the peer's private key: the replica that is asked by CONNECT needn't be
//! the one that granted. A replica takes each token once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How long access lasts until it is used: what ClusterLink's holds.
const LIFETIME: i64 = 5_000;

/// What the clocks of replicas may differ by.
const SKEW: i64 = 2_000;

/// The longest token: all labels that a Pod usually has fit ten times. The whole header of a
/// request has to fit what Envoy takes, 60 KiB.
const MAX_TOKEN: usize = 24 * 1024;

/// Tokens of one peer that are remembered as used, for [`LIFETIME`] each: more connections in that
/// time than a gateway makes TLS handshakes for.
const USED_PER_PEER: usize = 64 * 1024;

/// What the MAC of a token begins with, so that it is one of nothing else.
const CONTEXT: &[u8] = b"weft clusterlink access token 1\0";

/// What access is granted with.
#[derive(Clone)]
pub(crate) struct GrantKey(hmac::Key);

/// What is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    /// The peer that it is granted to, as its certificate names it.
    #[serde(rename = "p")]
    pub peer: PeerName,
    /// The export.
    #[serde(rename = "e")]
    pub export: ObjectName,
    /// The client, as the peer tells it.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// Names the connection in the log, and tells one token from another.
    #[serde(rename = "i")]
    pub request: String,
    /// Until when, in milliseconds since 1970.
    #[serde(rename = "x")]
    until: i64,
}

/// A token, which is never written anywhere but to the peer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// The access that is granted.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Of the certificates that are, or just were, shown.
    keys: Mutex<Vec<GrantKey>>,
    used: Mutex<BTreeMap<PeerName, BTreeSet<(i64, String)>>>,
}

/// Why a token grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ungranted {
    /// It isn't one of ours, or was changed.
    #[error("not a token of this peer")]
    Forged,
    /// It was granted to another peer.
    #[error("the token of another peer")]
    OtherPeer,
    /// It is too late.
    #[error("the token has expired")]
    Expired,
    /// It was used before.
    #[error("the token was used before")]
    Replayed,
    /// Too many were used just now.
    #[error("too many tokens at once")]
    TooMany,
}

// === impl GrantKey ===

impl GrantKey {
    /// The key that goes with a private key.
    #[must_use]
    pub(crate) fn derive(private: &[u8]) -> Self {
        let from = hmac::Key::new(hmac::HMAC_SHA256, private);
        let key = hmac::sign(&from, CONTEXT);
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    fn sign(&self, payload: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(CONTEXT);
        context.update(payload);
        context.sign()
    }

    fn verify(&self, payload: &[u8], tag: &[u8]) -> bool {
        let message = [CONTEXT, payload].concat();
        hmac::verify(&self.0, &message, tag).is_ok()
    }
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantKey")
    }
}

// === impl Grant ===

impl Grant {
    /// What is granted from now on.
    pub(super) const fn new(
        peer: PeerName,
        export: ObjectName,
        client: Option<Client>,
        request: String,
        now: i64,
    ) -> Self {
        Self {
            peer,
            export,
            client,
            request,
            until: now.saturating_add(LIFETIME),
        }
    }
}

// === impl Token ===

impl Token {
    /// What another gateway granted.
    pub(super) const fn of_peer(text: String) -> Self {
        Self(text)
    }

    /// The text, for the peer's eyes.
    #[must_use]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

// === impl Grants ===

impl Grants {
    /// Takes the keys of the certificates that are, or just were, shown.
    pub(crate) fn know<'a>(&self, keys: impl Iterator<Item = &'a GrantKey>) {
        *self.keys.lock() = keys.cloned().collect();
    }

    /// The token for what is granted; none where it says too much.
    #[must_use]
    pub(super) fn seal(&self, key: &GrantKey, grant: &Grant) -> Option<Token> {
        let payload = serde_json::to_vec(grant).ok()?;
        let mut token = URL_SAFE_NO_PAD.encode(&payload);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(key.sign(&payload), &mut token);
        (token.len() <= MAX_TOKEN).then_some(Token(token))
    }

    /// What a token grants to a peer, once.
    pub(super) fn redeem(
        &self,
        token: &str,
        peer: &PeerName,
        now: i64,
    ) -> Result<Grant, Ungranted> {
        let grant = self.open(token).ok_or(Ungranted::Forged)?;
        if grant.peer != *peer {
            return Err(Ungranted::OtherPeer);
        }
        // Also where a clock was set back: no token lasts longer than one.
        if grant.until <= now || grant.until > now.saturating_add(LIFETIME + SKEW) {
            return Err(Ungranted::Expired);
        }
        let mut all = self.used.lock();
        let used = all.entry(peer.clone()).or_default();
        *used = used.split_off(&(now, String::new()));
        let id = (grant.until, grant.request.clone());
        if used.contains(&id) {
            return Err(Ungranted::Replayed);
        }
        if used.len() >= USED_PER_PEER {
            return Err(Ungranted::TooMany);
        }
        used.insert(id);
        Ok(grant)
    }

    fn open(&self, token: &str) -> Option<Grant> {
        let (payload, tag) = token.split_once('.').filter(|_| token.len() <= MAX_TOKEN)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let keys = self.keys.lock().clone();
        let is_ours = keys.iter().any(|key| key.verify(&payload, &tag));
        is_ours.then(|| serde_json::from_slice(&payload).ok())?
    }
}

/// The moment, in milliseconds since 1970.
#[must_use]
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(secrets: &[&[u8]]) -> Grants {
        let grants = Grants::default();
        let keys: Vec<_> = secrets
            .iter()
            .map(|secret| GrantKey::derive(secret))
            .collect();
        grants.know(keys.iter());
        grants
    }

    fn grant(request: &str) -> Grant {
        let (peer, export) = ("west".parse().unwrap(), "shop/ledger".parse().unwrap());
        Grant::new(peer, export, None, request.to_owned(), 1_000)
    }

    fn west() -> PeerName {
        "west".parse().unwrap()
    }

    #[test]
    fn row_35_a_grant_is_taken_once_in_time_and_from_its_peer_alone() {
        let (grants, key) = (grants(&[b"secret"]), GrantKey::derive(b"secret"));
        let token = grants.seal(&key, &grant("a")).unwrap();
        let redeem = |peer: &str, now| grants.redeem(token.as_str(), &peer.parse().unwrap(), now);
        assert_eq!(redeem("east", 1_000), Err(Ungranted::OtherPeer));
        assert_eq!(redeem("west", 1_000 + LIFETIME), Err(Ungranted::Expired));
        assert_eq!(redeem("west", 1_000 - SKEW - 1), Err(Ungranted::Expired));
        assert_eq!(redeem("west", 999 + LIFETIME), Ok(grant("a")));
        assert_eq!(redeem("west", 999 + LIFETIME), Err(Ungranted::Replayed));
    }

    #[test]
    fn a_changed_token_grants_nothing() {
        let (grants, key) = (grants(&[b"secret"]), GrantKey::derive(b"secret"));
        let token = grants.seal(&key, &grant("a")).unwrap().as_str().to_owned();
        let (payload, tag) = token.split_once('.').unwrap();
        let mut other = grant("a");
        other.export = "shop/vault".parse().unwrap();
        let other = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap());
        for forged in [
            String::new(),
            ".".to_owned(),
            payload.to_owned(),
            format!("{payload}."),
            format!("{payload}.{tag}x"),
            format!("{other}.{tag}"),
            format!(".{tag}"),
            "x".repeat(MAX_TOKEN + 1),
        ] {
            let result = grants.redeem(&forged, &west(), 1_000);
            assert_eq!(result, Err(Ungranted::Forged), "{forged}");
        }
        assert_eq!(grants.redeem(&token, &west(), 1_000), Ok(grant("a")));
    }

    #[test]
    fn another_replica_and_the_certificate_before_count_too() {
        let (old, new) = (GrantKey::derive(b"old"), GrantKey::derive(b"new"));
        let here = grants(&[b"old"]);
        let there = grants(&[b"new", b"old"]);
        let token = here.seal(&old, &grant("a")).unwrap();
        assert!(there.redeem(token.as_str(), &west(), 1_000).is_ok());
        let token = there.seal(&new, &grant("b")).unwrap();
        let early = here.redeem(token.as_str(), &west(), 1_000);
        assert_eq!(early, Err(Ungranted::Forged));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let (grants, key) = (grants(&[b"secret"]), GrantKey::derive(b"secret"));
        let full = (0..USED_PER_PEER).map(|at| (1_000 + LIFETIME, format!("{at}")));
        grants.used.lock().insert(west(), full.collect());
        let redeem = |request: &str, start| {
            let mut grant = grant(request);
            grant.until = start + LIFETIME;
            let token = grants.seal(&key, &grant).unwrap();
            grants.redeem(token.as_str(), &west(), start).map(|_| ())
        };
        assert_eq!(redeem("a", 1_000), Err(Ungranted::TooMany));
        assert_eq!(redeem("a", 1_001 + LIFETIME), Ok(()));
        assert_eq!(grants.used.lock()[&west()].len(), 1);
    }

    #[test]
    fn row_36_a_token_and_its_key_are_never_shown() {
        let (grants, key) = (grants(&[b"secret"]), GrantKey::derive(b"secret"));
        let token = grants.seal(&key, &grant("a")).unwrap();
        assert_eq!(format!("{token:?} {key:?}"), "Token GrantKey");
    }

    #[test]
    fn more_labels_than_fit_are_no_token() {
        let (grants, key) = (grants(&[b"secret"]), GrantKey::derive(b"secret"));
        let mut large = grant("a");
        let labels = (0..1_000).map(|at| (format!("key-{at:06}"), "value".repeat(4)));
        large.client = Some(Client {
            labels: labels.collect(),
            ..Client::default()
        });
        assert_eq!(grants.seal(&key, &large), None);
    }
}
