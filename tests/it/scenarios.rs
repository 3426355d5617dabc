//! What the whole system does, seen from outside.

mod bulks;
mod cluster;
mod deletion;
mod flushes;
mod full_disk;
mod hints;
mod intake;
mod long_work;
mod node_loss;
mod outage;
mod probes;
mod redis;
mod remote_worker;
mod restart;
mod retries;
mod running;
mod schedules;
mod secrets;
mod stream;
mod workflow_kills;
mod workflows;
