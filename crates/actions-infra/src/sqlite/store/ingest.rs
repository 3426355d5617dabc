//! Accepting events and jobs: what is left out, and what gets which number.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::limits::DEDUPE_WINDOW;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::Conflict;
use actions_domain::work::{
    Ingest, Ingested, IntakeRefusal, Part, Receipt, RequestKey, Seq, Submission, Submitted, Why,
    Work,
};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::batches::Batches;
use super::claims::{Claims, Settled};
use super::{Tails, after};
use crate::sqlite::bulk::{Bulk, Values};
use crate::sqlite::error::store_error;
use crate::sqlite::record::{corrupt, get, micros, mode_number, to_text};

/// Columns that a work item has in every home, in the order of [`bind_work`].
const WORK_COLUMNS: [&str; 12] = [
    "id",
    "tenant",
    "lane",
    "action",
    "defs",
    "akey",
    "amode",
    "event",
    "parent",
    "queued_at",
    "depth",
    "input",
];

pub(super) fn work_columns(own: &[&'static str]) -> Vec<&'static str> {
    own.iter().copied().chain(WORK_COLUMNS).collect()
}

pub(super) fn bind_work(work: &Work, values: &mut Values) {
    values
        .add(work.id.0)
        .add(work.tenant.0)
        .add(work.lane.rank())
        .add(work.action.0)
        .add(work.defs)
        .add(work.key.as_ref().map(|key| std::sync::Arc::clone(&key.name)))
        .add(mode_number(work.key.as_ref()))
        .add(work.event.map(|event| event.0))
        .add(work.parent.map(|parent| parent.0))
        .add(micros(work.queued_at))
        .add(work.depth)
        .add(work.input.as_ref().map(actions_domain::json::Json::as_str));
}

static INSERT_EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [
        "id",
        "tenant",
        "type",
        "source",
        "external_id",
        "accepted_at",
        "data",
        "attributes",
        "executions",
    ];
    Bulk::insert("engine_event", &columns, "")
});
static INSERT_WORK: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("engine_work", &work_columns(&["part", "seq"]), ""));
static INSERT_TERMS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("engine_terms", &["id", "tenant", "body"], ""));
static INSERT_DELAYED: LazyLock<Bulk> = LazyLock::new(|| {
    let own = ["part", "ord", "due", "why", "hold", "losses", "attempts"];
    Bulk::insert("engine_later", &work_columns(&own), "")
});
/// A row of the same day is inside the window, so it was found before: there is no conflict.
static INSERT_DEDUPES: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["day", "tenant", "k", "body", "subjects", "at"];
    Bulk::insert("engine_dedupe", &columns, "")
});
static FIND_VERSIONS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new("select id, defs_version from engine_tenant where id in (", "?", ")")
});
static FIND_EVENT_IDS: LazyLock<Bulk> = LazyLock::new(|| {
    let tail = ") as asked cross join engine_event as event on event.id = asked.column1";
    Bulk::new("select event.id from (values", "(?)", tail)
});
static FIND_EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    let head = "select id, tenant, type, source, external_id, accepted_at, data, attributes
        from engine_event where id in (";
    Bulk::new(head, "?", ")")
});
/// Both days of the window: one look-up by key each.
static FIND_DEDUPES: LazyLock<Bulk> = LazyLock::new(|| {
    let head = "select known.tenant, known.k, known.body, known.subjects from (values";
    let tail = ") as asked
        cross join (select ? as day union all select ?) as days
        cross join engine_dedupe as known
            on known.day = days.day and known.tenant = asked.column1 and known.k = asked.column2
        where known.at > ?
        order by known.at desc";
    Bulk::new(head, "(?, ?)", tail)
});
static DELETE_INTAKE: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("delete from engine_intake where id in (", "?", ")"));

/// Removes the rows of the intake that submissions were made from. One that is stale is matched
/// and sent again from its row.
pub(super) async fn consume(
    conn: &mut SqliteConnection,
    submissions: &[Submission],
    answers: &[Submitted],
) -> Result<(), StoreError> {
    let stays = |answer: &Submitted| matches!(answer, Submitted::Stale { .. });
    let moved = submissions.iter().zip(answers).filter(|(_, answer)| !stays(answer));
    let rows: Vec<i64> = moved.filter_map(|(submission, _)| submission.intake).collect();
    DELETE_INTAKE
        .delete(conn, &rows, |row, values| {
            values.add(*row);
        })
        .await
}

/// Sets rows of the intake aside that can never be accepted.
pub(super) async fn refuse(
    conn: &mut SqliteConnection,
    refusals: &[IntakeRefusal],
    now: Timestamp,
) -> Result<(), StoreError> {
    for refusal in refusals {
        let text = "insert into engine_intake_refused (id, tenant, body, reason, refused_at)
            select id, tenant, body, ?2, ?3 from engine_intake where id = ?1";
        sqlx::query(text)
            .bind(refusal.row)
            .bind(refusal.reason.as_str())
            .bind(micros(now))
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    let rows: Vec<i64> = refusals.iter().map(|refusal| refusal.row).collect();
    DELETE_INTAKE
        .delete(conn, &rows, |row, values| {
            values.add(*row);
        })
        .await
}

pub(super) async fn find_events(
    conn: &mut SqliteConnection,
    ids: &[EventId],
) -> Result<Vec<SqliteRow>, StoreError> {
    let bind = |id: &EventId, values: &mut Values| {
        values.add(id.0);
    };
    FIND_EVENTS.fetch(conn, ids, bind, |_| ()).await
}

/// Writes what is neither stale nor a repetition, and says what became of each.
pub(super) async fn submit(
    conn: &mut SqliteConnection,
    submissions: &[Submission],
    tails: &mut Tails,
    now: Timestamp,
) -> Result<Receipt, StoreError> {
    if submissions.is_empty() {
        return Ok(Receipt::default());
    }
    let versions = read_versions(conn, submissions).await?;
    let mut known = Known::read(conn, submissions, now).await?;
    let mut rows = Rows::default();
    let (mut claims, mut batches) = (Claims::default(), Batches::default());
    let mut yielded = Vec::new();
    let mut answers = Vec::with_capacity(submissions.len());
    for submission in submissions {
        let tenant = submission.tenant;
        let Some(current) = versions.get(&tenant).copied() else {
            return Err(StoreError::Refused { reason: format!("there is no tenant {tenant}") });
        };
        if submission.defs.is_some_and(|matched_with| matched_with < current) {
            answers.push(Submitted::Stale { defs: current });
            continue;
        }
        if let Some(answer) = submission.request.and_then(|key| known.request(submission, key)) {
            answers.push(answer);
            continue;
        }
        let mut ingested = Vec::with_capacity(submission.ingests.len());
        let mut jobs_yielded = Vec::new();
        for ingest in &submission.ingests {
            if let Some(duplicate) = known.duplicate_of(tenant, ingest) {
                ingested.push(duplicate);
                continue;
            }
            if let Some(dead) = ingest.requeue_of
                && !take_dead(conn, tenant, dead).await?
            {
                ingested.push(Ingested::NotDead);
                continue;
            }
            let mut settled = claims.settle(conn, tenant, ingest, now).await?;
            batches.settle(conn, tenant, ingest, &mut settled).await?;
            yielded.extend_from_slice(&settled.yielded);
            ingested.push(Ingested::Stored);
            // Whoever repeats a job that has yielded is answered with the one that it yielded to.
            // What was refused takes its keys back.
            let first = settled.yielded.first().filter(|_| ingest.event.is_none());
            if let (Some(yielded), Some(dedupe)) = (first, ingest.dedupe) {
                jobs_yielded.push((ingested.len() - 1, *yielded));
                if yielded.on_conflict != Conflict::Reject {
                    let first = First { subjects: vec![yielded.to.0], body: None };
                    known.dedupes.insert((tenant, dedupe.key), first.clone());
                    rows.dedupes.push((tenant, dedupe.key, first));
                }
                continue;
            }
            known.remember(tenant, ingest);
            rows.add(tenant, ingest, tails, &settled)?;
        }
        let is_refused =
            jobs_yielded.iter().any(|(_, yielded)| yielded.on_conflict == Conflict::Reject);
        if let Some(request) = submission.request.filter(|_| !is_refused) {
            let mut first = First::request(request, submission, &ingested);
            for (index, yielded) in jobs_yielded {
                first.subjects[index] = yielded.to.0;
            }
            known.dedupes.insert((tenant, request.key), first.clone());
            rows.dedupes.push((tenant, request.key, first));
        }
        answers.push(Submitted::Accepted(ingested));
    }
    rows.write(conn, now).await?;
    claims.write(conn).await?;
    let closed = batches.write(conn, now).await?;
    let Claims { superseded, .. } = claims;
    Ok(Receipt { submissions: answers, yielded, superseded, closed, ..Receipt::default() })
}

/// The definitions' versions of all tenants of the batch.
async fn read_versions(
    conn: &mut SqliteConnection,
    submissions: &[Submission],
) -> Result<HashMap<TenantId, i64>, StoreError> {
    let mut tenants: Vec<TenantId> = submissions.iter().map(|one| one.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let bind = |tenant: &TenantId, values: &mut Values| {
        values.add(tenant.0);
    };
    let found = FIND_VERSIONS.fetch(conn, &tenants, bind, |_| ()).await?;
    found.iter().map(|row| Ok((TenantId(get(row, "id")?), get(row, "defs_version")?))).collect()
}

/// Makes a dead letter one no more, and says whether it was one.
async fn take_dead(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    dead: ExecutionId,
) -> Result<bool, StoreError> {
    let result = sqlx::query("delete from engine_dead where tenant = ? and id = ?")
        .bind(tenant.0)
        .bind(dead.0)
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(result.rows_affected() == 1)
}

/// The first submission under a key.
#[derive(Clone)]
struct First {
    /// What a repetition is answered with: one of an ingest, one for each ingest of a request.
    subjects: Vec<Uuid>,
    /// Of a request.
    body: Option<[u8; 16]>,
}

impl First {
    fn request(request: RequestKey, submission: &Submission, ingested: &[Ingested]) -> Self {
        let subject = |(ingest, outcome): (&Ingest, &Ingested)| match outcome {
            Ingested::Duplicate { subject } => *subject,
            Ingested::Stored | Ingested::NotDead => ingest.subject().unwrap_or_default(),
        };
        let subjects = submission.ingests.iter().zip(ingested).map(subject).collect();
        Self { subjects, body: Some(request.body) }
    }
}

/// What was accepted before, as far as this batch asks.
struct Known {
    dedupes: HashMap<(TenantId, [u8; 16]), First>,
    events: HashSet<EventId>,
}

impl Known {
    async fn read(
        conn: &mut SqliteConnection,
        submissions: &[Submission],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let ingests =
            || submissions.iter().flat_map(|one| one.ingests.iter().map(|i| (one.tenant, i)));
        let requests = submissions.iter().filter_map(|one| Some((one.tenant, one.request?.key)));
        let keys: Vec<(TenantId, [u8; 16])> = ingests()
            .filter_map(|(tenant, ingest)| Some((tenant, ingest.dedupe.as_ref()?.key)))
            .chain(requests)
            .collect();
        // A repetition of an event that has a key is found by its key.
        let events: Vec<EventId> = ingests()
            .filter(|(_, ingest)| ingest.dedupe.is_none())
            .filter_map(|(_, ingest)| Some(ingest.event.as_ref()?.id))
            .collect();

        let since = now - DEDUPE_WINDOW;
        let bind_key = |(tenant, key): &(TenantId, [u8; 16]), values: &mut Values| {
            values.add(tenant.0).add(&key[..]);
        };
        let bind_window = |values: &mut Values| {
            values.add(day(now)).add(day(since)).add(micros(since));
        };
        let mut dedupes = HashMap::new();
        for row in FIND_DEDUPES.fetch(conn, &keys, bind_key, bind_window).await? {
            let key = (TenantId(get(&row, "tenant")?), get_hash(&row, "k")?);
            let body = get::<Option<&[u8]>>(&row, "body")?.map(|_| get_hash(&row, "body"));
            let subjects: &[u8] = get(&row, "subjects")?;
            let subjects = subjects.chunks(16).map(Uuid::from_slice).collect::<Result<_, _>>();
            let subjects = subjects.map_err(|error| corrupt("subjects", error))?;
            let first = First { subjects, body: body.transpose()? };
            // Newest first: an older row of the same key is past.
            dedupes.entry(key).or_insert(first);
        }
        let bind_event = |id: &EventId, values: &mut Values| {
            values.add(id.0);
        };
        let rows = FIND_EVENT_IDS.fetch(conn, &events, bind_event, |_| ()).await?;
        let events =
            rows.iter().map(|row| get(row, "id").map(EventId)).collect::<Result<_, _>>()?;
        Ok(Self { dedupes, events })
    }

    /// What a request is answered whose key was used before.
    fn request(&self, submission: &Submission, request: RequestKey) -> Option<Submitted> {
        let first = self.dedupes.get(&(submission.tenant, request.key))?;
        let is_same =
            first.body == Some(request.body) && first.subjects.len() == submission.ingests.len();
        if !is_same {
            return Some(Submitted::Mismatch);
        }
        let duplicate = |subject: &Uuid| Ingested::Duplicate { subject: *subject };
        Some(Submitted::Accepted(first.subjects.iter().map(duplicate).collect()))
    }

    /// An ingest is a repetition when its key is known, or when its event is: a batch whose
    /// outcome was unknown is sent again with the same ids.
    fn duplicate_of(&self, tenant: TenantId, ingest: &Ingest) -> Option<Ingested> {
        let by_key = ingest.dedupe.and_then(|dedupe| {
            let first = self.dedupes.get(&(tenant, dedupe.key))?;
            Some(Ingested::Duplicate { subject: *first.subjects.first()? })
        });
        by_key.or_else(|| {
            let id = ingest.event.as_ref()?.id;
            let is_known = self.events.contains(&id);
            is_known.then_some(Ingested::Duplicate { subject: id.0 })
        })
    }

    fn remember(&mut self, tenant: TenantId, ingest: &Ingest) {
        if let Some(dedupe) = ingest.dedupe {
            let first = First { subjects: vec![dedupe.subject], body: None };
            self.dedupes.insert((tenant, dedupe.key), first);
        }
        if let Some(event) = &ingest.event {
            self.events.insert(event.id);
        }
    }
}

/// The rows of a batch, table by table.
#[derive(Default)]
struct Rows<'a> {
    events: Vec<(&'a Event, Vec<u8>)>,
    dedupes: Vec<(TenantId, [u8; 16], First)>,
    works: Vec<(Part, Seq, &'a Work)>,
    /// With their delays.
    delayed: Vec<(Part, Seq, &'a Work, Duration)>,
    /// Executions of events that were stored before.
    repeats: Vec<(EventId, ExecutionId)>,
}

impl<'a> Rows<'a> {
    fn add(
        &mut self,
        tenant: TenantId,
        ingest: &'a Ingest,
        tails: &mut Tails,
        settled: &Settled,
    ) -> Result<(), StoreError> {
        if let Some(dedupe) = &ingest.dedupe {
            let first = First { subjects: vec![dedupe.subject], body: None };
            self.dedupes.push((tenant, dedupe.key, first));
        }
        let stored = || ingest.works.iter().filter(|(_, work)| !settled.has_yielded(work));
        for (part, work) in stored() {
            match settled.delay(work) {
                Some(delay) => self.delayed.push((*part, tails.peek(*part)?, work, delay)),
                None => self.works.push((*part, tails.take(*part)?, work)),
            }
        }
        let works = stored().map(|(_, work)| work);
        let Some(event) = &ingest.event else {
            let repeats = works.filter_map(|work| Some((work.event?, work.id)));
            self.repeats.extend(repeats);
            return Ok(());
        };
        self.events.push((event, works.flat_map(|work| work.id.0.into_bytes()).collect()));
        Ok(())
    }

    async fn write(&self, conn: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
        let attributes = (self.events.iter())
            .map(|(event, _)| to_text(&event.attributes))
            .collect::<Result<Vec<String>, StoreError>>()?;
        let events: Vec<_> = self.events.iter().zip(attributes).collect();
        INSERT_EVENTS.execute(conn, &events, bind_event).await?;
        INSERT_WORK
            .execute(conn, &self.works, |(part, seq, work), values| {
                values.add(part.0).add(seq.0);
                bind_work(work, values);
            })
            .await?;
        INSERT_DELAYED
            .execute(conn, &self.delayed, |(part, ord, work, delay), values| {
                let due = after(now, *delay);
                let why = Why::Delay.number();
                values.add(part.0).add(ord.0).add(due).add(why).add(false).add(0).add("[]");
                bind_work(work, values);
            })
            .await?;
        self.write_terms(conn).await?;
        self.write_dedupes(conn, now).await?;
        for (event, execution) in &self.repeats {
            // `||` joins bytes, and only calls the result text.
            let text = "update engine_event
                set executions = cast(executions || ? as blob) where id = ?";
            sqlx::query(text)
                .bind(execution.0)
                .bind(event.0)
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }

    async fn write_terms(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let works = self.works.iter().map(|(_, _, work)| *work);
        let works = works.chain(self.delayed.iter().map(|(_, _, work, _)| *work));
        let terms = works.filter_map(|work| Some((work, work.terms.as_deref()?)));
        let rows = (terms.map(|(work, terms)| Ok((work, to_text(terms)?))))
            .collect::<Result<Vec<(&Work, String)>, StoreError>>()?;
        INSERT_TERMS
            .execute(conn, &rows, |(work, terms), values| {
                values.add(work.id.0).add(work.tenant.0).add(terms.as_str());
            })
            .await
    }

    async fn write_dedupes(
        &self,
        conn: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.dedupes.is_empty() {
            return Ok(());
        }
        INSERT_DEDUPES
            .execute(conn, &self.dedupes, |(tenant, key, first), values| {
                let body = first.body.as_ref().map(|body| &body[..]);
                let subjects: Vec<u8> =
                    first.subjects.iter().flat_map(|subject| subject.into_bytes()).collect();
                values
                    .add(day(now))
                    .add(tenant.0)
                    .add(&key[..])
                    .add(body)
                    .add(subjects)
                    .add(micros(now));
            })
            .await?;
        // A little with every commit, so that no midnight is busy.
        let text = "delete from engine_dedupe where (day, tenant, k) in (
                select day, tenant, k from engine_dedupe where day < ? limit 1000
            )";
        sqlx::query(text)
            .bind(day(now - DEDUPE_WINDOW))
            .execute(conn)
            .await
            .map_err(store_error)?;
        Ok(())
    }
}

fn bind_event((row, attributes): &(&(&Event, Vec<u8>), String), values: &mut Values) {
    let (event, executions) = row;
    values
        .add(event.id.0)
        .add(event.tenant.0)
        .add(event.event_type.as_str())
        .add(event.source.as_str())
        .add(event.external_id.as_deref())
        .add(micros(event.accepted_at))
        .add(event.data.as_str())
        .add(attributes.as_str())
        .add(executions.as_slice());
}

/// The day of an instant, counted from 1970.
fn day(at: Timestamp) -> i64 {
    at.timestamp().div_euclid(24 * 60 * 60)
}

fn get_hash(row: &SqliteRow, column: &str) -> Result<[u8; 16], StoreError> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map_err(|_| corrupt(column, "not 16 bytes"))
}
