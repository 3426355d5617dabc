//! What actions act upon: webhooks, mail, messages and functions.
//!
//! Everything that leaves the process goes through [`egress`]. [`registry::builtin`] makes all
//! handlers; a service adds its own functions to [`functions::Functions`], or its own handlers
//! to the [`registry::Registry`].

mod answer;
mod config;
/// The one gate for every outbound dial.
pub mod egress;
#[cfg(test)]
mod fixture;
/// Functions of the service that links the engine.
pub mod functions;
/// Which handlers there are.
pub mod registry;
mod template;
/// Deliveries over HTTP.
pub mod webhook;

pub use egress::{Egress, EgressError, EgressPolicy};
pub use functions::{Fail, FunctionContext, Functions};
pub use registry::{Registry, builtin};
