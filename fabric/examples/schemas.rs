//! Writes the schemas and the definitions of custom resources that the types of `fabric::api` describe
//! to `schemas/`.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let definitions = fabric::crd::generate().into_iter();
    let definitions = definitions.map(|(name, text)| (format!("crds/{name}"), text));
    for (name, text) in fabric::schema::generate().into_iter().chain(definitions) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the library reads and writes no disk; this program is there to write"
        )]
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
