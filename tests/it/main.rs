//! The one test program: Actions from outside.

// Tells lints that helpers are tests too.
#![cfg(test)]
#![expect(unreachable_pub, reason = "a test program has no outside to be reached from")]

mod api;
mod architecture;
mod cli;
mod contract;
mod fuzz;
mod handlers;
mod library;
mod matching;
mod postgres;
mod scenarios;
mod seeds;
mod simulation;
mod support;
