//! What the whole system does, seen from outside.

mod node_loss;
mod restart;
mod retries;
mod running;
