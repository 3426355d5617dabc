//! What the whole system does, seen from outside.

mod flushes;
mod full_disk;
mod intake;
mod node_loss;
mod outage;
mod restart;
mod retries;
mod running;
mod schedules;
