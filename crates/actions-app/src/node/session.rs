//! One session of a node: joins, starts the loops, and ends when it is told to or loses
//! its membership.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{Input, Settings};
use actions_domain::id::NodeId;
use metrics::counter;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::bulk_runner::BulkRunner;
use super::eraser::Eraser;
use super::intake_mover::IntakeMover;
use super::lease_keeper::LeaseKeeper;
use super::live::Message;
use super::loader::Loader;
use super::permit_keeper::PermitKeeper;
use super::queue_metrics::QueueSampler;
use super::reports::ReportKeeper;
use super::run_keeper::RunKeeper;
use super::scheduler::{Scheduler, SchedulerStatus};
use super::timekeeper::Timekeeper;
use super::watcher::Watcher;
use super::writer::{Lost, Writer, Writes};
use super::{DrainTimeout, NodeConfig};
use crate::app::App;

/// Results that may wait for their commit. Beyond this, nothing more is started.
const RESULTS_MAX: usize = 10_000;

/// Runs one session. `Ok` when it was stopped, with the outcome of the drain.
pub(super) async fn run(
    app: &App,
    config: &NodeConfig,
    stop: &CancellationToken,
) -> Result<Result<(), DrainTimeout>, Lost> {
    app.catalogue.refresh_all().await.map_err(Lost::Store)?;
    let node = app.ports.leases.join(&config.name).await.map_err(Lost::Store)?;
    info!(node = node.0, name = config.name, "joined");

    let (messages, inbox) = mpsc::unbounded_channel();
    let (status, status_seen) = watch::channel(SchedulerStatus::default());
    app.live.begin(node, messages.clone());
    // Everything below ends when this set is dropped, whichever way the session ends.
    let mut loops = start_loops(app, config, node, stop, messages.clone(), inbox, status);
    tokio::select! {
        lost = loops.join_next() => {
            let lost = lost.and_then(Result::ok).unwrap_or(Lost::LoopEnded);
            if lost.is_of_the_lease() {
                // Whatever was under way cannot be recorded by this node any more.
                let under_way = status_seen.borrow().under_way;
                counter!("actions_fenced_total").increment(under_way as u64);
            }
            Err(lost)
        }
        () = stop.cancelled() => Ok(drain(app, config, node, &messages, status_seen, loops).await),
    }
}

fn start_loops(
    app: &App,
    config: &NodeConfig,
    node: NodeId,
    stop: &CancellationToken,
    messages: mpsc::UnboundedSender<Message>,
    inbox: mpsc::UnboundedReceiver<Message>,
    status: watch::Sender<SchedulerStatus>,
) -> JoinSet<Lost> {
    let (writes, to_write) = Writes::new(app.ports.store.commits_at_once());
    let (loads, to_load) = mpsc::unbounded_channel();
    let (needs, needed) = mpsc::unbounded_channel();
    let (gives, given) = mpsc::unbounded_channel();
    let results = Arc::new(Semaphore::new(RESULTS_MAX));
    let status_seen = status.subscribe();
    let report_keeper = ReportKeeper { app: app.clone(), writes: writes.clone() };
    let scheduler = Scheduler {
        app: app.clone(),
        node,
        settings: settings(config, node),
        own: messages.clone(),
        writes,
        loads,
        needs,
        gives,
        results: results.clone(),
        status,
    };
    let writer = Writer { app: app.clone(), node, scheduler: messages.clone(), results };
    let permit_keeper = PermitKeeper { app: app.clone(), node, scheduler: messages.clone() };
    let loader = Loader { app: app.clone(), scheduler: messages.clone() };
    let keeper = LeaseKeeper {
        app: app.clone(),
        node,
        config: config.clone(),
        scheduler: messages.clone(),
        status: status_seen.clone(),
        stop: stop.clone(),
    };
    let mover = IntakeMover { app: app.clone(), config: config.clone() };
    let sampler = QueueSampler { app: app.clone() };
    let (heard, hints) = mpsc::unbounded_channel();
    let listener = crate::hints::listen(app.ports.clone(), heard);
    let timekeeper = Timekeeper::new(app.clone());
    let bulk_runner = BulkRunner::new(app.clone());
    let eraser = Eraser { app: app.clone() };
    let run_keeper = RunKeeper::new(app.clone(), node, config.poll);
    let watcher = Watcher {
        app: app.clone(),
        node,
        config: config.clone(),
        scheduler: messages,
        status: status_seen,
        hints,
    };
    let mut loops = JoinSet::new();
    loops.spawn(scheduler.run(inbox));
    for to_write in to_write {
        loops.spawn(writer.clone().run(to_write));
    }
    loops.spawn(loader.run(to_load));
    loops.spawn(keeper.run(given));
    loops.spawn(permit_keeper.run(needed));
    loops.spawn(watcher.run());
    loops.spawn(report_keeper.run());
    loops.spawn(async move {
        listener.await;
        Lost::LoopEnded
    });
    loops.spawn(mover.run());
    loops.spawn(sampler.run());
    loops.spawn(timekeeper.run());
    loops.spawn(bulk_runner.run());
    loops.spawn(eraser.run());
    loops.spawn(run_keeper.run());
    loops
}

/// Waits for what runs, while the lease keeper gives back where nothing runs any more; then gives
/// back the rest.
async fn drain(
    app: &App,
    config: &NodeConfig,
    node: NodeId,
    messages: &mpsc::UnboundedSender<Message>,
    mut status: watch::Receiver<SchedulerStatus>,
    mut loops: JoinSet<Lost>,
) -> Result<(), DrainTimeout> {
    let _ = messages.send(Message::Input(Box::new(Input::Drain)));
    let idle = async { status.wait_for(|status| status.is_drained).await.is_ok() };
    let drained = tokio::select! {
        drained = idle => drained,
        _ = loops.join_next() => false,
        () = app.ports.clock.sleep(config.drain_timeout) => false,
    };
    loops.shutdown().await;
    let handed_over = async {
        // Only a drained partition may be given back as clean.
        if drained {
            let SchedulerStatus { lows, clean, .. } = status.borrow().clone();
            app.ports.leases.note_low(node, &lows).await?;
            app.ports.leases.release(node, &clean).await?;
        }
        app.ports.leases.leave(node).await
    };
    if let Err(error) = handed_over.await {
        warn!(%error, "the partitions could not be given back; they are taken when the lease is over");
    }
    if drained { Ok(()) } else { Err(DrainTimeout) }
}

fn settings(config: &NodeConfig, node: NodeId) -> Settings {
    Settings {
        node,
        slots: config.slots,
        tenant_share: 80,
        window_bytes: config.window_bytes,
        lane_items: 4_096,
        load_items: 1_000,
        marked_for: Duration::from_secs(60),
        mark_items: 64,
        ageing: Duration::from_secs(10),
        due_ahead: Duration::from_secs(30),
        leave_within: Duration::from_secs(10),
        stay_for: Duration::from_secs(60),
    }
}
