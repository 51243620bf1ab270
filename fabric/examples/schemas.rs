//! Writes the JSON schemas that the types of `fabric::api` describe to `schemas/`.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    for (name, text) in fabric::schema::generate() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the library reads and writes no disk; this program is there to write"
        )]
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
