//! What each setting may say, and the words for what it may not.

use std::net::SocketAddr;

use actions_domain::limits::CONCURRENCY_MAX;

use super::units::size;
use super::{Durability, LogFormat, PullQueue, RateLedger, Role, Secret, pairs};
use crate::sites::Sites;

/// Less memory for waiting items would make a node read the same rows over and over.
const WINDOW_BYTES_MIN: usize = 1 << 20;
/// An empty database takes a part of this.
const SQLITE_SIZE_MIN: u64 = 1 << 20;
/// Shortest and longest of the token that lets an administrator in.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

pub(super) fn listen(raw: &str) -> Result<SocketAddr, String> {
    raw.parse().map_err(|_| "expected ADDRESS:PORT, like 127.0.0.1:7070".to_owned())
}

pub(super) fn redis_url(raw: &str) -> Result<Secret, String> {
    crate::wiring::check_redis_url(raw)?;
    Ok(Secret::new(raw.to_owned()))
}

pub(super) fn master_keys(raw: &str) -> Result<Secret, String> {
    crate::wiring::check_master_keys(raw)?;
    Ok(Secret::new(raw.to_owned()))
}

pub(super) fn http_url(raw: &str) -> Result<String, String> {
    match url::Url::parse(raw) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(raw.to_owned()),
        _ => Err("expected an http or https URL, like http://127.0.0.1:4318".to_owned()),
    }
}

/// What a provider says of itself is known to be its own over TLS alone; on this machine it may be
/// without, for trials.
pub(super) fn issuer(raw: &str) -> Result<String, String> {
    let expected = "expected an https URL without a query, as the provider's tokens say it in iss";
    let url = url::Url::parse(raw).map_err(|_| expected.to_owned())?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_here;
    if is_safe && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() {
        return Ok(raw.to_owned());
    }
    Err(expected.to_owned())
}

pub(super) fn algorithms(raw: &str) -> Result<Vec<String>, String> {
    let names = raw.split([',', ' ']).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        return Err("expected at least one algorithm, like RS256".to_owned());
    }
    names.iter().try_for_each(|name| crate::wiring::check_token_algorithm(name))?;
    Ok(names)
}

pub(super) fn word(raw: &str) -> Result<String, String> {
    if (1..=255).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(raw.to_owned());
    }
    Err("expected 1 to 255 printable characters without spaces".to_owned())
}

pub(super) fn otlp_headers(raw: &str) -> Result<Secret, String> {
    if pairs(raw).all(|pair| pair.is_some_and(|(name, _)| !name.is_empty())) {
        return Ok(Secret::new(raw.to_owned()));
    }
    Err("expected name=value pairs joined by commas".to_owned())
}

/// A share, in millionths.
pub(super) fn ratio(raw: &str) -> Result<u32, String> {
    match raw.trim().parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * 1e6).round() as u32),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

pub(super) fn rate_ledger(raw: &str) -> Result<RateLedger, String> {
    match raw {
        "database" => Ok(RateLedger::Database),
        "redis" => Ok(RateLedger::Redis),
        _ => Err("expected database or redis".to_owned()),
    }
}

pub(super) fn pull_queue(raw: &str) -> Result<PullQueue, String> {
    match raw {
        "database" => Ok(PullQueue::Database),
        "redis" => Ok(PullQueue::Redis),
        _ => Err("expected database or redis".to_owned()),
    }
}

pub(super) fn durability(raw: &str) -> Result<Durability, String> {
    match raw {
        "full" => Ok(Durability::Full),
        "normal" => Ok(Durability::Normal),
        _ => Err("expected full or normal".to_owned()),
    }
}

pub(super) fn role(raw: &str) -> Result<Role, String> {
    let all = [Role::All, Role::Api, Role::Worker];
    let named = all.into_iter().find(|role| role.word() == raw);
    named.ok_or_else(|| "expected all, api or worker".to_owned())
}

pub(super) fn sqlite_size(raw: &str) -> Result<u64, String> {
    match size(raw)? as u64 {
        bytes if bytes >= SQLITE_SIZE_MIN => Ok(bytes),
        _ => Err("the least is 1MB".to_owned()),
    }
}

/// 0: for ever.
pub(super) fn keep_days(raw: &str) -> Result<Option<u16>, String> {
    match raw.trim().parse::<u16>() {
        Ok(0) => Ok(None),
        Ok(days) if days >= 2 => Ok(Some(days)),
        _ => Err("expected a number of days from 2 to 65535, or 0 to keep everything".to_owned()),
    }
}

pub(super) fn slots(raw: &str) -> Result<usize, String> {
    match raw.parse::<u32>() {
        Ok(slots) if (1..=CONCURRENCY_MAX).contains(&slots) => Ok(slots as usize),
        _ => Err(format!("expected a number from 1 to {CONCURRENCY_MAX}")),
    }
}

pub(super) fn window(raw: &str) -> Result<usize, String> {
    match size(raw)? {
        bytes if bytes >= WINDOW_BYTES_MIN => Ok(bytes),
        _ => Err("the least is 1MB".to_owned()),
    }
}

pub(super) fn token(raw: &str) -> Result<Secret, String> {
    if TOKEN_BYTES.contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Secret::new(raw.to_owned()));
    }
    Err(format!(
        "expected {} to {} printable characters, like the output of: openssl rand -hex 32",
        TOKEN_BYTES.start(),
        TOKEN_BYTES.end()
    ))
}

pub(super) fn log_filter(raw: &str) -> Result<String, String> {
    raw.parse::<tracing_subscriber::filter::Targets>()
        .map(|_| raw.to_owned())
        .map_err(|_| "expected a level, or target=level pairs joined by commas".to_owned())
}

pub(super) fn log_format(raw: &str) -> Result<LogFormat, String> {
    match raw {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected pretty or json".to_owned()),
    }
}

pub(super) fn hosts(raw: &str) -> Result<Vec<String>, String> {
    let hosts = list(raw);
    Sites::new(&hosts, &[]).map(|_| hosts)
}

pub(super) fn origins(raw: &str) -> Result<Vec<String>, String> {
    let origins = list(raw);
    Sites::new(&[], &origins).map(|_| origins)
}

fn list(raw: &str) -> Vec<String> {
    raw.split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

pub(super) fn networks(raw: &str) -> Result<Vec<String>, String> {
    let networks = list(raw);
    networks.iter().try_for_each(|network| crate::wiring::check_network(network))?;
    Ok(networks)
}

pub(super) fn node_name(raw: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=100).contains(&raw.len()) && raw.bytes().all(is_allowed) {
        Ok(raw.to_owned())
    } else {
        Err("expected 1 to 100 letters, digits, '-', '_' or '.'".to_owned())
    }
}
