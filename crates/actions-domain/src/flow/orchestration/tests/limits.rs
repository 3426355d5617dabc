//! What is too much for a run of code.

use std::time::Duration;

use serde_json::{Value, json};

use super::primitives::{answer, code};
use crate::flow::journal::{Cause, What};
use crate::flow::orchestration::Activity;
use crate::flow::orchestration::rehearsal::Rehearsal;
use crate::flow::run::Phase;
use crate::limits::{RUN_ENTRIES_WARN, RUN_PAYLOAD_BYTES_MAX};

const ACT: Activity<Value, Value> = Activity::new("act");

#[test]
fn an_output_that_is_too_large_is_a_fault() {
    let code = code(|run, input| async move {
        let fault = run.call(&ACT, &input).await.unwrap_err();
        let large = "x".repeat(RUN_PAYLOAD_BYTES_MAX);
        let kept = run.record("large", || large).await.unwrap_err();
        Ok(json!([fault.code, kept.code]))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    answer(&mut run, 1, &json!("x".repeat(RUN_PAYLOAD_BYTES_MAX)));
    assert_eq!(run.output(), Some(json!(["flow.payload", "flow.encode"])));
}

#[test]
fn a_timer_beyond_all_reason_fails_the_run() {
    let code = code(|run, _| async move {
        run.sleep(Duration::from_secs(1_000 * 24 * 60 * 60)).await;
        Ok(json!(null))
    });
    let mut run = Rehearsal::new(code);
    run.start(&json!(null));
    let Phase::Failed { cause: Cause::Run { fault } } = run.run().phase() else {
        panic!("{run:?}")
    };
    assert_eq!(fault.code, "flow.too_far");
}

#[test]
fn a_long_history_is_warned_of_once() {
    let code = code(|run, input| async move {
        for _ in 0..RUN_ENTRIES_WARN {
            run.record("number", || 1).await?;
        }
        run.call(&ACT, &input).await
    });
    let mut run = Rehearsal::new(code).answering("act", |_| Ok(json!(1)));
    run.start(&json!(null));
    let history = run.history().entries;
    let warned = history.iter().filter(|entry| matches!(entry.what, What::LimitNeared { .. }));
    assert_eq!(warned.count(), 1);
    assert_eq!(run.output(), Some(json!(1)));
}
