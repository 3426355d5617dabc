//! Everything that changes something. One file per command: request, error, function.

pub mod apply_definitions;
pub mod cancel_execution;
pub mod change_api_key;
pub mod change_bulk;
pub mod check_action_health;
pub mod check_definition;
pub mod claim_tasks;
pub mod control_tenant;
pub mod create_api_key;
pub mod create_tenant;
pub mod delete_action;
pub(crate) mod disable_action;
pub mod discard_dead_letters;
pub mod execute_action;
pub mod fire_schedule;
pub(crate) mod key;
pub mod put_secret;
pub mod requeue_dead_letters;
pub mod rewrap_secrets;
pub mod save_action;
pub mod save_schedule;
pub mod save_subscription;
pub mod seed;
pub mod start_bulk;
pub mod submit_event;
pub mod tell_of_task;
