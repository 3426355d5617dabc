//! Where Actions keeps its state: PostgreSQL, SQLite, Redis and memory.

pub mod matching;
pub mod memory;
pub mod postgres;
pub mod schemas;
pub mod sqlite;
pub mod system;
mod unreadable;
