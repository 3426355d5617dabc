//! Asks the other processes why an execution is not running: only the node that has it knows.
//!
//! Questions and answers travel as hints do, so either may be lost. A question is repeated, and one
//! that nobody answers in time has no answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actions_domain::dispatch::Waiting;
use actions_domain::id::ExecutionId;
use actions_domain::ports::hints::Hint;
use tokio::sync::oneshot;

use crate::app::App;

/// How long somebody is asked, and how often.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Who waits for an answer of another process.
#[derive(Default)]
pub struct Questions {
    open: Mutex<HashMap<ExecutionId, Vec<oneshot::Sender<Waiting>>>>,
}

impl Questions {
    fn open(&self, execution: ExecutionId) -> oneshot::Receiver<Waiting> {
        let (answer, answered) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(execution).or_default().push(answer);
        answered
    }

    /// Hands an answer to everybody who waits for it.
    pub(crate) fn answered(&self, execution: ExecutionId, waiting: &Waiting) {
        let asked = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&execution);
        for answer in asked.into_iter().flatten() {
            // Who asked may have gone.
            let _ = answer.send(waiting.clone());
        }
    }

    /// Forgets those who have gone.
    fn close(&self, execution: ExecutionId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = open.get_mut(&execution) {
            asked.retain(|answer| !answer.is_closed());
            if asked.is_empty() {
                open.remove(&execution);
            }
        }
    }
}

/// Why an execution that is not here is not running, as the node says that has it.
pub(crate) async fn ask(app: &App, execution: ExecutionId) -> Option<Waiting> {
    if app.live.parts().len() >= usize::from(app.live.part_count()) {
        // There is nobody else.
        return None;
    }
    let answered = app.questions.open(execution);
    let told = tokio::select! {
        told = answered => told.ok(),
        () = insist(app, execution) => None,
        () = relay(app) => None,
        () = app.ports.clock.sleep(ANSWER_MAX) => None,
    };
    app.questions.close(execution);
    told
}

/// Answers somebody else's question, if the execution is here.
pub(crate) async fn answer(app: &App, execution: ExecutionId) {
    if let Some(waiting) = app.live.waiting(execution).await {
        app.hints.tell(Hint::Because(execution, waiting));
    }
}

/// Asks again and again: who listens only now has missed what was asked before.
async fn insist(app: &App, execution: ExecutionId) {
    loop {
        app.hints.tell(Hint::Why(execution));
        app.ports.clock.sleep(ASK_EVERY).await;
    }
}

/// Listens where no node does.
async fn relay(app: &App) {
    loop {
        if app.live.node().is_some() {
            return std::future::pending().await;
        }
        match app.ports.hints.next().await {
            Ok(hints) => {
                for hint in hints {
                    if let Hint::Because(execution, waiting) = hint {
                        app.questions.answered(execution, &waiting);
                    }
                }
            }
            Err(_unheard) => app.ports.clock.sleep(ASK_EVERY).await,
        }
    }
}
