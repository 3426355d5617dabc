//! Files that belong together: a port and its contract, a route and its tests, a migration of
//! one store and that of the other.

use std::collections::BTreeSet;

use super::tree;

/// Ports without a contract of their own, and why.
const WITHOUT_CONTRACT: [(&str, &str); 8] = [
    ("authorizer", "one method, whose answers are tested beside the adapter and over HTTP"),
    ("clock", "one method that cannot be wrong in two ways; tests hold it"),
    ("dice", "any answer is right; tests fix it"),
    ("handler", "each handler is tested against a real peer of its channel"),
    ("identities", "published standards say what is right; tested with another implementation"),
    ("matcher", "compared with a naive oracle by properties"),
    ("passwords", "a published standard says what is right; tested beside the adapter"),
    ("schemas", "a published standard says what is right; tested beside the adapter"),
];

#[test]
fn every_port_has_a_contract() {
    let ports = tree::stems("crates/actions-domain/src/ports", "rs");
    let contracts = tree::stems("tests/it/contract", "rs");
    let without: BTreeSet<_> = ports.difference(&contracts).cloned().collect();
    let allowed = WITHOUT_CONTRACT.map(|(port, _)| port);
    tree::expect_only("Every port has a file in tests/it/contract.", without, &allowed);
}

#[test]
fn every_port_is_named_with_its_duty() {
    let list = tree::read("crates/actions-domain/src/ports.rs");
    for port in tree::stems("crates/actions-domain/src/ports", "rs") {
        assert!(list.contains(&format!("pub mod {port};")), "ports.rs does not list {port}");
    }
}

#[test]
fn every_route_file_has_a_test_file() {
    let routes = tree::stems("crates/actions-api/src/routes", "rs");
    let tests = tree::stems("tests/it/api", "rs");
    let untested = routes.difference(&tests).cloned().collect();
    tree::expect_only("Every file in routes/ has one in tests/it/api.", untested, &[]);
}

#[test]
fn both_stores_have_the_same_migrations() {
    let postgres = tree::stems("schema/postgres", "sql");
    let sqlite = tree::stems("schema/sqlite", "sql");
    let missing = postgres.symmetric_difference(&sqlite).cloned().collect();
    let rule = "schema/postgres and schema/sqlite have the same numbers and names.";
    tree::expect_only(rule, missing, &[]);
    for (index, name) in postgres.union(&sqlite).enumerate() {
        let number = format!("{:04}_", index + 1);
        assert!(name.starts_with(&number), "migrations are numbered without gaps: {name}");
    }
}

#[test]
fn every_test_file_is_part_of_the_test_program() {
    for path in tree::files("tests/it") {
        let module = path.trim_end_matches(".rs");
        if path == "tests/it/main.rs" || module == path {
            continue;
        }
        let (parent, name) = module.rsplit_once('/').unwrap();
        let parent = if parent == "tests/it" {
            "tests/it/main.rs".to_owned()
        } else {
            format!("{parent}.rs")
        };
        assert!(tree::exists(&parent), "{path} has no parent {parent}");
        let is_named = tree::read(&parent)
            .lines()
            .any(|line| line.trim().trim_end_matches(';').ends_with(&format!("mod {name}")));
        assert!(is_named, "{parent} does not have `mod {name};`");
    }
}

/// A file that no list names changes nothing, and nobody notices.
#[test]
fn every_migration_is_in_the_list_of_its_store() {
    for (folder, list) in [
        ("schema/postgres", "crates/actions-infra/src/postgres.rs"),
        ("schema/sqlite", "crates/actions-infra/src/sqlite/migrate.rs"),
    ] {
        let text = tree::read(list);
        for name in tree::stems(folder, "sql") {
            assert!(text.contains(&format!("{folder}/{name}.sql")), "{list} does not name {name}");
        }
    }
}
