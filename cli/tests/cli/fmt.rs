use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use crate::sandbox::Sandbox;

const UNTIDY: &str = "\
kind: Export # what it is
apiVersion: 'clusterlink.net/v1alpha1'
metadata:
    namespace: shop
    # the name
    name: till
    labels: {since: 2026-01-01}
spec:
    port:   80
";

const TIDY: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export # what it is
metadata:
  # the name
  name: till
  namespace: shop
  labels: {since: \"2026-01-01\"}
spec:
  port: 80
";

#[test]
fn the_files_of_the_fabric_get_their_form() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let first = sandbox.ok("acme", &["fmt", "--check"]);
    assert_eq!(first.stdout, "", "what Weft lays down has its form");
    assert_eq!(first.stderr, "0 of 8 files would be changed\n");

    sandbox.write("acme/peers/east/till.yaml", UNTIDY);
    // Not the fabric's, and ignored.
    sandbox.write("acme/notes/other.yaml", UNTIDY);
    sandbox.write("acme/peers/east/scratch.yaml", UNTIDY);
    sandbox.write("acme/.git/info/exclude", "scratch.yaml\n");

    let check = sandbox.weft("acme", &["fmt", "--check"]);
    assert_eq!((check.code, &*check.stdout), (1, "peers/east/till.yaml\n"));
    assert_eq!(sandbox.read("acme/peers/east/till.yaml"), UNTIDY);

    let outcome = sandbox.ok("acme/peers", &["fmt", "east", "east/till.yaml"]);
    assert_eq!(outcome.stdout, "east/till.yaml\n");
    assert_eq!(outcome.stderr, "1 of 4 files changed\n");
    assert_eq!(sandbox.read("acme/peers/east/till.yaml"), TIDY);
    for left in ["acme/notes/other.yaml", "acme/peers/east/scratch.yaml"] {
        assert_eq!(sandbox.read(left), UNTIDY);
    }
    // A file that has its form isn't written again.
    let inode = || {
        fs::metadata(sandbox.path("acme/peers/east/till.yaml"))
            .unwrap()
            .ino()
    };
    let before = inode();
    sandbox.ok("acme", &["fmt"]);
    assert_eq!(inode(), before);
}

#[test]
fn what_cant_be_read_stays_byte_for_byte() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let broken = "metadata: {name: [}\nspec:\n    a:   1\n";
    sandbox.write("acme/peers/east/broken.yaml", broken);
    sandbox.write("acme/peers/east/till.yaml", UNTIDY);
    let outcome = sandbox.weft("acme", &["fmt"]);
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stdout, "peers/east/till.yaml\n");
    assert!(
        outcome.stderr.contains("peers/east/broken.yaml:1:18"),
        "{outcome:?}"
    );
    assert_eq!(sandbox.read("acme/peers/east/broken.yaml"), broken);
}

#[test]
fn links_are_never_followed() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.write("outside.yaml", UNTIDY);
    symlink(
        sandbox.path("outside.yaml"),
        sandbox.path("acme/peers/east/link.yaml"),
    )
    .unwrap();
    sandbox.ok("acme", &["fmt"]);
    let named = sandbox.weft("acme", &["fmt", "peers/east/link.yaml"]);
    assert_eq!(named.code, 2, "{named:?}");
    assert_eq!(sandbox.read("outside.yaml"), UNTIDY);

    let other = sandbox.weft("acme", &["fmt", "README.md"]);
    assert_eq!(other.code, 2);
    assert!(
        other.stderr.contains("isn't a YAML file that Weft reads"),
        "{other:?}"
    );
}
