//! A planted bug: a store that writes for whoever asks, as if nobody compared epochs.

use std::collections::BTreeMap;

use actions_domain::id::NodeId;
use actions_domain::ports::store::{Store, StoreError};
use actions_domain::work::{Commit, Fence, Part};
use actions_infra::memory::Memory;
use futures_util::FutureExt;

/// Who owns what, as the last claim said.
pub(super) type Owners = BTreeMap<Part, (NodeId, Fence)>;

/// Writes each partition's share under the fence of its true owner.
pub(super) fn commit_without_fence(
    store: &Memory,
    owners: &Owners,
    batch: &Commit,
) -> Result<(), StoreError> {
    for fence in &batch.fences {
        let Some((node, true_fence)) = owners.get(&fence.part) else { continue };
        let part = fence.part;
        let share = Commit {
            node: Some(*node),
            fences: vec![*true_fence],
            marks: batch.marks.iter().filter(|item| item.part == part).cloned().collect(),
            retries: (batch.retries.iter())
                .filter(|later| later.item.part == part)
                .cloned()
                .collect(),
            finishes: (batch.finishes.iter())
                .filter(|finish| finish.item.part == part)
                .cloned()
                .collect(),
            ..Commit::default()
        };
        store.commit(share).now_or_never().expect("memory answers at once")?;
    }
    Ok(())
}
