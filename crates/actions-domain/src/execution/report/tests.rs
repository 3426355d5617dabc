//! What a reporter takes, and what it hands on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{CheckpointError, Reporter};
use crate::Timestamp;
use crate::json::Json;
use crate::limits::{CHECKPOINT_BYTES_MAX, PROGRESS_NOTE_BYTES_MAX};
use crate::ports::clock::Clock;
use crate::secret::{Masking, SecretText};

struct Stopped;

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    async fn sleep(&self, _pause: Duration) {
        std::future::pending().await
    }
}

fn reporter(checkpoint: Option<Json>) -> Reporter {
    Reporter::new(Arc::new(Stopped), 2, checkpoint, Masking::default())
}

#[test]
fn nothing_is_told_of_an_attempt_that_said_nothing() {
    let reporter = reporter(Some(Json::null()));
    assert_eq!((reporter.report(), reporter.take_news()), (None, None));
}

#[test]
fn news_are_handed_out_once() {
    let reporter = reporter(None);
    reporter.clone().progress(0.5, "half");
    let report = reporter.take_news().expect("news");
    assert_eq!(
        (report.attempt, report.progress, report.note.as_deref()),
        (2, Some(0.5), Some("half"))
    );
    assert_eq!(reporter.take_news(), None);
    assert_eq!(reporter.report(), Some(report));
    reporter.beat();
    assert!(reporter.take_news().is_some());
}

#[test]
fn a_checkpoint_stands_until_another_one_is_told() {
    let reporter = reporter(Some(Json::parse("7").unwrap()));
    let checkpoint =
        || reporter.report().and_then(|report| report.checkpoint).map(|it| it.to_value());
    reporter.beat();
    assert_eq!(checkpoint(), Some(json!(7)));
    let large = json!("x".repeat(CHECKPOINT_BYTES_MAX - 1));
    let bytes = CHECKPOINT_BYTES_MAX + 1;
    assert_eq!(reporter.checkpoint(&large), Err(CheckpointError::TooLarge { bytes }));
    assert!(matches!(reporter.checkpoint(&json!("a\0b")), Err(CheckpointError::Unfit { .. })));
    assert_eq!(checkpoint(), Some(json!(7)));
    reporter.checkpoint(&json!("x".repeat(CHECKPOINT_BYTES_MAX - 2))).unwrap();
    assert_ne!(checkpoint(), Some(json!(7)));
}

#[test]
fn what_cannot_be_kept_of_progress_is_brought_into_its_limits() {
    let reporter = reporter(None);
    reporter.progress(7.0, &format!("a\0{}", "ü".repeat(PROGRESS_NOTE_BYTES_MAX)));
    let report = reporter.report().expect("a report");
    assert_eq!(report.progress, Some(1.0));
    let note = report.note.expect("a note");
    assert!(note.len() <= PROGRESS_NOTE_BYTES_MAX && note.starts_with("a\u{fffd}ü"), "{note}");
    reporter.progress(f64::NAN, "");
    let report = reporter.report().expect("a report");
    assert_eq!((report.progress, report.note), (None, None));
}

#[test]
fn what_is_told_is_kept_without_secrets() {
    let masking = Masking::of([&SecretText::new("hunter2-hunter2".to_owned())]);
    let reporter = Reporter::new(Arc::new(Stopped), 1, None, masking);
    reporter.progress(0.5, "logged in with hunter2-hunter2");
    reporter.checkpoint(&json!({ "token": "hunter2-hunter2", "page": 3 })).unwrap();
    let report = reporter.report().unwrap();
    assert_eq!(report.note.as_deref(), Some("logged in with ***"));
    assert_eq!(report.checkpoint.unwrap().to_value(), json!({ "token": "***", "page": 3 }));
}
