//! Which actions an event leads to, and why.
//!
//! This module holds the language: [`pattern`]s for types, [`condition`]s on data, the [`way`]s
//! that both make up, and the [`explanation`] that all of them give. The index that makes a
//! hundred thousand subscriptions cheap is an adapter of [`crate::ports::matcher::Matcher`].

pub mod condition;
pub mod explanation;
pub mod pattern;
pub mod way;
