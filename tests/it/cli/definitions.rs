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

#[test]
fn a_schedule_is_made_looked_at_switched_and_deleted() {
    let dev = Dev::ephemeral();
    dev.file("a.yaml", GOOD);
    assert_eq!(dev.run(&["apply", "-f", "a.yaml"]).code, 0);
    let zone = ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin"];
    let create = ["schedule", "create", "nightly", "--action", "record", "n:=1.5"];
    let made = dev.run(&[&create[..], &zone].concat());
    assert!(made.out.starts_with("schedule nightly created; it fires next at 2"), "{made:?}");
    assert_eq!(dev.run(&[&create[..], &zone].concat()).code, 6, "the name is taken");
    assert_eq!(dev.run(&create).code, 2, "it needs its times");
    let both = [&create[..], &zone, &["--every", "5m"]].concat();
    assert_eq!(dev.run(&both).code, 2, "but one way only");

    assert!(dev.run(&["schedule", "show", "nightly", "-o", "json"]).out.contains("1.5"));
    assert_eq!(dev.run(&["schedule", "next", "nightly", "--count", "3"]).out.lines().count(), 4);
    assert_eq!(dev.run(&["schedule", "pause", "nightly"]).out, "schedule nightly paused\n");
    let fired = dev.run(&["schedule", "fire", "nightly", "-o", "json"]).json();
    let id = fired["executions"][0].as_str().unwrap();
    assert_eq!(dev.run(&["execution", "show", id]).code, 0);
    let goes_on = dev.run(&["schedule", "resume", "nightly"]).out;
    assert!(goes_on.starts_with("schedule nightly goes on; it fires next at 2"), "{goes_on}");
    assert_eq!(dev.run(&["schedule", "ls", "-o", "name"]).out, "nightly\n");
    assert_eq!(dev.run(&["schedule", "delete", "nightly", "--yes"]).code, 0);
    assert_eq!(dev.run(&["schedule", "show", "nightly"]).code, 5);
}
