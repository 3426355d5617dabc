//! The one test program: Actions from outside.

// Tells lints that helpers are tests too.
#![cfg(test)]

mod architecture;
mod contract;
mod postgres;
mod scenarios;
mod seeds;
mod support;
