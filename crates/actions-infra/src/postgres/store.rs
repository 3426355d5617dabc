//! The engine's memory in PostgreSQL. A flush is one statement in autocommit, but for two things: what a
//! person does is a transaction, because its entry of the audit says what came of it, and what is said
//! of runs is one, because a second statement writes it.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::audit::Deed;
use actions_domain::event::Event;
use actions_domain::execution::report::Report;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::INTAKE_BYTES_MAX;
use actions_domain::ports::store::{DueQuery, IntakeRow, Store, StoreError, Window, WindowBuilder};
use actions_domain::terms::{Conflict, Yielded};
use actions_domain::work::{
    Cancel, Commit, Ingest, Ingested, Item, Later, Part, Receipt, Seq, Skip, Submission, Submitted,
};

use super::Postgres;
use super::audit::append;
use super::batch::{Admission, Settlement, check_fences};
use super::error::{is_transient, read_error, write_error};
use super::record::{
    EventRecord, ItemRecord, LaterRecord, ReportRecord, corrupt, micros, part_number, part_of,
};
use super::runs::{WriteRunsError, write_runs};

/// What `engine.admit_v1` says of each ingest of a request whose key had another body.
const MISMATCH: i16 = 4;
/// How often a flush is sent that the server asks to send again. It was not written before.
const TRIES: u32 = 4;

#[async_trait]
impl Store for Postgres {
    async fn commit(&self, batch: Commit) -> Result<Receipt, StoreError> {
        check_fences(&batch)?;
        let mut tries = 1;
        loop {
            let flushed = if batch.deed.is_none() && !batch.has_runs() {
                self.flush(&batch, None).await?
            } else {
                self.flush_whole(&batch).await?
            };
            match flushed {
                Flushed::Written(receipt) => return Ok(receipt),
                Flushed::Again(_) if tries < TRIES => tries += 1,
                Flushed::Again(error) => return Err(write_error(error)),
            }
        }
    }

    /// While one waits for the disk, the other one is worked on.
    fn commits_at_once(&self) -> usize {
        2
    }

    async fn window(
        &self,
        part: Part,
        from: Seq,
        limit: u32,
        skip: &[Skip],
    ) -> Result<Window, StoreError> {
        let mut rows = sqlx::query_as::<_, WindowRecord>(include_str!("store/window.sql"))
            .bind(part_number(part))
            .bind(from.0)
            .bind(i64::from(limit.max(1)))
            .bind(skip.iter().map(|skip| skip.number()).collect::<Vec<_>>())
            .fetch(&self.engine);
        let (mut window, mut end) = (WindowBuilder::new(limit), None);
        while !window.is_full()
            && let Some(row) = rows.try_next().await.map_err(read_error)?
        {
            end = Some(Seq(row.next));
            if let Some(record) = row.item {
                window.push(record.into_item()?);
            }
        }
        let end = end.ok_or_else(|| StoreError::Refused {
            reason: format!("there is no partition {part}"),
        })?;
        Ok(window.finish(end))
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Later>, StoreError> {
        let rows: Vec<LaterRecord> = sqlx::query_as(include_str!("store/due.sql"))
            .bind(part_number(query.part))
            .bind(micros(query.ahead))
            .bind(i64::from(query.limit))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(LaterRecord::into_later).collect()
    }

    async fn marked(&self, part: Part) -> Result<Vec<Item>, StoreError> {
        let rows: Vec<ItemRecord> = sqlx::query_as(include_str!("store/marked.sql"))
            .bind(part_number(part))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(ItemRecord::into_item).collect()
    }

    async fn reported(&self, part: Part) -> Result<Vec<ExecutionId>, StoreError> {
        let rows: Vec<Uuid> = sqlx::query_scalar(include_str!("store/reported.sql"))
            .bind(part_number(part))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(ExecutionId).collect())
    }

    async fn report(&self, id: ExecutionId) -> Result<Option<Report>, StoreError> {
        let row: Option<ReportRecord> = sqlx::query_as(include_str!("store/report.sql"))
            .bind(id.0)
            .fetch_optional(&self.engine)
            .await
            .map_err(read_error)?;
        row.map(ReportRecord::into_report).transpose()
    }

    async fn members(&self, head: ExecutionId) -> Result<Vec<Json>, StoreError> {
        let text = "select body from engine.member where head = $1 order by place";
        let rows: Vec<String> = sqlx::query_scalar(text)
            .bind(head.0)
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        Ok(rows.into_iter().map(Json::from_record).collect())
    }

    async fn tails(&self) -> Result<Vec<(Part, Seq)>, StoreError> {
        let rows: Vec<(i16, i64)> = sqlx::query_as(include_str!("store/tails.sql"))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(|(part, seq)| Ok((part_of(part)?, Seq(seq)))).collect()
    }

    async fn cancels(&self) -> Result<Vec<Cancel>, StoreError> {
        let rows: Vec<(i32, Uuid, Option<Uuid>)> =
            sqlx::query_as(include_str!("store/cancels.sql"))
                .fetch_all(&self.engine)
                .await
                .map_err(read_error)?;
        let cancel = |(tenant, id, by): (i32, Uuid, Option<Uuid>)| Cancel {
            tenant: TenantId(tenant),
            execution: ExecutionId(id),
            by: by.map(ExecutionId),
        };
        Ok(rows.into_iter().map(cancel).collect())
    }

    async fn events(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<EventRecord> = sqlx::query_as(include_str!("store/events.sql"))
            .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        rows.into_iter().map(EventRecord::into_event).collect()
    }

    async fn intake(&self, limit: u32) -> Result<Vec<IntakeRow>, StoreError> {
        let rows: Vec<(i64, i32, String)> = sqlx::query_as(include_str!("store/intake.sql"))
            .bind(i64::from(limit))
            .bind(i64::try_from(INTAKE_BYTES_MAX).unwrap_or(i64::MAX))
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        let row = |(id, tenant, body)| IntakeRow {
            id,
            tenant: TenantId(tenant),
            body: Json::from_record(body),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&self.engine)
            .await
            .map_err(read_error)
    }

    fn has_single_writer(&self) -> bool {
        false
    }
}

enum Flushed {
    Written(Receipt),
    /// Nothing was written, and the same flush may succeed now.
    Again(sqlx::Error),
}

impl Postgres {
    /// Sends a flush with as few parameters as it needs.
    async fn flush(
        &self,
        batch: &Commit,
        within: Option<&mut PgConnection>,
    ) -> Result<Flushed, StoreError> {
        let is_admitting = !batch.submissions.is_empty()
            || !batch.cancels.is_empty()
            || !batch.discards.is_empty()
            || !batch.refusals.is_empty();
        let is_settling = !batch.fences.is_empty();
        if !is_admitting && !is_settling {
            return Ok(Flushed::Written(Receipt::default()));
        }
        let mut own;
        let connection: &mut PgConnection = match within {
            Some(connection) => connection,
            None => {
                own = self.connection().await?;
                &mut own
            }
        };
        let admission = Admission::new(batch)?;
        let settlement = Settlement::new(batch)?;
        let sent = match (is_admitting, is_settling) {
            _ if admission.has_batches() => {
                let statement = sqlx::query_as(include_str!("store/commit_with_batches.sql"));
                let statement = settlement.bind(admission.bind(statement));
                let statement = admission.bind_claims(admission.bind_terms(statement));
                let statement = admission.bind_batches(statement);
                statement.fetch_one(connection).await
            }
            _ if admission.has_terms() => {
                let statement = sqlx::query_as(include_str!("store/commit_with_terms.sql"));
                let statement = settlement.bind(admission.bind(statement));
                let statement = admission.bind_claims(admission.bind_terms(statement));
                statement.fetch_one(connection).await
            }
            (true, true) => {
                let statement = sqlx::query_as(include_str!("store/commit.sql"));
                let statement = settlement.bind(admission.bind(statement));
                statement.fetch_one(connection).await
            }
            (true, false) => {
                let statement = sqlx::query_as(include_str!("store/ingest.sql"));
                let statement = admission.bind(statement);
                statement.fetch_one(connection).await
            }
            (false, true) => {
                let statement = sqlx::query_as(include_str!("store/finish.sql"));
                let statement = settlement.bind(statement);
                let settled: Result<(i32,), _> = statement.fetch_one(connection).await;
                settled.map(|_| ReceiptRecord::default())
            }
            (false, false) => Ok(ReceiptRecord::default()),
        };
        match sent {
            Ok(record) => Ok(Flushed::Written(record.into_receipt(&batch.submissions)?)),
            Err(error) if is_transient(&error) => Ok(Flushed::Again(error)),
            Err(error) => Err(write_error(error)),
        }
    }

    /// Sends a flush together with what it says of runs and its entry of the audit.
    async fn flush_whole(&self, batch: &Commit) -> Result<Flushed, StoreError> {
        let mut tx = self.engine.begin().await.map_err(StoreError::unavailable)?;
        let deed = batch.deed.as_ref();
        let was_asked = is_asked(&mut tx, deed).await?;
        let receipt = match self.flush(batch, Some(&mut tx)).await? {
            Flushed::Written(receipt) => receipt,
            again @ Flushed::Again(_) => return Ok(again),
        };
        // After the leases are proven.
        match write_runs(&mut tx, batch).await {
            Ok(()) => {}
            Err(WriteRunsError::Database(error)) if is_transient(&error) => {
                return Ok(Flushed::Again(error));
            }
            Err(WriteRunsError::Database(error)) => return Err(write_error(error)),
            Err(WriteRunsError::Store(error)) => return Err(error),
        }
        let is_asked = (was_asked, is_asked(&mut tx, deed).await?);
        let act = deed.and_then(|deed| deed.done(&receipt, is_asked));
        match append(&mut tx, act.as_ref()).await {
            Ok(()) => {
                tx.commit().await.map_err(write_error)?;
                Ok(Flushed::Written(receipt))
            }
            Err(error) if is_transient(&error) => Ok(Flushed::Again(error)),
            Err(error) => Err(write_error(error)),
        }
    }
}

/// Whether the execution that a deed is about is to be cancelled.
async fn is_asked(tx: &mut PgConnection, deed: Option<&Deed>) -> Result<bool, StoreError> {
    let Some(execution) = deed.and_then(Deed::cancels) else { return Ok(false) };
    sqlx::query_scalar("select exists (select from engine.control where id = $1)")
        .bind(execution.0)
        .fetch_one(tx)
        .await
        .map_err(read_error)
}

#[derive(Debug)]
struct WindowRecord {
    next: i64,
    item: Option<ItemRecord>,
}

impl FromRow<'_, sqlx::postgres::PgRow> for WindowRecord {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row;
        let id: Option<Uuid> = row.try_get("id")?;
        let item = id.map(|_| ItemRecord::from_row(row)).transpose()?;
        Ok(Self { next: row.try_get("next")?, item })
    }
}

#[derive(Debug, Default, FromRow)]
struct ReceiptRecord {
    stales: Option<Vec<Option<i64>>>,
    /// One for each ingest of the batch.
    verdicts: Vec<i16>,
    subjects: Option<Vec<Option<Uuid>>>,
    discarded: i64,
    parts: Option<Vec<i16>>,
    firsts: Option<Vec<i64>>,
    #[sqlx(default)]
    yielded: Option<Vec<Uuid>>,
    #[sqlx(default)]
    yielded_to: Option<Vec<Uuid>>,
    #[sqlx(default)]
    conflicts: Option<Vec<i16>>,
    #[sqlx(default)]
    superseded: Option<Vec<Uuid>>,
    #[sqlx(default)]
    superseded_by: Option<Vec<Uuid>>,
    #[sqlx(default)]
    joined: Option<Vec<Uuid>>,
    #[sqlx(default)]
    joined_to: Option<Vec<Uuid>>,
    #[sqlx(default)]
    closed: Option<Vec<i16>>,
}

impl ReceiptRecord {
    fn into_receipt(self, submissions: &[Submission]) -> Result<Receipt, StoreError> {
        let first = (self.parts.iter().flatten())
            .zip(self.firsts.iter().flatten())
            .map(|(part, seq)| Ok((part_of(*part)?, Seq(*seq))))
            .collect::<Result<_, StoreError>>()?;
        let mut start = 0;
        let mut submitted = Vec::with_capacity(submissions.len());
        let mut yielded = self.yielded()?;
        for (index, submission) in submissions.iter().enumerate() {
            let ingests = start..start + submission.ingests.len();
            start = ingests.end;
            let stale = self.stales.as_ref().and_then(|stales| stales.get(index).copied()?);
            submitted.push(match stale {
                Some(defs) => Submitted::Stale { defs },
                None if !ingests.is_empty()
                    && self.verdicts.get(ingests.start) == Some(&MISMATCH) =>
                {
                    Submitted::Mismatch
                }
                None => {
                    let mut all = Vec::with_capacity(submission.ingests.len());
                    for (given, ingest) in submission.ingests.iter().zip(ingests) {
                        all.push(repeated(given, self.ingested(ingest)?, &mut yielded));
                    }
                    Submitted::Accepted(all)
                }
            });
        }
        let discarded = u64::try_from(self.discarded).unwrap_or(0);
        let superseded = self.superseded(submissions);
        let closed = self.closed.iter().flatten().map(|part| part_of(*part));
        let closed = closed.collect::<Result<_, StoreError>>()?;
        Ok(Receipt { submissions: submitted, first, discarded, yielded, superseded, closed })
    }

    fn yielded(&self) -> Result<Vec<Yielded>, StoreError> {
        let ids = self.yielded.iter().flatten().zip(self.yielded_to.iter().flatten());
        let rows = ids.zip(self.conflicts.iter().flatten());
        let yielded = rows.map(|((execution, to), conflict)| {
            let on_conflict =
                Conflict::from_number(*conflict).ok_or_else(|| corrupt("conflict", conflict))?;
            let (execution, to) = (ExecutionId(*execution), ExecutionId(*to));
            Ok(Yielded { execution, to, on_conflict, has_joined: false })
        });
        let joined = self.joined.iter().flatten().zip(self.joined_to.iter().flatten());
        let joined = joined.map(|(execution, head)| {
            let (execution, to) = (ExecutionId(*execution), ExecutionId(*head));
            Ok(Yielded { execution, to, on_conflict: Conflict::Existing, has_joined: true })
        });
        yielded.chain(joined).collect()
    }

    fn superseded(&self, submissions: &[Submission]) -> Vec<Cancel> {
        let rows = self.superseded.iter().flatten().zip(self.superseded_by.iter().flatten());
        let works = submissions.iter().flat_map(|one| one.ingests.iter().flat_map(|i| &i.works));
        let cancel = |(execution, by): (&Uuid, &Uuid)| {
            let (_, work) = works.clone().find(|(_, work)| work.id.0 == *by)?;
            let (execution, by) = (ExecutionId(*execution), Some(ExecutionId(*by)));
            Some(Cancel { tenant: work.tenant, execution, by })
        };
        rows.filter_map(cancel).collect()
    }

    fn ingested(&self, ingest: usize) -> Result<Ingested, StoreError> {
        match self.verdicts.get(ingest) {
            Some(0) => Ok(Ingested::Stored),
            Some(1) => {
                let subject = self.subjects.as_ref().and_then(|all| all.get(ingest).copied()?);
                let subject = subject.ok_or_else(|| corrupt("repetition of", &ingest))?;
                Ok(Ingested::Duplicate { subject })
            }
            Some(2) => Ok(Ingested::NotDead),
            verdict => Err(corrupt("verdict", &format!("{verdict:?}"))),
        }
    }
}

/// What became of an ingest. Repetitions are recognised before it is known who yields: one that
/// repeats what yielded in this very batch is answered like it.
fn repeated(given: &Ingest, ingested: Ingested, yielded: &mut Vec<Yielded>) -> Ingested {
    let Ingested::Duplicate { subject } = ingested else { return ingested };
    let Some(first) = yielded.iter().find(|one| one.execution.0 == subject).copied() else {
        return ingested;
    };
    match (first.on_conflict, given.works.first()) {
        (Conflict::Reject, Some((_, work))) => {
            yielded.push(Yielded { execution: work.id, ..first });
            Ingested::Stored
        }
        _ => Ingested::Duplicate { subject: first.to.0 },
    }
}
