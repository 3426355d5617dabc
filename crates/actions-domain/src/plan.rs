//! Action plans: steps that say what they need and what they produce, compiled into a workflow.
//! The plan of a rollout is something else.
//!
//! An action declares what it needs, produces and changes as [`metadata::ActionMetadata`], before
//! it runs. [`compile::compile`] finds out from that which step comes after which, whatever order
//! they were written in, and says everything that is wrong at once.

pub mod compile;
pub mod context;
pub mod diagnostic;
pub mod metadata;

#[cfg(test)]
mod tests;
