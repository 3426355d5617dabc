//! What every adapter must do.
use super::stores::Stores;
