//! Names this build of the model: what is kept of one build is never read by another.

use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut digest = DefaultHasher::new();
    // The lock file names the versions of the reader of YAML and of the schema checker.
    for place in ["src", "../schemas", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={place}");
        add(Path::new(place), &mut digest)?;
    }
    println!("cargo::rustc-env=WEFT_MODEL={:016x}", digest.finish());
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the model reads no disk, but its build does"
)]
fn add(place: &Path, digest: &mut DefaultHasher) -> Result<(), Box<dyn Error>> {
    if !place.is_dir() {
        place.to_string_lossy().hash(digest);
        fs::read(place)?.hash(digest);
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(place)? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths.iter().try_for_each(|path| add(path, digest))
}
