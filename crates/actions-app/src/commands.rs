//! Everything that changes something. One file per command: request, error, function.

pub(crate) mod disable_action;
pub(crate) mod key;
pub mod submit_event;
