//! The command line as people and scripts use it: the real program, as its own process.

mod accounts;
mod answers;
mod api_keys;
mod audit;
mod bulk;
mod definitions;
mod exits;
mod help;
mod life;
mod program;
mod secrets;
mod tenants;
mod tls;
mod traces;
mod workflows;
