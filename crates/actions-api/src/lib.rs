//! How Actions is used: HTTP, the command line and the library.

mod body;
mod caller;
#[doc(hidden)]
pub mod cli;
mod config;
#[doc(hidden)]
pub mod connections;
mod cookie;
mod definition_file;
mod event_body;
mod extract;
pub mod library;
mod members;
mod openapi;
mod page;
mod plain;
pub mod problem;
mod proxies;
mod request;
mod routes;
mod sites;
mod time;
mod tls;
mod wiring;
mod workflow_file;

pub use caller::Access;
#[doc(hidden)]
pub use definition_file::check_definition_file;
#[doc(hidden)]
pub use event_body::stream_event;
pub use library::{Actions, Cx, Event, Fail};
pub use proxies::TrustedProxies;
pub use routes::{Serving, openapi_json, recorder, router};
pub use sites::Sites;
pub use workflow_file::{WorkflowMistake, read_workflow};
