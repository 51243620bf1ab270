//! What the template's guides tell people to write is what Weft accepts.

use crate::sandbox::Sandbox;

/// The YAML of a guide, each with the file that the guide tells it to be written to.
fn examples(guide: &str) -> Vec<(String, String)> {
    let mut examples = Vec::new();
    let mut path = None;
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        path = named_file(line).or(path);
        if line.trim() != "```yaml" {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let block: Vec<_> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        path = named_file(block[0]).or(path);
        let path = path.clone().unwrap();
        examples.push((path, block.join("\n") + "\n"));
    }
    examples
}

/// The last file of a unit that a line names.
fn named_file(line: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || "/.-".contains(c);
    line.split(|c: char| !is_part(c))
        .rfind(|word| word.starts_with("peers/") && word.ends_with(".yaml"))
        .map(str::to_owned)
}

#[test]
fn following_the_guides_makes_a_fabric_that_works() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    sandbox.ok("acme", &["create", "fabric"]);
    let mut written = Vec::new();
    for guide in ["peers", "policies"] {
        for (path, text) in examples(&sandbox.read(&format!("acme/{guide}/README.md"))) {
            sandbox.write(&format!("acme/{path}"), &text);
            written.push(path);
        }
    }
    written.sort();
    assert_eq!(
        written,
        [
            "peers/east/access.yaml",
            "peers/east/exports.yaml",
            "peers/east/peer.yaml",
            "peers/west/imports.yaml",
            "peers/west/workloads.yaml",
        ]
    );
    for peer in ["east", "west"] {
        sandbox.ok("acme", &["create", "peer-cert", "--name", peer]);
    }
    // The guides leave to the reader what is the same for the other peer.
    let peer = sandbox.read("acme/peers/east/peer.yaml");
    sandbox.write("acme/peers/west/peer.yaml", &peer.replace("east", "west"));
    let policy = sandbox.read("acme/peers/east/access.yaml");
    sandbox.write("acme/peers/west/access.yaml", &policy);

    let outcome = sandbox.ok("acme", &["validate"]);
    assert_eq!(
        outcome.stdout,
        "ok: fabric acme: 2 peers, 12 files, 1 note (--notes shows them)\n"
    );
    sandbox.ok(
        "acme",
        &["explain", "west/shop", "--label", "app=till", "shop/ledger"],
    );
    sandbox.commit("acme", "Add two peers");
    sandbox.ok("acme", &["validate", "--rev", "HEAD"]);
}
