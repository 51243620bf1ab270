//! A cluster as the store: one peer's objects, applied on the server's side and kept so.
