//! `weft validate --fix`: applies what mends a mistake for certain.

use std::collections::BTreeMap;
use std::io::{self, Write};

use fabric::diagnostic::{Diagnostic, Fix, apply};
use fabric::fabric::Build;
use fabric::tree::Tree;

use crate::output::tell;
use crate::render::{count, escape};
use crate::rewrite;
use crate::source::Source;

/// Times that a file is read and mended again: of each code 256 findings are told at once, so this
/// is enough for a file full of one mistake, and it ends whatever a fix may do.
const ROUNDS: usize = 64;

/// Mends what can be mended in the files on disk, and reads them again: the tree and what it comes
/// to afterwards. Says on the standard error what was mended.
pub(super) fn run(source: &mut Source) -> anyhow::Result<(Tree, Build)> {
    let mut mended = 0;
    let mut files = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        let tree = source.tree(None)?;
        let build = source.build(&tree);
        let round = mend(source, &tree, &build)?;
        if round.is_empty() {
            summarize(mended, files.len());
            return Ok((tree, build));
        }
        for (path, count) in round {
            mended += count;
            files.insert(path);
        }
    }
    let tree = source.tree(None)?;
    let build = source.build(&tree);
    summarize(mended, files.len());
    Ok((tree, build))
}

/// One round over all files: how much was mended in each.
fn mend(source: &Source, tree: &Tree, build: &Build) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut by_file: BTreeMap<&str, Vec<(&Diagnostic, &Fix)>> = BTreeMap::new();
    for diagnostic in &build.diagnostics {
        if let Some(fix) = &diagnostic.fix {
            let all = by_file.entry(diagnostic.path()).or_default();
            all.push((diagnostic, fix));
        }
    }
    let mut mended = BTreeMap::new();
    for (path, all) in by_file {
        let Some(blob) = tree.file(path) else {
            continue;
        };
        let fixes: Vec<_> = all.iter().map(|(_, fix)| *fix).collect();
        let (text, applied) = apply(blob.bytes(), &fixes);
        if text == blob.bytes() {
            continue;
        }
        rewrite::replace(&source.top()?, path, blob.bytes(), &text)?;
        let mut count = 0;
        for ((diagnostic, _), _) in all.iter().zip(&applied).filter(|(_, applied)| **applied) {
            count += 1;
            tell!(
                "fixed {}:{}: {} {}",
                escape::text(path),
                diagnostic.span().line,
                diagnostic.code,
                escape::text(&diagnostic.message)
            );
        }
        mended.insert(path.to_owned(), count);
    }
    Ok(mended)
}

fn summarize(mended: usize, files: usize) {
    match mended {
        0 => tell!("nothing to fix"),
        _ => tell!(
            "fixed {} in {}",
            count(mended, "mistake"),
            count(files, "file")
        ),
    }
}

/// Says how much of what was found could be mended.
pub(super) fn offer(build: &Build, out: &mut dyn Write) -> io::Result<()> {
    let fixes = build.diagnostics.iter().filter(|d| d.fix.is_some()).count();
    if fixes > 0 {
        write!(out, " (--fix mends {fixes})")?;
    }
    Ok(())
}
