//! Tells other processes where to look. Nothing depends on it: a hint that is lost costs them
//! the time until their next poll.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::ports::hints::Hint;
use tokio::sync::mpsc;

use crate::app::Ports;
use crate::patience::Health;

/// Hints that may wait. Beyond, they are lost.
const QUEUE_MAX: usize = 1_024;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A way to tell hints that never waits. Cheap to clone.
#[derive(Clone)]
pub struct Teller {
    queue: mpsc::Sender<Hint>,
}

impl Teller {
    /// Starts the loop. It ends when the last teller is dropped.
    pub(crate) fn start(ports: &Ports) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (hints, clock) = (ports.hints.clone(), ports.clock.clone());
        tokio::spawn(async move {
            let mut waiting = waiting;
            let what = "hints are not told; others find out by polling";
            let mut health = Health::new(what, PAUSE_MIN, PAUSE_MAX);
            while let Some(first) = waiting.recv().await {
                // What has gathered while others were told goes along, once each.
                let mut gathered = HashSet::from([first]);
                gathered.extend(std::iter::from_fn(|| waiting.try_recv().ok()));
                let gathered: Vec<Hint> = gathered.into_iter().collect();
                let told = hints.tell(&gathered).await;
                if let Some(pause) = health.note(&told) {
                    clock.sleep(pause).await;
                }
            }
        });
        Self { queue }
    }

    pub(crate) fn tell(&self, hint: Hint) {
        // One that finds no room is lost, like any other may be.
        let _ = self.queue.try_send(hint);
    }
}

/// Listens to hints, and hands them on until nobody takes them.
pub(crate) async fn listen(ports: Arc<Ports>, heard: mpsc::UnboundedSender<Hint>) {
    let hints = Arc::clone(&ports.hints);
    let what = "hints are not heard; polling finds what is new";
    let mut health = Health::new(what, PAUSE_MIN, PAUSE_MAX);
    loop {
        let next = hints.next().await;
        let pause = health.note(&next);
        for hint in next.unwrap_or_default() {
            if heard.send(hint).is_err() {
                return;
            }
        }
        if let Some(pause) = pause {
            ports.clock.sleep(pause).await;
        }
    }
}
