//! What Actions thinks: entities, pure decisions, and a trait for every part of the outside world.
//!
//! A tenant tells us an [`event`]. [`matching`] finds the [`action`]s that its [`subscription`]s
//! ask for. Each match becomes an [`execution`]: a [`work`] item in a partition. [`dispatch`]
//! decides what runs next, a [`ports::handler::Handler`] performs one attempt of it, [`retry`]
//! says what a failure leads to, and [`ports::store::Store`] writes all of it down in one commit.
//!
//! Nothing here reads a clock, a random number, a file or a socket.

pub mod account;
pub mod api_key;
pub mod audit;
pub mod authorization;
pub mod guesses;
pub mod id;
pub mod json;
pub mod limits;
pub mod secret;
pub mod settings;
pub mod tenant;
pub mod trace;
pub mod usage;

pub mod action;
pub mod event;
pub mod matching;
pub mod subscription;

pub mod bulk;
pub mod dispatch;
pub mod execution;
pub mod flow;
pub mod gathering;
pub mod placement;
pub mod plan;
pub mod retry;
pub mod schedule;
pub mod terms;
pub mod throttle;
pub mod work;

pub mod ports;

/// An instant, in UTC. Stores keep microseconds, so the clock hands out no finer ones.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
