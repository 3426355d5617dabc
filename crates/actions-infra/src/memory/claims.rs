//! Who is the only one for something, in memory.

use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::terms::{Claim, ClaimVerdict, Terms, YieldNote, Yielded};
use actions_domain::work::{Cancel, Ingest, Part, Receipt, Work};

use super::{Place, Tables};

impl Tables {
    /// Lets go of the works of an ingest that yield to others, and lets the others hold what they
    /// claim.
    pub(super) fn claim(
        &mut self,
        tenant: TenantId,
        ingest: &mut Ingest,
        now: Timestamp,
        receipt: &mut Receipt,
    ) {
        if ingest.works.iter().all(|(_, work)| claim_of(work).is_none()) {
            return;
        }
        let works = std::mem::take(&mut ingest.works);
        let event = ingest.event.as_ref().map(|event| event.id);
        for (part, work) in works {
            let Some(claim) = claim_of(&work) else {
                ingest.works.push((part, work));
                continue;
            };
            let known = self.claims.get(&(tenant, claim.key)).copied();
            let known = known.map(|known| (known, self.is_unfinished(known.execution)));
            match claim.judge(work.id, work.delay, known, now) {
                ClaimVerdict::Yields { to } => {
                    let (execution, on_conflict) = (work.id, claim.on_conflict);
                    let has_joined = false;
                    receipt.yielded.push(Yielded { execution, to, on_conflict, has_joined });
                    if let Some(event) = event {
                        let note = YieldNote { action: work.action, to, on_conflict, has_joined };
                        self.yields_of_event.entry(event).or_default().push(note);
                    }
                }
                ClaimVerdict::Holds { holder, delay, supersedes } => {
                    self.claims.insert((tenant, claim.key), holder);
                    if let Some(former) = supersedes {
                        self.supersede(former, work.id);
                        let cancel = Cancel { tenant, execution: former, by: Some(work.id) };
                        receipt.superseded.push(cancel);
                    }
                    let work = if delay == work.delay {
                        work
                    } else {
                        Arc::new(Work { delay, ..(*work).clone() })
                    };
                    // At once, because the next one may have the same key.
                    self.enqueue(part, work, now, &mut receipt.first);
                }
            }
        }
    }

    /// Notes with an execution who takes its place.
    fn supersede(&mut self, former: ExecutionId, by: ExecutionId) {
        self.superseded.insert(former, by);
        let noted = |work: &Arc<Work>| {
            let terms = work.terms.as_deref().cloned().unwrap_or_default();
            let terms = Some(Arc::new(Terms { superseded_by: Some(by), ..terms }));
            Arc::new(Work { terms, ..(**work).clone() })
        };
        match self.places.get_mut(&former) {
            Some(Place::Log { part: Part(part), seq }) => {
                let log = self.parts.get_mut(usize::from(*part)).map(|row| &mut row.log);
                if let Some(work) = log.and_then(|log| log.get_mut(seq)) {
                    *work = noted(work);
                }
            }
            Some(Place::Later(row)) => row.work = noted(&row.work),
            Some(Place::Finished(_)) | None => {}
        }
    }
}

fn claim_of(work: &Work) -> Option<Claim> {
    work.terms.as_ref().and_then(|terms| terms.claim)
}
