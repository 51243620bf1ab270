//! The real binary, in temporary directories.

mod create;
mod explain;
mod help;
mod init;
mod plan;
mod sandbox;
mod validate;
