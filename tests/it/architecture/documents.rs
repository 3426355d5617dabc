//! What documents say and what the code says.

use std::collections::BTreeSet;

use actions_domain::audit::ActKind;
use actions_domain::authorization::{Permission, Role};
use actions_domain::execution::Status;
use regex::Regex;

use super::tree;

/// The codes that `docs/errors.md` explains in the section with this heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = tree::read("docs/errors.md");
    let start = text.find(&format!("\n## {heading}\n"));
    let start = start.unwrap_or_else(|| panic!("docs/errors.md has no section {heading}"));
    let section = &text[start + 4..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let row = Regex::new(r"(?m)^\| `([a-z0-9_.]+)` \|").unwrap();
    row.captures_iter(section).map(|found| found[1].to_owned()).collect()
}

fn sources(folder: &str) -> Vec<String> {
    let files = tree::files(folder).into_iter().filter(|path| tree::has_extension(path, "rs"));
    files.filter(|path| !path.ends_with("tests.rs")).map(|path| without_tests(&path)).collect()
}

/// A file up to the tests at its end.
fn without_tests(path: &str) -> String {
    let text = tree::read(path);
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Where the problems are listed, one per line: `NAME = 404 "code" "title";`.
const PROBLEMS: &str = "crates/actions-api/src/problem.rs";

#[test]
fn every_problem_is_explained_with_its_status() {
    let kind = Regex::new(r#"= (\d{3}) "([a-z][a-z_.]*)" ""#).unwrap();
    let source = without_tests(PROBLEMS);
    let listed: BTreeSet<String> =
        kind.captures_iter(&source).map(|found| format!("{} {}", &found[2], &found[1])).collect();
    assert!(
        listed.len() > 20,
        "{PROBLEMS} lists its problems in another form than this test knows"
    );
    let text = tree::read("docs/errors.md");
    let row = Regex::new(r"(?m)^\| `([a-z_.]+)` \| (\d{3}) \|").unwrap();
    let explained: BTreeSet<String> =
        row.captures_iter(&text).map(|found| format!("{} {}", &found[1], &found[2])).collect();
    let differing = listed.symmetric_difference(&explained).cloned().collect();
    tree::expect_only("docs/errors.md explains every problem, with its status.", differing, &[]);
}

#[test]
fn every_fault_code_is_explained_and_exists() {
    let call =
        Regex::new(r#"\b(?:Fault::(?:handler|system|new)|reject|retry)\(\s*(?:ErrorClass::\w+,\s*)?"([a-z_]+\.[a-z_.]+)""#)
            .unwrap();
    let all = sources("crates");
    let used: BTreeSet<_> = all
        .iter()
        .flat_map(|text| call.captures_iter(text).map(|found| found[1].to_owned()))
        .chain(["execution.timeout".to_owned()])
        .collect();
    let explained = documented("Faults");
    let missing = used.difference(&explained).cloned().collect();
    tree::expect_only("docs/errors.md explains every fault's code.", missing, &[]);
    let gone = explained
        .into_iter()
        .filter(|code| !all.iter().any(|text| text.contains(&format!("\"{code}\""))));
    tree::expect_only("docs/errors.md explains no fault that is gone.", gone.collect(), &[]);
}

#[test]
fn the_drawn_life_of_an_execution_has_every_state() {
    let drawing = tree::read("docs/execution-lifecycle.md");
    for status in Status::ALL {
        let word = format!("`{}`", status.word());
        assert!(drawing.contains(&word), "docs/execution-lifecycle.md does not speak of {word}");
    }
    let finals = Status::ALL.into_iter().filter(|status| status.is_final());
    for status in finals {
        let row = format!("| `{}` | yes |", status.word());
        assert!(drawing.contains(&row), "docs/execution-lifecycle.md: {row}");
    }
}

#[test]
fn the_table_of_roles_is_the_one_of_the_code() {
    let head = Role::words().map(|word| format!(" `{word}` |")).concat();
    let row = |permission: Permission| {
        let cell = |role: Role| if role.allows(permission) { " yes |" } else { " – |" };
        format!("| {permission} |{}", Role::OF_API_KEYS.map(cell).concat())
    };
    let expected = [format!("| may |{head}"), format!("|---|{}", "---|".repeat(7))];
    let expected = expected.into_iter().chain(Permission::ALL.map(row)).collect::<Vec<_>>();
    let text = tree::read("docs/security.md");
    assert!(
        text.contains(&expected.join("\n")),
        "docs/security.md has another table than this:\n{}",
        expected.join("\n")
    );
}

#[test]
fn the_acts_are_explained() {
    let text = tree::read("docs/audit.md");
    let table = text.split("The acts:").nth(1).and_then(|rest| rest.split("**Not in").next());
    let word = Regex::new(r"`([a-z_]+\.[a-z_]+)`").unwrap();
    let rows = table.expect("docs/audit.md has a table of acts").lines();
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let explained: BTreeSet<String> = cells
        .flat_map(|cell| {
            word.captures_iter(cell).map(|found| found[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let known: BTreeSet<_> = ActKind::ALL.iter().map(|kind| kind.word().to_owned()).collect();
    let differing = explained.symmetric_difference(&known).cloned().collect();
    tree::expect_only("docs/audit.md explains the acts that there are.", differing, &[]);
}

#[test]
fn the_statements_that_hand_a_database_over_are_those_of_the_program() {
    let statements = tree::read("crates/actions-infra/src/postgres/roles/hand_over.sql");
    let text = tree::read("docs/operations.md");
    assert!(text.contains(&statements), "docs/operations.md has others than this:\n{statements}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)").unwrap();
    let mut broken = BTreeSet::new();
    for path in tree::files("").into_iter().filter(|path| tree::has_extension(path, "md")) {
        let folder = tree::root().join(&path).parent().unwrap().to_owned();
        for found in link.captures_iter(&tree::read(&path)) {
            if !folder.join(&found[1]).exists() {
                broken.insert(format!("{path} → {}", &found[1]));
            }
        }
    }
    tree::expect_only("Links between documents lead somewhere.", broken, &[]);
}

#[test]
fn the_tests_that_conformance_names_exist() {
    let name = Regex::new(r"`(?:actions-\w+ )?((?:\w+::)*\w+)`").unwrap();
    let files: Vec<_> =
        tree::rust_files().iter().map(|path| (path.clone(), tree::read(path))).collect();
    let is_there = |test: &str| {
        let (function, file) = (format!("fn {test}("), format!("/{test}.rs"));
        files.iter().any(|(path, text)| path.ends_with(&file) || text.contains(&function))
            || tree::exists(test)
    };
    let text = tree::read("docs/conformance.md");
    let rows = text.lines().filter_map(|line| line.rsplit_once(" | "));
    let cells: Vec<&str> = rows.map(|(_, shown_by)| shown_by).collect();
    assert!(cells.len() > 50, "docs/conformance.md has another form than this test knows");
    let tests =
        cells.iter().flat_map(|cell| name.captures_iter(cell)).map(|found| found[1].to_owned());
    let missing = tests.filter(|test| !is_there(test.rsplit("::").next().unwrap())).collect();
    tree::expect_only("docs/conformance.md names tests that exist.", missing, &[]);
}

#[test]
fn decisions_are_numbered_and_short() {
    let mut names = tree::stems("docs/decisions", "md");
    assert!(names.remove("README"), "docs/decisions/README.md lists the decisions");
    for (index, name) in names.iter().enumerate() {
        assert!(
            name.starts_with(&format!("{:04}-", index + 1)),
            "docs/decisions has a gap: {name}"
        );
        let text = tree::read(&format!("docs/decisions/{name}.md"));
        for heading in ["## Context", "## Decision", "## Consequences"] {
            assert!(text.contains(heading), "docs/decisions/{name}.md has no {heading}");
        }
        assert!(text.lines().count() <= 45, "docs/decisions/{name}.md is not a short record");
    }
}
