//! Git: fetching into one bare store, and reading trees straight from the object database.
//!
//! Everything in here blocks; async callers use [`tokio::task::spawn_blocking`].

mod commit;
mod error;
mod repository;
mod tree;
mod working_tree;

pub use commit::{Commit, CommitId};
pub use error::Error;
pub use repository::Repository;
pub use tree::BlobCache;
pub use working_tree::working_tree;
