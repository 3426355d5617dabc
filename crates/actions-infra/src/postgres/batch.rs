//! A commit as the columns that the flush functions take. The order of the `bind`s is the order
//! of the functions' parameters.

use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use uuid::Uuid;

use actions_domain::execution::report::ReportOf;
use actions_domain::gathering::Member;
use actions_domain::id::{ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::GATHERED_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::Claim;
use actions_domain::work::{Commit, Fence, Finish, Ingest, Item, Later, Part, Work};

use super::record::{lane_number, micros, mode_number, part_number, to_text};

type Statement<'q, R> = QueryAs<'q, sqlx::Postgres, R, PgArguments>;

/// One column of a batch, in the order of its rows.
pub(super) fn column<'a, T, C>(rows: &'a [T], value: impl FnMut(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// Fails when a part is written that no fence names: nothing would keep a former owner out.
pub(super) fn check_fences(batch: &Commit) -> Result<(), StoreError> {
    let refuse = |part| {
        let reason = format!("partition {part} is written without a fence");
        Err(StoreError::Refused { reason })
    };
    batch.unfenced().map_or(Ok(()), refuse)
}

/// The parameters of `engine.admit_v1` and `engine.enqueue_v1`.
pub(super) struct Admission<'a> {
    batch: &'a Commit,
    /// Each ingest with the number of its submission, from 1.
    ingests: Vec<(i32, &'a Ingest)>,
    events: Vec<EventRow<'a>>,
    works: Vec<WorkRow<'a>>,
    /// As texts, one for each work. Empty when none has any.
    terms: Vec<Option<String>>,
    /// Works that begin or join batches.
    gathering: Vec<GatheringRow>,
    /// Heads that begin or have ended, with their tenants and keys.
    closing: Vec<(TenantId, [u8; 16], ExecutionId)>,
}

struct GatheringRow {
    /// The work's number, from 1.
    work: i32,
    key: [u8; 16],
    size_max: u32,
    envelope: Json,
}

struct EventRow<'a> {
    /// From 1.
    ingest: i32,
    event: &'a actions_domain::event::Event,
    attributes: String,
    /// An array literal of the ids of its executions.
    executions: String,
}

struct WorkRow<'a> {
    /// From 1.
    ingest: i32,
    part: Part,
    work: &'a Work,
    /// The event was stored before.
    is_linked: bool,
}

impl<'a> Admission<'a> {
    pub(super) fn new(batch: &'a Commit) -> Result<Self, StoreError> {
        let ingests: Vec<(i32, &Ingest)> = (1..)
            .zip(&batch.submissions)
            .flat_map(|(number, submission)| {
                submission.ingests.iter().map(move |ingest| (number, ingest))
            })
            .collect();
        let mut events = Vec::with_capacity(ingests.len());
        let mut works = Vec::with_capacity(ingests.len());
        for (number, (_, ingest)) in (1..).zip(&ingests) {
            if let Some(event) = &ingest.event {
                events.push(EventRow {
                    ingest: number,
                    event,
                    attributes: to_text(&event.attributes)?,
                    executions: id_array(&ingest.works),
                });
            }
            works.extend(ingest.works.iter().map(|(part, work)| WorkRow {
                ingest: number,
                part: *part,
                work,
                is_linked: work.event.is_some() && ingest.event.is_none(),
            }));
        }
        let has_terms = works.iter().any(|row| row.work.terms.is_some());
        let terms = if has_terms {
            let text = |row: &WorkRow<'_>| row.work.terms.as_deref().map(to_text).transpose();
            works.iter().map(text).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let gathering = if has_terms { gathering(&ingests, &works) } else { Vec::new() };
        let items = batch.marks.iter().chain(batch.finishes.iter().map(|finish| &finish.item));
        let closing = items.filter_map(|item| {
            let work = &item.work;
            Some((work.tenant, work.open_key()?, work.id))
        });
        let closing = closing.collect();
        Ok(Self { batch, ingests, events, works, terms, gathering, closing })
    }

    /// Whether the flush has to begin, join, close or repeat batches.
    pub(super) fn has_batches(&self) -> bool {
        let repeats = || self.works.iter().any(|row| is_repeat(row.work));
        let has_terms = !self.terms.is_empty();
        !self.gathering.is_empty() || !self.closing.is_empty() || has_terms && repeats()
    }

    /// The parameters of `engine.admit_batches_v1` that are of its own.
    pub(super) fn bind_batches<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let (rows, closing) = (&self.gathering, &self.closing);
        let repeats = (1..).zip(&self.works).filter(|(_, row)| is_repeat(row.work));
        let repeats: Vec<i32> = repeats.map(|(work, _)| work).collect();
        statement
            .bind(column(rows, |row| row.work))
            .bind(column(rows, |row| row.key.to_vec()))
            .bind(column(rows, |row| i32::try_from(row.size_max).unwrap_or(i32::MAX)))
            .bind(column(rows, |row| row.envelope.as_str()))
            .bind(i64::try_from(GATHERED_BYTES_MAX).unwrap_or(i64::MAX))
            .bind(repeats)
            .bind(column(closing, |(tenant, ..)| tenant.0))
            .bind(column(closing, |(_, key, _)| key.to_vec()))
            .bind(column(closing, |(.., head)| head.0))
    }

    pub(super) fn bind<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let statement = self.bind_submissions(statement);
        let statement = self.bind_events(statement);
        let statement = self.bind_requests(statement);
        let statement = self.bind_works(statement);
        self.bind_links(statement)
    }

    fn bind_submissions<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let submissions = &self.batch.submissions;
        let ingests = &self.ingests;
        statement
            .bind(column(submissions, |submission| submission.tenant.0))
            .bind(column(submissions, |submission| submission.defs))
            .bind(column(submissions, |submission| submission.request.as_ref().map(|r| &r.key[..])))
            .bind(column(submissions, |submission| {
                submission.request.as_ref().map(|request| &request.body[..])
            }))
            .bind(column(submissions, |submission| submission.intake))
            .bind(column(ingests, |(submission, _)| *submission))
            .bind(column(ingests, |(_, ingest)| ingest.dedupe.as_ref().map(|d| &d.key[..])))
            .bind(column(ingests, |(_, ingest)| ingest.subject()))
            .bind(column(ingests, |(_, ingest)| ingest.requeue_of.map(|id| id.0)))
    }

    fn bind_events<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let events = &self.events;
        statement
            .bind(column(events, |row| row.ingest))
            .bind(column(events, |row| row.event.id.0))
            .bind(column(events, |row| row.event.event_type.as_str()))
            .bind(column(events, |row| row.event.source.as_str()))
            .bind(column(events, |row| row.event.external_id.as_deref()))
            .bind(column(events, |row| row.event.accepted_at))
            .bind(column(events, |row| row.event.data.as_str()))
            .bind(column(events, |row| row.attributes.as_str()))
            .bind(column(events, |row| row.executions.as_str()))
    }

    /// Cancels, discards, and rows of the intake to set aside.
    fn bind_requests<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let Commit { cancels, discards, refusals, .. } = self.batch;
        statement
            .bind(column(cancels, |cancel| cancel.tenant.0))
            .bind(column(cancels, |cancel| cancel.execution.0))
            .bind(column(discards, |discard| discard.tenant.0))
            .bind(column(discards, |discard| discard.execution.0))
            .bind(column(discards, |discard| discard.reason.as_str()))
            .bind(column(refusals, |refusal| refusal.row))
            .bind(column(refusals, |refusal| refusal.reason.as_str()))
    }

    fn bind_works<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let works = &self.works;
        statement
            .bind(column(works, |row| row.ingest))
            .bind(column(works, |row| part_number(row.part)))
            .bind(column(works, |row| row.work.id.0))
            .bind(column(works, |row| row.work.tenant.0))
            .bind(column(works, |row| lane_number(row.work.lane)))
            .bind(column(works, |row| row.work.action.0))
            .bind(column(works, |row| row.work.defs))
            .bind(column(works, |row| key_name(row.work)))
            .bind(column(works, |row| key_mode(row.work)))
            .bind(column(works, |row| row.work.event.map(|id| id.0)))
            .bind(column(works, |row| row.work.parent.map(|id| id.0)))
            .bind(column(works, |row| row.work.queued_at))
            .bind(column(works, |row| row.work.delay.map(micros)))
            .bind(column(works, |row| i16::from(row.work.depth)))
            .bind(column(works, |row| input(row.work)))
    }

    /// Whether the flush has to keep or to drop terms.
    pub(super) fn has_terms(&self) -> bool {
        !self.terms.is_empty() || self.batch.finishes.iter().any(has_terms)
    }

    /// The parameters of `engine.keep_terms_v1` and `engine.drop_terms_v1`.
    pub(super) fn bind_terms<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let ends = self.batch.finishes.iter().filter(|finish| has_terms(finish));
        statement
            .bind(column(&self.terms, Option::as_deref))
            .bind(ends.map(|finish| finish.item.work.id.0).collect::<Vec<_>>())
    }

    /// The parameters of `engine.admit_claims_v1` that are of its own.
    pub(super) fn bind_claims<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let claim =
            |(number, row): (i32, &WorkRow<'_>)| Some((number, row.work.terms.as_deref()?.claim?));
        let claims: Vec<(i32, Claim)> = (1..).zip(&self.works).filter_map(claim).collect();
        statement
            .bind(column(&claims, |(work, _)| *work))
            .bind(column(&claims, |(_, claim)| claim.key.to_vec()))
            .bind(column(&claims, |(_, claim)| claim.until_finished))
            .bind(column(&claims, |(_, claim)| claim.period.map(micros)))
            .bind(column(&claims, |(_, claim)| claim.on_conflict.number()))
            .bind(column(&claims, |(_, claim)| claim.waits))
            .bind(column(&claims, |(_, claim)| claim.max_wait.map(micros)))
    }

    fn bind_links<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let links: Vec<(i32, Uuid, Uuid)> = self
            .works
            .iter()
            .filter(|row| row.is_linked)
            .filter_map(|row| Some((row.ingest, row.work.event?.0, row.work.id.0)))
            .collect();
        statement
            .bind(column(&links, |link| link.0))
            .bind(column(&links, |link| link.1))
            .bind(column(&links, |link| link.2))
    }
}

/// The parameters of `engine.settle_v1`.
pub(super) struct Settlement<'a> {
    node: Option<NodeId>,
    fences: &'a [Fence],
    marks: &'a [Item],
    retries: &'a [Later],
    reports: &'a [ReportOf],
    finishes: &'a [Finish],
    retry_attempts: Vec<String>,
    finish_attempts: Vec<String>,
    errors: Vec<Option<String>>,
}

impl<'a> Settlement<'a> {
    pub(super) fn new(batch: &'a Commit) -> Result<Self, StoreError> {
        let Commit { node, fences, marks, retries, reports, finishes, .. } = batch;
        let attempts = |item: &Item| to_text(&item.attempts);
        Ok(Self {
            node: *node,
            fences,
            marks,
            retries,
            reports,
            finishes,
            retry_attempts: retries
                .iter()
                .map(|later| attempts(&later.item))
                .collect::<Result<_, _>>()?,
            finish_attempts: finishes
                .iter()
                .map(|finish| attempts(&finish.item))
                .collect::<Result<_, _>>()?,
            errors: finishes
                .iter()
                .map(|finish| finish.error.as_ref().map(to_text).transpose())
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn bind<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let statement = self.bind_fences(statement);
        let statement = self.bind_retries(statement);
        let statement = self.bind_finishes(statement);
        self.bind_reports(statement)
    }

    fn bind_reports<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let rows = self.reports;
        statement
            .bind(column(rows, |told| told.execution.0))
            .bind(column(rows, |told| told.tenant.0))
            .bind(column(rows, |told| part_number(told.part)))
            .bind(column(rows, |told| i32::try_from(told.report.attempt).unwrap_or(i32::MAX)))
            .bind(column(rows, |told| told.report.told_at))
            .bind(column(rows, |told| told.report.progress))
            .bind(column(rows, |told| told.report.note.as_deref()))
            .bind(column(rows, |told| told.report.checkpoint.as_ref().map(|json| json.as_str())))
    }

    fn bind_fences<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        statement
            .bind(self.node.map(|node| node.0))
            .bind(column(self.fences, |fence| part_number(fence.part)))
            .bind(column(self.fences, |fence| fence.epoch.0))
            .bind(column(self.marks, |item| item.work.id.0))
            .bind(column(self.marks, |item| item.work.tenant.0))
            .bind(column(self.marks, |item| part_number(item.part)))
    }

    fn bind_retries<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let rows = self.retries;
        statement
            .bind(column(rows, |later| later.item.work.id.0))
            .bind(column(rows, |later| part_number(later.item.part)))
            .bind(column(rows, |later| later.item.ord.0))
            .bind(column(rows, |later| micros(later.delay)))
            .bind(column(rows, |later| later.why.number()))
            .bind(column(rows, |later| later.hold))
            .bind(column(rows, |later| i16::from(later.item.losses)))
            .bind(column(&self.retry_attempts, String::as_str))
            .bind(column(rows, |later| later.item.work.tenant.0))
            .bind(column(rows, |later| lane_number(later.item.work.lane)))
            .bind(column(rows, |later| later.item.work.action.0))
            .bind(column(rows, |later| later.item.work.defs))
            .bind(column(rows, |later| key_name(&later.item.work)))
            .bind(column(rows, |later| key_mode(&later.item.work)))
            .bind(column(rows, |later| later.item.work.event.map(|id| id.0)))
            .bind(column(rows, |later| later.item.work.parent.map(|id| id.0)))
            .bind(column(rows, |later| later.item.work.queued_at))
            .bind(column(rows, |later| i16::from(later.item.work.depth)))
            .bind(column(rows, |later| input(&later.item.work)))
    }

    fn bind_finishes<'q, R>(&'q self, statement: Statement<'q, R>) -> Statement<'q, R> {
        let rows = self.finishes;
        statement
            .bind(column(rows, |finish| finish.item.work.id.0))
            .bind(column(rows, |finish| part_number(finish.item.part)))
            .bind(column(rows, |finish| finish.epoch.0))
            .bind(column(rows, |finish| finish.fin))
            .bind(column(rows, |finish| finish.status.number()))
            .bind(column(rows, |finish| finish.started_at))
            .bind(column(rows, |finish| finish.ended_at))
            .bind(column(rows, |finish| {
                i16::try_from(finish.item.attempts.len()).unwrap_or(i16::MAX)
            }))
            .bind(column(&self.finish_attempts, String::as_str))
            .bind(column(rows, |finish| finish.output.as_ref().map(|json| json.as_str())))
            .bind(column(&self.errors, Option::as_deref))
            .bind(column(rows, |finish| finish.dead.as_deref()))
            .bind(column(rows, |finish| finish.item.work.tenant.0))
            .bind(column(rows, |finish| lane_number(finish.item.work.lane)))
            .bind(column(rows, |finish| finish.item.work.action.0))
            .bind(column(rows, |finish| finish.item.work.defs))
            .bind(column(rows, |finish| key_name(&finish.item.work)))
            .bind(column(rows, |finish| key_mode(&finish.item.work)))
            .bind(column(rows, |finish| finish.item.work.event.map(|id| id.0)))
            .bind(column(rows, |finish| finish.item.work.parent.map(|id| id.0)))
            .bind(column(rows, |finish| finish.item.work.queued_at))
            .bind(column(rows, |finish| input(&finish.item.work)))
    }
}

fn gathering(ingests: &[(i32, &Ingest)], works: &[WorkRow<'_>]) -> Vec<GatheringRow> {
    let of_ingest = |number: i32| {
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        ingests.get(index).and_then(|(_, ingest)| ingest.event.as_deref())
    };
    let row = |(number, row): (i32, &WorkRow<'_>)| {
        let gathering = row.work.terms.as_deref()?.gathering?;
        Some(GatheringRow {
            work: number,
            key: gathering.key?,
            size_max: gathering.size_max,
            envelope: Member::of(row.work, of_ingest(row.ingest)).envelope,
        })
    };
    (1..).zip(works).filter_map(row).collect()
}

/// Whether a work repeats a dead batch.
fn is_repeat(work: &Work) -> bool {
    let gathering = work.terms.as_deref().and_then(|terms| terms.gathering);
    gathering.is_some_and(|gathering| gathering.key.is_none())
}

fn has_terms(finish: &Finish) -> bool {
    finish.item.work.terms.is_some()
}

fn key_name(work: &Work) -> Option<&str> {
    work.key.as_ref().map(|key| &*key.name)
}

fn key_mode(work: &Work) -> Option<i16> {
    work.key.as_ref().map(|key| mode_number(key.mode))
}

fn input(work: &Work) -> Option<&str> {
    work.input.as_ref().map(|json| json.as_str())
}

/// `{id,id}`, as PostgreSQL reads an array from a text.
fn id_array(works: &[(Part, std::sync::Arc<Work>)]) -> String {
    let mut text = String::with_capacity(2 + works.len() * 37);
    text.push('{');
    for (index, (_, work)) in works.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(work.id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
    text.push('}');
    text
}
