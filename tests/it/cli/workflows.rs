//! Workflows as files, and their runs.

use super::program::Dev;

const GOOD: &str = "action:
  name: onboarding
  workflow:
    steps:
      - name: record
        handler: audit.log
        input_mapping: { user: '{{ input.user }}' }
      - name: greet
        handler: audit.log
        depends_on: [record]
";

#[test]
fn a_workflow_is_put_started_and_looked_at() {
    let dev = Dev::ephemeral();
    dev.file("w.yaml", GOOD);
    assert_eq!(dev.run(&["workflow", "validate", "w.yaml"]).out, "w.yaml is valid\n");
    let put = dev.run(&["workflow", "put", "w.yaml"]);
    assert!(put.out.starts_with("workflow onboarding created, version"), "{put:?}");
    // The same again needs no version to be named.
    assert_eq!(dev.run(&["workflow", "put", "w.yaml"]).code, 0);
    assert_eq!(dev.run(&["workflow", "list", "-o", "name"]).out, "onboarding\n");
    assert!(dev.run(&["workflow", "graph", "onboarding"]).out.contains("s0 --> s1"));
    assert_eq!(dev.run(&["workflow", "versions", "onboarding"]).code, 0);

    let started = ["workflow", "start", "onboarding", "--id", "user-9", "user=ada", "--wait"];
    let run = dev.run(&[&started[..], &["-o", "json"]].concat());
    assert_eq!((run.code, &run.json()["status"]), (0, &"completed".into()), "{run:?}");
    let id = run.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(dev.run(&["run", "list", "-o", "name"]).out, format!("{id}\n"));
    let shown = dev.run(&["run", "show", &id]);
    assert!(shown.out.contains("greet") && shown.out.contains("run     completed"), "{shown:?}");
    assert!(dev.run(&["run", "journal", &id]).out.contains("RunCompleted"));
    assert_eq!(dev.run(&["run", "signal", &id, "late"]).code, 6, "it has ended");
    assert_eq!(dev.run(&["workflow", "delete", "onboarding", "--yes"]).code, 0);
}

const SHORT: &str = "action: orders.fulfil
on: orders.paid
when: event.data.total > 0
steps:
  - reserve: { handler: audit.log, with: { order: '{{ event.data.number }}' } }
  - pack: { each: '{{ event.data.items }}', handler: audit.log, after: reserve, with: { item: '{{ item }}' } }
  - granted: { approval: approve, after: pack }
  - ship: { handler: audit.log, after: granted }
";

#[test]
fn the_short_form_is_put_and_run_by_its_event() {
    let dev = Dev::ephemeral();
    dev.file("short.yaml", SHORT);
    let put = dev.run(&["workflow", "put", "short.yaml"]);
    assert!(put.out.starts_with("workflow orders.fulfil created, version"), "{put:?}");
    let event = ["emit", "orders.paid", "total:=5", "number=7", "items:=[1,2]", "--wait"];
    assert_eq!(dev.run(&event).code, 0);
    assert_eq!(dev.run(&["run", "list", "-o", "name"]).out.lines().count(), 1);

    let start = ["workflow", "start", "orders.fulfil", "--id", "o-9", "-o", "json"];
    let input = ["data.number=9", "data.items:=[1,2]"];
    let started = dev.run(&[&start[..], &input].concat());
    let id = started.json()["id"].as_str().unwrap().to_owned();
    let approve = ["run", "signal", &id, "approve", "--data", r#"{"approved":true}"#];
    assert_eq!(dev.run(&approve).code, 0);
    // The same run, until its end.
    let again = dev.run(&[&start[..], &input, &["--wait"]].concat());
    assert_eq!(
        (&again.json()["id"], &again.json()["status"]),
        (&id.into(), &"completed".into()),
        "{again:?}"
    );

    dev.file("full.yaml", &SHORT.replace("on: ", "concurrency: 2\non: "));
    let refused = dev.run(&["workflow", "put", "full.yaml"]);
    assert!(refused.code == 2 && refused.err.contains("concurrency"), "{refused:?}");
}

#[test]
fn mistakes_of_a_workflow_are_told_with_their_places() {
    let dev = Dev::ephemeral();
    dev.file("w.yaml", &GOOD.replace("[record]", "[recorf]"));
    let refused = dev.run(&["workflow", "put", "w.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let place = "w.yaml:10:";
    assert!(refused.err.contains(place) && refused.err.contains("recorf"), "{refused:?}");
    dev.file("w.yaml", &GOOD.replace("input.user", "input.user +"));
    let refused = dev.run(&["workflow", "validate", "w.yaml"]);
    assert!(refused.code == 2 && refused.err.contains("w.yaml:7:"), "{refused:?}");
    assert_eq!(dev.run(&["workflow", "list", "-o", "name"]).out, "");
}
