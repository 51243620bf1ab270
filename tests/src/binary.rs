//! The `weft` binary that the tests start.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// The binary: what the environment's `WEFT_BIN` names, else one that is built now.
pub fn weft() -> &'static Path {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("WEFT_BIN") {
        Some(path) => fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("WEFT_BIN={}: {error}", path.to_string_lossy())),
        None => build(),
    });
    &PATH
}

/// Runs the binary to its end, in a folder and with a clean environment.
pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    clean(&mut Command::new(weft()))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// Takes the user's settings away from a program.
pub fn clean(command: &mut Command) -> &mut Command {
    let keep = ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"];
    command.env_clear();
    for name in keep {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("HOME", "/nonexistent")
        .env("WEFT_CACHE", "")
        .env("LC_ALL", "C.UTF-8")
        .env("RUST_BACKTRACE", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The same profile and folder as this test's own, so that mostly nothing is left to build.
    let output = Command::new(cargo)
        .args(["build", "--package", "weft", "--bin", "weft", "--locked"])
        .args(["--message-format", "json-render-diagnostics"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the weft binary doesn't build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "weft")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo says where the binary is")
}
