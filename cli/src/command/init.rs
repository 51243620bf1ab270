use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// Lay down a new fabric repository
///
/// Makes DIR a Git repository with the skeleton of a fabric and a first commit on the branch main:
/// the fabric's own file, places for its CA, policies and peers, a check for pull requests, and
/// guides beside each of them. DIR must be empty or not there yet.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft init acme
  weft init . --name acme")]
pub(crate) struct Init {
    /// The new repository's directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The fabric's name [default: the directory's name]
    #[arg(long, value_parser = fabric_name)]
    name: Option<String>,
}

impl Init {
    /// Lays the repository down.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let commit = lay_down(&self.directory, self.name.as_deref())?;
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
pub(crate) fn lay_down(directory: &Path, name: Option<&str>) -> anyhow::Result<LaidDown> {
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
    write_entries(TEMPLATE.entries(), directory, &name)
        .and_then(|()| write_schema(directory))
        .with_context(|| format!("cannot write the template into {shown}"))?;
    let id = commit(directory, &name)
        .with_context(|| format!("cannot make {shown} a Git repository"))?;
    Ok(LaidDown { fabric: name, id })
}

fn write_entries(entries: &[DirEntry<'_>], directory: &Path, name: &str) -> io::Result<()> {
    for entry in entries {
        let path = directory.join(entry.path());
        match entry {
            DirEntry::Dir(folder) => {
                fs::create_dir_all(&path)?;
                write_entries(folder.entries(), directory, name)?;
            }
            DirEntry::File(file) => match file.contents_utf8() {
                Some(text) => fs::write(&path, text.replace(TEMPLATE_NAME, name))?,
                None => fs::write(&path, file.contents())?,
            },
        }
    }
    Ok(())
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
