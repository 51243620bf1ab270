//! Writes `docs/diagnostics.md`.

use std::io;

use weft_tests::reference;

fn main() -> io::Result<()> {
    std::fs::write(reference::diagnostics_path(), reference::diagnostics())
}
