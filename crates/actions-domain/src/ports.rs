//! Every part of the outside world that the engine needs, as a trait in domain words.
//!
//! A port has two real adapters, or one and an in-memory one that ships. Transactions never
//! cross a port: what must be atomic is one method.

/// Accounts of people, and their sessions.
pub mod accounts;
/// API keys and what is known of their tokens.
pub mod api_keys;
/// Who did what, written down for good.
pub mod audit;
/// Somebody else who may forbid what a role allows.
pub mod authorizer;
/// Operations on many executions or dead letters.
pub mod bulks;
/// The only source of time.
pub mod clock;
/// Tenants, actions and subscriptions with their versions.
pub mod definitions;
/// Tenants that are being deleted, and the proof that they are.
pub mod deletions;
/// The only source of randomness.
pub mod dice;
/// Events that other programs put into a stream.
pub mod event_stream;
/// What performs an action.
pub mod handler;
/// Wake-ups between processes.
pub mod hints;
/// What happened, for people to read.
pub mod history;
/// Who a token of an identity provider speaks of.
pub mod identities;
/// Which node owns which partition.
pub mod leases;
/// Which actions an event leads to, fast.
pub mod matcher;
/// Hashes of passwords.
pub mod passwords;
/// Limits that hold over all nodes.
pub mod permits;
/// Tasks for workers outside of this program.
pub mod pull_queue;
/// Runs of workflows: what they were told, their timers and their journals.
pub mod runs;
/// What happens at certain times, and how far that is.
pub mod schedules;
/// Whether a value has the shape that a schema asks for.
pub mod schemas;
/// Stored secrets, sealed.
pub mod secrets;
/// Where the engine's work is kept: the one write.
pub mod store;
/// Where spans go.
pub mod traces;
/// What tenants have sent, by day, and what waits.
pub mod usages;
/// Seals secrets and opens them.
pub mod vault;
