//! The one test program: Actions from outside.

// Tells lints that helpers are tests too.
#![cfg(test)]

mod api;
mod architecture;
mod cli;
mod contract;
mod handlers;
mod library;
mod matching;
mod postgres;
mod scenarios;
mod seeds;
mod simulation;
mod support;
