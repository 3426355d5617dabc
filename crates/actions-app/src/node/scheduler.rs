//! The loop around the [`Dispatcher`]: hands it what happened and does what it says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actions_domain::dispatch::{Dispatcher, Effect, Input, Settings, Start, Token};
use actions_domain::id::{ExecutionId, NodeId};
use actions_domain::work::{Fence, Seq};
use metrics::{counter, gauge};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::attempts::{Attempted, attempt};
use super::limits::Limits;
use super::live::Message;
use super::loader::Load;
use super::permit_keeper::Need;
use super::writer::{Lost, Write, Writes};
use crate::app::App;

/// Messages taken at once before effects are looked at again.
const MESSAGES_MAX: usize = 256;

pub(crate) struct Scheduler {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) settings: Settings,
    pub(crate) own: mpsc::UnboundedSender<Message>,
    pub(crate) writes: Writes,
    pub(crate) loads: mpsc::UnboundedSender<Load>,
    pub(crate) needs: mpsc::UnboundedSender<Need>,
    pub(crate) gives: mpsc::UnboundedSender<(Fence, Seq)>,
    pub(crate) results: Arc<Semaphore>,
    /// What others may know of the loop, without asking it.
    pub(crate) status: watch::Sender<SchedulerStatus>,
}

/// The state of the loop after its last step.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchedulerStatus {
    /// Draining, with nothing left that runs or waits for a commit.
    pub(crate) is_drained: bool,
    pub(crate) lows: Vec<(Fence, Seq)>,
    /// Attempts that run, and ends and retries that are being committed.
    pub(crate) under_way: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// What may be given back as clean, once it is drained.
    pub(crate) clean: Vec<Fence>,
}

impl Scheduler {
    pub(crate) async fn run(self, mut messages: mpsc::UnboundedReceiver<Message>) -> Lost {
        let mut dispatcher = Dispatcher::new(self.settings);
        let mut running = Running::default();
        let mut limits = Limits::default();
        let mut batch = Vec::with_capacity(MESSAGES_MAX);
        loop {
            let now = self.app.ports.clock.now();
            let tick = dispatcher.next_tick();
            tokio::select! {
                biased;
                count = messages.recv_many(&mut batch, MESSAGES_MAX) => {
                    if count == 0 {
                        return Lost::LoopEnded;
                    }
                }
                () = self.sleep_until(tick, now) => batch.push(Message::Input(Box::new(Input::Tick))),
            }
            for input in limits.news(&self.app.catalogue, &self.app.quotas) {
                self.take(&mut dispatcher, &mut running, Message::Input(Box::new(input)));
            }
            for message in batch.drain(..) {
                self.take(&mut dispatcher, &mut running, message);
            }
            self.app.live.leave(dispatcher.leaving());
            self.status.send_modify(|status| {
                status.is_drained = running.is_draining && dispatcher.is_idle();
                status.lows = dispatcher.lows();
                status.under_way = dispatcher.under_way();
                (status.running, status.waiting) = dispatcher.load();
                status.clean = if status.is_drained { dispatcher.clean() } else { Vec::new() };
            });
        }
    }

    async fn sleep_until(
        &self,
        due: Option<actions_domain::Timestamp>,
        now: actions_domain::Timestamp,
    ) {
        match due {
            Some(due) => self.app.ports.clock.sleep((due - now).to_std().unwrap_or_default()).await,
            None => std::future::pending().await,
        }
    }

    fn take(&self, dispatcher: &mut Dispatcher, running: &mut Running, message: Message) {
        match message {
            Message::Input(input) => {
                running.note(&input);
                let now = self.app.ports.clock.now();
                for effect in dispatcher.step(*input, now) {
                    self.carry_out(running, effect);
                }
            }
            // Whoever asked may have gone.
            Message::Waiting(execution, answer) => {
                let _ = answer.send(dispatcher.waiting(execution));
            }
            Message::Depths(answer) => {
                let depths = dispatcher.depths();
                gauge!("actions_running").set(depths.running as f64);
                gauge!("actions_queue_depth").set(depths.waiting as f64);
                let _ = answer.send(depths);
            }
        }
    }

    fn carry_out(&self, running: &mut Running, effect: Effect) {
        match effect {
            Effect::Start(start) => self.start(running, start),
            Effect::Abort(token) => {
                if let Some(task) = running.attempts.remove(&token) {
                    task.abort();
                }
            }
            Effect::Mark { fence, items } => self.writes.send(Write::Mark { fence, items }),
            Effect::Load { part, from, limit, skip } => {
                self.load(Load::Log { part, from, limit, skip });
            }
            Effect::LoadDue { part, ahead, limit } => self.load(Load::Due { part, ahead, limit }),
            Effect::Finish(finish) => {
                let fence = Fence { part: finish.item.part, epoch: finish.epoch };
                let has_run = running.holding.remove(&finish.item.work.id);
                self.writes.send(Write::Finish { fence, finish, has_run });
            }
            Effect::Retry { fence, later } => {
                let has_run = running.holding.remove(&later.item.work.id);
                self.writes.send(Write::Retry { fence, later, has_run });
            }
            // The session ends with its lease keeper.
            Effect::GiveBack { fence, low } => drop(self.gives.send((fence, low))),
            Effect::Exchange(asks) => self.need(Need::Shares(asks)),
            Effect::Draw(draws) => self.need(Need::Starts(draws)),
        }
    }

    fn start(&self, running: &mut Running, start: Start) {
        counter!("actions_attempts_total").increment(1);
        let token = start.token;
        running.holding.insert(start.item.work.id);
        let (app, node) = (self.app.clone(), self.node);
        let (messages, writes) = (self.own.clone(), self.writes.clone());
        let results = self.results.clone();
        let task = tokio::spawn(async move {
            // While results cannot be written, nothing more is started. The writer gives the
            // permit back after the commit.
            if let Ok(permit) = results.acquire().await {
                permit.forget();
            }
            let (id, fence) =
                (start.item.work.id, Fence { part: start.item.part, epoch: start.epoch });
            let input = match attempt(&app, node, start).await {
                Attempted::Ended { end, last_words } => {
                    if let Some(report) = last_words {
                        // Sent before the end, so it is written before the next attempt begins.
                        app.live.reports.know(fence.part, &[id]);
                        writes.send(Write::Report { fence, report });
                    }
                    Input::Ended { token, end: *end }
                }
                Attempted::MarkFirst => {
                    results.add_permits(1);
                    Input::MarkFirst(token)
                }
            };
            // The session may have ended meanwhile; then nobody wants the result.
            let _ = messages.send(Message::Input(Box::new(input)));
        });
        running.attempts.insert(token, task.abort_handle());
    }

    fn need(&self, need: Need) {
        let _ = self.needs.send(need);
    }

    fn load(&self, load: Load) {
        let _ = self.loads.send(load);
    }
}

/// The attempts of this session. They end with it.
#[derive(Default)]
struct Running {
    attempts: HashMap<Token, AbortHandle>,
    /// Executions whose results have a place until they are committed.
    holding: HashSet<ExecutionId>,
    is_draining: bool,
}

impl Running {
    fn note(&mut self, input: &Input) {
        if let Input::Ended { token, .. } = input {
            self.attempts.remove(token);
        }
        self.is_draining |= matches!(input, Input::Drain);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in self.attempts.values() {
            task.abort();
        }
    }
}
