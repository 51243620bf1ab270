//! Writes the schemas of the JSON forms of reports to `schemas/reports/`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    fs::create_dir_all(directory.join("reports"))?;
    for (name, text) in weft::schema::generate() {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}
