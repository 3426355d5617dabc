//! The one test program: Actions from outside.

// Tells lints that helpers are tests too.
#![cfg(test)]

mod architecture;
mod postgres;
mod contract;
mod scenarios;
mod seeds;
mod simulation;
mod support;
