//! A PostgreSQL database for each test that asks for one. It belongs to a role that is held back by
//! row-level security, as that of an installation has to be.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use actions_domain::id::EventId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;
use actions_infra::system::{SystemClock, SystemDice};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::OnceCell;

/// A role of this process that owns its databases, and the role's password.
static OWNER: OnceCell<(String, String)> = OnceCell::const_new();

/// Creates an empty database on the tests' server and answers its URL. The server goes away
/// after the tests, or is the developer's to tidy: the names begin with `actions_test_`.
///
/// # Panics
/// When there is no server: a store is never skipped silently.
pub(crate) async fn fresh_database() -> String {
    create_database("template1").await
}

/// Copies a database of the tests' server that nobody is connected to, and answers the copy's
/// URL.
pub(crate) async fn copy_of(url: &str) -> String {
    let original = PgConnectOptions::from_str(url).expect("fresh_database answered this URL");
    create_database(original.get_database().expect("its URL names the database")).await
}

async fn create_database(template: &str) -> String {
    let mut connection = administrator().await;
    let (owner, password) =
        OWNER.get_or_init(|| async { create_login(&mut administrator().await, "").await }).await;
    let name = fresh_name();
    run_text(&mut connection, format!("create database {name} owner {owner} template {template}"))
        .await;
    connection.close().await.expect("the connection closes");
    let owned = server().username(owner).password(password).database(&name);
    owned.to_url_lossy().to_string()
}

/// A connection of the tests' server's administrator, who may create databases and roles.
pub(crate) async fn administrator() -> PgConnection {
    PgConnection::connect_with(&server())
        .await
        .expect("the server of ACTIONS_TEST_POSTGRES answers; ./scripts/test provides one")
}

/// The administrator's URL of a database that is somebody else's.
pub(crate) fn administrators(url: &str) -> String {
    let database = PgConnectOptions::from_str(url).expect("fresh_database answered this URL");
    let database = database.get_database().expect("its URL names the database");
    server().database(database).to_url_lossy().to_string()
}

/// Creates a role that may log in and read for tenants, and answers its name and its password.
pub(crate) async fn create_login(
    administrator: &mut PgConnection,
    attributes: &str,
) -> (String, String) {
    let (name, password) = (fresh_name(), fresh_name());
    // Another test process makes the same role at this moment.
    let text = format!(
        "begin;
         select pg_advisory_xact_lock(hashtext('actions_tenant'));
         do $$ begin
             if to_regrole('actions_tenant') is null then create role actions_tenant nologin; end if;
         end $$;
         create role {name} login password '{password}' {attributes};
         grant actions_tenant to {name};
         commit"
    );
    run_text(administrator, text).await;
    (name, password)
}

/// Runs statements with names in them, which cannot be parameters.
pub(crate) async fn run_text(connection: &mut PgConnection, text: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
}

/// A database's URL with another login.
pub(crate) fn as_login(url: &str, (name, password): &(String, String)) -> String {
    let options = PgConnectOptions::from_str(url).expect("fresh_database answered this URL");
    options.username(name).password(password).to_url_lossy().to_string()
}

fn fresh_name() -> String {
    let id = EventId::mint(SystemClock.now(), SystemDice.bytes()).0.simple();
    format!("actions_test_{id}")
}

#[expect(clippy::disallowed_methods, reason = "the test program has no configuration")]
fn server() -> PgConnectOptions {
    let admin = std::env::var("ACTIONS_TEST_POSTGRES").expect(
        "ACTIONS_TEST_POSTGRES is the admin URL of a PostgreSQL server; run ./scripts/test, which provides one",
    );
    PgConnectOptions::from_str(&admin)
        .expect("ACTIONS_TEST_POSTGRES is a URL like postgres://user:password@host:port/database")
}

/// Ends about so many of a hundred connections to a database, but not the one that does it.
pub(crate) async fn terminate_connections(url: &str, percent: i32) {
    let options = PgConnectOptions::from_str(url).unwrap();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let text = "select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and datname = current_database()
          and usename = session_user and random() * 100 < $1";
    sqlx::query(text).bind(percent).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A PostgreSQL server of one test's own, to be restarted.
pub(crate) struct PrivateServer {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl PrivateServer {
    /// Starts one with a database for one installation. `None`: no server programs are installed.
    pub(crate) async fn start() -> Option<Self> {
        let server = Self::start_bare()?;
        let mut administrator = server.administrator("postgres").await;
        let (owner, _) = create_login(&mut administrator, "").await;
        let text = format!("alter role {owner} rename to actions");
        run_text(&mut administrator, text).await;
        run_text(&mut administrator, "create database actions owner actions".to_owned()).await;
        Some(server)
    }

    /// Starts one that knows nobody but its superuser. `None`: no server programs are installed.
    pub(crate) fn start_bare() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let server = Self { programs, folder, port };
        let data = server.data();
        let initdb = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        run(server.program("initdb").arg("-D").arg(&data).args(initdb));
        server.control(&["start"]);
        Some(server)
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        self.url_of("actions", "actions")
    }

    /// The URL of a database as one of the roles has it. Nobody has a password.
    pub(crate) fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of its superuser.
    pub(crate) async fn administrator(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url_of("postgres", database)).await.unwrap()
    }

    /// Stops it as a crash would, and starts it again.
    pub(crate) fn restart(&self) {
        self.control(&["restart", "-m", "immediate"]);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, verb: &[&str]) {
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c fsync=off
            -c shared_buffers=64MB -c max_connections=200",
            self.port
        );
        let mut command = self.program("pg_ctl");
        command.args(verb).args(["-w", "-s", "-o", &settings, "-D"]).arg(self.data());
        run(command.arg("-l").arg(self.folder.path().join("log")));
    }

    /// PostgreSQL refuses to run as root, so root becomes somebody else.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir("/").stdout(Stdio::null());
        command
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        let stop = stop.args(["stop", "-s", "-m", "immediate", "-D"]).arg(self.data());
        // Nothing can be done about a server that does not stop.
        let _ = stop.status();
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output().unwrap();
    told.stdout == b"0\n"
}

/// Where the newest installed server is. Debian keeps its programs out of PATH.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders.filter(|folder| folder.join("initdb").exists()).max()
}
