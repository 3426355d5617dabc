//! What commands print, where, and in which form.

use serde_json::{Value, json};

use super::program::Dev;

#[test]
fn one_answer_has_many_forms() {
    let dev = Dev::ephemeral();
    assert_eq!(
        dev.run(&["tenant", "create", "acme", "--name", "Acme"]).out,
        "tenant acme created\n"
    );
    let tenants = |form: &[&str]| {
        let said = dev.run(&[&["tenant", "list", "--fields", "slug,name"], form].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        said.out
    };
    let expected = json!([
        { "slug": "admin", "name": "Platform" },
        { "slug": "default", "name": "Default" },
        { "slug": "acme", "name": "Acme" },
    ]);
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parsed(&tenants(&["-o", "json"])), expected);
    let lines: Vec<Value> = tenants(&["-o", "jsonl"]).lines().map(parsed).collect();
    assert_eq!(Value::Array(lines), expected);
    let yaml: Value = serde_saphyr::from_str(&tenants(&["-o", "yaml"])).unwrap();
    assert_eq!(yaml, expected);
    assert_eq!(tenants(&["-o", "name"]), "admin\ndefault\nacme\n");
    assert_eq!(tenants(&["-o", "none"]), "");
    let table = tenants(&[]);
    let first: Vec<&str> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(first, ["SLUG", "admin", "default", "acme"]);
    assert_eq!(tenants(&["--no-headers"]).lines().count(), 3);
    assert!(!table.contains('\u{1b}'), "no colour outside a terminal");
}

#[test]
fn limits_and_pauses_are_told_where_they_matter() {
    let dev = Dev::ephemeral();
    let told = |arguments: &[&str]| dev.run(arguments).out;
    let row = |table: &str, name: &str| -> String {
        let row = table.lines().find(|line| line.starts_with(name));
        row.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let concurrency = "max_concurrent_executions";
    let limits = ["tenant", "limits", "default"];
    assert_eq!(row(&told(&limits), concurrency), format!("{concurrency} - - default -"));
    let set = told(&[&limits[..], &["--concurrency", "7", "--stored-bytes", "1GB"]].concat());
    assert_eq!(row(&set, concurrency), format!("{concurrency} 7 - tenant -"));
    assert!(row(&set, "stored_bytes").starts_with("stored_bytes 1073741824 "), "{set}");
    let all = told(&["tenant", "limits", "--all", "--concurrency", "9"]);
    assert_eq!(row(&all, concurrency), format!("{concurrency} 9"));
    let taken = told(&[&limits[..], &["--concurrency", "none"]].concat());
    assert_eq!(row(&taken, concurrency), format!("{concurrency} 9 - platform -"));
    assert_eq!(
        told(&["tenant", "limits", "--all", "--concurrency", "none"]),
        "nothing is set for all tenants\n"
    );
    let wrong = dev.run(&["tenant", "limits", "default", "--concurrency", "many"]);
    assert!(wrong.err.contains("expected a whole number, or none"), "{wrong:?}");

    let kept = "history stays as long as in the installation\n";
    assert_eq!(told(&["tenant", "retention", "default"]), kept);
    let days = told(&["tenant", "retention", "default", "--keep-days", "7"]);
    assert!(days.contains("keep days") && days.contains('7'), "{days}");
    assert_eq!(told(&["tenant", "retention", "default", "--keep-days", "none"]), kept);

    let spec = "actions:
  - { name: greet, action_type: audit_log, handler: audit.log, event_patterns: [users.created] }
";
    dev.file("actions.yaml", spec);
    assert_eq!(dev.run(&["apply", "-f", "actions.yaml"]).code, 0);
    assert_eq!(dev.run(&["action", "pause", "greet"]).code, 0);
    let sent = dev.run(&["emit", "users.created", "--wait=100ms"]);
    assert!(sent.out.contains("pending: the action is paused"), "{sent:?}");
    let usage = told(&["tenant", "usage", "default"]);
    let counted = usage.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!((counted[1], counted[3]), ("1", "1"), "an event and an execution: {usage}");
}

#[test]
fn the_way_of_an_event_can_be_followed() {
    let dev = Dev::ephemeral();
    let spec = "actions:
  - name: greet
    action_type: audit_log
    handler: audit.log
    event_patterns: [users.created]
    conditions: { tier: premium }
";
    dev.file("actions.yaml", spec);
    assert_eq!(dev.run(&["apply", "-f", "actions.yaml"]).out, "action/greet created\n");

    let sent = dev.run(&["emit", "users.created", "tier=premium", "--wait", "-o", "json"]).json();
    assert_eq!(sent["executions"][0]["action"], "greet");
    assert_eq!(sent["executions"][0]["status"], "completed");
    let id = sent["executions"][0]["id"].as_str().unwrap();

    let shown = dev.run(&["executions", "show", id]).out;
    let (head, timeline) = shown.split_once("\n\n").unwrap();
    let event = sent["id"].as_str().unwrap();
    for (title, value) in [
        ("execution", id),
        ("action", "greet"),
        ("tenant", "default"),
        ("status", "completed"),
        ("event", event),
    ] {
        let line = format!("{title:9}  {value}");
        assert!(head.lines().any(|one| one == line), "{line:?} is not in {head}");
    }
    for title in ["queued", "started", "ended", "output"] {
        assert!(head.lines().any(|one| one.starts_with(&format!("{title:9}  "))), "{head}");
    }
    assert!(timeline.starts_with("00:00.000  users.created  matched greet\n"), "{timeline}");
    assert!(timeline.contains("attempt 1      completed on node "), "{timeline}");
    assert_eq!(dev.run(&["execution", "list", "--action", "greet", "-o", "name"]).out.trim(), id);
    assert_eq!(dev.run(&["execution", "list", "--status", "failed", "-o", "name"]).out, "");
    assert!(dev.run(&["execution", "why", id]).out.contains("completed"));

    let why = dev.run(&["explain", "users.created", "tier=free", "--all"]);
    assert_eq!(why.code, 1);
    insta::assert_snapshot!(why.out, @r#"
    ✗ greet  data.tier = "premium", got "free"
        ✓ pattern: users.created matches users.created
        ✓ action_active: the action is switched on
        ✓ action_healthy: the action is healthy
        ✓ handler_installed: handler audit.log is installed
        ✗ action_conditions: data.tier = "premium", got "free"
    "#);
    assert!(dev.run(&["explain", event]).out.starts_with("✓ greet"));
    let mixed = dev.run(&["explain", event, "tier=free"]);
    assert_eq!(mixed.code, 2, "a stored event has its own data: {mixed:?}");
}

#[test]
fn every_subscription_is_explained_and_filters_can_be_tried() {
    let dev = Dev::ephemeral();
    let mut spec = "actions:
  - name: record
    action_type: audit_log
    handler: audit.log
    subscriptions:
"
    .to_owned();
    for number in 0..60 {
        spec.push_str(&format!("      - {{ event_pattern: a.b, name: s{number}, priority: 1 }}\n"));
    }
    spec.push_str("      - { event_pattern: shop.*, name: shop, source_service_filter: [shop] }\n");
    dev.file("actions.yaml", &spec);
    assert_eq!(dev.run(&["apply", "-f", "actions.yaml"]).code, 0);

    let ways = |said: &str| said.lines().filter(|line| line.contains(" record  ")).count();
    let all = dev.run(&["explain", "a.b", "--all"]);
    assert_eq!((all.code, ways(&all.out), all.err.as_str()), (0, 61, ""));
    let some = dev.run(&["explain", "a.b", "--limit", "7"]);
    assert_eq!(ways(&some.out), 7);
    assert!(some.err.starts_with("53 more"), "{some:?}");
    let some = dev.run(&["explain", "a.b", "--limit", "7", "--all"]);
    assert!(some.err.starts_with("54 more"), "{some:?}");

    let matching = dev.run(&["explain", "a.b"]);
    assert_eq!(matching.err, "1 other subscription does not match; --all says why\n");

    let none = dev.run(&["explain", "shop.opened"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("none of 61 subscriptions matches"), "{none:?}");
    assert_eq!(dev.run(&["explain", "shop.opened", "--source-service", "shop"]).code, 0);
}

#[test]
fn what_could_not_be_done_is_named_and_fails_the_command() {
    let dev = Dev::ephemeral();
    let spec = "actions:
  - { name: record, action_type: audit_log, handler: audit.log }
  - name: fail
    action_type: function_execution
    handler: function.call
    config: { function_name: nowhere }
";
    dev.file("actions.yaml", spec);
    assert_eq!(dev.run(&["apply", "-f", "actions.yaml"]).code, 0);
    let unknown = "01900000-0000-7000-8000-000000000001";

    let later = || {
        let said = dev.run(&["execute", "record", "--at", "1h", "-o", "json"]).json();
        said["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (later(), later());
    let both = dev.run(&["execution", "cancel", &first, unknown, "-y", "-o", "json"]);
    assert_eq!(both.code, 5, "{both:?}");
    assert!(both.err.contains(unknown) && both.out.contains(&first), "{both:?}");
    let table = dev.run(&["execution", "cancel", &second, unknown, "-y"]).out;
    assert!(table.contains("CANCELLATION") && table.contains("requested"), "{table}");

    let dead = dev.run(&["execute", "fail", "--wait", "-o", "json"]);
    let dead: Value = serde_json::from_str(&dead.out).unwrap();
    let dead = dead["id"].as_str().unwrap();
    let other = "01900000-0000-7000-8000-000000000002";
    let none = dev.run(&["dlq", "requeue", unknown, other, "-y"]);
    assert_eq!(none.code, 5, "{none:?}");
    assert!(none.err.contains(unknown) && none.err.contains(other), "{none:?}");
    assert!(none.err.contains("0 done, 0 refused, 2 unknown"), "{none:?}");
    let one = dev.run(&["dlq", "requeue", dead, other, "-y"]);
    assert_eq!(one.code, 5, "{one:?}");
    assert!(one.err.contains("1 done, 0 refused, 1 unknown"), "{one:?}");
    let gone = dev.run(&["dlq", "discard", unknown, other, "--reason", "a test", "-y"]);
    assert_eq!(gone.code, 5, "{gone:?}");
}

#[test]
fn an_execution_shows_why_it_was_tried_again_and_what_was_answered() {
    let dev = Dev::ephemeral();
    // Ports below 1024 are closed to calls, so an unused one above is taken.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = format!(
        "actions:
  - name: call
    action_type: webhook
    handler: webhook.http
    config: {{ webhook_url: 'http://{unused}/' }}
    retry_policy: {{ max_retries: 1, backoff: fixed, initial_delay_ms: 100, jitter: false }}
"
    );
    dev.file("a.yaml", &spec);
    assert_eq!(dev.run(&["apply", "-f", "a.yaml"]).code, 0);
    let text = "x".repeat(3_000);
    let sent = dev.run(&["execute", "call", &format!("text={text}"), "--wait", "-o", "name"]);
    assert_eq!(sent.code, 10, "{sent:?}");
    let id = sent.out.trim();
    let shown = dev.run(&["execution", "show", id]).out;
    let (head, timeline) = shown.split_once("\n\n").unwrap();
    assert!(head.contains("error      egress.connect: could not connect to 127.0.0.1"), "{head}");
    assert!(head.contains("xxx… (3011 bytes in all)"), "an input is bounded: {head}");
    assert!(timeline.contains("attempt 2  retry: failed on node "), "{timeline}");
    let wide = dev.run(&["execution", "show", id, "-o", "wide"]).out;
    assert!(wide.contains(&text), "{wide}");
}

#[test]
fn an_event_whose_action_is_blocked_says_so() {
    let dev = Dev::ephemeral();
    let spec = "actions:
  - { name: print, action_type: report_generation, handler: report.generate, event_patterns: [a.b] }
  - { name: record, action_type: audit_log, handler: audit.log, event_patterns: [c.d] }
";
    dev.file("a.yaml", spec);
    let applied = dev.run(&["apply", "-f", "a.yaml"]);
    assert!(applied.err.contains("warning: a.yaml:2:"), "as validate does: {applied:?}");
    assert!(applied.err.contains("no handler report.generate is installed"), "{applied:?}");
    assert_eq!(dev.run(&["action", "disable", "record"]).code, 0);

    let missing = dev.run(&["emit", "a.b", "--wait"]).out;
    let blocked =
        "print is blocked: handler report.generate is not installed; `actions handler list`";
    assert!(missing.contains(blocked), "{missing}");
    let off = dev.run(&["emit", "c.d", "-T", "default"]).out;
    let enable = "`actions action enable record -T default` switches it on";
    assert!(off.contains("record is blocked: the action is switched off"), "{off}");
    assert!(off.contains(enable), "{off}");
    let none = dev.run(&["emit", "e.f"]).out;
    let id = none.lines().next().unwrap().trim_start_matches("event ");
    let hint = format!("no action matched; `actions explain {id} --all` says why");
    assert!(none.contains(&hint), "{none}");
}

#[test]
fn a_list_that_is_cut_says_so() {
    let dev = Dev::ephemeral();
    assert_eq!(dev.run(&["emit", "a.b", "--count", "3"]).code, 0);
    let cut = dev.run(&["events", "list", "--limit", "2", "-o", "name"]);
    assert_eq!(cut.out.lines().count(), 2);
    assert_eq!(cut.err, "only the first 2; --limit 20 shows more\n");
    let whole = dev.run(&["events", "list", "--limit", "3", "-o", "name"]);
    assert_eq!((whole.out.lines().count(), whole.err.as_str()), (3, ""));
    let none = dev.run(&["events", "list", "--limit", "0"]);
    assert_eq!((none.code, none.out.as_str()), (2, ""));
    assert!(none.err.contains("expected a number from 1 on"), "{none:?}");
}

#[test]
fn numbers_keep_every_digit() {
    let dev = Dev::ephemeral();
    let data = r#"{"n":12345678901234567890123,"m":1.50}"#;
    let sent = dev.run(&["emit", "a.b", "--data", data, "-o", "name"]);
    let shown = dev.run(&["event", "show", sent.out.trim()]);
    assert!(shown.out.contains(data), "{shown:?}");
    let json = dev.run(&["event", "show", sent.out.trim(), "-o", "json"]);
    assert!(json.out.contains("\"n\": 12345678901234567890123,"), "{json:?}");
    assert!(json.out.contains("\"m\": 1.50\n"), "{json:?}");
}

#[test]
fn many_things_are_changed_only_after_a_yes() {
    let dev = Dev::ephemeral();
    let spec = "actions:
  - name: fail
    action_type: function_execution
    handler: function.call
    config: { function_name: nowhere }
    event_patterns: [a.bad]
";
    dev.file("actions.yaml", spec);
    dev.run(&["apply", "-f", "actions.yaml"]);
    assert_eq!(dev.run(&["emit", "a.bad", "--count", "3", "--wait"]).code, 10);

    let groups = dev.run(&["dlq", "groups", "-o", "json"]).json();
    assert_eq!(groups[0]["count"], 3);
    let group = groups[0]["fingerprint"].as_str().unwrap();
    let unasked = dev.run(&["dlq", "requeue", "--group", group]);
    assert_eq!(unasked.code, 2);
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!(dev.run(&["dlq", "list", "-o", "name"]).out.lines().count(), 3);

    let asked = dev.run(&["dlq", "discard", "--group", group, "--reason", "a test", "--yes"]);
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.err.contains("3 done, 0 refused"), "{asked:?}");
    assert_eq!(dev.run(&["dlq", "list", "-o", "name"]).out, "");
}

#[test]
fn with_json_a_refusal_is_the_servers_problem_document() {
    let dev = Dev::ephemeral();
    let said = dev.run(&["tenant", "show", "nobody", "-o", "json"]);
    assert_eq!((said.code, said.out.as_str()), (5, ""));
    let problem: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&404.into(), &"not_found".into()));
}
