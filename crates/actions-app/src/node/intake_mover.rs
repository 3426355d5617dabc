//! Moves events that users' own transactions left in the intake to the ordinary way in.

use std::sync::Arc;

use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::ports::store::{IntakeRow, StoreError};
use actions_domain::work::{Fence, Ingest, Part, Submission, Submitted};
use serde::Deserialize;
use tracing::warn;

use crate::app::App;
use crate::commands::submit_event::{dedupe_of, works_of};
use crate::ingress::IngressError;

/// Rows of one commit.
const ROWS_MAX: u32 = 500;

/// What a row holds.
#[derive(Debug, Deserialize)]
struct Body {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
    data: Json,
    #[serde(default)]
    attributes: Attributes,
}

/// Moves what is there, oldest first, and stops when nothing is left or somebody else owns the
/// intake now.
pub(crate) async fn run_once(app: &App) -> Result<(), StoreError> {
    loop {
        let Some(fence) = app.live.fences().into_iter().find(|fence| fence.part == Part(0)) else {
            return Ok(());
        };
        let rows = app.ports.store.intake(ROWS_MAX).await?;
        if rows.is_empty() || !move_rows(app, fence, &rows).await? {
            return Ok(());
        }
    }
}

/// Answers whether the rows were moved. Rows that were not are found again.
async fn move_rows(app: &App, fence: Fence, rows: &[IntakeRow]) -> Result<bool, StoreError> {
    let submissions: Vec<Submission> = rows.iter().filter_map(|row| submission(app, row)).collect();
    let ids = rows.iter().map(|row| row.id).collect();
    match app.ingress.move_intake(fence, ids, submissions).await {
        Ok(submitted) => {
            let mut moved = true;
            for outcome in submitted {
                if let Submitted::Stale { .. } = outcome {
                    moved = false;
                }
            }
            if !moved {
                app.catalogue.refresh_all().await?;
            }
            Ok(moved)
        }
        Err(
            error @ (IngressError::Refused { .. } | IngressError::Unavailable | IngressError::Full),
        ) => {
            warn!(%error, "the intake waits");
            Ok(false)
        }
    }
}

/// A row as a submission. One that cannot be read is left out, so that it is removed: the public
/// functions write only what can be read, and one bad row must not hold up the others.
fn submission(app: &App, row: &IntakeRow) -> Option<Submission> {
    let body: Body = match row.body.to() {
        Ok(body) => body,
        Err(error) => {
            warn!(row = row.id, %error, "an intake row is unreadable and dropped");
            return None;
        }
    };
    let definitions = app.catalogue.find(row.tenant)?;
    let event = Event {
        id: body.id,
        tenant: row.tenant,
        event_type: body.event_type,
        source: body.source.unwrap_or_else(|| "intake".to_owned()),
        external_id: body.external_id,
        accepted_at: app.ports.clock.now(),
        data: body.data,
        attributes: body.attributes,
    };
    let matched = definitions.matches(&event);
    let works = works_of(app, &event, &matched, None);
    let dedupe = dedupe_of(&event, None, 0);
    let ingest = Ingest { event: Some(Arc::new(event)), dedupe, works, requeue_of: None };
    Some(Submission { tenant: row.tenant, defs: Some(matched.defs), ingests: vec![ingest] })
}
