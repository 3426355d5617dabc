//! What came in on this process and is not written down yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::id::TenantId;
use actions_domain::usage::{Day, DayUsage, Usage};
use actions_domain::work::{Ingested, Submission, Submitted};

/// Sums by tenant and day. They are lost with the process.
#[derive(Debug, Default)]
pub(crate) struct UsageBook {
    sums: Mutex<BTreeMap<(TenantId, Day), Usage>>,
}

impl UsageBook {
    /// Notes what of these submissions was stored: once for each flush.
    pub(crate) fn note<'a>(
        &self,
        now: Timestamp,
        stored: impl Iterator<Item = (&'a Submission, &'a Submitted)>,
    ) {
        let day = Day::of(now);
        let mut sums = self.lock();
        for (submission, submitted) in stored {
            let usage = usage_of(submission, submitted);
            if usage != Usage::default() {
                sums.entry((submission.tenant, day)).or_default().add(usage);
            }
        }
    }

    /// What of a tenant is not written down yet.
    pub(crate) fn unwritten(&self, tenant: TenantId) -> Usage {
        let sums = self.lock();
        let own = sums.range((tenant, Day(i32::MIN))..=(tenant, Day(i32::MAX)));
        own.fold(Usage::default(), |mut sum, (_, usage)| {
            sum.add(*usage);
            sum
        })
    }

    /// Takes everything, to write it down.
    pub(crate) fn take(&self) -> Vec<DayUsage> {
        let sums = std::mem::take(&mut *self.lock());
        let days = sums.into_iter().map(|((tenant, day), usage)| DayUsage { tenant, day, usage });
        days.collect()
    }

    /// Puts back what was not written.
    pub(crate) fn put_back(&self, days: Vec<DayUsage>) {
        let mut sums = self.lock();
        for DayUsage { tenant, day, usage } in days {
            sums.entry((tenant, day)).or_default().add(usage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TenantId, Day), Usage>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usage_of(submission: &Submission, submitted: &Submitted) -> Usage {
    let mut usage = Usage::default();
    let Submitted::Accepted(outcomes) = submitted else { return usage };
    let stored = submission.ingests.iter().zip(outcomes);
    for (ingest, _) in stored.filter(|(_, outcome)| **outcome == Ingested::Stored) {
        let inputs = ingest.works.iter().filter_map(|(_, work)| work.input.as_ref());
        let inputs: usize = inputs.map(|input| input.as_str().len()).sum();
        usage.add(Usage {
            events: u64::from(ingest.event.is_some()),
            bytes: (ingest.event.as_deref().map_or(0, event_bytes) + inputs) as u64,
            executions: ingest.works.len() as u64,
        });
    }
    usage
}

/// What somebody sent in it that has no small limit of its own.
fn event_bytes(event: &Event) -> usize {
    let metadata = event.attributes.metadata.as_ref();
    event.data.as_str().len() + metadata.map_or(0, |json| json.as_str().len())
}
