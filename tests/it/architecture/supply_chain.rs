//! What we are built of: which versions, under which licences, from where, and how we list it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::tree;

/// The only place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The blocks of a file of ours or of cargo's that holds a list of tables with texts.
fn blocks(path: &str, list: &str) -> Vec<BTreeMap<String, String>> {
    let text = tree::read(path);
    let blocks = text.split("\n\n").filter(|block| block.contains(&format!("[[{list}]]")));
    let pairs = |block: &str| {
        let lines = block.lines().filter_map(|line| line.split_once(" = \""));
        let pairs = lines.filter_map(|(name, rest)| Some((name, rest.strip_suffix('"')?)));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    blocks.map(pairs).collect()
}

/// A version's numbers. What is before a release counts as older than it.
fn version(raw: &str) -> (Vec<u64>, bool) {
    let bare = raw.split('+').next().unwrap_or_default();
    let (numbers, early) = bare.split_once('-').map_or((bare, false), |(bare, _)| (bare, true));
    (numbers.split('.').map(|part| part.parse().expect("a number")).collect(), !early)
}

#[test]
fn no_dependency_is_older_than_it_may_be() {
    let limits = blocks("known-bad.toml", "below");
    assert!(limits.len() > 10 && limits.iter().all(|limit| limit.contains_key("why")));
    let names: Vec<_> = limits.iter().map(|limit| &limit["name"]).collect();
    assert!(names.is_sorted(), "known-bad.toml is in the order of its names");
    let locked = blocks("Cargo.lock", "package");
    assert!(locked.len() > 300, "{}", locked.len());
    for limit in &limits {
        for package in locked.iter().filter(|package| package["name"] == limit["name"]) {
            assert!(
                version(&package["version"]) >= version(&limit["version"]),
                "{} {} is below {}: {}",
                package["name"],
                package["version"],
                limit["version"],
                limit["why"]
            );
        }
    }
    assert!(version("0.15.0-rc.1") < version("0.15.0") && version("0.9.0") < version("0.10.0"));
}

#[test]
fn every_dependency_comes_from_one_registry_with_its_hash() {
    for package in blocks("Cargo.lock", "package") {
        let Some(source) = package.get("source") else {
            // Ours.
            let name = &package["name"];
            assert!(!package.contains_key("checksum"), "{name} comes from nowhere");
            continue;
        };
        assert_eq!(source, REGISTRY, "{}", package["name"]);
        assert_eq!(package["checksum"].len(), 64, "{}", package["name"]);
    }
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(tree::root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether somebody who accepts only `allowed` may use what has this licence.
fn is_acceptable(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    let parts = |word: &str| {
        let (mut parts, mut depth, mut part) = (Vec::new(), 0, Vec::new());
        for token in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
            depth += i32::from(token == "(") - i32::from(token == ")");
            if token == word && depth == 0 {
                parts.push(part.join(" "));
                part.clear();
            } else {
                part.push(token.to_owned());
            }
        }
        parts.push(part.join(" "));
        parts
    };
    let (choices, duties) = (parts("OR"), parts("AND"));
    if choices.len() > 1 {
        return choices.iter().any(|choice| is_acceptable(choice, allowed));
    }
    if duties.len() > 1 {
        return duties.iter().all(|duty| is_acceptable(duty, allowed));
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => is_acceptable(inner, allowed),
        None => allowed.contains(expression),
    }
}

#[test]
fn every_dependency_has_a_licence_that_is_accepted() {
    let policy = tree::read("deny.toml");
    let (_, licences) = policy.split_once("[licenses]").unwrap();
    let (_, list) = licences.split_once("allow = [").unwrap();
    let list = list.split(']').next().unwrap().split('"').skip(1).step_by(2);
    let allowed: BTreeSet<String> = list.map(ToOwned::to_owned).collect();
    assert!(is_acceptable("GPL-3.0 OR (MIT AND ISC)", &allowed));
    assert!(!is_acceptable("MIT AND GPL-3.0", &allowed) && !is_acceptable("GPL-3.0", &allowed));
    for package in metadata()["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_acceptable(licence, &allowed), "{}: {licence:?}", package["name"]);
    }
}

#[test]
fn the_list_of_parts_is_complete_and_always_the_same() {
    let list = || {
        let script = tree::root().join("scripts/sbom");
        let output = Command::new("python3").arg(script).output().expect("python3 can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let text = list();
    assert_eq!(text, list());
    let bom: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(bom["metadata"]["component"]["name"], "actions-api");
    let locked = blocks("Cargo.lock", "package");
    let hashes: BTreeMap<(&str, &str), Option<&String>> = locked
        .iter()
        .map(|one| ((one["name"].as_str(), one["version"].as_str()), one.get("checksum")))
        .collect();
    let mut names = BTreeSet::new();
    for part in bom["components"].as_array().unwrap() {
        let (name, version) = (part["name"].as_str().unwrap(), part["version"].as_str().unwrap());
        let hash = hashes.get(&(name, version)).unwrap_or_else(|| panic!("{name} is not locked"));
        assert_eq!(part["hashes"][0]["content"].as_str(), hash.map(String::as_str), "{name}");
        assert!(part["licenses"][0]["expression"].is_string(), "{name}");
        assert_eq!(part["purl"], format!("pkg:cargo/{name}@{version}"));
        names.insert(name);
    }
    for name in ["actions-domain", "axum", "libsqlite3-sys", "ring", "rustls", "tokio"] {
        assert!(names.contains(name), "{name} is missing");
    }
    for name in ["actions-tests", "insta", "proptest", "tempfile"] {
        assert!(!names.contains(name), "{name} is no part of the program");
    }
}
