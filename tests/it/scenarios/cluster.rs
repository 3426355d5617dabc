//! Several processes over one PostgreSQL, which die, freeze, stop and join under load.

mod api_keys;
mod database;
mod frozen;
mod handover;
mod interrupted;
mod lease;
mod order;
mod quotas;
mod redis;
mod roles;
mod rolling;
mod storm;
