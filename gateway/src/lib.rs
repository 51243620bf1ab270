#![doc = "x"]
pub mod tunnel;
