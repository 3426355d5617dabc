//! Accounts on the command line: made, logged in with, changed and deleted.

use std::os::unix::fs::PermissionsExt;

use super::program::{Dev, Said};

const PASSWORD: &str = "correct horse battery";

struct Desk {
    dev: Dev,
    home: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dev: Dev::ephemeral(), home: tempfile::tempdir().unwrap() }
    }

    /// Runs a command of somebody who has a folder of their own.
    fn run(&self, arguments: &[&str]) -> Said {
        let home = self.home.path().to_str().unwrap();
        self.dev.run_with(&[("HOME", home)], arguments)
    }

    /// The same, with the administrator's rights that `dev` gives to whoever sends nothing.
    fn administer(&self, arguments: &[&str]) -> Said {
        self.dev.run(arguments)
    }
}

#[test]
fn somebody_gets_an_account_logs_in_works_and_logs_out() {
    let desk = Desk::new();
    let file = desk.dev.file("password", &format!("{PASSWORD}\n"));
    let file = file.to_str().unwrap();
    let create = ["account", "create", "Ada@example.com", "--role", "viewer"];
    let made = desk.administer(&[&create[..], &["--password-file", file]].concat());
    assert_eq!((made.code, made.out.as_str()), (0, "account ada@example.com created (viewer)\n"));
    assert!(made.err.contains("actions login ada@example.com"), "{made:?}");
    // Standard input is empty here, and nobody can be asked.
    let silent = desk.run(&["login", "ada@example.com"]);
    assert_eq!(silent.code, 2, "{silent:?}");
    assert!(silent.err.contains("--password-file"), "{silent:?}");

    let login = ["login", "ada@example.com", "--password-file", file];
    let begun = desk.run(&login);
    assert_eq!(begun.code, 0, "{begun:?}");
    assert!(begun.out.starts_with("logged in as ada@example.com (viewer) of default"), "{begun:?}");
    assert!(!begun.out.contains("acs_") && !begun.err.contains("acs_"), "{begun:?}");
    let kept = desk.home.path().join(".config/actions/sessions.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(text.contains("acs_") && !text.contains(PASSWORD), "{text}");

    assert_eq!(desk.run(&["event", "list"]).code, 0);
    let refused = desk.run(&["emit", "a.b"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("account:ada@example.com has the role viewer"), "{refused:?}");
    let sessions = desk.administer(&["account", "sessions", "-o", "json"]).json();
    assert_eq!(sessions[0]["account"], "ada@example.com", "{sessions:#}");

    let out = desk.run(&["logout"]);
    assert_eq!((out.code, out.out.as_str()), (0, "ada@example.com of default is logged out\n"));
    assert!(!std::fs::read_to_string(&kept).unwrap().contains("acs_"));
    assert_eq!(desk.run(&["logout"]).code, 2, "nobody is logged in");
    assert_eq!(desk.run(&["emit", "a.b"]).code, 0, "dev lets everybody in");
    let sessions = desk.administer(&["account", "sessions", "-o", "json"]).json();
    assert_eq!(sessions, serde_json::json!([]));
}

#[test]
fn an_administrator_changes_and_takes_back() {
    let desk = Desk::new();
    let (first, second) =
        (desk.dev.file("first", PASSWORD), desk.dev.file("second", "another horse"));
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let short = desk.dev.file("short", "hunter2");
    let create = ["account", "create", "ada", "--role", "operator", "--password-file"];
    let refused = desk.administer(&[&create[..], &[short.to_str().unwrap()]].concat());
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("at least 12") && !refused.err.contains("hunter2"), "{refused:?}");
    assert_eq!(desk.administer(&[&create[..], &[first]].concat()).code, 0);
    let login = |file: &str| desk.run(&["login", "ada", "--password-file", file]);
    assert_eq!(login(first).code, 0);

    let own = ["account", "set-own-password", "--password-file", first];
    let own = desk.run(&[&own[..], &["--new-password-file", second]].concat());
    assert_eq!(own.code, 0, "{own:?}");
    let late = desk.run(&["event", "list"]);
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.err.contains("actions login"), "{late:?}");
    assert_eq!((login(first).code, login(second).code), (4, 0));

    for (verb, more) in [("set-role", vec!["viewer"]), ("log-out", vec![]), ("disable", vec![])] {
        let told = desk.administer(&[&["account", verb, "ada"][..], &more].concat());
        assert_eq!(told.code, 0, "{verb}: {told:?}");
        assert_eq!(desk.run(&["event", "list"]).code, 4, "{verb}");
        let again = if verb == "disable" { 4 } else { 0 };
        assert_eq!(login(second).code, again, "{verb}");
    }
    assert_eq!(desk.administer(&["account", "enable", "ada"]).code, 0);
    let set = ["account", "set-password", "ada", "--password-file", first];
    assert_eq!(desk.administer(&set).code, 0);
    assert_eq!(login(first).code, 0);
    let sessions = desk.administer(&["account", "sessions", "-o", "json"]).json();
    let id = sessions[0]["id"].as_str().unwrap();
    assert_eq!(desk.administer(&["account", "end-session", id]).code, 0);
    assert_eq!(desk.run(&["event", "list"]).code, 4);
    let unsure = desk.administer(&["account", "delete", "ada"]);
    assert_eq!(unsure.code, 2, "{unsure:?}");
    assert_eq!(desk.administer(&["account", "delete", "ada", "--yes"]).code, 0);
    assert_eq!(desk.administer(&["account", "show", "ada"]).code, 5);
    let list = desk.administer(&["accounts", "ls", "-o", "json"]).json();
    assert_eq!(list, serde_json::json!([]));
}

#[test]
fn a_token_that_is_given_goes_before_the_session() {
    let desk = Desk::new();
    let file = desk.dev.file("password", PASSWORD);
    let file = file.to_str().unwrap();
    let create = ["account", "create", "ada", "--role", "viewer", "--password-file", file];
    assert_eq!(desk.administer(&create).code, 0);
    assert_eq!(desk.run(&["login", "ada", "--password-file", file]).code, 0);
    let key = desk.administer(&["key", "create", "sender", "--role", "ingest_only"]).out;
    let home = desk.home.path().to_str().unwrap();
    let variables = [("HOME", home), ("ACTIONS_TOKEN", key.trim())];
    assert_eq!(desk.dev.run_with(&variables, &["emit", "a.b"]).code, 0);
    assert_eq!(desk.run(&["emit", "a.b"]).code, 4);
    let noted = ["login", "ada", "--password-file", file];
    let noted = desk.dev.run_with(&variables, &noted);
    assert!(noted.err.contains("goes before the session"), "{noted:?}");
}
