//! What was read of commits is kept on disk, and whatever becomes of it, nothing comes out
//! otherwise.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fabric::fabric::{LastGood, build};
use fabric::name::PeerName;
use fabric::plan::Plan;
use fabric::tree::Limits;
use git2::{Oid, Signature};
use jiff::Timestamp;
use reconciler::git::{BlobCache, Repository, read_ahead};
use tempfile::TempDir;

const PEER: &str = "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata: {name: east}\nspec: {gateways: []}\n";
const EXPORTS: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata: {name: a, namespace: shop, labels: {tier: \"1\"}}
spec: {host: a.example.com, port: 80}
---
apiVersion: clusterlink.net/v1alpha1
kind: List
items:
- apiVersion: clusterlink.net/v1alpha1
  kind: Export
  metadata: {name: b, namespace: shop}
  spec: {port: 81}
";

/// A repository and a directory to keep what is read of it.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        git2::Repository::init(folder.path().join("fabric")).unwrap();
        let stage = Self { folder };
        stage.write(
            "fabric.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\n",
        );
        stage.write("peers/east/peer.yaml", PEER);
        stage.write("peers/east/exports.yaml", EXPORTS);
        // One with findings that need the places of an object's parts, and one with a key.
        stage.write(
            "peers/east/import.yaml",
            "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata: {name: x, namespace: shop}\nspec:\n  port: 9\n  sources:\n  - {peer: nobody, exportName: a, exportNamespace: b}\n",
        );
        stage.write("notes/key.txt", "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n-----END PRIVATE KEY-----\n");
        stage.write("peers/east/broken.yaml", "kind: [Peer\n");
        stage.commit();
        stage
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join("fabric").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) {
        let repository = git2::Repository::open(self.folder.path().join("fabric")).unwrap();
        let mut index = repository.index().unwrap();
        index
            .add_all(["."], git2::IndexAddOption::DEFAULT, None)
            .unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::now("test", "test@example.com").unwrap();
        let parent = repository
            .head()
            .ok()
            .map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        let _: Oid = repository
            .commit(Some("HEAD"), &who, &who, "change", &tree, &parents)
            .unwrap();
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn pack(&self) -> PathBuf {
        let mut packs: Vec<_> = self
            .cache()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(packs.len(), 1, "{packs:?}");
        packs.remove(0)
    }

    /// What HEAD comes to, in words, and how many files had to be read for it.
    fn read(&self, mut cache: BlobCache, limits: &Limits) -> (String, usize) {
        let repository = Repository::discover(&self.folder.path().join("fabric")).unwrap();
        let head = repository.resolve("HEAD").unwrap().id;
        let tree = repository.tree(head, limits, &mut cache).unwrap();
        read_ahead(&tree);
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let built = build(&tree, &LastGood::default(), now);
        // The unit that is broken: its objects, though it isn't in force.
        let objects: Vec<_> = tree
            .files()
            .map(|(path, blob)| {
                let resources = blob.resources().resources.iter();
                let shown = resources.map(|resource| {
                    let port = resource.value_span("/spec/port");
                    let object = serde_json::to_string(&resource.object).unwrap();
                    (
                        resource.key.clone(),
                        resource.line(),
                        port,
                        resource.key_span("/spec"),
                        object,
                    )
                });
                (
                    path.to_string(),
                    blob.bytes().to_vec(),
                    shown.collect::<Vec<_>>(),
                )
            })
            .collect();
        let plan = built
            .fabric
            .as_ref()
            .and_then(|fabric| Plan::of(fabric, &"east".parse::<PeerName>().unwrap()));
        cache.save().unwrap();
        (
            format!("{:#?}\n{objects:?}\n{plan:?}", built.diagnostics),
            cache.read(),
        )
    }

    fn cold(&self) -> String {
        self.read(BlobCache::new(), &Limits::default()).0
    }

    fn warm(&self) -> (String, usize) {
        let cache = BlobCache::on_disk(&self.cache()).unwrap();
        self.read(cache, &Limits::default())
    }
}

#[test]
fn only_what_changed_is_read_again() {
    let stage = Stage::new();
    let cold = stage.cold();
    assert!(
        cold.contains("PrivateKey") && cold.contains("code: Syntax"),
        "{cold}"
    );
    assert_eq!(stage.warm(), (cold.clone(), 6));
    assert_eq!(stage.warm(), (cold, 0));

    stage.write("peers/east/broken.yaml", "# mended\n");
    stage.commit();
    let mended = stage.cold();
    assert!(mended.contains("UnknownPeer"), "{mended}");
    assert_eq!(stage.warm(), (mended.clone(), 1));
    let length = fs::metadata(stage.pack()).unwrap().len();
    assert_eq!(stage.warm(), (mended, 0));
    assert_eq!(fs::metadata(stage.pack()).unwrap().len(), length);
}

/// Cut off anywhere, or with any byte another one: it is as if it weren't there, and is mended.
#[test]
fn a_damaged_pack_changes_nothing() {
    let stage = Stage::new();
    let cold = stage.cold();
    stage.warm();
    stage.write("peers/east/more.yaml", "# a second segment\n");
    stage.commit();
    let cold_more = stage.cold();
    assert_ne!(cold, cold_more);
    assert_eq!(stage.warm(), (cold_more.clone(), 1));
    let whole = fs::read(stage.pack()).unwrap();
    let steps = (0..whole.len()).step_by(whole.len() / 90);
    for at in steps.chain([whole.len() - 1]) {
        let mut torn = whole.clone();
        torn.truncate(at);
        fs::write(stage.pack(), &torn).unwrap();
        let (told, read) = stage.warm();
        assert_eq!(told, cold_more, "cut at {at}");
        assert!(read > 0, "cut at {at}");

        let mut other = whole.clone();
        other[at] ^= 0x10;
        fs::write(stage.pack(), &other).unwrap();
        let (told, read) = stage.warm();
        assert_eq!(told, cold_more, "byte {at}");
        assert!(read > 0, "byte {at}");
        // What was damaged was written anew.
        assert_eq!(stage.warm(), (cold_more.clone(), 0), "byte {at}");
    }
}

#[test]
fn what_was_read_under_other_limits_does_not_count() {
    let stage = Stage::new();
    stage.warm();
    let mut limits = Limits::default();
    limits.document.documents = 1;
    let cold = stage.read(BlobCache::new(), &limits).0;
    assert!(cold.contains("TooManyDocuments"), "{cold}");
    let cache = BlobCache::on_disk(&stage.cache()).unwrap();
    assert_eq!(stage.read(cache, &limits), (cold, 6));
}

#[test]
fn a_directory_that_others_can_write_is_not_used() {
    let stage = Stage::new();
    stage.warm();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.cache()), 0o700);
    assert_eq!(mode(&stage.pack()), 0o600);

    fs::set_permissions(stage.cache(), Permissions::from_mode(0o770)).unwrap();
    let refused = BlobCache::on_disk(&stage.cache()).unwrap_err();
    assert!(
        refused.to_string().ends_with("can be written by others"),
        "{refused}"
    );
    fs::set_permissions(stage.cache(), Permissions::from_mode(0o700)).unwrap();

    let link = stage.folder.path().join("link");
    symlink(stage.cache(), &link).unwrap();
    BlobCache::on_disk(&link).unwrap_err();
    // Nor is a file that others could have written, or one that stands elsewhere.
    let pack = stage.pack();
    fs::set_permissions(&pack, Permissions::from_mode(0o660)).unwrap();
    assert_eq!(stage.warm().1, 6);
    let elsewhere = stage.folder.path().join("elsewhere");
    fs::rename(&pack, &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
    symlink(&elsewhere, &pack).unwrap();
    assert_eq!(stage.warm().1, 6);
}

/// A pack of one repository put in the place of another's isn't taken for it.
#[test]
fn a_pack_under_another_name_is_not_used() {
    let (stage, other) = (Stage::new(), Stage::new());
    stage.warm();
    other.warm();
    fs::copy(other.pack(), stage.pack()).unwrap();
    assert_eq!(stage.warm(), (stage.cold(), 6));
}

/// What a check has found in a tree is kept beside its files, and believed as little as they are.
#[test]
fn what_a_check_has_found_is_kept() {
    let stage = Stage::new();
    stage.write("peers/east/broken.yaml", "# mended\n");
    stage.write("notes/key.txt", "none\n");
    stage.write("peers/east/import.yaml", "# none\n");
    stage.commit();
    let is_known = |limits: &Limits| {
        let mut cache = BlobCache::on_disk(&stage.cache()).unwrap();
        let repository = Repository::discover(&stage.folder.path().join("fabric")).unwrap();
        let head = repository.resolve("HEAD").unwrap().id;
        let tree = repository.tree(head, limits, &mut cache).unwrap();
        tree.to_kept().is_some()
    };
    let limits = Limits::default();
    let cold = stage.cold();
    assert!(!is_known(&limits));
    assert_eq!(stage.warm().0, cold);
    assert!(is_known(&limits));
    assert_eq!(stage.warm(), (cold.clone(), 0));
    let fewer = Limits {
        directories: 31,
        ..limits
    };
    assert!(!is_known(&fewer), "it was found under other limits");

    let mut pack = fs::read(stage.pack()).unwrap();
    let last = pack.len() - 1;
    pack[last] ^= 1;
    fs::write(stage.pack(), &pack).unwrap();
    assert!(!is_known(&limits), "the pack is damaged");
    assert_eq!(stage.warm().0, cold);
    assert!(is_known(&limits), "it was written anew");

    stage.write("peers/east/import.yaml", "# nothing\n");
    stage.commit();
    assert!(!is_known(&limits), "it is another tree");
}
