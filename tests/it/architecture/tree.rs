//! The repository's files, as the checks see them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what was built or installed, not what was written.
const NOT_OURS: [&str; 6] = ["target", ".git", ".actions", "node_modules", ".venv", "__pycache__"];

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' folder has a parent")
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// All files below a folder as paths from the root, sorted.
///
/// # Panics
/// When there are none: a check would pass because its subject is gone.
pub(super) fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    let mut paths: Vec<_> = found.iter().map(|path| from_root(path)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder}/ has no files");
    paths
}

/// All Rust files of ours.
pub(super) fn rust_files() -> Vec<String> {
    let all = ["crates", "tests", "examples"].into_iter().flat_map(files);
    all.filter(|path| has_extension(path, "rs")).collect()
}

/// The names, without their extension, of the files that lie directly in a folder.
pub(super) fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let direct = |path: &String| Path::new(path).parent() == Some(Path::new(folder));
    let matching = files(folder).into_iter().filter(direct);
    matching
        .filter(|path| has_extension(path, extension))
        .filter_map(|path| Some(Path::new(&path).file_stem()?.to_str()?.to_owned()))
        .collect()
}

pub(super) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Compares what breaks a rule with the known offenders.
///
/// # Panics
/// When somebody new offends, or a known offender does so no longer.
pub(super) fn expect_only(rule: &str, offenders: BTreeSet<String>, known: &[&str]) {
    let known: BTreeSet<String> = known.iter().map(|&name| name.to_owned()).collect();
    let new: Vec<_> = offenders.difference(&known).collect();
    let cured: Vec<_> = known.difference(&offenders).collect();
    assert!(new.is_empty(), "{rule}\n  broken by: {new:#?}");
    assert!(cured.is_empty(), "{rule}\n  take these off the list of offenders: {cured:#?}");
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.expect("a folder of ours can be read");
        let path = entry.path();
        if NOT_OURS.iter().any(|&name| entry.file_name() == name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn from_root(path: &Path) -> String {
    let relative = path.strip_prefix(root()).expect("files are found below the root");
    relative.to_str().expect("our file names are plain text").to_owned()
}
