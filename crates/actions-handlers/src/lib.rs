//! What actions act upon: webhooks, mail, messages and functions.
//!
//! Everything that leaves the process goes through [`egress`].

mod answer;
mod config;
/// The one gate for every outbound dial.
pub mod egress;
mod template;
/// Deliveries over HTTP.
pub mod webhook;
