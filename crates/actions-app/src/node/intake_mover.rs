//! Moves events that users' own transactions left in the intake to the ordinary way in.
//!
//! A row is removed only together with the submission that was made from it. One that can never
//! be accepted is set aside with the reason, where people find it, and stops nobody.

use std::sync::Arc;

use actions_domain::event::{Attributes, Event, EventType};
use actions_domain::id::EventId;
use actions_domain::json::Json;
use actions_domain::ports::store::{IntakeRow, StoreError};
use actions_domain::trace::MatchedAt;
use actions_domain::work::{Fence, Ingest, Ingested, IntakeRefusal, Part, Submission, Submitted};
use metrics::counter;
use serde::Deserialize;
use tracing::warn;

use super::NodeConfig;
use super::writer::Lost;
use crate::app::App;
use crate::commands::submit_event::{
    NewEvent, SubmitEventsError, begin_trace, check, check_fan_out, dedupe_of, trace, works_of,
};
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

/// A loop of its own: a steady producer must not keep others waiting.
pub(crate) struct IntakeMover {
    pub(crate) app: App,
    pub(crate) config: NodeConfig,
}

impl IntakeMover {
    pub(crate) async fn run(self) -> Lost {
        let mut is_away = false;
        loop {
            let outcome = self.turn().await;
            // One line per change of state, not one per turn.
            if let Err(error) = &outcome
                && !is_away
            {
                warn!(%error, "the intake waits");
            }
            is_away = outcome.is_err();
            if !matches!(outcome, Ok(1..)) {
                self.app.ports.clock.sleep(self.config.poll).await;
            }
        }
    }

    /// Moves what is there, up to one batch, when this node owns the first partition. Answers how
    /// many rows have gone.
    async fn turn(&self) -> Result<usize, StoreError> {
        let app = &self.app;
        let Some(fence) = app.live.fences().into_iter().find(|fence| fence.part == Part(0)) else {
            return Ok(0);
        };
        let rows = app.ports.store.intake(ROWS_MAX).await?;
        if rows.iter().any(|row| app.catalogue.find(row.tenant).is_none()) {
            app.catalogue.refresh_all().await?;
        }
        move_rows(app, fence, &rows).await
    }
}

/// Answers how many rows have gone. Those that have not are found again.
async fn move_rows(app: &App, fence: Fence, rows: &[IntakeRow]) -> Result<usize, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let (mut submissions, mut matches, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match submission(app, row) {
            Ok((submission, matched)) => {
                submissions.push(submission);
                matches.push(matched);
            }
            Err(reason) => refusals.push(IntakeRefusal { row: row.id, reason }),
        }
    }
    let refused = refusals.len();
    match app.ingress.move_intake(fence, submissions, refusals.clone()).await {
        Ok(submitted) => {
            tell(&refusals);
            let mut moved = refused;
            for (matched, outcome) in matches.into_iter().zip(submitted) {
                match outcome {
                    Submitted::Stale { defs } => {
                        match app.catalogue.refresh(matched.event.tenant, defs).await {
                            // Its rows wait for a newer program, and nobody else's do.
                            Ok(()) | Err(StoreError::Newer { .. }) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Submitted::Accepted(ingested) => {
                        moved += 1;
                        if matches!(ingested.as_slice(), [Ingested::Stored]) {
                            // It was stored with its transaction, so nobody may refuse it.
                            app.quotas.charge_events(matched.event.tenant, 1);
                            let stored = std::iter::once((&*matched.event, matched.at));
                            trace(app, &matched.tenant, stored);
                        }
                    }
                    Submitted::Mismatch => moved += 1,
                }
            }
            Ok(moved)
        }
        // One row is bad: it is searched for by halves.
        Err(IngressError::Refused { reason }) => match rows {
            [row] => set_aside(app, fence, row, reason).await,
            _ => {
                let (first, second) = rows.split_at(rows.len() / 2);
                let moved = Box::pin(move_rows(app, fence, first)).await?;
                Ok(moved + Box::pin(move_rows(app, fence, second)).await?)
            }
        },
        Err(IngressError::Unavailable | IngressError::Unknown | IngressError::Full) => Ok(0),
    }
}

async fn set_aside(
    app: &App,
    fence: Fence,
    row: &IntakeRow,
    reason: String,
) -> Result<usize, StoreError> {
    let refusals = vec![IntakeRefusal { row: row.id, reason }];
    match app.ingress.move_intake(fence, Vec::new(), refusals.clone()).await {
        Ok(_) => {
            tell(&refusals);
            Ok(1)
        }
        Err(error) => {
            warn!(row = row.id, %error, "a bad row of the intake cannot be set aside");
            Ok(0)
        }
    }
}

fn tell(refusals: &[IntakeRefusal]) {
    for IntakeRefusal { row, reason } in refusals {
        counter!("actions_intake_refused_total").increment(1);
        warn!(row, reason, "an event of a transaction cannot be accepted and is set aside");
    }
}

/// What a trace tells of a row, once that is stored.
struct MatchedRow {
    event: Arc<Event>,
    /// The tenant's slug.
    tenant: String,
    at: MatchedAt,
}

/// A row as a submission, or why it can never be one.
fn submission(app: &App, row: &IntakeRow) -> Result<(Submission, MatchedRow), String> {
    let body: Body = row.body.to().map_err(|error| format!("it is unreadable: {error}"))?;
    let known = app.catalogue.find(row.tenant);
    let definitions = known.ok_or_else(|| format!("there is no tenant {}", row.tenant))?;
    let new = NewEvent {
        event_type: body.event_type,
        source: body.source,
        external_id: body.external_id,
        data: body.data,
        // Only the engine speaks for itself.
        attributes: Attributes { by_engine: false, ..body.attributes },
        delay: None,
    };
    let refused = |error: SubmitEventsError| error.to_string();
    check(0, &new).map_err(refused)?;
    let mut attributes = new.attributes;
    begin_trace(app, body.id, &mut attributes);
    let event = Event {
        id: body.id,
        tenant: row.tenant,
        event_type: new.event_type,
        source: new.source.unwrap_or_else(|| "intake".to_owned()),
        external_id: new.external_id,
        accepted_at: app.ports.clock.now(),
        data: new.data,
        attributes,
    };
    let matched = definitions.matches(&event);
    // Read after the matching, whose version the commit compares.
    if definitions.controls().suspension.is_some() {
        return Err(refused(SubmitEventsError::Suspended));
    }
    check_fan_out(0, &matched).map_err(refused)?;
    let works = works_of(app, &event, &matched, None);
    let (dedupe, event) = (dedupe_of(&event), Arc::new(event));
    let at =
        MatchedAt { began: event.accepted_at, ended: app.ports.clock.now(), actions: works.len() };
    let tenant = definitions.tenant.slug.as_str().to_owned();
    let matched_row = MatchedRow { event: event.clone(), tenant, at };
    let ingest = Ingest { event: Some(event), dedupe, works, requeue_of: None };
    let submission = Submission::new(row.tenant, Some(matched.defs), vec![ingest]);
    Ok((Submission { intake: Some(row.id), ..submission }, matched_row))
}
