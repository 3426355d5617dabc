//! How Actions is used: HTTP, the command line and the library.

mod body;
mod caller;
mod event_body;
mod extract;
mod members;
mod openapi;
mod page;
pub mod problem;
mod request;
mod routes;
mod time;

pub use caller::Access;
pub use routes::{Serving, openapi_json, router};
