use std::path::Path;
use std::time::Duration;

use actions_app::quotas::ProcessLayers;
use actions_domain::settings::Setting;

use super::tenant_settings::OF_TENANTS;
use super::units::size;
use super::{Config, Database, DatabaseDefault, ENGINE, Environment, Flags, Role, duration};

const TOKEN: &str = "0123456789abcdef";

fn read(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let flags: Flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Config::read(&flags, &Environment::of(variables), DatabaseDefault::Required)
        .map_err(|problems| problems.0)
}

/// A file that goes with the test.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let kept = file("slots = 3\nbeat = \"1s\"\nlisten = \"127.0.0.1:1\"\n# three levels\n");
    let path = kept.path().to_str().unwrap();
    let variables = [("ACTIONS_SLOTS", "4"), ("ACTIONS_BEAT", "3s"), ("DATABASE_URL", "memory:")];
    let config = read(&[("config", path), ("slots", "5")], &variables).unwrap();
    assert_eq!(config.engine.slots, 5);
    assert_eq!(config.engine.beat, Duration::from_secs(3));
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.engine.lease_ttl, Duration::from_secs(6));
    assert_eq!(config.engine.database, Database::Memory);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let kept = file("slotz = 3\nbeat = 1.5\n");
    let variables = [
        ("ACTIONS_CONFIG", kept.path().to_str().unwrap()),
        ("ACTIONS_LISTEN", "7070"),
        ("ACTIONS_DRAIN_TIMEOUT", "30"),
        ("ACTIONS_LISTENN", "127.0.0.1:1"),
        ("ACTIONS_BOOTSTRAP_TOKEN", "short"),
        ("ACTIONS_EGRESS_ALLOW", "10.0.0.0/8,banana"),
        ("ACTIONS_TEST_POSTGRES", "is the test suite's"),
    ];
    let problems = read(&[], &variables).unwrap_err();
    let all = problems.join("\n");
    for part in [
        "ACTIONS_LISTENN is no setting; did you mean ACTIONS_LISTEN?",
        "slotz is no setting; did you mean slots?",
        "beat must be a text",
        "ACTIONS_LISTEN = \"7070\": expected ADDRESS:PORT",
        "ACTIONS_DRAIN_TIMEOUT = \"30\": expected a duration like 500ms",
        "ACTIONS_BOOTSTRAP_TOKEN: expected 16 to 512",
        "banana",
        "DATABASE_URL is needed",
    ] {
        assert!(all.contains(part), "{part:?} is missing in\n{all}");
    }
    assert!(!all.contains("short"), "a secret is never shown");
    assert_eq!(problems.len(), 8, "{all}");
}

#[test]
fn only_a_name_that_is_near_is_suggested() {
    let hint = |name: &str| {
        let variables = [("DATABASE_URL", "memory:"), (name, "x")];
        read(&[], &variables).unwrap_err().join("\n")
    };
    assert!(hint("ACTIONS_BEET").contains("did you mean ACTIONS_BEAT?"));
    for far in ["ACTIONS_FOO", "ACTIONS_TTL", "ACTIONS_REST", "ACTIONS_PORTS"] {
        assert!(!hint(far).contains("did you mean"), "{}", hint(far));
    }
}

#[test]
fn a_secret_comes_from_its_variable_or_its_file_but_not_from_both() {
    let kept = file(&format!("{TOKEN}\n"));
    let path = kept.path().to_str().unwrap();
    let base = ("DATABASE_URL", "sqlite://x.db");
    let config = read(&[], &[base, ("ACTIONS_BOOTSTRAP_TOKEN_FILE", path)]).unwrap();
    assert_eq!(config.bootstrap_token.as_ref().unwrap().expose(), TOKEN);
    assert!(!format!("{config:?}").contains(TOKEN));
    let both = [base, ("ACTIONS_BOOTSTRAP_TOKEN_FILE", path), ("ACTIONS_BOOTSTRAP_TOKEN", TOKEN)];
    assert!(read(&[], &both).unwrap_err()[0].contains("both set"));
}

#[test]
fn a_node_is_not_dead_after_one_missed_beat() {
    let base = ("DATABASE_URL", "memory:");
    let short = [base, ("ACTIONS_BEAT", "5s"), ("ACTIONS_LEASE_TTL", "6s")];
    assert!(read(&[], &short).unwrap_err()[0].contains("twice"));
}

#[test]
fn only_a_cluster_has_processes_with_half_a_role() {
    let shared = ("DATABASE_URL", "postgres://db/app");
    let role = |variables: &[(&str, &str)]| read(&[], variables).map(|config| config.engine.role);
    assert_eq!(role(&[shared]), Ok(Role::All));
    assert_eq!(role(&[shared, ("ACTIONS_ROLE", "api")]), Ok(Role::Api));
    assert_eq!(role(&[shared, ("ACTIONS_ROLE", "worker")]), Ok(Role::Worker));
    let unknown = role(&[shared, ("ACTIONS_ROLE", "boss")]).unwrap_err();
    assert!(unknown[0].contains("all, api or worker"), "{unknown:?}");
    let alone = role(&[("DATABASE_URL", "sqlite://x.db"), ("ACTIONS_ROLE", "api")]).unwrap_err();
    assert!(alone[0].contains("must be all without PostgreSQL"), "{alone:?}");
}

#[test]
fn a_database_is_shown_without_its_password() {
    let shown = |raw| Database::parse(raw).map(|database| format!("{database:?}"));
    assert_eq!(shown("postgres://me:pw@db:5433/app").unwrap(), "postgres://db:5433/app");
    assert_eq!(shown("sqlite://./.actions/actions.db").unwrap(), "sqlite://./.actions/actions.db");
    for bad in ["mysql://x", "app.db", "sqlite://", "sqlite://a.db?mode=ro", ""] {
        assert!(shown(bad).is_err(), "{bad}");
    }
    let path = Path::new("a.db");
    let set = Environment::of(&[("DATABASE_URL", "sqlite://set.db")]);
    let chosen = |flags: &[(&'static str, &str)], environment, default| {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Config::read(&flags, environment, default).unwrap().engine.database.place()
    };
    let (unset, flag) = (Environment::default(), [("database_url", "memory:")]);
    assert_eq!(chosen(&[], &unset, DatabaseDefault::Unset(path)), "sqlite://a.db");
    assert_eq!(chosen(&[], &set, DatabaseDefault::Unset(path)), "sqlite://set.db");
    assert_eq!(chosen(&[], &set, DatabaseDefault::Always(path)), "sqlite://a.db");
    assert_eq!(chosen(&flag, &set, DatabaseDefault::Always(path)), "memory:");
}

#[test]
fn two_servers_on_one_machine_have_different_names() {
    let name = |listen, variables: &[(&str, &str)]| {
        let all = [&[("DATABASE_URL", "memory:"), ("HOSTNAME", "web")], variables].concat();
        read(&[("listen", listen)], &all).unwrap().engine.node_name
    };
    assert_eq!(name("127.0.0.1:7070", &[]), "web-7070");
    assert_eq!(name("127.0.0.1:7071", &[]), "web-7071");
    assert_eq!(name("127.0.0.1:0", &[]), format!("web-{}", std::process::id()));
    assert_eq!(name("127.0.0.1:1", &[("ACTIONS_NODE_NAME", "blue")]), "blue");
    let long = "x".repeat(100);
    assert_eq!(name("127.0.0.1:1", &[("HOSTNAME", &long)]).len(), 82);
}

#[test]
fn what_kubernetes_says_of_a_service_named_like_us_is_no_setting() {
    let base = ("DATABASE_URL", "memory:");
    let injected = [
        base,
        ("ACTIONS_SERVICE_HOST", "10.0.0.1"),
        ("ACTIONS_SERVICE_PORT", "80"),
        ("ACTIONS_SERVICE_PORT_HTTP", "80"),
        ("ACTIONS_PORT", "tcp://10.0.0.1:80"),
        ("ACTIONS_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("ACTIONS_PORT_80_TCP_PROTO", "tcp"),
        ("ACTIONS_PORT_80_TCP_PORT", "80"),
        ("ACTIONS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("ACTIONS_WEB_SERVICE_HOST", "10.0.0.2"),
        ("ACTIONS_WEB_PORT", "udp://10.0.0.2:80"),
    ];
    assert!(read(&[], &injected).is_ok());
    for (name, value) in [("ACTIONS_PORT", "7070"), ("ACTIONS_PORT_HTTP", "80")] {
        let refused = read(&[], &[base, (name, value)]).unwrap_err();
        assert!(refused[0].contains(&format!("{name} is no setting")), "{refused:?}");
    }
}

#[test]
fn numbers_need_their_units() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
    assert_eq!(size("64MB"), Ok(64 << 20));
    for bad in ["", "5", "1.5s"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    assert!(size("64").is_err());
}

#[test]
fn what_holds_for_tenants_knows_its_layer() {
    let kept = file("keep_days = 9\ntenant_weight = 2\ntenant_stored_bytes = \"2MB\"\n");
    let variables = [
        ("ACTIONS_CONFIG", kept.path().to_str().unwrap()),
        ("ACTIONS_TENANT_EVENTS_PER_SECOND", "100"),
        ("ACTIONS_TENANT_WEIGHT", "3"),
        ("DATABASE_URL", "memory:"),
    ];
    let ProcessLayers(layers) = read(&[], &variables).unwrap().engine.tenant_settings;
    let told: Vec<String> = layers
        .iter()
        .map(|(layer, values)| {
            let values = values.iter().map(|(setting, value)| format!(" {setting}={value}"));
            format!("{}:{}", layer.word(), values.collect::<String>())
        })
        .collect();
    assert_eq!(
        told,
        ["file: stored_bytes=2097152 keep_days=9", "environment: weight=3 events_per_second=100"]
    );
    let ProcessLayers(layers) =
        read(&[], &[("DATABASE_URL", "memory:")]).unwrap().engine.tenant_settings;
    assert_eq!(layers.len(), 1, "only how long history stays has a default: {layers:?}");
    assert_eq!(layers[0].1.get(Setting::KeepDays), Some(30));
}

#[test]
fn wrong_numbers_for_tenants_are_told_at_once() {
    let variables = [
        ("ACTIONS_TENANT_EVENTS_PER_SECOND", "0"),
        ("ACTIONS_TENANT_STORED_BYTES", "7"),
        ("ACTIONS_TENANT_WEIGHT", "many"),
        ("ACTIONS_TENANT_WIGHT", "1"),
        ("DATABASE_URL", "memory:"),
    ];
    let all = read(&[], &variables).unwrap_err().join("\n");
    for part in [
        "ACTIONS_TENANT_EVENTS_PER_SECOND = \"0\": expected a whole number from 1 to 50000",
        "ACTIONS_TENANT_STORED_BYTES = \"7\": expected a number with its unit",
        "ACTIONS_TENANT_WEIGHT = \"many\": expected a whole number from 1 to 100",
        "ACTIONS_TENANT_WIGHT is no setting; did you mean ACTIONS_TENANT_WEIGHT?",
    ] {
        assert!(all.contains(part), "{part:?} is missing in\n{all}");
    }
}

#[test]
fn the_process_names_settings_of_tenants_as_everybody_does() {
    for (setting, key) in OF_TENANTS {
        assert_eq!(key, format!("tenant_{setting}"));
        assert!(ENGINE.iter().any(|known| known.key == key), "{key}");
    }
    let listed = ENGINE.iter().filter(|known| known.key.starts_with("tenant_")).count();
    assert_eq!(listed, OF_TENANTS.len());
}
