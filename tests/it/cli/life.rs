//! The life of a process: it keeps what it accepted, drains when asked, and tells what happens.

use super::program::{Dev, run};

/// An action whose calls fail and are tried again later.
const FAILING: &str = "actions:
  - name: call
    action_type: webhook
    handler: webhook.http
    config: { webhook_url: http://127.0.0.1:9/ }
    event_patterns: [a.b]
    retry_policy: { max_retries: 1, backoff: fixed, initial_delay_ms: 2500, jitter: false }
";

#[test]
fn a_retry_that_waits_survives_the_end_of_its_process() {
    let mut dev = Dev::start(&[]);
    // Ports below 1024 are closed to calls, so an unused one above is taken.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    dev.file("a.yaml", &FAILING.replace("127.0.0.1:9", &unused.to_string()));
    assert_eq!(dev.run(&["apply", "-f", "a.yaml"]).code, 0);
    let sent = dev.run(&["emit", "a.b", "-o", "json"]).json();
    let id = sent["executions"][0]["id"].as_str().unwrap().to_owned();
    let execution = |dev: &Dev| dev.run(&["execution", "show", &id, "-o", "json"]).json();
    let reach = |dev: &Dev, status: &str| {
        let found = (0..2_000).map(|_| execution(dev)).find(|now| now["status"] == status);
        found.unwrap_or_else(|| panic!("{:#}", execution(dev)))
    };
    reach(&dev, "retrying");
    dev.kill_and_restart();
    let now = reach(&dev, "failed");
    let causes: Vec<_> = now["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["cause"].clone())
        .collect();
    assert_eq!(causes, ["first", "retry"]);
}

#[test]
fn a_signal_drains_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut dev = Dev::start(&[]);
        assert_eq!(dev.signal(signal), Some(0), "{signal}");
        let told = dev.complaints();
        assert!(told.contains("draining") && told.contains("stopped"), "{signal}: {told}");
    }
}

#[test]
fn the_demo_tells_what_happens() {
    let mut dev = Dev::start(&["--demo"]);
    let lines = dev.read_until(|line| line.contains("dead letter"));
    let all = lines.concat();
    assert!(lines[0].starts_with("actions "), "{all}");
    assert!(lines[1].contains(&dev.url()), "{all}");
    for place in ["  webhooks http://127.0.0.1:", "  mail     smtp://127.0.0.1:"] {
        assert!(all.contains(place), "{all}");
    }
    assert!(all.contains("blocked      render_invoice"), "{all}");
    let events = lines.iter().filter(|line| line.contains("  event  ")).count();
    assert!(events < 8, "the first dead letter comes soon: {all}");
    let slugs = dev.run(&["tenant", "list", "-o", "name"]).out;
    assert_eq!(slugs, "admin\ndefault\nacme\nglobex\n");
    let sent = dev.run(&["emit", "users.created", "email=a@b.example", "-T", "acme", "--wait"]);
    assert_eq!(sent.code, 0, "{sent:?}");
}

#[test]
fn the_banner_stands_only_where_a_server_answers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.db"), "no database at all, whatever it is called")
        .unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = ["dev", "--listen", &free.to_string(), "--database-url", "sqlite://broken.db"];
    let said = run(folder.path(), &[], &broken);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");

    let mut dev = Dev::start(&[]);
    let banner = dev.read_until(|line| line.contains("Ctrl-C"));
    assert!(banner[0].starts_with("actions "), "{banner:?}");
}

#[test]
fn development_never_touches_the_database_that_the_shell_knows() {
    let set = [("DATABASE_URL", "sqlite://production.db")];
    let dev = Dev::start_with(&set, &[]);
    assert!(dev.has(".actions/actions.db"));
    assert!(!dev.has("production.db"));
    let named = Dev::start_with(&set, &["--database-url", "sqlite://named.db"]);
    assert!(named.has("named.db") && !named.has("production.db") && !named.has(".actions"));

    let folder = tempfile::tempdir().unwrap();
    let taken = dev.url().replace("http://", "");
    let said = run(folder.path(), &set, &["dev", "--listen", &taken]);
    assert!(said.err.contains("DATABASE_URL is ignored"), "{said:?}");
    let said = run(folder.path(), &[], &["dev", "--listen", &taken]);
    assert!(!said.err.contains("ignored"), "{said:?}");
}

#[test]
fn a_second_server_on_one_address_is_refused_before_it_touches_anything() {
    let dev = Dev::ephemeral();
    let folder = tempfile::tempdir().unwrap();
    let address = dev.url().replace("http://", "");
    let said = run(folder.path(), &[], &["dev", "--listen", &address]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("cannot listen on"), "{said:?}");
    assert!(!folder.path().join(".actions").exists());
}

#[test]
fn a_schema_is_looked_at_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let database = [("DATABASE_URL", "sqlite://a.db")];
    assert_eq!(run(folder.path(), &database, &["migrate", "status", "--check"]).code, 1);
    assert!(!folder.path().join("a.db").exists(), "looking changes nothing");
    let up = run(folder.path(), &database, &["migrate", "up", "-o", "json"]).json();
    assert!(up.as_array().unwrap().iter().all(|step| step["state"] == "applied now"), "{up:#}");
    let again = run(folder.path(), &database, &["migrate", "up"]);
    assert_eq!((again.code, again.err.as_str()), (0, "sqlite://a.db is already up to date\n"));
    assert_eq!(run(folder.path(), &database, &["migrate", "status", "--check"]).code, 0);

    let seeded = run(folder.path(), &database, &["seed", "-o", "json"]).json();
    let changes = |rows: &serde_json::Value, word: &str| {
        rows.as_array().unwrap().iter().filter(|row| row["change"] == word).count()
    };
    assert!(changes(&seeded, "created") >= 30, "{seeded:#}");
    let again = run(folder.path(), &database, &["seed", "-o", "json"]).json();
    assert_eq!(changes(&again, "unchanged"), changes(&seeded, "created"));
}

#[test]
fn a_dry_seed_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = [("DATABASE_URL", "sqlite://a.db")];
    let dry = || run(folder.path(), &database, &["seed", "--dry-run", "-o", "json"]);
    let first = dry();
    let rows = first.json();
    let is_told = |row: &serde_json::Value| row["change"] == "would create";
    assert!(rows.as_array().unwrap().iter().all(is_told), "{rows:#}");
    assert!(first.err.contains("nothing was changed"), "{first:?}");
    assert!(!folder.path().join("a.db").exists(), "not even a schema");

    assert_eq!(run(folder.path(), &database, &["migrate", "up"]).code, 0);
    assert_eq!(dry().json(), rows);
    let written = run(folder.path(), &database, &["seed", "-o", "json"]).json();
    assert_eq!(written.as_array().unwrap().len(), rows.as_array().unwrap().len());
    let done = dry().json();
    assert!(done.as_array().unwrap().iter().all(|row| row["change"] == "unchanged"), "{done:#}");
}

#[test]
fn a_measurement_is_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("noop", ["--seconds", "1", "--backlog", "2000"]),
        ("keyed", ["--seconds", "1", "--slots", "64"]),
        ("drain", ["--seconds", "1", "--count", "2000"]),
        ("emit", ["--seconds", "1", "--callers", "16"]),
        ("http", ["--seconds", "1", "--callers", "16"]),
        ("latency", ["--seconds", "1", "--rate", "100"]),
        ("retry", ["--seconds", "1", "--rate", "100"]),
        ("webhook", ["--seconds", "1", "--slots", "64"]),
    ] {
        let arguments = [&["bench", name, "-o", "json"] as &[&str], &more].concat();
        let said = run(folder.path(), &[], &arguments);
        let result = said.json();
        assert!(said.err.contains("sending "), "{said:?}");
        assert_eq!((&result["bench"], &result["store"]), (&name.into(), &"sqlite".into()));
        for field in ["count", "seconds", "rate_per_s", "p50_ms", "p99_ms", "peak_rss_mb"] {
            assert!(result[field].as_f64().is_some_and(|number| number > 0.0), "{field}: {result}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_process_that_runs_work_is_listed() {
    let dev = Dev::start(&[]);
    let listed = dev.run(&["node", "list", "-o", "json"]).json();
    let nodes = listed.as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{listed:#}");
    assert_eq!(nodes[0]["alive"], true);
    let name = nodes[0]["name"].as_str().unwrap();
    assert_eq!(dev.run(&["nodes", "ls", "-o", "name"]).out, format!("{name}\n"));
}
