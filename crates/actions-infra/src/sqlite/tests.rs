//! The SQLite adapter alone: what the contract cannot reach.
