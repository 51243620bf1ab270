use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use fabric::name::check_subdomain;
use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use include_dir::{Dir, DirEntry, include_dir};

use crate::exit;
use crate::failure::Hint as _;
use crate::output::tell;

/// What is laid down. It is a fabric by itself, whose name stands for the new one's.
static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../fabric-repo-template");

/// The schema for editors, and where it goes: the template would hold a second copy of it.
const SCHEMA: &str = include_str!("../../../schemas/weft.json");
const SCHEMA_PATH: &str = ".weft/schema.json";

/// The fabric's name in the template.
const TEMPLATE_NAME: &str = "example-fabric";

/// The marks around what builds Weft in a workflow.
const BEGIN: &str = "# weft: begin";
const END: &str = "# weft: end";

/// Lay down a new fabric repository
///
/// Makes DIR a Git repository with the skeleton of a fabric and a first commit on the branch main:
/// the fabric's own file, places for its CA, policies and peers, a check for pull requests, and
/// guides beside each of them. DIR must be empty or not there yet.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft init acme
  weft init . --name acme
  weft init acme --action example/weft@0123456789abcdef0123456789abcdef01234567")]
pub(crate) struct Init {
    /// The new repository's directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The fabric's name [default: the directory's name]
    #[arg(long, value_parser = fabric_name)]
    name: Option<String>,

    /// Where the workflows get Weft from: the action of this repository of Weft's source, at this
    /// commit
    ///
    /// Without it the workflows build Weft from what two variables of the repository name.
    #[arg(long, value_name = "OWNER/REPO@SHA")]
    action: Option<Action>,
}

/// Weft's action at a commit: `OWNER/REPO@SHA`.
///
/// A branch or a tag may be moved to another commit by whoever owns it, so only a whole id will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    repository: String,
    commit: String,
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "write OWNER/REPO@SHA, with the whole id of a commit (40 hexadecimal digits)".to_owned()
        };
        let (repository, commit) = text.split_once('@').ok_or_else(form)?;
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let names: Vec<_> = repository.split('/').collect();
        let whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if names.len() != 2 || !names.into_iter().all(is_name) || !whole {
            return Err(form());
        }
        Ok(Self {
            repository: repository.to_owned(),
            commit: commit.to_owned(),
        })
    }
}

impl Init {
    /// Lays the repository down.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let commit = lay_down(&self.directory, self.name.as_deref(), self.action.as_ref())?;
        tell!(
            "laid down the fabric {} in {} (first commit {})",
            commit.fabric,
            self.directory.display(),
            commit.id.get(..12).unwrap_or(&commit.id)
        );
        tell!("");
        tell!("next:");
        if !is_here(&self.directory) {
            tell!("  cd {}", self.directory.display());
        }
        tell!("  weft create fabric                  # the fabric's CA");
        tell!("  weft create peer-cert --name east   # the first peer's certificate");
        tell!("  weft validate                       # after describing it: peers/README.md");
        Ok(exit::DONE)
    }
}

/// A repository that was laid down.
#[derive(Debug)]
pub(crate) struct LaidDown {
    /// The fabric's name.
    pub(crate) fabric: String,
    /// The id of the first commit.
    pub(crate) id: String,
}

/// Lays a fabric repository down in a directory that is empty or not there yet.
pub(crate) fn lay_down(
    directory: &Path,
    name: Option<&str>,
    action: Option<&Action>,
) -> anyhow::Result<LaidDown> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
    let mut entries = fs::read_dir(directory).with_context(|| format!("cannot read {shown}"))?;
    if entries.next().is_some() {
        bail!("{shown} isn't empty, and nothing is overwritten");
    }
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let whole = directory.canonicalize();
            let whole = whole.with_context(|| format!("cannot look at {shown}"))?;
            legal_name(&whole)
                .with_context(|| format!("the name of {shown} makes no fabric's name"))
                .hint(|| "give one with --name".to_owned())?
        }
    };
    write_entries(TEMPLATE.entries(), directory, &name, action)
        .and_then(|()| write_schema(directory))
        .with_context(|| format!("cannot write the template into {shown}"))?;
    let id = commit(directory, &name)
        .with_context(|| format!("cannot make {shown} a Git repository"))?;
    Ok(LaidDown { fabric: name, id })
}

fn write_entries(
    entries: &[DirEntry<'_>],
    directory: &Path,
    name: &str,
    action: Option<&Action>,
) -> io::Result<()> {
    for entry in entries {
        let path = directory.join(entry.path());
        match entry {
            DirEntry::Dir(folder) => {
                fs::create_dir_all(&path)?;
                write_entries(folder.entries(), directory, name, action)?;
            }
            DirEntry::File(file) => match file.contents_utf8() {
                Some(text) => {
                    let text = text.replace(TEMPLATE_NAME, name);
                    fs::write(&path, with_action(&text, action))?;
                }
                None => fs::write(&path, file.contents())?,
            },
        }
    }
    Ok(())
}

/// A text of the template with the action in the place of the lines that build Weft, which stand
/// between two marks; without an action, without the marks.
fn with_action(text: &str, action: Option<&Action>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        if content == BEGIN {
            inside = true;
            let indentation = line.split('#').next().unwrap_or_default();
            match action {
                Some(action) if !indentation.is_empty() => {
                    let Action { repository, commit } = action;
                    replaced.push_str(&format!(
                        "{indentation}- uses: {repository}/deploy/action@{commit}\n"
                    ));
                }
                Some(_) => replaced.push_str("# Weft is built from its source, by its action.\n"),
                None => {}
            }
        } else if content == END {
            inside = false;
        } else if !inside || action.is_none() {
            replaced.push_str(line);
        }
    }
    replaced
}

fn write_schema(directory: &Path) -> io::Result<()> {
    let path = directory.join(SCHEMA_PATH);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, SCHEMA)
}

/// Makes the directory a repository, and commits everything in it.
fn commit(directory: &Path, name: &str) -> Result<String, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options
        .no_reinit(true)
        .initial_head("main")
        // Hooks of the user's own template have no business in a new fabric.
        .external_template(false);
    let repository = Repository::init_opts(directory, &options)?;
    let mut index = repository.index()?;
    // The template's own .gitignore is for private keys; a user's global one doesn't count here.
    index.add_all(["*"], IndexAddOption::FORCE, None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let neutral = || Signature::now("weft", "weft@localhost");
    let author = repository.author_from_env().or_else(|_| neutral())?;
    let committer = repository.committer_from_env().or_else(|_| neutral())?;
    let message = format!("Lay down the fabric {name}\n");
    let id = repository.commit(Some("HEAD"), &author, &committer, &message, &tree, &[])?;
    Ok(id.to_string())
}

fn fabric_name(text: &str) -> Result<String, String> {
    check_subdomain(text).map_err(|error| format!("it can't be a fabric's name: {error}"))?;
    Ok(text.to_owned())
}

/// The directory's name with everything replaced that a fabric's name can't hold.
fn legal_name(directory: &Path) -> Option<String> {
    let raw = directory.file_name()?.to_string_lossy().to_lowercase();
    let legal: String = raw
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '.' => c,
            _ => '-',
        })
        .take(63)
        .collect();
    let legal = legal.trim_matches(['-', '.']);
    check_subdomain(legal).ok().map(|()| legal.to_owned())
}

fn is_here(directory: &Path) -> bool {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    matches!((here, directory.canonicalize()), (Ok(here), Ok(there)) if here == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_become_names_of_fabrics() {
        for (directory, name) in [
            ("/a/acme", Some("acme")),
            ("/a/Acme Fabric", Some("acme-fabric")),
            ("/a/.tmpX1", Some("tmpx1")),
            ("/a/acme.example", Some("acme.example")),
            ("/a/übung", Some("bung")),
            ("/a/___", None),
            ("/", None),
        ] {
            assert_eq!(
                legal_name(Path::new(directory)).as_deref(),
                name,
                "{directory}"
            );
        }
    }

    #[test]
    fn an_action_is_named_by_a_whole_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (text, good) in [
            (format!("example/weft@{commit}"), true),
            (format!("example@{commit}"), false),
            (format!("a/b/c@{commit}"), false),
            (format!("a/b\n- run: x@{commit}"), false),
            (format!("../b@{commit}"), false),
            ("example/weft@main".to_owned(), false),
            (format!("example/weft@{}", &commit[1..]), false),
            (format!("example/weft@{commit}0"), false),
        ] {
            assert_eq!(text.parse::<Action>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn every_file_of_the_template_is_text() {
        fn check(entries: &[DirEntry<'_>]) -> usize {
            let mut files = 0;
            for entry in entries {
                match entry {
                    DirEntry::Dir(folder) => files += check(folder.entries()),
                    DirEntry::File(file) => {
                        assert!(file.contents_utf8().is_some(), "{:?}", file.path());
                        files += 1;
                    }
                }
            }
            files
        }
        assert!(check(TEMPLATE.entries()) > 5);
    }
}
