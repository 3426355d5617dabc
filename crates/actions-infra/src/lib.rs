//! Where Actions keeps its state: PostgreSQL, SQLite or memory. Redis makes
//! some things quicker and keeps nothing that matters.

pub mod matching;
pub mod memory;
pub mod oidc;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod passwords;
pub mod policy;
pub mod postgres;
pub mod redis;
pub mod schemas;
mod sealed;
pub mod sqlite;
pub mod system;
mod unreadable;
pub mod vault;
