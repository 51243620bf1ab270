//! Writes `docs/pull-request.svg`.

use std::io;

use weft_tests::picture;

fn main() -> io::Result<()> {
    std::fs::write(picture::path(), picture::widening())
}
