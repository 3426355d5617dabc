//! Who gathers with whom, in memory.

use actions_domain::Timestamp;
use actions_domain::gathering::{Gathered, Gathering, Member, OpenBatch};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::terms::{Conflict, Yielded};
use actions_domain::work::{Ingest, Receipt, Work};

use super::{MemberRow, Place, Tables};

impl Tables {
    /// Lets go of the works of an ingest that join batches, and lets the others begin some.
    pub(super) fn gather(
        &mut self,
        tenant: TenantId,
        ingest: &mut Ingest,
        now: Timestamp,
        receipt: &mut Receipt,
    ) {
        if ingest.works.iter().all(|(_, work)| work.open_key().is_none()) {
            return;
        }
        for (part, work) in std::mem::take(&mut ingest.works) {
            let gathering = work.terms.as_ref().and_then(|terms| terms.gathering);
            let (Some(gathering), Some(key)) = (gathering, work.open_key()) else {
                ingest.works.push((part, work));
                continue;
            };
            let member = Member::of(&work, ingest.event.as_deref());
            let bytes = member.envelope.as_str().len();
            let known = self.batches.get(&(tenant, key)).copied();
            // What is to be cancelled is joined no more either.
            let known = known.filter(|known| {
                self.is_unfinished(known.head) && !self.cancels.contains_key(&known.head)
            });
            let batch = match Gathering::judge(work.id, part, bytes, known) {
                Gathered::Joins(batch) => {
                    let (execution, on_conflict) = (work.id, Conflict::Existing);
                    let to = batch.head;
                    receipt.yielded.push(Yielded { execution, to, on_conflict, has_joined: true });
                    let row = MemberRow { tenant, action: work.action, member };
                    self.members.entry(to).or_default().push(row);
                    batch
                }
                Gathered::Begins { batch, closes } => {
                    self.hurry(closes, now, receipt);
                    // At once, because the next one may have the same key.
                    self.enqueue(part, work, now, &mut receipt.first);
                    batch
                }
            };
            if batch.is_full(gathering.size_max) {
                self.batches.remove(&(tenant, key));
                self.hurry(Some(batch), now, receipt);
            } else {
                self.batches.insert((tenant, key), batch);
            }
        }
    }

    /// Takes from a batch that nobody may join any more what it waits for.
    fn hurry(&mut self, closed: Option<OpenBatch>, now: Timestamp, receipt: &mut Receipt) {
        let Some(OpenBatch { head, part, .. }) = closed else { return };
        if let Some(Place::Later(row)) = self.places.get_mut(&head) {
            row.due_at = row.due_at.min(now);
            receipt.closed.push(part);
        }
    }

    /// Lets nobody join any more: the head begins, or has ended.
    pub(super) fn close(&mut self, work: &Work) {
        let Some(key) = work.open_key() else { return };
        let at = (work.tenant, key);
        if self.batches.get(&at).is_some_and(|batch| batch.head == work.id) {
            self.batches.remove(&at);
        }
    }

    /// Lets what repeats a dead batch have its members.
    pub(super) fn inherit(&mut self, dead: ExecutionId, ingest: &Ingest) {
        let Some(rows) = self.members.get(&dead).cloned() else { return };
        for (_, work) in &ingest.works {
            if work.terms.as_ref().is_some_and(|terms| terms.gathering.is_some()) {
                self.members.insert(work.id, rows.clone());
            }
        }
    }
}
