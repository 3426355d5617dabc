//! The `actions` program.

fn main() {}
