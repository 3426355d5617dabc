//! Where Actions keeps its state: PostgreSQL, SQLite or memory. Redis has no adapter yet.

pub mod matching;
pub mod memory;
pub mod postgres;
pub mod schemas;
pub mod sqlite;
pub mod system;
mod unreadable;
