//! The audit on the command line: listed, exported, and checked with and without a server.

use super::program::Dev;

fn given(dev: &Dev) -> String {
    for name in ["one", "two", "three"] {
        assert_eq!(dev.run(&["key", "create", name, "--role", "viewer"]).code, 0);
    }
    assert_eq!(dev.run(&["key", "revoke", "two", "--yes"]).code, 0);
    let exported = dev.run(&["audit", "export"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    assert_eq!(exported.out.lines().count(), 4, "{exported:?}");
    exported.out
}

#[test]
fn who_did_what_is_listed() {
    let dev = Dev::ephemeral();
    given(&dev);
    let listed = dev.run(&["audit", "list", "--act", "api_key.*", "--since", "1h"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let first = listed.out.lines().nth(1).unwrap();
    assert!(first.contains("local:dev") && first.contains("api_key.revoked"), "{listed:?}");
    assert!(first.contains("key:two"), "{listed:?}");
    let one = dev.run(&["audit", "ls", "--subject", "key:one", "-o", "json"]).json();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["actor_kind"]), (1, &"local_dev".into()));
    // What was done to tenants belongs to the platform.
    let platform = dev.run(&["audit", "list", "-T", "admin", "--act", "tenant.created"]);
    assert!(platform.out.contains("tenant:default"), "{platform:?}");
}

#[test]
fn an_export_is_checked_without_a_server() {
    let dev = Dev::ephemeral();
    let text = given(&dev);
    let lines: Vec<&str> = text.lines().collect();
    let verify = |text: String, flags: &[&str]| {
        let file = dev.file("audit.ndjson", &text);
        let mut arguments = vec!["audit", "verify", file.to_str().unwrap()];
        arguments.extend_from_slice(flags);
        // Nobody listens there.
        dev.run_with(&[("ACTIONS_URL", "http://127.0.0.1:1")], &arguments)
    };
    let whole = verify(text.clone(), &[]);
    assert_eq!(whole.code, 0, "{whole:?}");
    let head = whole.out.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(whole.out.starts_with("4 entries hold; head 4:"), "{whole:?}");
    assert_eq!(verify(text.clone(), &["--head", &head]).code, 0);

    let forged = text.replacen("key:two", "key:ten", 1);
    let gone = [&lines[..1], &lines[2..]].concat().join("\n");
    let swapped = [lines[0], lines[2], lines[1], lines[3]].join("\n");
    let damaged = [lines[0], lines[1], "{"].join("\n");
    for (text, position, word) in [
        (forged, 2, "altered"),
        (gone, 2, "missing"),
        (swapped, 2, "missing"),
        (damaged, 3, "altered"),
    ] {
        let broken = verify(text.clone(), &[]);
        assert_eq!(broken.code, 1, "{broken:?}");
        assert!(broken.out.starts_with(&format!("broken at {position}: ")), "{broken:?}");
        let data = verify(text, &["-o", "json"]);
        let data: serde_json::Value = serde_json::from_str(&data.out).unwrap();
        assert_eq!((&data["ok"], &data["broken"]["kind"]), (&false.into(), &word.into()));
        assert_eq!(data["broken"]["position"], position);
    }
    let cut = lines[..3].join("\n");
    assert_eq!(verify(cut.clone(), &[]).code, 0, "nobody can know");
    let cut = verify(cut, &["--head", &head]);
    assert!(cut.code == 1 && cut.out.contains("the entries after 3 are missing"), "{cut:?}");
    assert_eq!(verify(text, &["--head", "nonsense"]).code, 2);
}

/// A terminal would obey it; a hash takes it in.
#[test]
fn an_export_keeps_what_a_terminal_would_obey() {
    let dev = Dev::ephemeral();
    let reason = "a\u{7f}flood\u{85}";
    let paused = dev.run(&["tenant", "pause", "default", "--reason", reason, "--yes"]);
    assert_eq!(paused.code, 0, "{paused:?}");
    let exported = dev.run(&["audit", "export"]);
    assert!(exported.out.contains(reason), "{exported:?}");
    let file = dev.file("audit.ndjson", &exported.out);
    let whole = dev.run(&["audit", "verify", file.to_str().unwrap()]);
    assert_eq!(whole.code, 0, "{whole:?}");
}

#[test]
fn a_servers_audit_is_checked_here() {
    let dev = Dev::ephemeral();
    given(&dev);
    let whole = dev.run(&["audit", "verify", "-o", "json"]).json();
    assert_eq!((&whole["ok"], &whole["checked"]), (&true.into(), &4.into()));
    let head = whole["head"].as_str().unwrap();
    dev.run(&["key", "create", "four", "--role", "viewer"]);
    let later = dev.run(&["audit", "verify", "--head", head]);
    assert!(later.code == 0 && later.out.starts_with("5 entries hold"), "{later:?}");
    let rest = dev.run(&["audit", "verify", "--after", head]);
    assert!(rest.code == 0 && rest.out.starts_with("1 entry holds"), "{rest:?}");
    let never = head.replacen('4', "9", 1);
    let cut = dev.run(&["audit", "verify", "--head", &never]);
    assert!(cut.code == 1 && cut.out.contains("broken at 6"), "{cut:?}");
}
