//! `actions serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tracing::{info, warn};

use super::error::CliError;
use super::exit::Exit;
use super::logs::{self, Stream};
use super::server::{self, Doors, Turn};
use super::shutdown::Signals;
use super::{Context, EngineFlags};
use crate::config::{Database, EngineConfig};
use crate::tls::Tls;
use crate::{Access, wiring};

/// Run a node: the HTTP interface and the engine
///
/// Settings come from flags, variables and a file; `actions config show` lists them all. It does
/// not start without a token for the first administrator, ACTIONS_BOOTSTRAP_TOKEN or
/// ACTIONS_BOOTSTRAP_TOKEN_FILE, or an identity provider, ACTIONS_OIDC_ISSUER.
///
/// SIGTERM lets what runs end; it exits with 3 when that takes longer than the drain timeout.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    engine: EngineFlags,
}

pub(super) async fn run(cx: &Context, args: Serve) -> Result<Exit, CliError> {
    let config = args.engine.read(cx)?;
    let token = config.bootstrap_token.map(|token| token.expose().to_owned().into());
    let access = match (&config.oidc, token) {
        (Some(oidc), token) => {
            let identities = wiring::identities(oidc, &config.engine)
                .map_err(|error| CliError::failed(server::chain(&error)))?;
            Access::Provider { identities, token }
        }
        (None, Some(token)) => Access::Token(token),
        (None, None) => {
            return Err(CliError::usage("ACTIONS_BOOTSTRAP_TOKEN is needed: nobody could sign in")
                .with_hint("make one with: openssl rand -hex 32; or name a provider with ACTIONS_OIDC_ISSUER"));
        }
    };
    if config.engine.database == Database::Memory {
        return Err(CliError::usage("memory: keeps nothing, so serve does not take it")
            .with_hint("actions dev --ephemeral runs without a store"));
    }
    logs::start(&config.log, Stream::Out)?;
    warn_of_redis(cx);
    tell_of_master_key(cx, &config.engine);
    let signals = Signals::listen()?;
    // Before anything else is touched: a certificate that cannot be used is mended first.
    let tls = config.tls.map(Tls::load).transpose();
    let tls = tls.map_err(|error| CliError::usage(server::chain(&error)))?.map(Arc::new);
    for address in [Some(config.listen), config.admin_listen].into_iter().flatten() {
        warn_of_plain_http(address, tls.is_some());
    }
    let public = server::listen(config.listen).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(server::listen(address).await?),
        None => None,
    };
    let engine = server::engine(&config.engine).await?;
    let address = public.local_addr()?;
    if let Some(admin) = &admin {
        info!(address = %admin.local_addr()?, "operators are answered here, and nowhere else");
    }
    let doors = Doors { public, admin, tls };
    let EngineConfig { database, node_name, .. } = &config.engine;
    let tell = |turn| {
        match turn {
            Turn::Ready => {
                info!(%address, database = %database.place(), node = %node_name, "serving");
            }
            Turn::Draining => info!("draining: a second signal ends at once"),
            Turn::Stopped => info!("stopped"),
        }
        Ok(())
    };
    server::run(engine, &config.engine, config.sites, doors, access, signals, tell).await
}

/// Behind a proxy that speaks TLS this is as it should be, so it is said once and refused never.
fn warn_of_plain_http(listen: SocketAddr, has_tls: bool) {
    if !has_tls && !listen.ip().is_loopback() {
        warn!(
            address = %listen,
            "HTTP WITHOUT TLS on an address that others reach: whoever listens on the way reads \
             tokens and events; set ACTIONS_TLS_CERT and ACTIONS_TLS_KEY, or let only a proxy \
             that speaks TLS reach it"
        );
    }
}

/// Without a key everything works but secrets; a key that everybody can read is none.
fn tell_of_master_key(cx: &Context, config: &EngineConfig) {
    use std::os::unix::fs::PermissionsExt;
    if config.master_keys.is_none() {
        info!("ACTIONS_MASTER_KEY is not set: secrets can neither be stored nor opened");
    }
    let Some(file) = cx.environment.find("ACTIONS_MASTER_KEY_FILE") else { return };
    let mode = std::fs::metadata(file).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        warn!(file, "everybody on this machine can read the master key; chmod 600 it");
    }
}

/// Somebody who sets it expects it to be used.
pub(super) fn warn_of_redis(cx: &Context) {
    if cx.environment.find("REDIS_URL").is_some() {
        warn!("REDIS_URL is not read; the setting is ACTIONS_REDIS_URL");
    }
}
