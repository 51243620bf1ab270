use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use git2::Repository;
use tempfile::NamedTempFile;

use crate::exit;
use crate::failure::Hint as _;
use crate::output::tell;

/// Let Git run the check: before a commit, a push, or on the server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Hook {
    Install(Install),
}

/// Install Git hooks that run `weft validate`
///
/// A hook judges what is about to be committed (the index, not the files on disk), pushed or
/// received, and refuses it when the check fails. Without an option it is the hook pre-commit, and
/// pre-receive in a bare repository. A hook that is there already and isn't Weft's is left alone.
///
/// Of what is pushed, branches are judged, and no tags; `git config weft.refs 'refs/heads/main'` names
/// others, as a pattern of the shell. The gates of fabric.yaml are asked of the branch that peers
/// follow, by `weft plan` from what it was to what it becomes: the repository's own branch (its HEAD),
/// or those that `git config weft.gateRefs` names. A new branch is compared with nothing, so nothing is
/// asked of it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft hook install
  weft hook install --pre-commit --pre-push ~/acme
  weft hook install --pre-receive /srv/git/acme.git")]
pub(crate) struct Install {
    /// A place in the repository
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    /// Judge what is about to be committed
    #[arg(long)]
    pre_commit: bool,

    /// Judge what is about to be pushed
    #[arg(long)]
    pre_push: bool,

    /// Judge what somebody pushes into this repository
    #[arg(long)]
    pre_receive: bool,

    /// Replace another hook; it is kept beside the new one as NAME.before-weft
    #[arg(long)]
    force: bool,
}

/// A hook of Git's.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    script: &'static str,
}

const PRE_COMMIT: Kind = Kind {
    name: "pre-commit",
    script: include_str!("hook/pre-commit.sh"),
};
const PRE_PUSH: Kind = Kind {
    name: "pre-push",
    script: include_str!("hook/pre-push.sh"),
};
const PRE_RECEIVE: Kind = Kind {
    name: "pre-receive",
    script: include_str!("hook/pre-receive.sh"),
};

/// The line by which a hook is known as Weft's.
const MARK: &str = "# Installed by `weft hook install`.";

/// Where the scripts name the binary.
const BINARY: &str = "@WEFT@";

impl Hook {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        match self {
            Self::Install(install) => install.run(),
        }
    }
}

impl Install {
    fn run(self) -> anyhow::Result<u8> {
        let repository = Repository::discover(&self.path).with_context(|| {
            format!("cannot open the Git repository of {}", self.path.display())
        })?;
        let folder = self.folder(&repository)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let binary = std::env::current_exe().context("cannot tell where weft is")?;
        for kind in self.kinds(&repository) {
            self.install(kind, &folder, &binary)?;
        }
        Ok(exit::DONE)
    }

    fn kinds(&self, repository: &Repository) -> Vec<Kind> {
        let asked = [
            (self.pre_commit, PRE_COMMIT),
            (self.pre_push, PRE_PUSH),
            (self.pre_receive, PRE_RECEIVE),
        ];
        let kinds: Vec<_> = asked
            .into_iter()
            .filter_map(|(asked, kind)| asked.then_some(kind))
            .collect();
        match (kinds.is_empty(), repository.is_bare()) {
            (false, _) => kinds,
            (true, false) => vec![PRE_COMMIT],
            (true, true) => vec![PRE_RECEIVE],
        }
    }

    /// The folder where Git looks for the repository's hooks.
    fn folder(&self, repository: &Repository) -> anyhow::Result<PathBuf> {
        let config = repository.config().context("cannot read Git's settings")?;
        let Ok(configured) = config.get_path("core.hooksPath") else {
            return Ok(repository.commondir().join("hooks"));
        };
        // As githooks(5) has it: relative to where hooks are run.
        let here = repository.workdir().unwrap_or_else(|| repository.path());
        let folder = here.join(&configured);
        let within = |top: &Path| folder.starts_with(top);
        if !self.force && !within(here) && !within(repository.commondir()) {
            bail!(
                "core.hooksPath names {}, whose hooks run for other repositories too; install \
                 there with --force",
                folder.display()
            );
        }
        Ok(folder)
    }

    fn install(&self, kind: Kind, folder: &Path, binary: &Path) -> anyhow::Result<()> {
        let place = folder.join(kind.name);
        let shown = place.display();
        let failed = || format!("cannot write the hook {shown}");
        let old = match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_file() => {
                Some(String::from_utf8_lossy(&fs::read(&place).with_context(failed)?).into_owned())
            }
            Ok(_) => Some(String::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(failed),
        };
        let is_ours = |text: &String| text.lines().any(|line| line == MARK);
        if let Some(old) = &old
            && !is_ours(old)
        {
            if !self.force {
                return Err(anyhow::anyhow!("{shown} is there already and isn't Weft's"))
                    .hint(|| call(kind).to_owned());
            }
            let kept = folder.join(format!("{}.before-weft", kind.name));
            if fs::symlink_metadata(&kept).is_ok() {
                bail!(
                    "{} is there already, and nothing is overwritten",
                    kept.display()
                );
            }
            fs::rename(&place, &kept).with_context(failed)?;
            tell!("kept the old hook as {}", kept.display());
        }
        let script = kind.script.replace(BINARY, &quoted(binary));
        let write = || -> io::Result<()> {
            let mut fresh = NamedTempFile::with_prefix_in(".weft-", folder)?;
            fresh.write_all(script.as_bytes())?;
            let mode = fs::Permissions::from_mode(0o755);
            fresh.as_file().set_permissions(mode)?;
            fresh.persist(&place).map_err(|error| error.error)?;
            Ok(())
        };
        write().with_context(failed)?;
        tell!("installed the hook {shown}");
        Ok(())
    }
}

/// How another hook can run the check itself.
fn call(kind: Kind) -> &'static str {
    match kind.name {
        "pre-commit" => {
            "let it run `weft validate --rev \"$(git write-tree)\"`, or replace it with --force"
        }
        _ => {
            "let it run `weft validate --rev` for each new commit, and `weft plan --base --head` for \
             the gates, or replace it with --force"
        }
    }
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
