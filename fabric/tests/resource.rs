//! Objects as they stand in files: what is found where, and that nothing is lost on the way.

#[path = "resource/corpus.rs"]
mod corpus;
#[path = "resource/round_trip.rs"]
mod round_trip;
