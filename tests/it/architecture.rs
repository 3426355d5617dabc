//! The rules of the house that a machine can check: who may depend on whom, which files belong
//! together, and which texts must agree.
//!
//! A check compares what it finds with what is allowed. Where old code breaks a rule, it is
//! named in a list of offenders; such a list may only become shorter, and a name in it that
//! offends no longer is a failure too.

mod documents;
mod layers;
mod migrations;
mod pairs;
mod sources;
mod supply_chain;
mod tree;
