//! What Actions does: commands that change something, queries that answer something, and the
//! loops of a node.
//!
//! A service links this crate with the adapters that it needs. Nothing here knows which store,
//! clock or handler it is given.

pub mod api_key_ring;
pub mod app;
pub mod catalogue;
pub mod commands;
pub mod completions;
pub mod config_secrets;
pub mod durations;
pub mod filter;
pub mod guess_counter;
pub mod handlers;
pub mod hints;
pub mod ingress;
pub mod node;
mod patience;
pub mod queries;
pub mod questions;
pub mod quotas;
pub mod secret_ring;
pub mod secrets;
pub mod stream_reader;
pub mod timetable;
mod workflow_handler;
pub mod workflows;
