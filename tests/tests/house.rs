//! The rules of the workspace itself: what depends on what, and which files there are.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// More than this is two nouns in one file.
const LINES: usize = 800;

#[test]
fn no_source_file_is_too_long() {
    let mut long = Vec::new();
    for file in sources(&root()) {
        let lines = read(&file).lines().count();
        if lines > LINES {
            long.push(format!("{} has {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "over {LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn every_source_file_is_compiled() {
    let mut reached = BTreeSet::new();
    // Fuzz targets are workspaces of their own, for another toolchain.
    let fuzz = packages()
        .iter()
        .map(|package| directory(package).join("fuzz/Cargo.toml"))
        .filter(|manifest| manifest.exists())
        .flat_map(|manifest| packages_of(&manifest))
        .collect::<Vec<_>>();
    for package in packages().into_iter().chain(fuzz) {
        for target in package["targets"].as_array().unwrap() {
            let file = PathBuf::from(target["src_path"].as_str().unwrap());
            let directory = file.parent().unwrap().to_path_buf();
            follow(&file, &directory, &mut reached);
        }
    }
    let orphans: Vec<_> = sources(&root())
        .into_iter()
        .filter(|file| !reached.contains(file))
        .collect();
    assert!(orphans.is_empty(), "no `mod` leads to {orphans:#?}");
}

#[test]
fn the_arrows_between_crates_hold() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("fabric", [].as_slice()),
        ("reconciler", &["fabric"]),
        ("gateway", &["fabric"]),
        ("weft", &["fabric", "gateway", "reconciler"]),
        // The end-to-end tests know the product by its binary alone, but for the table of codes, and
        // for the simulation, which asks the engines of gateways themselves.
        ("weft-tests", &["fabric", "gateway", "reconciler"]),
        // It measures binaries, Weft's as anybody else's.
        ("weft-bench", &[]),
    ]);
    let members: BTreeSet<String> = packages().iter().map(name).collect();
    for package in packages() {
        let name = name(&package);
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("say in this test what {name} may depend on"));
        for dependency in dependencies(&package) {
            assert!(
                !members.contains(&dependency.name)
                    || allowed.contains(&dependency.name.as_str())
                    || dependency.name == name,
                "{name} may not depend on {}",
                dependency.name
            );
        }
    }
}

/// Fuzzing is no part of what runs here, so that nobody would see that it no longer builds. What the
/// targets do stands beside the tests, which compile it; this is about what is around it.
#[test]
fn the_locks_of_fuzzing_are_up_to_date() {
    for package in packages() {
        let folder = directory(&package).join("fuzz");
        if !folder.exists() {
            continue;
        }
        let lock = read(&folder.join("Cargo.lock"));
        let fuzz = packages_of(&folder.join("Cargo.toml"));
        let mut locked = 0;
        for package in packages().iter().chain(&fuzz) {
            let name = name(package);
            let Some(listed) = locked_dependencies(&lock, &name) else {
                continue;
            };
            let wanted: BTreeSet<_> = dependencies(package)
                .into_iter()
                .filter(|dependency| !dependency.is_for_development)
                .map(|dependency| dependency.name)
                .collect();
            let lock = folder.join("Cargo.lock");
            assert_eq!(listed, wanted, "{name} in {}", lock.display());
            locked += 1;
        }
        assert!(
            locked >= 2,
            "neither the library nor its targets are locked"
        );
    }
}

/// Clippy's list in `fabric/clippy.toml` refuses what the standard library could bring in; this
/// refuses crates. (`getrandom` is in the graph: jsonschema's hash maps are seeded by it.)
#[test]
fn the_model_is_pure() {
    let banned = [
        "async-std",
        "futures-executor",
        "git2",
        "hyper",
        "k8s-openapi",
        "kube",
        "mio",
        "rand",
        "reqwest",
        "rustls",
        "smol",
        "socket2",
        "tempfile",
        "tokio",
        "ureq",
    ];
    let arguments = "tree --package fabric --edges normal --prefix none --format {p} --locked";
    let output = cargo(&arguments.split(' ').collect::<Vec<_>>());
    let names: BTreeSet<&str> = output
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        names.contains("fabric"),
        "cargo tree lists nothing: {output}"
    );
    let found: Vec<_> = banned.iter().filter(|name| names.contains(*name)).collect();
    assert!(found.is_empty(), "fabric depends on {found:?}");
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for package in packages() {
        let directory = directory(&package);
        let text = |folders: &[&str]| -> String {
            folders
                .iter()
                .flat_map(|folder| sources(&directory.join(folder)))
                .map(|file| read(&file))
                .collect()
        };
        let shipped = text(&["src"]);
        let all = text(&["src", "tests", "benches", "examples"]);
        for dependency in dependencies(&package) {
            let text = if dependency.is_for_development {
                &all
            } else {
                &shipped
            };
            if !names_crate(text, &dependency.identifier()) {
                unused.push(format!("{}: {}", name(&package), dependency.name));
            }
        }
    }
    let members: String = packages()
        .iter()
        .map(|package| read(&directory(package).join("Cargo.toml")))
        .collect();
    for key in workspace_dependencies() {
        if !members.contains(&format!("\n{key}.workspace"))
            && !members.contains(&format!("\n{key} = {{ workspace"))
        {
            unused.push(format!("workspace: {key}"));
        }
    }
    assert!(unused.is_empty(), "not used:\n{}", unused.join("\n"));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = read(&directory(&package).join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            name(&package)
        );
    }
}

#[test]
fn workflows_are_pinned_and_bounded() {
    let folders = [
        ".github/workflows",
        "fabric-repo-template/.github/workflows",
    ];
    let workflows: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!workflows.is_empty());
    for path in workflows {
        let text = read(&path);
        let shown = path.display();
        for line in text.lines().filter(|line| line.contains("uses:")) {
            let revision = line.split_once('@').map_or("", |(_, revision)| revision);
            let (revision, version) = revision.split_once(" # v").unwrap_or_default();
            let is_commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit && !version.is_empty(), "{shown}: {line}");
        }
        let count = |what: &str| {
            text.lines()
                .filter(|line| line.trim().starts_with(what))
                .count()
        };
        assert_eq!(count("runs-on:"), count("timeout-minutes:"), "{shown}");
        assert!(text.contains("\npermissions: {}\n"), "{shown}");
    }
}

struct Dependency {
    name: String,
    rename: Option<String>,
    is_for_development: bool,
}

// === impl Dependency ===

impl Dependency {
    /// The name by which Rust code knows the crate.
    fn identifier(&self) -> String {
        self.rename
            .as_ref()
            .unwrap_or(&self.name)
            .replace('-', "_")
            // Libraries whose name isn't their package's.
            .replace("rustls_webpki", "webpki")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    packages_of(Path::new("Cargo.toml"))
}

/// The packages of the workspace of a manifest.
fn packages_of(manifest: &Path) -> Vec<Value> {
    let arguments = "metadata --no-deps --offline --format-version 1 --manifest-path";
    let mut arguments: Vec<_> = arguments.split(' ').collect();
    arguments.push(manifest.to_str().unwrap());
    let text = cargo(&arguments);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn name(package: &Value) -> String {
    package["name"].as_str().unwrap().to_owned()
}

fn directory(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().to_path_buf()
}

fn dependencies(package: &Value) -> Vec<Dependency> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let dependencies = package["dependencies"].as_array().unwrap();
    dependencies
        .iter()
        .map(|dependency| Dependency {
            name: text(&dependency["name"]).unwrap(),
            rename: text(&dependency["rename"]),
            is_for_development: dependency["kind"] == "dev",
        })
        .collect()
}

/// What a lock file says that a package depends on; none where it doesn't know the package.
fn locked_dependencies(lock: &str, name: &str) -> Option<BTreeSet<String>> {
    let name = format!("name = \"{name}\"");
    let mut packages = lock.split("\n[[package]]\n");
    let package = packages.find(|package| package.lines().next() == Some(&name))?;
    let (_, list) = package.split_once("dependencies = [\n")?;
    let names = list.lines().map_while(|line| line.strip_prefix(" \""));
    // A version stands behind the name where there are several.
    let names = names.filter_map(|line| line.split([' ', '"']).next());
    Some(names.map(str::to_owned).collect())
}

/// The keys of `[workspace.dependencies]`.
fn workspace_dependencies() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, rest) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let table = rest.split("\n[").next().unwrap();
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key.to_owned())
        .collect()
}

/// Whether code names a crate: `crate_name::`, or `use crate_name` or `extern crate crate_name`.
fn names_crate(text: &str, identifier: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(identifier).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + identifier.len()..]);
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
        if line.starts_with("//") {
            return false;
        }
        after.starts_with("::") || before.ends_with("use ") || before.ends_with("crate ")
    })
}

/// Every Rust file below a folder, but for what a build leaves.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            // A build's folder carries this file.
            if !name.starts_with('.') && !path.join("CACHEDIR.TAG").exists() {
                found.extend(sources(&path));
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Notes a file and every file that its `mod` lines lead to.
///
/// `directory` is where the files of its modules are looked for.
fn follow(file: &Path, directory: &Path, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_path_buf()) {
        return;
    }
    let mut written_path = None;
    // The folder of a module that is written out here, and not in a file of its own.
    let mut inner: Option<PathBuf> = None;
    for line in read(file).lines() {
        if line == "}" {
            inner = None;
        }
        let is_outer = !line.starts_with(' ');
        let line = line.trim();
        if let Some(path) = line
            .strip_prefix("#[path = \"")
            .and_then(|rest| rest.strip_suffix("\"]"))
        {
            written_path = Some(file.parent().unwrap().join(path));
            continue;
        }
        if is_outer && let [.., "mod", module, "{"] = line.split(' ').collect::<Vec<_>>().as_slice()
        {
            let folder = written_path.take();
            inner = Some(folder.unwrap_or_else(|| directory.join(module)));
            continue;
        }
        let directory = inner.as_deref().unwrap_or(directory);
        let Some(declaration) = line.strip_suffix(';') else {
            continue;
        };
        let words: Vec<_> = declaration.split_whitespace().collect();
        let [.., "mod", module] = words.as_slice() else {
            continue;
        };
        let candidates = match written_path.take() {
            Some(path) => vec![path],
            None => vec![
                directory.join(format!("{module}.rs")),
                directory.join(module).join("mod.rs"),
            ],
        };
        for candidate in candidates.into_iter().filter(|path| path.exists()) {
            follow(&candidate, &directory.join(module), reached);
        }
    }
}
