//! Removes what deleted tenants had, a piece at a time.
//!
//! Only the node that owns the first partition does. How far it is stands in the store with every
//! piece, so whoever goes on after a crash, or when two nodes believe that it is their turn, repeats
//! nothing.

use std::time::Duration;

use actions_domain::audit::{Act, ActKind};
use actions_domain::id::TenantId;
use actions_domain::ports::deletions::Erased;
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::deletion::TenantDeletion;
use actions_domain::work::Part;
use tracing::info;

use super::writer::Lost;
use crate::app::App;
use crate::patience::Health;

/// How often it is looked whether there is something to remove.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a piece: what other tenants write comes in between.
const PIECE_PAUSE: Duration = Duration::from_millis(5);
/// The pause while somebody may still write for a tenant that is gone.
const WAIT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Eraser {
    pub(crate) app: App,
}

impl Eraser {
    pub(crate) async fn run(self) -> Lost {
        let mut health = Health::new("deleted tenants wait", LOOK_EVERY, LOOK_EVERY);
        loop {
            let turn = self.turn().await;
            let pause = health.note(&turn).or_else(|| turn.ok()).unwrap_or(LOOK_EVERY);
            tokio::select! {
                () = self.app.ports.clock.sleep(pause) => {}
                () = self.app.deletions_begun.notified() => {}
            }
        }
    }

    /// Does a piece of each deletion, and answers when to go on.
    async fn turn(&self) -> Result<Duration, StoreError> {
        if !self.app.live.parts().contains(&Part(0)) {
            return Ok(LOOK_EVERY);
        }
        let (mut pause, mut failed) = (LOOK_EVERY, None);
        for deletion in self.app.ports.deletions.open_deletions().await? {
            match self.go_on(&deletion).await {
                Ok(wanted) => pause = pause.min(wanted),
                // The others do not wait for this one.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(pause), Err)
    }

    async fn go_on(&self, deletion: &TenantDeletion) -> Result<Duration, StoreError> {
        let deletions = &self.app.ports.deletions;
        match deletions.erase(deletion.tenant).await? {
            Erased::Waits => return Ok(WAIT_PAUSE),
            Erased::Rows(_) => return Ok(PIECE_PAUSE),
            Erased::Nothing => {}
        }
        let now = self.app.ports.clock.now();
        let subject = format!("tenant:{}", deletion.slug);
        let act = Act::of_engine(TenantId::ADMIN, now, ActKind::TenantDeleted, subject);
        match deletions.finish_deletion(deletion.tenant, now, &act).await? {
            Some(finished) => {
                let rows: u64 = finished.removed.values().sum();
                info!(tenant = %finished.slug, rows, "a tenant is deleted, and nothing is left");
                Ok(PIECE_PAUSE)
            }
            // Something came late.
            None => Ok(WAIT_PAUSE),
        }
    }
}
