//! The one test program: Actions from outside.

// Tells lints that helpers are tests too.
#![cfg(test)]

mod architecture;
mod scenarios;
mod seeds;
mod support;
