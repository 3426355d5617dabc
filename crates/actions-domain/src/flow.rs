//! Workflows: what is to be done in which order, and the decisions that lead a run through it.
//!
//! A [`graph::FlowGraph`] is the only form of a workflow that the engine knows; plans, YAML and
//! jobs that follow one another are turned into one. [`checked::Flow`] is a graph in which nothing
//! is wrong. A run is what its [`journal`] says: [`run::Run::evolve`] is what is so after an entry,
//! [`decide::decide`] is what follows from an input.
//!
//! Runs are kept by stores as a [`record`], a journal and what they were [`told`] and have not taken yet.
//!
//! Steps are performed elsewhere, as ordinary executions. Expressions and templates are evaluated
//! by whoever calls, behind [`expression::Expressions`]. Nothing here reads a clock or rolls dice.

pub mod checked;
pub mod cycle;
pub mod decide;
pub mod digest;
pub mod expression;
pub mod fault;
pub mod graph;
pub mod jobs;
pub mod journal;
pub mod orchestration;
pub mod problem;
pub mod record;
pub mod run;
pub mod told;
pub mod written;

#[cfg(test)]
mod tests;
