//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::tree;

/// All that thinking needs. Nothing in this list can read a clock, a file or a socket for us.
const DOMAIN_NEEDS: [&str; 8] =
    ["async-trait", "blake3", "chrono", "serde", "serde_json", "thiserror", "uuid", "zeroize"];

/// Which of our packages a package of ours is built upon.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("actions-domain", &[]),
    ("actions-app", &["actions-domain"]),
    ("actions-infra", &["actions-domain"]),
    ("actions-handlers", &["actions-domain"]),
    ("actions-api", &["actions-app", "actions-domain", "actions-handlers", "actions-infra"]),
    ("hello-handler", &["actions-domain"]),
];

/// Libraries that stay in their layer. The tests and examples look at the product from outside,
/// so they may hold the other end of each wire.
const AT_HOME: [(&str, &[&str]); 14] = [
    ("sqlx", &["actions-infra"]),
    ("redis", &["actions-infra"]),
    ("cel", &["actions-infra"]),
    ("jsonschema", &["actions-infra"]),
    ("chacha20poly1305", &["actions-infra"]),
    ("axum", &["actions-api"]),
    ("tower", &["actions-api"]),
    ("tower-http", &["actions-api"]),
    ("utoipa", &["actions-api"]),
    ("utoipa-axum", &["actions-api"]),
    ("clap", &["actions-api"]),
    ("anyhow", &["actions-api"]),
    ("lettre", &["actions-handlers"]),
    // The command line is a client of its own server, which no tenant chooses the address of.
    ("reqwest", &["actions-handlers", "actions-api"]),
];

/// Never in the graph, however they got there.
const BANNED: [&str; 8] = [
    "aws-lc-rs",
    "native-tls",
    "openssl-sys",
    "serde_norway",
    "serde_yaml",
    "serde_yaml_ng",
    "serde_yml",
    "zstd-sys",
];

struct Package {
    name: String,
    /// From the root.
    manifest: String,
    /// What it is built with.
    normal: BTreeSet<String>,
    /// What its tests and build scripts use as well.
    all: BTreeSet<String>,
}

impl Package {
    fn looks_from_outside(&self) -> bool {
        self.manifest.starts_with("tests/") || self.manifest.starts_with("examples/")
    }
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(tree::root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(package);
    packages.map(|package| (package.name.clone(), package)).collect()
}

fn package(raw: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dependencies = raw["dependencies"].as_array().unwrap();
    let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
    let manifest = text(&raw["manifest_path"]);
    let root = format!("{}/", tree::root().display());
    Package {
        name: text(&raw["name"]),
        manifest: manifest.strip_prefix(&root).unwrap_or(&manifest).to_owned(),
        normal: normal.map(|dependency| text(&dependency["name"])).collect(),
        all: dependencies.iter().map(|dependency| text(&dependency["name"])).collect(),
    }
}

#[test]
fn the_domain_needs_exactly_these() {
    let expected: BTreeSet<_> = DOMAIN_NEEDS.map(str::to_owned).into();
    assert_eq!(packages()["actions-domain"].normal, expected);
}

#[test]
fn our_packages_depend_in_one_direction() {
    let packages = packages();
    for (name, allowed) in DIRECTIONS {
        let package = packages.get(name).unwrap_or_else(|| panic!("the package {name} is gone"));
        let ours = package.normal.iter().filter(|needed| packages.contains_key(*needed));
        let wrong: Vec<_> = ours.filter(|needed| !allowed.contains(&needed.as_str())).collect();
        assert!(wrong.is_empty(), "{name} may not be built upon {wrong:?}");
    }
    for package in packages.values().filter(|package| package.manifest.starts_with("crates/")) {
        let is_known = DIRECTIONS.iter().any(|(name, _)| *name == package.name);
        assert!(is_known, "{}: a new crate needs a new direction of dependency", package.name);
    }
}

#[test]
fn libraries_stay_in_their_layer() {
    for package in packages().values().filter(|package| !package.looks_from_outside()) {
        for (library, homes) in AT_HOME {
            let is_wrong = package.all.contains(library) && !homes.contains(&package.name.as_str());
            assert!(!is_wrong, "{library} belongs into {homes:?}, not into {}", package.name);
        }
    }
}

#[test]
fn a_handler_crate_needs_none_of_our_other_crates() {
    let handlers = &packages()["actions-handlers"];
    let ours: Vec<_> = handlers.all.iter().filter(|name| name.starts_with("actions-")).collect();
    assert_eq!(ours, ["actions-domain"]);
}

#[test]
fn the_lock_holds_nothing_banned_and_the_public_registry_only() {
    let lock = tree::read("Cargo.lock");
    for line in lock.lines() {
        if let Some(source) = line.strip_prefix("source = ") {
            let public = "\"registry+https://github.com/rust-lang/crates.io-index\"";
            assert_eq!(source, public, "dependencies come from the public registry");
        }
        if let Some(name) = line.strip_prefix("name = ") {
            let name = name.trim_matches('"');
            assert!(!BANNED.contains(&name), "{name} is banned; deny.toml says why");
        }
    }
}

#[test]
fn deny_toml_knows_the_same_homes() {
    let deny = tree::read("deny.toml");
    for name in BANNED {
        assert!(deny.contains(&format!("name = \"{name}\"")), "deny.toml does not ban {name}");
    }
    for library in ["sqlx", "redis", "axum", "clap", "lettre", "reqwest"] {
        let line = deny.lines().find(|line| line.contains(&format!("name = \"{library}\"")));
        let line = line.unwrap_or_else(|| panic!("deny.toml has no wrappers for {library}"));
        let (_, homes) = AT_HOME.iter().find(|(name, _)| *name == library).unwrap();
        for home in *homes {
            assert!(line.contains(&format!("\"{home}\"")), "deny.toml: {library} lives in {home}");
        }
    }
}
