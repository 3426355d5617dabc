//! The HTTP interface, one file for each file of routes, and what all routes have in common.

mod access;
mod actions;
mod api_keys;
mod batches;
mod bulk;
mod connections;
mod controls;
mod dead_letters;
mod definitions;
mod events;
mod executions;
mod handlers;
mod identities;
mod internal;
mod malformed;
mod metrics;
mod nodes;
mod openapi;
mod process;
mod pull;
mod roles;
mod schedules;
mod secrets;
mod subscriptions;
mod tenants;
mod uniqueness;
