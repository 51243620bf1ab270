//! Git: fetching into one bare store, and reading trees straight from the object database.
//!
//! Everything in here blocks; async callers use [`tokio::task::spawn_blocking`].

mod address;
mod ancestry;
mod commit;
mod credentials;
mod disk;
mod error;
mod fetch;
mod housekeeping;
mod http;
mod local;
mod merge;
mod operation;
mod remote;
mod repository;
mod ssh;
mod transport;
mod tree;
mod working_tree;

pub use address::{Address, AddressError};
pub use commit::{Commit, CommitId, NoCommitId};
pub use credentials::{Credentials, Secret};
pub use disk::CacheError;
pub use error::{Error, FetchError};
pub use fetch::Fetched;
pub(crate) use local::reference_files;
pub use merge::Merged;
pub use remote::{FetchLimits, NoReference, Reference, Remote, SshOptions};
pub use repository::Repository;
pub use tree::{BlobCache, read_ahead};
pub use working_tree::working_tree;
