//! How source files look, and what they may name.

use std::collections::BTreeSet;

use regex::Regex;

use super::tree;

#[test]
fn every_module_says_what_it_is_for() {
    let silent = tree::rust_files().into_iter().filter(|path| {
        let text = tree::read(path);
        !text.lines().find(|line| !line.trim().is_empty()).is_some_and(|l| l.starts_with("//!"))
    });
    // Tests beside the code are introduced by the module above them.
    let silent =
        silent.filter(|path| !(path.starts_with("crates/") && path.ends_with("/tests.rs")));
    tree::expect_only("Every Rust file opens with `//!`.", silent.collect(), &[]);
}

#[test]
fn no_module_is_called_mod() {
    let files = tree::rust_files().into_iter().filter(|path| path.ends_with("/mod.rs"));
    tree::expect_only("A module is `foo.rs`, with `foo/` beside it.", files.collect(), &[]);
}

#[test]
fn no_module_is_called_after_nothing() {
    let bags = ["utils", "util", "common", "helpers", "shared", "core", "prelude", "misc", "types"];
    let files = tree::rust_files()
        .into_iter()
        .filter(|path| path.split('/').any(|part| bags.contains(&part.trim_end_matches(".rs"))));
    tree::expect_only("A module is named after what is in it.", files.collect(), &[]);
}

#[test]
fn only_the_wiring_names_the_adapters() {
    let api = "crates/actions-api/src/";
    let may = |path: &str| {
        let inner = path.strip_prefix(api).unwrap_or(path);
        matches!(inner, "main.rs" | "wiring.rs") || inner.starts_with("wiring/")
    };
    let naming = tree::rust_files().into_iter().filter(|path| path.starts_with(api) && !may(path));
    let naming = naming.filter(|path| {
        let text = tree::read(path);
        ["actions_infra", "actions_handlers"].iter().any(|name| text.contains(name))
    });
    let rule = "Of actions-api, only main.rs and wiring.rs name actions_infra or actions_handlers.";
    tree::expect_only(rule, naming.collect(), &[]);
}

#[test]
fn a_lint_is_never_just_switched_off() {
    // Put together here, so that this file does not find itself.
    let marks = [["#[", "allow("].concat(), ["#![", "allow("].concat()];
    let files = tree::rust_files().into_iter().filter(|path| {
        let text = tree::read(path);
        marks.iter().any(|mark| text.contains(mark))
    });
    tree::expect_only("Use #[expect(.., reason = ..)].", files.collect(), &[]);
}

#[test]
fn nothing_speaks_of_one_machine() {
    let parts = [
        // Documents beside the repository, and absolute paths of a home or a workplace.
        r"\.\./shared",
        r"(^|[^A-Za-z0-9_.\-}>])/(work|root|Users|home/[a-z]+)/",
        // Where one machine gets its packages from.
        r"(?i)\b(index-url|extra-index-url|replace-with|registry)\s*=\s*.?https?://",
    ];
    let patterns = parts.map(|part| Regex::new(part).unwrap());
    let mut found = BTreeSet::new();
    for path in tree::files("") {
        if path == "tests/it/architecture/sources.rs" {
            continue;
        }
        // What is not text names nothing.
        let Ok(text) = std::fs::read_to_string(tree::root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if patterns.iter().any(|pattern| pattern.is_match(line)) {
                found.insert(format!("{path}:{}", number + 1));
            }
        }
    }
    tree::expect_only("A clone works on any machine.", found, &[]);
}

/// Reads with a tenant that are the engine's own, and why.
const OWNERS_READS: [(&str, &str); 5] = [
    ("changes", "nodes read the definitions of all tenants"),
    ("find_secrets", "what is sealed is read by the attempt that uses it, and by no reader"),
    ("claim", "a worker's claim is a write"),
    ("tell", "a worker's word is a write"),
    ("settle", "a deletion sees to it that nobody writes for the tenant any more"),
];

#[test]
fn what_a_tenant_asks_is_read_as_that_tenant() {
    let folder = "crates/actions-infra/src/postgres/";
    let by_owner = Regex::new(r"\.fetch\w*\(&self\.pool\)|\bfind\(&self\.pool").unwrap();
    let of_tenant = Regex::new(r"\.bind\((\w+\.)*tenant\.0\)|\bfind\(&self\.pool, tenant").unwrap();
    let mut found = BTreeSet::new();
    for path in tree::rust_files().into_iter().filter(|path| path.starts_with(folder)) {
        // Methods of ports stand one level deep.
        for method in tree::read(&path).split("\n    async fn ").skip(1) {
            let body = method.split("\n    }\n").next().unwrap_or(method);
            if by_owner.is_match(body) && of_tenant.is_match(body) {
                found.insert(body.split(['(', '<']).next().unwrap_or(body).to_owned());
            }
        }
    }
    let rule = "What a tenant's callers ask is read through `Postgres::for_tenant`.";
    tree::expect_only(rule, found, &OWNERS_READS.map(|(name, _)| name));
}

#[test]
fn sql_is_lower_case() {
    let shouted = Regex::new(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|WHERE|FROM)\b").unwrap();
    // Names of trigger events are data.
    let quoted = Regex::new("'[^']*'").unwrap();
    let files = ["crates", "schema"].into_iter().flat_map(tree::files);
    let files = files.filter(|path| tree::has_extension(path, "sql"));
    let loud = files.filter(|path| {
        let text = tree::read(path);
        let code = text.lines().map(|line| line.split("--").next().unwrap_or(line));
        code.into_iter().any(|line| shouted.is_match(&quoted.replace_all(line, "")))
    });
    tree::expect_only("SQL is written in lower case.", loud.collect(), &[]);
}
