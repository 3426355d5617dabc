//! What the whole system does, seen from outside.

mod restart;
mod retries;
mod running;
