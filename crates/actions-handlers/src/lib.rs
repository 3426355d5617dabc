//! What actions act upon: webhooks, mail, messages and functions.
//!
//! Everything that leaves the process goes through [`egress`]. [`registry::builtin`] makes all
//! handlers; a service adds its own functions to [`functions::Functions`], or its own handlers
//! to the [`registry::Registry`].

mod answer;
mod config;
/// The one gate for every outbound dial.
pub mod egress;
/// Mail.
pub mod email;
#[cfg(test)]
mod fixture;
/// Functions of the service that links the engine.
pub mod functions;
/// Calls of HTTP APIs.
pub mod http_call;
/// Alerts and health checks.
pub mod monitoring;
/// Handlers whose effect is their record.
pub mod records;
/// Which handlers there are.
pub mod registry;
/// Messages to Slack.
pub mod slack;
/// Text messages.
pub mod sms;
/// Messages to Microsoft Teams.
pub mod teams;
mod template;
/// Deliveries over HTTP.
pub mod webhook;
/// Tasks for workers in other languages.
pub mod worker;

pub use egress::{Egress, EgressError, EgressPolicy};
pub use functions::{Fail, FunctionContext, Functions};
pub use registry::{Registry, builtin};
