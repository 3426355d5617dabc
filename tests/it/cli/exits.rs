//! Every exit code, caused by what it stands for.

use super::program::{Dev, program, run};
use crate::support::postgres::{administrators, fresh_database};

#[test]
fn every_exit_code_has_its_cause() {
    let dev = Dev::ephemeral();
    let code = |arguments: &[&str]| {
        let said = dev.run(arguments);
        let expects_words = !matches!(said.code, 0 | 1 | 10 | 11);
        assert!(!expects_words || said.err.starts_with("error: "), "{arguments:?}: {said:?}");
        said.code
    };
    assert_eq!(code(&["tenant", "list"]), 0);
    assert_eq!(code(&["explain", "users.created"]), 1, "nothing matches");
    assert_eq!(code(&["emit", "users"]), 2, "no event type");
    assert_eq!(code(&["execution", "show", "01900000-0000-7000-8000-000000000001"]), 5);
    assert_eq!(code(&["emit", "users.created", "-T", "nobody"]), 5);
    assert_eq!(code(&["tenant", "create", "acme"]), 0);
    assert_eq!(code(&["tenant", "create", "acme"]), 6);
    assert_eq!(code(&["tenant", "list", "--url", "http://127.0.0.1:9"]), 8);

    let spec = "actions:
  - { name: record, action_type: audit_log, handler: audit.log, event_patterns: [a.good] }
  - name: fail
    action_type: function_execution
    handler: function.call
    config: { function_name: nowhere }
    event_patterns: [a.bad]
";
    dev.file("actions.yaml", spec);
    assert_eq!(code(&["apply", "-f", "actions.yaml"]), 0);
    assert_eq!(code(&["emit", "a.good", "--wait"]), 0);
    assert_eq!(code(&["emit", "a.bad", "--wait"]), 10, "it ended, but not well");
    assert_eq!(code(&["execute", "fail", "--wait"]), 10);
    assert_eq!(code(&["execute", "record", "--at", "1h", "--wait=1s"]), 11);
}

#[test]
fn wrong_use_is_told_before_anything_happens() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["nonsense"] as &[&str],
        &["emit"],
        &["emit", "a.b", "--count", "0"],
        &["emit", "a.b", "--timeout", "30"],
        &["tenant", "list", "--url", "localhost:7070"],
        &["dlq", "discard", "x"],
        &["bench", "noop", "--store", "postgres"],
        &["dev", "--listen", "0.0.0.0:7070"],
    ] {
        let said = run(folder.path(), &[], arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.starts_with("error: "), "{arguments:?}: {said:?}");
    }
    assert!(!folder.path().join(".actions").exists());
}

#[test]
fn a_server_wants_a_token_and_so_do_its_callers() {
    let folder = tempfile::tempdir().unwrap();
    let database = ("DATABASE_URL", "sqlite://a.db");
    let said = run(folder.path(), &[database], &["serve"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(said.err, @r"
    error: ACTIONS_BOOTSTRAP_TOKEN is needed: nobody could sign in
    hint: make one with: openssl rand -hex 32; or name a provider with ACTIONS_OIDC_ISSUER
    ");
    assert!(!folder.path().join("a.db").exists(), "nothing was touched");

    let token = ("ACTIONS_BOOTSTRAP_TOKEN", "0123456789abcdef");
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = program(folder.path())
        .envs([database, token, ("ACTIONS_LISTEN", &listen.to_string())])
        .arg("serve")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{listen}");
    let ask = |variables: &[(&str, &str)]| {
        run(folder.path(), variables, &["tenant", "list", "-o", "name", "--url", &url])
    };
    let mut known = ask(&[("ACTIONS_TOKEN", token.1)]);
    for _ in 0..400 {
        if known.code != 8 {
            break;
        }
        known = ask(&[("ACTIONS_TOKEN", token.1)]);
    }
    let (unknown, none) = (ask(&[("ACTIONS_TOKEN", "another-token-0123456789")]), ask(&[]));
    let doctor = |token| {
        let variables = [("ACTIONS_TOKEN", token), ("ACTIONS_TENANT", "admin"), database];
        run(folder.path(), &variables, &["doctor", "--url", &url])
    };
    let (well, ill) = (doctor(token.1), doctor("another-token-0123456789"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((known.code, known.out.as_str()), (0, "admin\n"), "{known:?}");
    assert_eq!((unknown.code, none.code), (4, 4));
    assert!(none.err.contains("ACTIONS_TOKEN"), "{none:?}");
    assert!(none.err.contains(&format!("{url}/docs/errors/auth.missing")), "{none:?}");
    assert!(well.out.contains("✓ token  the server takes it"), "{well:?}");
    assert_eq!((well.code, ill.code), (0, 1), "{ill:?}");
    assert!(ill.out.contains("✗ token  The credential is not known"), "{ill:?}");
}

#[test]
fn a_database_that_is_not_there_is_named_with_the_cause_and_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://me:hush@{unused}/app");
    let token = ("ACTIONS_BOOTSTRAP_TOKEN", "0123456789abcdef");
    let variables = [("DATABASE_URL", url.as_str()), token, ("ACTIONS_LISTEN", "127.0.0.1:0")];
    for (arguments, code) in [
        (&["serve"] as &[&str], 8),
        (&["migrate", "up"], 8),
        (&["migrate", "status"], 8),
        (&["doctor", "db"], 1),
    ] {
        let said = run(folder.path(), &variables, arguments);
        let all = format!("{}{}", said.out, said.err);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(all.contains(&format!("postgres://{unused}/app: ")), "{arguments:?}: {all}");
        assert!(all.contains("Connection refused"), "{arguments:?}: {all}");
        assert!(!all.contains("hush"), "{arguments:?}: {all}");
    }
}

#[tokio::test]
async fn no_command_works_as_a_superuser_and_all_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let url = administrators(&fresh_database().await);
    let token = ("ACTIONS_BOOTSTRAP_TOKEN", "0123456789abcdef");
    let variables = [("DATABASE_URL", url.as_str()), token, ("ACTIONS_LISTEN", "127.0.0.1:0")];
    for arguments in [
        &["serve"] as &[&str],
        &["migrate", "up"],
        &["migrate", "status"],
        &["seed"],
        &["doctor", "db"],
    ] {
        let said = run(folder.path(), &variables, arguments);
        let all = format!("{}{}", said.out, said.err);
        assert_eq!(said.code, 1, "{arguments:?}: {said:?}");
        assert!(all.contains("is a superuser"), "{arguments:?}: {all}");
        assert!(all.contains("grant actions_tenant to actions;"), "{arguments:?}: {all}");
    }
}

#[test]
fn everything_wrong_with_the_settings_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("ACTIONS_LISTEN", "7070"),
        ("ACTIONS_SLOTS", "many"),
        ("ACTIONS_LISEN", "127.0.0.1:7070"),
    ];
    let said = run(folder.path(), &variables, &["serve"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(said.err, @r#"
    error: ACTIONS_LISEN is no setting; did you mean ACTIONS_LISTEN?
    DATABASE_URL is needed: postgres://… or sqlite://FILE
    ACTIONS_LISTEN = "7070": expected ADDRESS:PORT, like 127.0.0.1:7070
    ACTIONS_SLOTS = "many": expected a number from 1 to 10000
    "#);
}

#[test]
fn the_doctor_asks_no_database_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ["doctor", "--url", "http://127.0.0.1:1"];
    let all = run(folder.path(), &[], &nobody);
    assert!(!all.out.contains(" db "), "{all:?}");
    let asked = run(folder.path(), &[], &["doctor", "db"]);
    assert!(asked.out.contains("✗ db  no database is named"), "{asked:?}");
    assert!(asked.out.contains("DATABASE_URL"), "{asked:?}");
}

#[test]
fn the_doctor_reads_every_setting_also_without_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &[("ACTIONS_SLOTS", "abc")], &["doctor", "config"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("ACTIONS_SLOTS = \"abc\""), "{said:?}");
    assert_eq!(run(folder.path(), &[], &["doctor", "config"]).code, 0);
}
