//! What actions act upon: webhooks, mail, messages and functions.

pub mod egress;
