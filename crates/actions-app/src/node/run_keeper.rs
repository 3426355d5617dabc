//! Leads runs on: reads what the runs of this node's partitions were told, decides what follows, and
//! writes all of it in one commit.
//!
//! What a run was told stays in its inbox until the commit that takes it. So whatever is lost here,
//! memory, lease or process, the next look finds it again, and finds it only while it was not taken.
//! A run that nothing happens to costs nothing but its rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::dispatch::Input;
use actions_domain::flow::record::{RunRecord, RunTimer, Waiting};
use actions_domain::id::{NodeId, RunId, TenantId};
use actions_domain::ports::hints::Hint;
use actions_domain::ports::runs::Inbox;
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Commit, Fence, Part, Submission};
use tracing::warn;

use self::cache::{Cache, Found};
use self::turn::{Outcome, Turning};
use super::writer::Lost;
use crate::app::App;
use crate::ingress::{arrivals, tell_of_work};

mod cache;
mod turn;

/// What is taken at once: some ten milliseconds of work for a store.
const TAKEN_MAX: u32 = 256;
/// How far ahead timers are read, so that the next one is waited for and not looked for.
const AHEAD: Duration = Duration::from_millis(500);
/// How long a run is left alone that cannot go on: its data are refused, or this program cannot read
/// it and a newer one may.
const HELD_FOR: Duration = Duration::from_secs(30);
/// The pause after something went wrong.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct RunKeeper {
    app: App,
    node: NodeId,
    poll: Duration,
    cache: Cache,
    /// Runs that cannot go on at the moment, and until when nobody looks at them.
    held: BTreeMap<RunId, Timestamp>,
    /// A commit of several turns failed: they are tried one by one, to find the one that is bad.
    is_careful: bool,
}

/// Everything that one run takes in one turn.
struct Taking {
    tenant: TenantId,
    part: Part,
    waiting: Vec<Waiting>,
    timers: Vec<RunTimer>,
}

/// When to look again.
enum Next {
    /// There may be more.
    AtOnce,
    After(Duration),
}

impl RunKeeper {
    pub(crate) fn new(app: App, node: NodeId, poll: Duration) -> Self {
        Self { app, node, poll, cache: Cache::default(), held: BTreeMap::new(), is_careful: false }
    }

    pub(crate) async fn run(mut self) -> Lost {
        let mut is_away = false;
        loop {
            let outcome = self.look().await;
            // One line per change of state, not one per turn.
            if let Err(error) = &outcome
                && !is_away
            {
                warn!(%error, source = ?std::error::Error::source(error), "runs wait for the store");
            }
            is_away = outcome.is_err();
            let pause = match outcome {
                Ok(Next::AtOnce) => continue,
                Ok(Next::After(pause)) => pause.min(self.poll),
                // Nobody knows what of it was written, or who owns the runs by now.
                Err(_) => {
                    self.cache.clear();
                    PAUSE
                }
            };
            tokio::select! {
                () = self.app.ports.clock.sleep(pause) => {}
                () = self.app.runs_told.notified() => {}
            }
        }
    }

    async fn look(&mut self) -> Result<Next, StoreError> {
        let fences: BTreeMap<Part, Fence> = self.fences();
        self.cache.keep(&fences);
        if fences.is_empty() {
            return Ok(Next::After(self.poll));
        }
        let parts: Vec<Part> = fences.keys().copied().collect();
        let held = self.held();
        let inbox = self.app.ports.runs.inbox(&parts, &held, TAKEN_MAX, AHEAD).await?;
        let is_cut = inbox.is_cut;
        let next_timer = inbox.timers.iter().find(|timer| timer.due_at > inbox.now);
        let next_timer = next_timer.map(|timer| until(inbox.now, timer.due_at));
        let now = inbox.now;
        let mut takings = takings(inbox);
        self.is_careful &= takings.len() > 1;
        let goes_on = is_cut || self.is_careful;
        if self.is_careful
            && let Some(second) = takings.keys().nth(1).copied()
        {
            takings.split_off(&second);
        }
        if takings.is_empty() {
            return Ok(Next::After(next_timer.unwrap_or(self.poll)));
        }
        let outcomes = self.decide(takings, &fences, now).await?;
        let has_taken = !outcomes.is_empty();
        if has_taken {
            self.write_carefully(outcomes, &fences).await?;
        }
        Ok(if goes_on && has_taken {
            Next::AtOnce
        } else {
            Next::After(next_timer.unwrap_or(self.poll))
        })
    }

    /// Runs that nobody looks at now.
    fn held(&mut self) -> Vec<RunId> {
        let now = self.app.ports.clock.now();
        self.held.retain(|_, until| *until > now);
        self.held.keys().copied().collect()
    }

    fn hold(&mut self, run: RunId) {
        self.held.insert(run, self.app.ports.clock.now() + HELD_FOR);
    }

    /// Writes turns. Where that fails for another reason than a lost lease, it may be for one of
    /// them: then each is tried by itself, and the one that fails again waits.
    async fn write_carefully(
        &mut self,
        outcomes: Vec<Outcome>,
        fences: &BTreeMap<Part, Fence>,
    ) -> Result<(), StoreError> {
        let first = outcomes.first().map(Outcome::run);
        let written = self.write(outcomes, fences).await;
        match (&written, first) {
            (Ok(()) | Err(StoreError::Fenced { .. }), _) | (_, None) => {}
            (Err(_), Some(run)) if self.is_careful => self.hold(run),
            (Err(_), Some(_)) => self.is_careful = true,
        }
        written
    }

    /// The partitions where runs go on. In those that are about to be given back, nothing begins.
    fn fences(&self) -> BTreeMap<Part, Fence> {
        let homes: BTreeSet<Part> = self.app.live.homes().into_iter().collect();
        let fences = self.app.live.fences().into_iter();
        fences.filter(|f| homes.contains(&f.part)).map(|f| (f.part, f)).collect()
    }

    async fn decide(
        &mut self,
        takings: BTreeMap<RunId, Taking>,
        fences: &BTreeMap<Part, Fence>,
        now: Timestamp,
    ) -> Result<Vec<Outcome>, StoreError> {
        let missing: Vec<(TenantId, RunId)> = (takings.iter())
            .filter(|(run, _)| !self.cache.has(**run))
            .map(|(run, taking)| (taking.tenant, *run))
            .collect();
        let mut records: HashMap<RunId, RunRecord> = HashMap::new();
        if !missing.is_empty() {
            let found = self.app.ports.runs.find_runs(&missing).await?;
            records.extend(found.into_iter().map(|record| (record.id, record)));
        }
        let mut outcomes = Vec::with_capacity(takings.len());
        for (run, taking) in takings {
            let Some(fence) = fences.get(&taking.part) else { continue };
            let loaded = match (self.cache.take(run), records.remove(&run)) {
                (Some(loaded), _) => Some(loaded),
                (None, Some(record)) => match Cache::load(&self.app, record, *fence).await {
                    Ok(Found::Run(loaded)) => Some(loaded),
                    Ok(Found::Unknown) => {
                        self.hold(run);
                        continue;
                    }
                    // Nobody else waits for it.
                    Err(error @ (StoreError::Corrupt { .. } | StoreError::Newer { .. })) => {
                        warn!(%run, %error, "a run cannot be read");
                        self.hold(run);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                (None, None) => None,
            };
            outcomes.push(Turning::new(&self.app, run, &taking, now).take(loaded, taking));
        }
        Ok(outcomes)
    }

    async fn write(
        &mut self,
        outcomes: Vec<Outcome>,
        fences: &BTreeMap<Part, Fence>,
    ) -> Result<(), StoreError> {
        let commit = self.commit_of(&outcomes, fences);
        let submissions = commit.submissions.clone();
        match self.app.ports.store.commit(commit).await {
            Ok(receipt) => {
                self.tell(&outcomes);
                tell_of_work(&self.app.hints, &self.app.live, submissions.iter(), &receipt);
                for input in arrivals(submissions.iter(), &receipt) {
                    self.app.live.tell(input);
                }
                for outcome in outcomes {
                    self.cache.put(outcome.into_loaded());
                }
                Ok(())
            }
            // One of them is bad for its data. It must not hold up the others.
            Err(StoreError::Refused { reason }) => match <[Outcome; 1]>::try_from(outcomes) {
                Ok([only]) => {
                    warn!(run = %only.run(), reason, "the store refuses what a run leads to");
                    self.hold(only.run());
                    Ok(())
                }
                Err(outcomes) => {
                    for outcome in outcomes {
                        Box::pin(self.write(vec![outcome], fences)).await?;
                    }
                    Ok(())
                }
            },
            Err(error) => Err(error),
        }
    }

    fn commit_of(&self, outcomes: &[Outcome], fences: &BTreeMap<Part, Fence>) -> Commit {
        let mut commit = Commit { node: Some(self.node), ..Commit::default() };
        let mut parts = BTreeSet::new();
        for outcome in outcomes {
            parts.insert(outcome.turn.part);
            commit.turns.push(outcome.turn.clone());
            commit.starts.extend_from_slice(&outcome.starts);
            commit.tells.extend_from_slice(&outcome.tells);
            commit.cancels.extend_from_slice(&outcome.cancels);
            if !outcome.works.is_empty() {
                let ingests = outcome.works.clone();
                commit.submissions.push(Submission::new(outcome.turn.tenant, None, ingests));
            }
        }
        commit.fences = parts.iter().filter_map(|part| fences.get(part).copied()).collect();
        commit
    }

    /// Tells everybody who waits for this commit.
    fn tell(&self, outcomes: &[Outcome]) {
        let mut parts = BTreeSet::new();
        for outcome in outcomes {
            parts.extend(outcome.starts.iter().map(|start| start.part));
            parts.extend(outcome.tells.iter().map(|tell| tell.part));
            for cancel in &outcome.cancels {
                self.app.live.tell(Input::from(cancel));
                self.app.hints.tell(Hint::Cancels);
            }
        }
        self.app.tell_of_runs(parts);
        let ended = outcomes.iter().filter(|outcome| outcome.has_ended());
        self.app.run_ends.ended(ended.map(Outcome::run));
    }
}

/// What each run takes, in order. What is not due yet stays.
fn takings(inbox: Inbox) -> BTreeMap<RunId, Taking> {
    let mut all: BTreeMap<RunId, Taking> = BTreeMap::new();
    let new = |tenant, part| Taking { tenant, part, waiting: Vec::new(), timers: Vec::new() };
    for row in inbox.waiting {
        let (tenant, part) = (row.tenant, row.part);
        all.entry(row.run).or_insert_with(|| new(tenant, part)).waiting.push(row);
    }
    for timer in inbox.timers.into_iter().filter(|timer| timer.due_at <= inbox.now) {
        let (tenant, part) = (timer.tenant, timer.part);
        all.entry(timer.run).or_insert_with(|| new(tenant, part)).timers.push(timer);
    }
    all
}

fn until(now: Timestamp, due_at: Timestamp) -> Duration {
    (due_at - now).to_std().unwrap_or_default()
}
