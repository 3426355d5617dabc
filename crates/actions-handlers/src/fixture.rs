//! A call to test handlers with.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use actions_domain::execution::report::Reporter;
use actions_domain::id::{ExecutionId, NodeId, TenantId};
use actions_domain::ports::handler::{Call, TenantRef};

/// The first attempt of a job.
pub(crate) fn call(config: Value, input: Value) -> Call {
    Call {
        execution: ExecutionId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        parent: None,
        attempt: 1,
        tenant: TenantRef {
            id: TenantId(2),
            uuid: Uuid::from_u128(7),
            slug: "acme".to_owned(),
            schema: "tenant_acme".to_owned(),
        },
        action: "test".to_owned(),
        config: config.into(),
        input,
        gathered: None,
        event: None,
        node: NodeId(1),
        queued_at: "2026-11-21T07:27:59Z".parse().expect("a time"),
        started_at: "2026-11-21T07:28:00Z".parse().expect("a time"),
        timeout: Duration::from_secs(30),
        checkpoint: None,
        reporter: Reporter::default(),
    }
}
