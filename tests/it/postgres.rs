//! What only PostgreSQL can show: locks between connections, schemas of views, roles,
//! partitions. What every store must do is in the contracts.

mod bulks;
mod connections;
mod fixture;
mod flush;
mod housekeeping;
mod intake;
mod locks;
mod opening;
mod row_security;
mod takeover;
mod views;
