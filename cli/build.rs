//! Builds anew when a file of the template comes or goes; a changed one is noticed anyway.

fn main() {
    println!("cargo::rerun-if-changed=../fabric-repo-template");
    println!("cargo::rerun-if-changed=../deploy/base");
}
