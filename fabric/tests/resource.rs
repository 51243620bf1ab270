//! Objects as they stand in files: what is found where, and that nothing is lost on the way.

// The attributes tell clippy that these are tests as a whole, helpers too.
#[cfg(test)]
#[path = "resource/arbitrary.rs"]
mod arbitrary;
#[cfg(test)]
#[path = "resource/corpus.rs"]
mod corpus;
#[cfg(test)]
#[path = "resource/drive.rs"]
mod drive;
#[cfg(test)]
#[path = "resource/round_trip.rs"]
mod round_trip;
