//! The objects of a fabric repository: one Rust type per kind is its YAML, its custom resource and
//! its JSON schema at once.
//!
//! The types decode leniently (an older gateway must not drop an object from a newer writer); what
//! is structurally wrong is said by the JSON schemas, which are generated from these types.

mod access_policy;
mod annotation;
mod compatibility;
mod condition;
mod duration;
mod export;
mod fabric;
mod fabric_state;
mod fabric_sync;
mod gateway_report;
mod import;
mod instance;
mod invariant;
mod label;
mod metadata;
mod object;
mod peer;
mod revocations;
mod selector;
mod status;
mod workloads;

pub use access_policy::{
    AccessPolicy, AccessPolicySpec, Action, PrivilegedAccessPolicy, WorkloadSetOrSelector,
};
pub use annotation::{Annotation, Expiry, ServiceLimits, TimeError, parse_limit, parse_time};
pub use compatibility::{Compatibility, CompatibilityError};
pub use condition::{Condition, ConditionStatus};
pub use duration::Duration;
pub use export::{Export, ExportSpec};
pub use fabric::{
    Certificates, ExportHosts, Fabric, FabricSpec, Gate, Heartbeat, Limits, Peering, Prune,
};
pub use fabric_state::FabricStateSpec;
pub use fabric_sync::{
    Adoption, FabricSyncSpec, FabricSyncStatus, FrozenUnit, OnRewrite, RefusedObject, SecretRef,
    Unmanaged,
};
pub use gateway_report::{FailedImport, GatewayReportStatus, IgnoredObject, PeerReport};
pub use import::{Import, ImportSource, ImportSpec, LoadBalancing};
pub use instance::{
    Dataplane, DataplaneType, Ingress, IngressType, Instance, InstanceSpec, LogLevel,
};
pub use invariant::{Invariant, InvariantRule, InvariantSpec, Losing};
pub use label::{LabelError, check_label_key, check_label_value};
pub use metadata::Metadata;
pub use object::Object;
pub use peer::{Gateway, Peer, PeerSpec};
pub use revocations::{Fingerprint, Revocation, Revocations, RevocationsSpec};
pub use selector::{LabelSelector, Operator, Requirement, SelectorError, parse_selector};
pub use status::{
    ComponentStatus, ExportStatus, ImportStatus, IngressStatus, InstanceStatus, PeerStatus,
    PolicyStatus,
};
pub use workloads::{Workload, Workloads, WorkloadsSpec};
