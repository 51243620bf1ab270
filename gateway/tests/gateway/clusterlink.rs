//! ClusterLink's HTTP dialect, both directions, with the other side played by hand.

mod caller;
mod exporter;
mod exports;
mod imports;
mod requests;
