//! Help, completions and settings.

use serde_json::Value;

use super::program::run;

fn said(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &[], arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
    said.out
}

#[test]
fn the_help_holds_the_exit_codes() {
    let help = said(&["--help"]);
    let table = &help[help.find("Exit codes:").unwrap()..];
    insta::assert_snapshot!(table, @r"
    Exit codes:
        0  done
        1  failed, or a check said no
        2  wrong use, input or settings
        3  cancelled, or stopping took too long
        4  no or not enough credentials
        5  not found
        6  conflict with the present state
        7  rate limit or quota
        8  server unavailable
       10  the work ended, but failed
       11  the wait was over before the work
      130  interrupted
    ");
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = said(&["completions", shell]);
        assert!(script.contains("dead-letter") && script.contains("emit"), "{shell}");
    }
}

#[test]
fn settings_are_shown_with_their_origin_but_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let variables =
        [("ACTIONS_SLOTS", "9"), ("DATABASE_URL", "postgres://me:pw@db/x"), ("ACTIONS_BEAT", "1s")];
    let arguments = ["config", "show", "--slots", "7", "-o", "json"];
    let said = run(folder.path(), &variables, &arguments);
    let rows = said.json();
    let row = |name: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["setting"] == name).unwrap().clone()
    };
    assert_eq!((&row("slots")["value"], &row("slots")["origin"]), (&"7".into(), &"--slots".into()));
    assert_eq!(row("beat")["origin"], "ACTIONS_BEAT");
    assert_eq!(row("lease_ttl")["origin"], "default");
    assert_eq!(row("database_url")["value"], "***");
    assert!(!said.out.contains("pw"), "{said:?}");
}

#[test]
fn the_page_on_production_lists_every_setting() {
    let folder = tempfile::tempdir().unwrap();
    let rows = run(folder.path(), &[], &["config", "show", "-o", "json"]).json();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let expected: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let default = match text(row, "value") {
                value if value.is_empty() => "–".to_owned(),
                value => format!("`{value}`"),
            };
            format!("| `{}` | {default} | {} |", text(row, "variable"), text(row, "about"))
        })
        .collect();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/run-in-production.md");
    let page = std::fs::read_to_string(page).unwrap();
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, expected);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = super::program::program(folder.path())
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}
