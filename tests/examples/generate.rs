//! Writes a large fabric for measuring: `generate FOLDER [FILES]`.

use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use weft_tests::generator::generate;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (folder, files) = match arguments.as_slice() {
        [folder] => (folder, Ok(10_000)),
        [folder, files] => (folder, files.parse()),
        _ => return Ok(ExitCode::from(2)),
    };
    let Ok(files) = files else {
        return Ok(ExitCode::from(2));
    };
    generate(Path::new(folder), files)?;
    Ok(ExitCode::SUCCESS)
}
