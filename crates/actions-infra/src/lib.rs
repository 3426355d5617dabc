//! Where Actions keeps its state: PostgreSQL, SQLite, Redis and memory.

pub mod memory;
pub mod sqlite;
pub mod system;
