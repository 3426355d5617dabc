//! The life of a tenant on the command line: suspended, exported, reinstated.

use serde_json::Value;

use super::program::Dev;

#[test]
fn a_tenant_is_suspended_and_reinstated() {
    let dev = Dev::ephemeral();
    assert_eq!(dev.run(&["tenant", "suspend", "default"]).code, 2, "nobody can be asked");
    let suspended = ["tenant", "suspend", "default", "--reason", "unpaid", "--yes"];
    let suspended = dev.run(&suspended);
    assert!(suspended.code == 0 && suspended.out.contains("nothing is accepted"), "{suspended:?}");
    let refused = dev.run(&["emit", "a.b"]);
    assert!(refused.code == 4 && refused.err.contains("suspended"), "{refused:?}");
    let shown = dev.run(&["tenant", "show", "default"]);
    assert!(shown.out.contains("suspended") && shown.out.contains("unpaid"), "{shown:?}");
    assert_eq!(dev.run(&["tenant", "reinstate", "default"]).code, 0);
    assert_eq!(dev.run(&["emit", "a.b"]).code, 0);
}

#[test]
fn an_export_holds_everything_and_no_secret() {
    let dev = Dev::ephemeral();
    let file = dev.file(
        "a.yaml",
        "actions:\n  - name: ship\n    action_type: webhook\n    handler: webhook.signed\n    \
         config: { webhook_url: 'https://example.com/x', webhook_secret: 'whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5' }\n    \
         is_active: false\n    event_patterns: [orders.placed]\n",
    );
    let applied = dev.run(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let key = dev.run(&["key", "create", "k", "--role", "viewer"]);
    let data = "{\"n\": 12345678901234567890.10, \"t\": \"a\u{7f}b\u{85}\"}";
    assert_eq!(dev.run(&["emit", "orders.placed", "--data", data]).code, 0);
    let exported = dev.run(&["tenant", "export", "default"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let lines: Vec<Value> =
        exported.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    for (kind, expected) in
        [("tenant", 1), ("controls", 1), ("definitions", 1), ("api_key", 1), ("event", 1)]
    {
        assert_eq!(count(kind), expected, "{kind}: {exported:?}");
    }
    assert!(count("audit") >= 2, "{exported:?}");
    assert!(exported.out.contains("12345678901234567890.10"), "numbers keep every digit");
    assert!(exported.out.contains("a\u{7f}b\u{85}"), "and texts every character");
    assert!(!exported.out.contains("Y2FuYXJ5") && !exported.out.contains(key.out.trim()));
}

#[test]
fn a_tenant_is_deleted_and_leaves_a_certificate() {
    let dev = Dev::ephemeral();
    assert_eq!(dev.run(&["tenant", "create", "acme"]).code, 0);
    assert_eq!(dev.run(&["emit", "a.b", "-T", "acme"]).code, 0);
    let early = dev.run(&["tenant", "delete", "acme", "--yes"]);
    assert!(early.code != 0 && early.err.contains("suspend the tenant first"), "{early:?}");
    assert_eq!(dev.run(&["tenant", "suspend", "acme", "--yes"]).code, 0);
    assert_eq!(dev.run(&["tenant", "delete", "acme"]).code, 2, "nobody can be asked");
    let wrong = dev.run(&["tenant", "delete", "acme", "--confirm", "default"]);
    assert!(wrong.code != 0 && wrong.err.contains("acme"), "{wrong:?}");
    let deleted = dev.run(&["tenant", "delete", "acme", "--yes", "--reason", "left us"]);
    assert!(deleted.code == 0 && deleted.out.contains("deleted"), "{deleted:?}");
    let shown = dev.run(&["tenant", "deletion", "acme", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&shown["state"], &shown["reason"]), (&"deleted".into(), &"left us".into()));
    assert_eq!(shown["certificate"]["intact"], true);
    assert_eq!(dev.run(&["tenant", "show", "acme"]).code, 5, "it is not there");
    assert_eq!(dev.run(&["emit", "a.b"]).code, 0, "the others go on");
}
