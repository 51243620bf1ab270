//! The documentation says what the code does.

use std::fs;

use weft_tests::reference;

#[test]
fn the_table_of_codes_is_up_to_date() {
    let path = reference::diagnostics_path();
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference::diagnostics(),
        "run `cargo run -p weft-tests --example diagnostics`"
    );
}
