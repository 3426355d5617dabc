//! The way in: gathers what callers submit at the same time into one commit.
//!
//! A caller is answered after the commit that holds its submission, never before. Waiting for
//! others costs nothing: a flush takes whatever came while the one before was under way, so a
//! lone event is committed at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actions_domain::audit::Deed;
use actions_domain::dispatch::Input;
use actions_domain::event::Event;
use actions_domain::limits::{FLUSH_BYTES_MAX, INGRESS_BYTES_MAX};
use actions_domain::ports::hints::Hint;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::Yielded;
use actions_domain::work::{
    Cancel, Commit, Discard, Fence, Home, Ingested, IntakeRefusal, Item, Part, Receipt, Seq,
    Submission, Submitted, Work,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;

use crate::app::Ports;
use crate::hints::Teller;
use crate::node::live::Live;
use crate::quotas::usage_book::UsageBook;

/// Events and work items of one flush: a sync to disk is shared by that many, and a commit of
/// them takes some tens of milliseconds.
const FLUSH_WORKS_MAX: usize = 2_000;
/// Callers that may wait for a flush, beside the limit of their bytes. More are refused at the
/// door.
const QUEUE_MAX: usize = 20_000;
/// How often a flush with an unknown outcome is sent again before its callers are told.
const UNKNOWN_RETRIES_MAX: u32 = 5;
const UNKNOWN_PAUSE: Duration = Duration::from_millis(200);

/// A handle to the way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingress {
    queue: mpsc::Sender<Waiting>,
    /// Bytes of everything that was admitted and not answered yet.
    admitted: Arc<AtomicUsize>,
}

/// Why something was not accepted. Nothing of it was stored, unless it says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngressError {
    #[error("the store refuses the data: {reason}")]
    Refused { reason: String },
    #[error("the store is unavailable")]
    Unavailable,
    /// It may be stored or not. With the same id or key it is safe to send it again.
    #[error("the store did not say whether it was written")]
    Unknown,
    #[error("too many callers are waiting already")]
    Full,
}

/// What one caller wants to have written.
#[derive(Debug, Clone)]
enum Request {
    Submit(Submission),
    Cancel(Cancel),
    Discard(Vec<Discard>),
    /// Submissions made from intake rows, and rows that are set aside, written under the intake's
    /// fence.
    Intake {
        fence: Fence,
        submissions: Vec<Submission>,
        refusals: Vec<IntakeRefusal>,
    },
}

/// A share of the bytes that may wait. Given back when it is dropped.
#[derive(Debug)]
struct Room {
    bytes: usize,
    admitted: Arc<AtomicUsize>,
}

impl Room {
    /// `None` when there is none left.
    fn take(admitted: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = admitted.fetch_add(bytes, Ordering::Relaxed);
        let room = Self { bytes, admitted: admitted.clone() };
        // Whoever comes first may take more, so that nothing waits for ever.
        (before == 0 || before.saturating_add(bytes) <= INGRESS_BYTES_MAX).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.admitted.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    /// What somebody does with it, for the audit.
    deed: Option<Deed>,
    room: Room,
    answer: oneshot::Sender<Result<Answer, IngressError>>,
}

#[derive(Debug, Clone)]
enum Answer {
    /// With all works of the flush that have yielded.
    Submitted(Vec<Submitted>, Arc<[Yielded]>),
    Discarded(u64),
}

impl Ingress {
    /// Starts the loop. It ends when the last handle is dropped.
    pub(crate) fn start(
        ports: Arc<Ports>,
        live: Arc<Live>,
        hints: Teller,
        book: Arc<UsageBook>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(gather(Flusher { ports, live, hints, book }, waiting));
        Self { queue, admitted: Arc::default() }
    }

    /// Has a submission accepted, all of it or nothing.
    ///
    /// Works without a key are put into one partition of this node's choice.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, IngressError> {
        Ok(self.submit_claims(submission).await?.0)
    }

    /// The same, and tells which works have yielded to others that hold their claims; works of
    /// other callers may be among them.
    pub async fn submit_claims(
        &self,
        submission: Submission,
    ) -> Result<(Submitted, Arc<[Yielded]>), IngressError> {
        match self.ask(Request::Submit(submission), None).await? {
            Answer::Submitted(mut submitted, yielded) => {
                let submitted = submitted.pop().ok_or(IngressError::Unavailable)?;
                Ok((submitted, yielded))
            }
            Answer::Discarded(_) => Err(IngressError::Unavailable),
        }
    }

    /// Has a submission accepted that is somebody's deed.
    pub async fn submit_deed(
        &self,
        submission: Submission,
        deed: Deed,
    ) -> Result<Submitted, IngressError> {
        match self.ask(Request::Submit(submission), Some(deed)).await? {
            Answer::Submitted(mut submitted, _) => submitted.pop().ok_or(IngressError::Unavailable),
            Answer::Discarded(_) => Err(IngressError::Unavailable),
        }
    }

    /// Asks for an execution to be cancelled.
    pub async fn cancel(&self, cancel: Cancel, deed: Option<Deed>) -> Result<(), IngressError> {
        self.ask(Request::Cancel(cancel), deed).await.map(|_| ())
    }

    /// Forgets dead letters, and answers how many there were.
    pub async fn discard(
        &self,
        discards: Vec<Discard>,
        deed: Option<Deed>,
    ) -> Result<u64, IngressError> {
        match self.ask(Request::Discard(discards), deed).await? {
            Answer::Discarded(count) => Ok(count),
            Answer::Submitted(..) => Ok(0),
        }
    }

    /// Accepts what was made from intake rows and sets others aside, under the fence of the
    /// partition whose owner moves the intake.
    pub async fn move_intake(
        &self,
        fence: Fence,
        submissions: Vec<Submission>,
        refusals: Vec<IntakeRefusal>,
    ) -> Result<Vec<Submitted>, IngressError> {
        match self.ask(Request::Intake { fence, submissions, refusals }, None).await? {
            Answer::Submitted(submitted, _) => Ok(submitted),
            Answer::Discarded(_) => Err(IngressError::Unavailable),
        }
    }

    async fn ask(&self, request: Request, deed: Option<Deed>) -> Result<Answer, IngressError> {
        let (answer, answered) = oneshot::channel();
        let room = Room::take(&self.admitted, request.bytes()).ok_or(IngressError::Full)?;
        let waiting = Waiting { request, deed, room, answer };
        self.queue.try_send(waiting).map_err(|_| IngressError::Full)?;
        answered.await.unwrap_or(Err(IngressError::Unknown))
    }
}

/// Gathers what waits into flushes: as many at once as the store works on.
async fn gather(flusher: Flusher, mut waiting: mpsc::Receiver<Waiting>) {
    let flusher = Arc::new(flusher);
    let free = Arc::new(Semaphore::new(flusher.ports.store.commits_at_once().max(1)));
    let mut first = None;
    for turn in 0_usize.. {
        // What comes while nothing can be committed goes together.
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let Some(next) = (match first.take() {
            Some(left_over) => Some(left_over),
            None => waiting.recv().await,
        }) else {
            return;
        };
        let mut batch = vec![next];
        let mut works = batch[0].request.work_count();
        let mut bytes = batch[0].room.bytes;
        while works < FLUSH_WORKS_MAX
            && let Ok(next) = waiting.try_recv()
        {
            works += next.request.work_count();
            bytes += next.room.bytes;
            // The intake is moved under a fence that must not endanger its neighbours.
            let is_alone = next.needs_own_flush() || batch[0].needs_own_flush();
            if is_alone || bytes > FLUSH_BYTES_MAX {
                first = Some(next);
                break;
            }
            batch.push(next);
        }
        let flusher = flusher.clone();
        tokio::spawn(async move {
            flusher.flush(batch, turn).await;
            drop(permit);
        });
    }
}

struct Flusher {
    ports: Arc<Ports>,
    live: Arc<Live>,
    hints: Teller,
    book: Arc<UsageBook>,
}

impl Flusher {
    async fn flush(&self, mut batch: Vec<Waiting>, turn: usize) {
        let part = self.choose_part(turn);
        for waiting in &mut batch {
            waiting.request.place_keyless(part);
        }
        match self.commit(&batch).await {
            Ok(receipt) => {
                self.hand_over(&batch, &receipt);
                let yielded: Arc<[Yielded]> = receipt.yielded.into();
                let mut submitted = receipt.submissions.into_iter();
                for Waiting { request, answer, deed: _, room: _ } in batch {
                    let count = request.submissions().len();
                    let reply = match request {
                        Request::Discard(_) => Answer::Discarded(receipt.discarded),
                        Request::Submit(_) | Request::Cancel(_) | Request::Intake { .. } => {
                            let submitted = submitted.by_ref().take(count).collect();
                            Answer::Submitted(submitted, Arc::clone(&yielded))
                        }
                    };
                    // A caller that went away does not care any more.
                    let _ = answer.send(Ok(reply));
                }
            }
            // One of them is bad: it is searched for by halves, and the others do not suffer.
            Err(StoreError::Refused { .. }) if batch.len() > 1 => {
                let second = batch.split_off(batch.len() / 2);
                Box::pin(self.flush(batch, turn)).await;
                Box::pin(self.flush(second, turn)).await;
            }
            Err(error) => {
                let reply = match error {
                    StoreError::Refused { reason } => IngressError::Refused { reason },
                    StoreError::Unavailable { unknown: true, source } => {
                        warn!(%source, "whether a flush was written is unknown");
                        IngressError::Unknown
                    }
                    StoreError::Fenced { .. }
                    | StoreError::Conflict { .. }
                    | StoreError::Newer { .. }
                    | StoreError::Unavailable { .. }
                    | StoreError::Corrupt { .. } => {
                        warn!(%error, source = ?std::error::Error::source(&error), "nothing is accepted");
                        IngressError::Unavailable
                    }
                };
                for waiting in batch {
                    let _ = waiting.answer.send(Err(reply.clone()));
                }
            }
        }
    }

    /// Commits, and sends the same batch again while nobody can say whether it was written. The
    /// ids are the same, so a batch that was written is found to be there.
    async fn commit(&self, waiting: &[Waiting]) -> Result<Receipt, StoreError> {
        let mut tries = 0;
        loop {
            let batch = commit_of(waiting, self.live.node());
            match self.ports.store.commit(batch).await {
                Err(StoreError::Unavailable { unknown: true, .. })
                    if tries < UNKNOWN_RETRIES_MAX =>
                {
                    tries += 1;
                    self.ports.clock.sleep(UNKNOWN_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Tells the node of this process what it may start at once, and others where to look.
    /// Hints: lost ones are found by reading the log.
    fn hand_over(&self, waiting: &[Waiting], receipt: &Receipt) {
        for Waiting { request, .. } in waiting {
            if let Request::Cancel(cancel) = request {
                self.live.tell(Input::from(cancel));
                self.hints.tell(Hint::Cancels);
            }
        }
        let submissions = || waiting.iter().flat_map(|waiting| waiting.request.submissions());
        self.book.note(self.ports.clock.now(), submissions().zip(&receipt.submissions));
        tell_of_work(&self.hints, &self.live, submissions(), receipt);
        for input in arrivals(submissions(), receipt) {
            self.live.tell(input);
        }
    }

    /// A whole flush goes to one partition: touching many costs more than it spreads.
    fn choose_part(&self, turn: usize) -> Part {
        let own = self.live.homes();
        match own.len() {
            0 => {
                let all = usize::from(self.live.part_count());
                Part(u16::try_from(turn % all).unwrap_or(0))
            }
            count => own[turn % count],
        }
    }
}

impl Waiting {
    fn needs_own_flush(&self) -> bool {
        self.deed.is_some() || matches!(self.request, Request::Intake { .. } | Request::Discard(_))
    }
}

impl Request {
    fn submissions(&self) -> &[Submission] {
        match self {
            Self::Submit(submission) => std::slice::from_ref(submission),
            Self::Intake { submissions, .. } => submissions,
            Self::Cancel(_) | Self::Discard(_) => &[],
        }
    }

    fn work_count(&self) -> usize {
        self.submissions()
            .iter()
            .flat_map(|submission| &submission.ingests)
            .map(|ingest| ingest.works.len() + 1)
            .sum()
    }

    /// What it holds in memory, roughly: its texts, and something for each thing.
    fn bytes(&self) -> usize {
        const EACH: usize = 512;
        let event = |event: &Event| {
            let metadata = event.attributes.metadata.as_ref();
            EACH + event.data.as_str().len() + metadata.map_or(0, |json| json.as_str().len())
        };
        let work = |work: &Work| EACH + work.input.as_ref().map_or(0, |input| input.as_str().len());
        let ingests = self.submissions().iter().flat_map(|submission| &submission.ingests);
        let bytes = ingests.map(|ingest| {
            ingest.event.as_deref().map_or(0, event)
                + ingest.works.iter().map(|(_, one)| work(one)).sum::<usize>()
        });
        EACH + bytes.sum::<usize>()
    }

    fn place_keyless(&mut self, part: Part) {
        let submissions = match self {
            Self::Submit(submission) => std::slice::from_mut(submission),
            Self::Intake { submissions, .. } => submissions.as_mut_slice(),
            Self::Cancel(_) | Self::Discard(_) => return,
        };
        let ingests = submissions.iter_mut().flat_map(|submission| &mut submission.ingests);
        for (place, work) in ingests.flat_map(|ingest| &mut ingest.works) {
            if work.key.is_none() {
                *place = part;
            }
        }
    }
}

/// Tells the owners of partitions that their logs have grown, that there are new later items or that
/// batches are due, and everybody whose places were taken.
pub(crate) fn tell_of_work<'a>(
    hints: &Teller,
    live: &Live,
    submissions: impl Iterator<Item = &'a Submission>,
    receipt: &Receipt,
) {
    for cancel in &receipt.superseded {
        live.tell(Input::from(cancel));
        hints.tell(Hint::Cancels);
    }
    let own = live.parts();
    let yielded: HashSet<_> = receipt.yielded.iter().map(|one| one.execution).collect();
    let ingests = submissions.flat_map(|submission| &submission.ingests);
    let works = ingests.flat_map(|ingest| &ingest.works);
    let delayed = works.filter(|(_, work)| work.delay.is_some() && !yielded.contains(&work.id));
    let parts = delayed.map(|(part, _)| *part).chain(receipt.closed.iter().copied());
    for part in parts.collect::<BTreeSet<Part>>() {
        live.look_for_due(part);
        if !own.contains(&part) {
            hints.tell(Hint::Later(part));
        }
    }
    for (part, _) in receipt.first.iter().filter(|(part, _)| !own.contains(part)) {
        hints.tell(Hint::Work(*part));
    }
}

/// What a receipt means for the owners of the partitions: the stored works without a delay, with
/// the numbers that they got.
pub(crate) fn arrivals<'a>(
    submissions: impl Iterator<Item = &'a Submission>,
    receipt: &Receipt,
) -> Vec<Input> {
    let first: BTreeMap<Part, Seq> = receipt.first.iter().copied().collect();
    let yielded: HashSet<_> = receipt.yielded.iter().map(|yielded| yielded.execution).collect();
    let mut arrived: BTreeMap<Part, Vec<Item>> = BTreeMap::new();
    for (submission, submitted) in submissions.zip(&receipt.submissions) {
        let Submitted::Accepted(ingested) = submitted else { continue };
        let stored = submission.ingests.iter().zip(ingested);
        for (ingest, _) in stored.filter(|(_, outcome)| **outcome == Ingested::Stored) {
            let is_logged = |work: &Work| work.delay.is_none() && !yielded.contains(&work.id);
            for (part, work) in ingest.works.iter().filter(|(_, work)| is_logged(work)) {
                let Some(start) = first.get(part) else { continue };
                let items = arrived.entry(*part).or_default();
                items.push(Item {
                    work: work.clone(),
                    part: *part,
                    ord: after(*start, items.len()),
                    home: Home::Log,
                    attempts: Vec::new(),
                    losses: 0,
                    event: ingest.event.clone(),
                });
            }
        }
    }
    let inputs = arrived.into_iter().filter_map(|(part, items)| {
        let from = *first.get(&part)?;
        Some(Input::Arrived { part, from, next: after(from, items.len()), items })
    });
    inputs.collect()
}

fn after(seq: Seq, count: usize) -> Seq {
    Seq(seq.0 + i64::try_from(count).unwrap_or(0))
}

fn commit_of(waiting: &[Waiting], node: Option<actions_domain::id::NodeId>) -> Commit {
    let mut commit = Commit { node, ..Commit::default() };
    for Waiting { request, deed, .. } in waiting {
        commit.deed = commit.deed.or_else(|| deed.clone());
        match request {
            Request::Submit(submission) => commit.submissions.push(submission.clone()),
            Request::Cancel(cancel) => commit.cancels.push(cancel.clone()),
            Request::Discard(discards) => commit.discards.extend_from_slice(discards),
            Request::Intake { fence, submissions, refusals } => {
                commit.fences.push(*fence);
                commit.submissions.extend_from_slice(submissions);
                commit.refusals.extend_from_slice(refusals);
            }
        }
    }
    commit
}

#[cfg(test)]
mod tests {
    use actions_domain::limits::INGRESS_BYTES_MAX;

    use super::Room;

    #[test]
    fn what_waits_is_limited_by_its_bytes_and_gives_its_room_back() {
        let admitted = Default::default();
        let whole = Room::take(&admitted, INGRESS_BYTES_MAX + 1).expect("the first may take more");
        assert!(Room::take(&admitted, 1).is_none());
        drop(whole);
        let half = Room::take(&admitted, INGRESS_BYTES_MAX / 2).expect("there is room again");
        assert!(Room::take(&admitted, INGRESS_BYTES_MAX).is_none());
        assert!(Room::take(&admitted, INGRESS_BYTES_MAX / 2).is_some());
        drop(half);
    }
}
