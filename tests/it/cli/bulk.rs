//! `actions bulk`: previews, questions, progress and what is left to do.

use super::program::Dev;

const JOB: &str = "actions:
  - name: report
    action_type: webhook
    handler: webhook.http
    config: { webhook_url: http://127.0.0.1:9999/ }
";

/// A server with so many jobs that wait for an hour.
fn with_waiting(count: usize) -> Dev {
    let dev = Dev::ephemeral();
    dev.file("a.yaml", JOB);
    assert_eq!(dev.run(&["apply", "-f", "a.yaml"]).code, 0);
    for _ in 0..count {
        assert_eq!(dev.run(&["execute", "report", "--at", "1h"]).code, 0);
    }
    dev
}

#[test]
fn many_executions_are_cancelled_by_a_filter() {
    let dev = with_waiting(6);
    let cancel = ["execution", "cancel", "--where", "action:report", "--limit", "5"];
    let asked = dev.run(&cancel);
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.err.contains("cancel 5 executions: nobody can be asked here"), "{asked:?}");
    assert_eq!(dev.run(&["bulk", "list", "-o", "name"]).out, "", "nothing was started");

    let watched = dev.run(&[&cancel[..], &["--yes", "--watch", "-o", "json"]].concat());
    let bulk = watched.json();
    assert_eq!((&bulk["state"], &bulk["done"]), (&"completed".into(), &5.into()), "{watched:?}");
    assert!(watched.err.contains("more than these 5; --limit takes more"), "{watched:?}");
    assert_eq!(dev.run(&["bulk", "list", "-o", "name"]).out.trim(), bulk["id"].as_str().unwrap());
}

#[test]
fn a_canary_waits_to_be_resumed_and_refusals_fail_the_command() {
    let dev = with_waiting(3);
    let start = ["bulk", "start", "cancel", "--where", "", "--canary", "1", "--yes", "--watch"];
    let paused = dev.run(&start);
    assert_eq!(paused.code, 0, "{paused:?}");
    assert!(paused.out.contains("paused"), "{paused:?}");
    let hint = paused.err.lines().find(|line| line.contains("its canary is done")).unwrap();
    let id = hint.split("bulk resume ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let resumed = dev.run(&["bulk", "resume", &id]);
    assert!(resumed.out.contains("is running: 1 of 3 handled"), "{resumed:?}");
    let shown = dev.run(&["bulk", "show", &id, "--watch", "-o", "json"]).json();
    assert_eq!((&shown["done"], &shown["refused"]), (&3.into(), &0.into()));
    assert_eq!(dev.run(&["bulk", "pause", &id]).code, 6, "it has ended");

    let nobody = "01890000-0000-7000-8000-000000000000";
    let refused = dev.run(&["bulk", "start", "requeue", nobody, "--yes", "--watch"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(
        refused.err.contains(&format!("{nobody}  there is no such dead letter")),
        "{refused:?}"
    );
    let nothing = dev.run(&["bulk", "start", "requeue", "--where", "", "--yes"]);
    assert_eq!(nothing.code, 5, "{nothing:?}");
}
