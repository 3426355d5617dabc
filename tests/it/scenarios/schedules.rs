//! Schedules on a held clock: each time once, whatever happens to the node.

use std::time::Duration;

use actions_app::commands::save_schedule::{SaveSchedule, save_schedule, switch_schedule};
use actions_domain::event::EventType;
use actions_domain::execution::Status;
use actions_domain::json::Json;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::history::ExecutionQuery;
use actions_domain::schedule::{
    Missed, Overlap, Schedule, ScheduleName, ScheduleSpec, Target, When,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::support::engine::{Answer, TestEngine, caller};
use crate::support::faults::Fails;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Every minute, at half past.
fn minutely() -> ScheduleSpec {
    ScheduleSpec {
        name: ScheduleName::parse("minutely").unwrap(),
        description: None,
        target: Target::Action("report".to_owned().try_into().unwrap()),
        data: Json::parse(r#"{"n": 1.50}"#).unwrap(),
        when: When::Cron { text: "30 * * * * *".to_owned(), timezone: "UTC".to_owned() },
        missed: Missed::default(),
        overlap: Overlap::default(),
        is_active: true,
    }
}

async fn start() -> TestEngine {
    let engine = TestEngine::start().await;
    engine.define("report", "never.matched", json!({})).await;
    engine
}

async fn save(engine: &TestEngine, spec: ScheduleSpec) {
    let request = SaveSchedule { tenant: engine.tenant, spec, expected: Expected::Anything };
    save_schedule(&engine.app, &caller(engine.tenant), request).await.unwrap();
    engine.settle().await;
}

async fn stored(engine: &TestEngine) -> Schedule {
    engine.app.ports.schedules.schedules(Some(engine.tenant)).await.unwrap().remove(0)
}

/// When the executions of the tenant were queued, oldest first, to the second.
async fn fired(engine: &TestEngine) -> Vec<String> {
    let tenant = engine.tenant;
    let query =
        ExecutionQuery { tenant, action: None, statuses: Vec::new(), before: None, limit: 1_000 };
    let mut found = engine.app.ports.history.list_executions(query).await.unwrap();
    found.sort_by_key(|execution| execution.queued_at);
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true)[11..19].to_owned();
    found.iter().map(|execution| time(execution.queued_at)).collect()
}

#[tokio::test]
async fn a_schedule_fires_when_its_time_comes() {
    let engine = start().await;
    save(&engine, minutely()).await;
    engine.advance(2 * MINUTE).await;
    assert_eq!(fired(&engine).await, ["00:00:30", "00:01:30"]);
    assert_eq!(engine.script.calls()[0].input.to_string(), r#"{"n":1.5}"#);
    let progress = stored(&engine).await.progress;
    assert_eq!(progress.last_at, Some("2026-01-01T00:01:30Z".parse().unwrap()));
    let last = engine.execution(progress.last_execution.unwrap()).await;
    assert_eq!(last.status, Status::Completed);
}

#[tokio::test]
async fn a_schedule_of_an_event_emits_it_with_its_time() {
    let engine = start().await;
    engine.define("listen", "system.beat", json!({})).await;
    let event = EventType::parse("system.beat").unwrap();
    let beat =
        ScheduleSpec { target: Target::Event(event), when: When::EverySeconds(90), ..minutely() };
    save(&engine, beat).await;
    engine.advance(4 * MINUTE).await;
    assert_eq!(fired(&engine).await, ["00:01:30", "00:03:00"]);
    assert_eq!(stored(&engine).await.progress.last_execution, None, "it was no job");
}

#[tokio::test]
async fn one_time_is_one_time() {
    let engine = start().await;
    let at = "2026-01-01T00:00:10Z".parse().unwrap();
    save(&engine, ScheduleSpec { when: When::At(at), ..minutely() }).await;
    engine.advance(MINUTE).await;
    assert_eq!(fired(&engine).await, ["00:00:10"]);
}

#[tokio::test]
async fn what_was_missed_is_skipped_or_made_up_for_as_the_schedule_says() {
    for (missed, expected) in [
        (Missed::Skip, vec!["00:04:3"]),
        (Missed::Once, vec!["00:04:2", "00:04:3"]),
        (Missed::All, vec!["00:04:2"; 4].into_iter().chain(["00:04:3"]).collect()),
    ] {
        let mut engine = start().await;
        save(&engine, ScheduleSpec { missed, ..minutely() }).await;
        engine.stop_node().await.unwrap();
        let until = "2026-01-01T00:04:20Z".parse::<DateTime<Utc>>().unwrap();
        let now = engine.clock.now();
        engine.advance((until - now).to_std().unwrap()).await;
        engine.start_node().await;
        engine.advance(15 * SECOND).await;
        // The node that starts takes up its partitions within seconds.
        let found = fired(&engine).await;
        let rounded: Vec<_> = found.iter().map(|at| at[..7].to_owned()).collect();
        assert_eq!(rounded, expected, "{missed:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_time_is_left_out_while_the_last_execution_is_unfinished() {
    let engine = start().await;
    engine.script.answer([Answer::Hang]);
    let once = json!({ "timeout_seconds": 50, "retry_policy": { "max_retries": 0, "backoff": "fixed", "initial_delay_ms": 1_000 } });
    engine.define("report", "never.matched", once).await;
    let often = When::EverySeconds(20);
    save(&engine, ScheduleSpec { overlap: Overlap::Skip, when: often, ..minutely() }).await;
    engine.advance(45 * SECOND).await;
    assert_eq!(fired(&engine).await, ["00:00:20"], "the second one is left out");
    let told = stored(&engine).await.progress.last_error.unwrap();
    assert!(told.contains("00:00:40") && told.contains("is not finished"), "{told}");
    // Its time is over at 01:10.
    engine.advance(40 * SECOND).await;
    assert_eq!(fired(&engine).await, ["00:00:20", "00:01:20"]);
    assert_eq!(stored(&engine).await.progress.last_error, None);
}

#[tokio::test]
async fn a_time_that_nobody_wrote_down_is_not_fired_twice() {
    let mut engine = start().await;
    save(&engine, minutely()).await;
    engine.advance(29 * SECOND).await;
    // It is fired, and the process ends before that is written down.
    engine.faults.plan("note_progress", Fails::Never, 1);
    engine.advance(2 * SECOND).await;
    assert_eq!(fired(&engine).await, ["00:00:30"]);
    assert_eq!(stored(&engine).await.progress.last_at, None);
    engine.crash_and_restart().await;
    engine.advance(20 * SECOND).await;
    assert_eq!(engine.faults.outstanding(), 0);
    assert_eq!(fired(&engine).await, ["00:00:30"]);
    let progress = stored(&engine).await.progress;
    assert_eq!(progress.last_at, Some("2026-01-01T00:00:30Z".parse().unwrap()));
    assert!(progress.last_execution.is_some());
}

#[tokio::test]
async fn while_the_store_is_away_times_wait() {
    // What was written down although nobody heard of it is not written again.
    for (fails, notes) in [(Fails::Before, 5), (Fails::After, 1)] {
        let engine = start().await;
        save(&engine, minutely()).await;
        engine.advance(29 * SECOND).await;
        engine.faults.plan("schedules", fails, 5);
        engine.faults.plan("note_progress", fails, notes);
        engine.advance(40 * SECOND).await;
        assert_eq!(engine.faults.outstanding(), 0, "{fails:?}");
        assert_eq!(fired(&engine).await.len(), 1, "{fails:?}");
    }
}

#[tokio::test]
async fn a_time_that_leads_to_nothing_says_why() {
    let engine = start().await;
    save(&engine, minutely()).await;
    engine.define("report", "never.matched", json!({ "is_active": false })).await;
    engine.advance(40 * SECOND).await;
    let told = stored(&engine).await.progress.last_error.unwrap();
    assert!(told.contains("00:00:30") && told.contains("switched off"), "{told}");
    engine.define("report", "never.matched", json!({})).await;
    engine.advance(MINUTE).await;
    assert_eq!(fired(&engine).await, ["00:01:30"]);
    assert_eq!(stored(&engine).await.progress.last_error, None);
}

#[tokio::test]
async fn nothing_is_made_up_for_after_a_pause() {
    let engine = start().await;
    save(&engine, ScheduleSpec { missed: Missed::All, ..minutely() }).await;
    let switch = async |on| {
        let caller = caller(engine.tenant);
        switch_schedule(&engine.app, &caller, engine.tenant, "minutely", on).await.unwrap();
        engine.settle().await;
    };
    switch(false).await;
    engine.advance(3 * MINUTE).await;
    switch(true).await;
    engine.advance(MINUTE).await;
    assert_eq!(fired(&engine).await, ["00:03:30"]);
}

#[tokio::test]
async fn a_change_that_was_made_elsewhere_is_noticed() {
    let engine = start().await;
    save(&engine, minutely()).await;
    let edited = ScheduleSpec { when: When::EverySeconds(10), ..minutely() };
    let now = engine.clock.now();
    let schedules = &engine.app.ports.schedules;
    schedules.save_schedule(engine.tenant, &edited, Expected::Anything, now, None).await.unwrap();
    engine.advance(11 * SECOND).await;
    assert_eq!(fired(&engine).await, ["00:00:10"]);
}
