//! How Actions is used: HTTP, the command line and the library.

#[doc(hidden)]
pub mod cli;
mod config;
mod definition_file;
pub mod library;
mod wiring;

pub use library::{Actions, Cx, Event, Fail};
// STUB-BEGIN
pub enum Access {
    Token(String),
    LocalDev,
}
pub fn router(_app: actions_app::app::App, _access: Access) -> axum::Router {
    axum::Router::new()
}
// STUB-END
