//! API keys on the command line: created, used, rotated and revoked.

use super::program::{Dev, Said};

fn emit(dev: &Dev, token: &str) -> Said {
    dev.run_with(&[("ACTIONS_TOKEN", token)], &["emit", "a.b"])
}

#[test]
fn a_key_is_created_used_rotated_and_revoked() {
    let dev = Dev::start(&[]);
    let made = dev.run(&["key", "create", "checkout", "--role", "ingest_only"]);
    let token = made.out.trim();
    assert_eq!((made.code, token.len()), (0, 64), "{made:?}");
    assert!(made.err.contains("not shown again") && made.err.contains("ACTIONS_TOKEN"), "{made:?}");
    assert_eq!(emit(&dev, token).code, 0);
    let listed = dev.run_with(&[("ACTIONS_TOKEN", token)], &["event", "list"]);
    assert_eq!(listed.code, 4, "{listed:?}");
    assert!(listed.err.contains("the role ingest_only, which may not read events"), "{listed:?}");
    let doctor = ["doctor", "token", "-o", "json"];
    let doctor = dev.run_with(&[("ACTIONS_TOKEN", token)], &doctor).json();
    let told = doctor[0]["detail"].as_str().unwrap();
    assert!(told.contains("the server takes it"), "{doctor:#}");

    let shown = dev.run(&["key", "show", "checkout", "-o", "json"]).json();
    assert_eq!((&shown["role"], &shown["status"]), (&"ingest_only".into(), &"active".into()));
    assert!(token.starts_with(shown["token_begins_with"].as_str().unwrap()));

    let rotated = dev.run(&["key", "rotate", "checkout", "-o", "json"]).json();
    let new = rotated["token"].as_str().unwrap();
    assert!(rotated["old_tokens_end_at"].is_string(), "{rotated:#}");
    assert_eq!((emit(&dev, token).code, emit(&dev, new).code), (0, 0), "both hold for a day");
    let rotated = dev.run(&["key", "rotate", "checkout", "--overlap", "0s"]);
    assert!(rotated.err.contains("older tokens hold no more"), "{rotated:?}");
    let newest = rotated.out.trim();
    assert_eq!((emit(&dev, new).code, emit(&dev, newest).code), (4, 0));

    let unsure = dev.run(&["key", "revoke", "checkout"]);
    assert_eq!(unsure.code, 2, "{unsure:?}");
    let revoked = dev.run(&["key", "revoke", "checkout", "--yes"]);
    assert_eq!(revoked.out, "API key checkout revoked; it holds no more\n");
    let refused = emit(&dev, newest);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("holds no more"), "{refused:?}");
    let all = dev.run(&["keys", "ls", "-o", "json"]).json();
    assert_eq!(all[0]["status"], "revoked", "{all:#}");
}

#[test]
fn a_key_outlives_its_process_and_ends_by_itself() {
    let mut dev = Dev::start(&[]);
    let create =
        ["key", "create", "ci", "--role", "developer", "--expires-in", "90d", "-o", "json"];
    let made = dev.run(&create).json();
    assert!(made["expires_at"].is_string(), "{made:#}");
    let token = made["token"].as_str().unwrap();
    dev.kill_and_restart();
    assert_eq!(emit(&dev, token).code, 0);
    let typo = format!("{}{}", &token[..63], if token.ends_with('0') { '1' } else { '0' });
    let refused = emit(&dev, &typo);
    assert!(refused.code == 4 && refused.err.contains("typing error"), "{refused:?}");

    let wrong = dev.run(&["key", "create", "x", "--role", "boss"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("ingest_only"), "the roles are named: {wrong:?}");
    let wrong = dev.run(&["key", "create", "root", "--role", "platform_admin"]);
    assert!(wrong.err.contains("belong to the tenant admin"), "{wrong:?}");
    let root = ["key", "create", "root", "--role", "platform_admin", "-T", "admin"];
    let root = dev.run(&root).out;
    let tenants = dev.run_with(&[("ACTIONS_TOKEN", root.trim())], &["tenant", "list"]);
    assert_eq!(tenants.code, 0, "{tenants:?}");
    let tenants = dev.run_with(&[("ACTIONS_TOKEN", token)], &["tenant", "list"]);
    assert_eq!(tenants.code, 5, "{tenants:?}");
}
