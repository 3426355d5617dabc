//! Definitions as files.

use super::program::Dev;

const GOOD: &str = "actions:
  - name: record
    action_type: audit_log
    handler: audit.log
    event_patterns: [orders.placed]
    conditions: 'event.data.total > 10.0'
    subscriptions:
      - { event_pattern: orders.replaced, name: replacements }
";

#[test]
fn what_is_applied_is_exported_and_differs_no_more() {
    let dev = Dev::ephemeral();
    dev.file("a.yaml", GOOD);
    assert_eq!(dev.run(&["diff", "-f", "a.yaml"]).code, 1);
    let dry = dev.run(&["apply", "-f", "a.yaml", "--dry-run"]);
    assert!(dry.err.contains("nothing was changed"), "{dry:?}");
    let created = "action/record created\nsubscription/record/replacements created\n";
    assert_eq!(dry.out, created);
    assert_eq!(dev.run(&["apply", "-f", "a.yaml"]).out, created);
    assert_eq!(dev.run(&["diff", "-f", "a.yaml"]).code, 0);

    let exported = dev.run(&["export"]);
    dev.file("exported.yaml", &exported.out);
    assert_eq!(dev.run(&["diff", "-f", "exported.yaml"]).code, 0, "{}", exported.out);

    dev.file("b.yaml", &GOOD.replace("10.0", "20.0"));
    let differs = dev.run(&["diff", "-f", "b.yaml"]);
    assert_eq!(differs.code, 1);
    insta::assert_snapshot!(differs.out, @r"
    action/record updated
    -   /conditions: event.data.total > 10.0
    +   /conditions: event.data.total > 20.0
    ");
}

#[test]
fn mistakes_are_told_with_their_places() {
    let dev = Dev::ephemeral();
    let refused = |name: &str, text: &str| {
        dev.file(name, text);
        let said = dev.run(&["apply", "-f", name]);
        assert_eq!(said.code, 2, "{said:?}");
        assert_eq!(dev.run(&["validate", "-f", name]).code, 1);
        said.err
    };
    let here = refused("key.yaml", &GOOD.replace("event_patterns", "event_patternz"));
    assert!(here.contains("key.yaml:5:5: unknown field `event_patternz`"), "{here}");
    let server = refused("cel.yaml", &GOOD.replace("> 10.0", ">"));
    assert!(server.contains("cel.yaml:6:5: "), "{server}");
    assert_eq!(dev.run(&["action", "list", "-o", "name"]).out, "", "nothing was changed");
}

#[test]
fn what_no_file_names_goes_only_when_asked() {
    let dev = Dev::ephemeral();
    dev.file("a.yaml", GOOD);
    dev.run(&["apply", "-f", "a.yaml"]);
    dev.file("b.yaml", &GOOD.replace("name: record", "name: note"));
    assert_eq!(dev.run(&["apply", "-f", "b.yaml"]).code, 0);
    assert_eq!(dev.run(&["action", "list", "-o", "name"]).out, "note\nrecord\n");
    assert_eq!(dev.run(&["apply", "-f", "b.yaml", "--prune"]).code, 2);
    let pruned = dev.run(&["apply", "-f", "b.yaml", "--prune", "--yes"]);
    assert!(pruned.out.contains("action/record deleted"), "{pruned:?}");
    assert_eq!(dev.run(&["action", "list", "-o", "name"]).out, "note\n");
}

#[test]
fn an_action_can_be_tried_and_switched() {
    let dev = Dev::ephemeral();
    dev.file("a.yaml", GOOD);
    dev.run(&["apply", "-f", "a.yaml"]);
    let test = ["action", "test", "record", "orders.placed", "total:=11.5"];
    assert_eq!(dev.run(&test).code, 0);
    assert_eq!(dev.run(&["action", "disable", "record"]).out, "action record disabled\n");
    assert_eq!(dev.run(&test).code, 1);
    dev.run(&["action", "enable", "record"]);
    assert_eq!(dev.run(&test).code, 0);
    assert_eq!(dev.run(&["action", "delete", "record", "-y"]).code, 0);
    assert_eq!(dev.run(&["action", "show", "record"]).code, 5);
}
