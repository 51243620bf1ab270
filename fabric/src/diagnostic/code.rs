//! The table of all codes. A code never changes its meaning and is never used again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Effect;

macro_rules! codes {
    ($( $number:literal $name:ident $effect:ident $title:literal $explanation:literal )+) => {
        /// Which kind of thing a diagnostic reports; written `WEFT` and four digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $( #[doc = $title] $name, )+
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// The code as it is written, `WEFT0001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => concat!("WEFT", $number), )+ }
            }

            /// What the code does unless the place says otherwise.
            #[must_use]
            pub const fn effect(self) -> Effect {
                match self { $( Self::$name => Effect::$effect, )+ }
            }

            /// What the code is about, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $( Self::$name => $title, )+ }
            }

            /// Why it is reported and how it is mended.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $( Self::$name => $explanation, )+ }
            }
        }
    };
}

codes! {
    // The text of a file.
    "0001" NotUtf8 Freeze "not UTF-8"
        "YAML files are read as UTF-8. Save the file as UTF-8; a byte order mark is allowed at its very start only."
    "0002" Syntax Freeze "not YAML"
        "The text isn't YAML 1.2. The place is where the reader could not go on; the mistake is often just before it (an open quote, a missing colon, indentation)."
    "0003" Tab Freeze "a tab as indentation"
        "YAML allows spaces only as indentation. Replace the tab with spaces."
    "0004" ByteOrderMark Freeze "a byte order mark inside the text"
        "A byte order mark may stand at the very start of a file only. Two files were probably joined; remove the character U+FEFF."
    "0005" Anchor Freeze "an anchor or an alias"
        "Anchors (&x), aliases (*x) and merge keys (<<) are not read: a reviewer must see each object whole. Write the value out."
    "0006" Tag Freeze "a tag"
        "Tags (!!str, !custom) are not read. Quote the value where a string is wanted."
    "0007" Directive Freeze "a directive"
        "Of YAML's directives only %YAML 1.2 is accepted. Remove the line."
    "0008" DuplicateKey Freeze "a key stands twice"
        "The same key stands twice in one mapping; tools disagree which one counts. Remove one of them."
    "0009" KeyNotString Freeze "a key that is no string"
        "Keys are strings. Quote the key."
    "0010" FileTooLarge Freeze "a file is too large"
        "Files are read up to a limit (1 MiB unless the command line says otherwise). Split the file."
    "0011" TooDeep Freeze "nested too deep"
        "A document may be nested 64 levels deep."
    "0012" TooManyDocuments Freeze "too many documents in a file"
        "A file may hold 10,000 documents. Split the file."
    "0013" AmbiguousScalar Warn "other tools read this value otherwise"
        "Without quotes YAML tools disagree about this value: some read it as a boolean, a number or a date. It is taken as the string that is written. Quote it."
    "0014" DecimalNumber Freeze "a number with a fraction or an exponent"
        "No field takes a number with a fraction or an exponent. Quote it where a string is wanted; write a whole number otherwise."
    "0015" AmbiguousKey Warn "other tools read this key otherwise"
        "Without quotes some YAML tools read this key as a boolean. It is taken as the string that is written. Quote it."
    "0016" TooManyNodes Freeze "too many values in a file"
        "A file may hold a bounded number of values. Split the file."
    "0017" LineSeparator Warn "a character that other tools take for a line break"
        "U+0085, U+2028 and U+2029 end a line in YAML 1.1, which many tools read, and are plain text in YAML 1.2. Write them in double quotes, as \\N, \\L and \\P, or remove them."

    // One object.
    "0101" NotAnObject Freeze "not an object of the API"
        "Each document is a mapping with apiVersion, kind, metadata and spec."
    "0102" UnknownKind Freeze "an unknown kind"
        "The kind isn't one of this API, or goes with another apiVersion. Inside a unit every document must be an object that Weft knows."
    "0103" MisplacedKind Freeze "a kind that doesn't belong here"
        "The object is of a kind that is not read at this place of the repository. The guide shows which kinds stand where."
    "0104" UnknownField Freeze "an unknown field"
        "The field isn't one of the kind's. Fields are checked strictly, so that a typing error can't silently drop a rule."
    "0105" MissingField Freeze "a required field is missing"
        "The kind requires the field. Add it."
    "0106" WrongType Freeze "a value of the wrong type"
        "The field takes another type of value. A number or a boolean where a string is wanted needs quotes."
    "0107" OutOfRange Freeze "a value outside its range"
        "The value is of the right type but not one that the field allows."
    "0108" NotOneOf Freeze "not one of the allowed values"
        "The field takes one of a few values."
    "0109" BadName Freeze "a name that breaks its rule"
        "Names are RFC 1123 labels or DNS names: lower-case letters, digits and hyphens."
    "0110" ServerField Warn "a field that only a server writes"
        "Status and the metadata that a server writes are ignored, so that objects can be brought in from a cluster."
    "0111" NoNamespace Warn "no namespace"
        "The object names no namespace, and default is taken. Write the namespace."
    "0112" NamespaceIgnored Warn "a namespace on a cluster-scoped object"
        "The kind is cluster-scoped; its namespace is ignored. Remove it."
    "0113" BadSelector Freeze "a selector that can't be understood"
        "A label selector's key, operator and values go together as in Kubernetes: In and NotIn take values, Exists and DoesNotExist take none."
    "0114" WorkloadSets Freeze "workload sets are not supported"
        "workloadSets is part of ClusterLink's API but not implemented there either. Use workloadSelector."
    "0115" ReservedLabel Freeze "a reserved label"
        "Labels under weft.dev/ are written by Weft itself. Remove the label."
    "0116" BadHost Freeze "a host that can't be understood"
        "A host is a DNS name or an IP address in its usual spelling."
    "0117" UnlikelyName Warn "a name that may not work everywhere"
        "The name is legal but some tools refuse or misread it: a digit in front, or dots in an export's name without a host."
    "0118" BadLabel Freeze "a label that breaks its rule"
        "Label keys and values follow Kubernetes: an optional DNS prefix and slash, then at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit."
    "0119" BadFingerprint Freeze "not a certificate fingerprint"
        "A fingerprint is the SHA-256 of the certificate's DER in 64 hexadecimal digits."
    "0120" BadAddress Freeze "not an address range"
        "Addresses are IP addresses or ranges in CIDR notation, such as 10.9.0.0/24."
    "0121" BadDuration Freeze "not a duration"
        "Durations are numbers with units, such as 90s, 15m or 2160h."
    "0122" BadTime Freeze "not a moment in time"
        "The annotation weft.dev/expires says when a policy ends, as RFC 3339 has it: a date, T, a time, and Z or the distance from UTC, such as 2026-12-24T18:00:00Z."
    "0123" BadLimit Freeze "not a limit"
        "The annotations weft.dev/max-connections and weft.dev/connections-per-second are whole numbers in quotes; 0 is no limit."
    "0124" BadCompatibility Freeze "not a compatibility"
        "The annotation weft.dev/compatibility of a Peer says what other than weft/1 is spoken with it. The one value is clusterlink, for a peer that runs ClusterLink."

    // Between files.
    "0201" DuplicateObject Freeze "an object stands twice"
        "Two documents describe the same object. Remove one of them."
    "0202" NoPeer Freeze "a unit without its Peer"
        "The directory peers/NAME/ is a unit and holds exactly one Peer, named as the directory."
    "0203" PeerMisnamed Freeze "a Peer not named as its directory"
        "The Peer in peers/NAME/ is named NAME: the name is what its certificate proves."
    "0204" UnknownPeer Fail "an import from a peer that isn't there"
        "The Import names a peer that the fabric doesn't have. The source is dropped; the rest of the Import stays in force."
    "0205" UnknownExport Fail "an import of something that isn't exported"
        "The peer doesn't export what the Import names. The source is dropped; the rest of the Import stays in force."
    "0206" PortClash Fail "two imports on one port"
        "Two Imports of a peer can't listen on the same port, nor can one listen on a port of the gateway itself. The later one is dropped."
    "0207" ExportHostRefused Fail "an export host that the guard rails refuse"
        "Exports may not aim at loopback, link-local or metadata addresses, unless spec.exportHosts.allow of the Fabric names them. The export is dropped."
    "0208" NoSources Note "an import without sources"
        "The Import has no sources, so connections to it are refused."
    "0209" UnknownPeerInPolicy Warn "a policy names a peer that isn't there"
        "The policy names a peer that the fabric doesn't have, so this part of it matches nothing."
    "0210" SelectsNobody Warn "a selector that selects no peer"
        "The annotation weft.dev/peers selects no peer of the fabric, so the policy is in force nowhere."
    "0211" NoFabric Freeze "no Fabric"
        "The repository's fabric.yaml holds exactly one Fabric."
    "0212" PeerLabelsDiffer Warn "the Instance's peer labels differ"
        "The labels of a peer are those of its Peer in the repository; Instance.spec.peerLabels differ and are ignored."
    "0213" OverlappingWorkloads Freeze "two workloads with the same addresses"
        "An address range may stand once only; of overlapping ranges the narrowest counts."

    // Certificates.
    "0301" BadCertificate Freeze "not a certificate"
        "The file should hold PEM certificates and nothing else."
    "0302" CertificateName Freeze "a certificate without the peer's name"
        "The certificate's DNS names must include the peer's name."
    "0303" CertificateChain Fail "a certificate that doesn't chain to the fabric's CA"
        "The certificate must be signed by a certificate in ca/, directly or through intermediates in the same file."
    "0304" CertificateTime Fail "an expired or not yet valid certificate"
        "The certificate isn't valid at this time. TLS refuses it; time alone changes nothing that is in force."
    "0305" CertificateExpiresSoon Warn "a certificate expires soon"
        "Renew the certificate and commit the new one beside the old one."
    "0306" NoCertificate Warn "a peer without a committed certificate"
        "Without peers/NAME/cert.pem any certificate of the fabric's CA with the peer's name is accepted."
    "0307" CertificateOtherPeer Fail "a certificate with another peer's name"
        "A certificate proves one peer only. Issue one without the other peer's name."
    "0308" CertificateUsage Fail "a certificate that may not be used so"
        "Its key usage must allow what the peer does: client authentication, and server authentication when the peer has gateways; and it must not be a CA's."
    "0309" WeakKey Fail "a weak key"
        "Keys are at least P-256 or RSA-2048."
    "0310" SharedKey Warn "one key in two peers"
        "Two peers use the same key, so each can take the other's place."
    "0311" CertificateRevoked Warn "a revoked certificate"
        "The certificate's fingerprint is in revocations.yaml; no peer accepts it."
    "0312" NoAuthority Fail "no CA"
        "ca/*.pem holds the fabric's CA certificates; without one no peer can be recognised."
    "0313" TooManyCertificates Freeze "too many certificates"
        "At most two leaves stand side by side while one replaces the other."

    // Policies.
    "0401" ImportNeverAllowed Warn "an import that no policy can ever allow"
        "Without a policy that allows it, on the importer's side and on the exporter's, every connection is denied."
    "0402" PolicyMatchesNothing Warn "a policy that can match nothing"
        "No connection of the fabric can match the policy."
    "0403" AllowsEverything Warn "a policy that lets everything in"
        "The policy allows every client to reach every service in its scope."
    "0404" UnknownAttribute Warn "a selector on something that is no attribute"
        "The key isn't an attribute of this side of a connection, so In and Exists never match and NotIn and DoesNotExist always do."
    "0405" Contradiction Warn "a selector that contradicts itself"
        "No set of attributes can match the selector."
    "0406" PolicyExpired Warn "a policy that has expired"
        "The moment that the annotation weft.dev/expires names is over, so the policy decides nothing any more. Remove it, or name a later moment."

    // The repository.
    "0501" PrivateKey Freeze "a private key"
        "Private keys never stand in the repository. Take it out of the history, and replace the key: it is known to everyone who could read the repository."
    "0502" Symlink Freeze "a symbolic link"
        "Symbolic links are never followed. Put a file in its place."
    "0503" Submodule Freeze "a submodule"
        "Submodules are not read. Put the files themselves here."
    "0504" LfsPointer Freeze "a Git LFS pointer"
        "The file holds a pointer of Git LFS instead of its content. Commit the content."
    "0505" PathNotUtf8 Freeze "a file name that isn't UTF-8"
        "Rename the file."
    "0506" NotRead Warn "a file that is not read"
        "YAML is read at the places that the guide names, in files that end in .yaml or .yml."
    "0507" PathTwins Warn "two names that some systems can't tell apart"
        "The names differ only in case or in Unicode normalisation. Rename one."
    "0508" TooManyFiles Freeze "too many files"
        "The repository holds more files, or more bytes in all, than are read."
    "0509" PathTooDeep Freeze "directories too deep"
        "Files are read up to 32 directories deep."
    "0510" NotSearched Warn "a file too large to be searched for private keys"
        "Files up to the size limit are searched for private keys; this one is larger. Keep large files elsewhere."

    // Invariants.
    "0601" InvariantBroken Fail "a broken invariant"
        "Something that must be true of who reaches what isn't. The message names a client for which it isn't true, and the places the way that it takes and the rules that decide. Mend the rules or the imports, or change the invariant in a change of its own that says so."
    "0602" InvariantUndecided Fail "an invariant that can't be decided"
        "Too many policies act together to tell for every possible client whether the invariant holds, so it counts as broken. Make the invariant narrower, or the policies simpler."
    "0603" BadInvariant Fail "an invariant that can't be checked"
        "The invariant can't be understood, so nobody checks it. Keys of selectors are the attributes that policies have on the same side."
    "0604" InvariantSelectsNothing Warn "an invariant about nothing"
        "No peer of the fabric matches the invariant's clients, or no export its services, so it says nothing about the fabric as it is. For `always` and `survives` that is an error: what must be reached isn't there."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let unknown = |()| serde::de::Error::custom(format_args!("there is no code {text:?}"));
        text.parse().map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ordered() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }
}
