//! `actions dev`: everything in one process, for this machine only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use actions_app::app::App;
use actions_app::commands::create_tenant::{CreateTenant, CreateTenantError, create_tenant};
use actions_domain::id::TenantId;
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::tenant::TenantSlug;
use clap::Args;

use super::error::CliError;
use super::exit::Exit;
use super::logs::{self, Stream};
use super::server::{Doors, Turn};
use super::shutdown::Signals;
use super::{Context, DEFAULT_TENANT, EngineFlags, seed, serve, server};
use crate::config::{Config, Database, DatabaseDefault, Resolved};

mod demo;
mod key_file;
mod narrator;
mod teller;

use demo::Demo;
use teller::Teller;

/// Run everything in one process for development, on this machine only
///
/// No token is needed, because only this machine is listened to. Data is kept in ./.actions and
/// is there again at the next start, also after a crash; DATABASE_URL is not used. Calls may reach
/// this machine itself.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Create two tenants with actions, send them events, and receive what they send
    #[arg(long)]
    demo: bool,
    /// Where data is kept
    #[arg(long, value_name = "FOLDER", default_value = "./.actions")]
    data: PathBuf,
    /// Keep nothing
    #[arg(long, conflicts_with_all = ["data", "database_url"])]
    ephemeral: bool,
    #[command(flatten)]
    engine: EngineFlags,
}

/// What calls may reach in development: this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

pub(super) async fn run(cx: &Context, args: Dev) -> Result<Exit, CliError> {
    let mut config = config(cx, &args)?;
    logs::start(&config.log, Stream::Err)?;
    serve::warn_of_redis(cx);
    let signals = Signals::listen()?;
    let listener = server::listen(config.listen).await?;
    let address = listener.local_addr()?;
    // Not before: a start that is refused leaves nothing behind.
    let secrets = master_key(cx, &mut config, &args.data)?;
    let engine = server::engine(&config.engine).await?;
    let app = engine.app.clone();
    let platform = seed::platform()?;
    seed::write(&app, &platform).await?;
    ensure_tenant(&app, DEFAULT_TENANT, "Default").await?;
    let mut demo = if args.demo { Some(demo::prepare(&app, address).await?) } else { None };

    let teller = Teller::start(cx.output.clone(), app.ports.clock.clone());
    let database = &config.engine.database;
    let tell = |turn| {
        match turn {
            Turn::Ready => {
                cx.output.print(&banner(address, database, secrets.as_deref(), demo.as_ref()))?;
                narrator::start(app.clone(), teller.clone());
                if let Some(demo) = demo.take() {
                    demo.start(app.clone(), teller.clone());
                }
            }
            Turn::Draining => {
                teller.flush();
                cx.output.note("draining: what runs may end; Ctrl-C again ends it at once");
            }
            Turn::Stopped => {
                teller.flush();
                cx.output.note(&match database {
                    Database::Memory => "stopped; nothing was kept".to_owned(),
                    kept @ (Database::Sqlite(_) | Database::Postgres(_)) => {
                        format!("stopped; {} has everything", kept.place())
                    }
                });
            }
        }
        Ok(())
    };
    let access = crate::Access::LocalDev;
    server::run(engine, &config.engine, config.sites, Doors::one(listener), access, signals, tell)
        .await
}

fn config(cx: &Context, args: &Dev) -> Result<Config, CliError> {
    let mut flags = args.engine.0.clone();
    if args.ephemeral {
        flags.insert("database_url", "memory:".to_owned());
    }
    // Every log line would tell what the narrator tells.
    if !flags.contains_key("log") && cx.environment.find("ACTIONS_LOG").is_none() {
        flags.insert("log", "warn".to_owned());
    }
    // Whoever has the variable of a production database in the shell does not mean it here.
    let file = args.data.join("actions.db");
    let config = Config::read(&flags, &cx.environment, DatabaseDefault::Always(&file));
    let mut config = config.map_err(|problems| CliError::usage(problems.to_string()))?;
    let (resolved, _) = Resolved::collect(&flags, &cx.environment);
    if let Some(named) =
        resolved.find("database_url").filter(|_| !flags.contains_key("database_url"))
    {
        cx.output.note(&format!(
            "{} is ignored: dev keeps its data in {}; --database-url names another place",
            named.origin,
            file.display()
        ));
    }
    if !config.listen.ip().is_loopback() {
        return Err(CliError::usage(format!(
            "dev needs no token, so it listens on loopback only, not on {}",
            config.listen
        ))
        .with_hint("actions serve listens anywhere"));
    }
    config.engine.egress_allow.extend(LOOPBACK.map(str::to_owned));
    Ok(config)
}

/// Gives stored secrets a key that is kept beside the data, unless there is one already. Answers
/// where it is.
fn master_key(cx: &Context, config: &mut Config, data: &Path) -> Result<Option<String>, CliError> {
    if config.engine.master_keys.is_some() {
        return Ok(None);
    }
    let file = match &config.engine.database {
        Database::Sqlite(path) => PathBuf::from(format!("{}.key", path.display())),
        Database::Postgres(_) => data.join("master.key"),
        Database::Memory => {
            config.engine.master_keys = Some(crate::wiring::new_master_key());
            return Ok(None);
        }
    };
    let (key, is_new) = key_file::read_or_make(&file)?;
    config.engine.master_keys = Some(key);
    let file = file.display().to_string();
    if is_new {
        cx.output.note(&format!(
            "a master key for stored secrets was made: {file}\n\
             without this file they are lost; who has it and the data can read them, so keep it out of version control"
        ));
    }
    Ok(Some(file))
}

fn banner(
    address: SocketAddr,
    database: &Database,
    secrets: Option<&str>,
    demo: Option<&Demo>,
) -> String {
    let mut lines = vec![
        format!("actions {}", env!("CARGO_PKG_VERSION")),
        format!("  API      http://{address}"),
        format!("  data     {}", database.place()),
    ];
    if let Some(file) = secrets {
        lines.push(format!("  secrets  {file} is their key"));
    }
    let tenants = if demo.is_some() { "default, acme, globex" } else { "default" };
    lines.push(format!("  tenants  {tenants}"));
    if let Some(demo) = demo {
        let (receiver, sink) = demo.addresses();
        lines.push(format!("  webhooks http://{receiver} takes what the demo's actions send"));
        lines.push(format!("  mail     smtp://{sink} swallows it"));
    }
    let tenant = if demo.is_some() { " -T acme" } else { "" };
    lines.push(format!(
        "  try      actions emit users.created email=user@example.com tier=premium --wait{tenant}"
    ));
    lines.push("  stop     Ctrl-C".to_owned());
    lines.push(String::new());
    lines.join("\n")
}

/// Creates a tenant that is missing.
async fn ensure_tenant(app: &App, slug: &str, name: &str) -> Result<TenantId, CliError> {
    if let Some(known) = app.catalogue.find_named(slug) {
        return Ok(known.tenant.id);
    }
    let slug = TenantSlug::parse(slug).map_err(|error| CliError::failed(error.to_string()))?;
    let request = CreateTenant { slug: slug.clone(), name: Some(name.to_owned()) };
    match create_tenant(app, &seed::operator(app, TenantId::ADMIN), request).await {
        Ok(tenant) => Ok(tenant.id),
        Err(CreateTenantError::Definitions(DefinitionsError::Exists { .. })) => {
            app.catalogue
                .refresh_all()
                .await
                .map_err(|error| CliError::failed(server::chain(&error)))?;
            let known = app.catalogue.find_named(slug.as_str());
            known
                .map(|known| known.tenant.id)
                .ok_or_else(|| CliError::failed(format!("the tenant {slug} cannot be read")))
        }
        Err(error) => Err(CliError::failed(server::chain(&error))),
    }
}
