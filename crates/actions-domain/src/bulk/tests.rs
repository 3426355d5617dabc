//! The life of a bulk.

use uuid::Uuid;

use super::{Bulk, BulkChange, BulkRefusal, BulkSpec, BulkState, Chosen, Operation};
use crate::Timestamp;
use crate::id::{BulkId, TenantId};

fn at(second: i64) -> Timestamp {
    Timestamp::from_timestamp(second, 0).unwrap()
}

fn bulk(total: u32, canary: Option<u32>) -> Bulk {
    let spec = BulkSpec {
        operation: Operation::Requeue,
        chosen: Chosen::Ids,
        canary,
        rate: None,
        reason: None,
    };
    Bulk::new(BulkId(Uuid::nil()), TenantId(7), spec, "me".to_owned(), (total, false), at(0))
}

fn by() -> String {
    "her".to_owned()
}

fn in_state(state: BulkState) -> Bulk {
    Bulk { state, ..bulk(10, None) }
}

#[test]
fn every_change_in_every_state() {
    let changes = [
        BulkChange::Pause { by: by() },
        BulkChange::Resume { by: by() },
        BulkChange::Cancel { by: by() },
        BulkChange::Begin { until: 5 },
        BulkChange::Record { done: 4, refused: 1 },
        BulkChange::Record { done: 9, refused: 1 },
    ];
    let states =
        [BulkState::Running, BulkState::Paused, BulkState::Completed, BulkState::Cancelled];
    let grid = states.map(|state| {
        let after = |change| match in_state(state).after(change, at(9)) {
            Ok(next) => next.state.word(),
            Err(BulkRefusal { .. }) => "-",
        };
        format!("{}: {}", state.word(), changes.each_ref().map(after).join(" "))
    });
    // Pause, resume, cancel, begin, record a part, record the rest.
    assert_eq!(
        grid,
        [
            "running: paused running cancelled running running completed",
            "paused: paused running cancelled - paused completed",
            "completed: - - - - completed completed",
            "cancelled: - - cancelled - cancelled cancelled",
        ]
    );
}

#[test]
fn what_is_so_already_keeps_who_did_it() {
    let paused = bulk(10, None).after(&BulkChange::Pause { by: by() }, at(1)).unwrap();
    let again = paused.after(&BulkChange::Pause { by: "him".to_owned() }, at(2)).unwrap();
    assert_eq!(again, paused);
    assert_eq!((again.changed_by.as_deref(), again.changed_at), (Some("her"), at(1)));
}

#[test]
fn after_its_canary_a_bulk_pauses_by_itself_once() {
    let first = bulk(10, Some(3));
    assert_eq!(first.next_count(200), 3);
    let part = first.after(&BulkChange::Record { done: 1, refused: 1 }, at(1)).unwrap();
    assert_eq!((part.state, part.next_count(200)), (BulkState::Running, 1));
    let paused = part.after(&BulkChange::Record { done: 1, refused: 0 }, at(2)).unwrap();
    assert_eq!((paused.state, paused.changed_by.as_deref()), (BulkState::Paused, None));
    assert_eq!(paused.next_count(200), 0);
    let resumed = paused.after(&BulkChange::Resume { by: by() }, at(3)).unwrap();
    assert_eq!(resumed.next_count(200), 7);
    assert_eq!(resumed.next_count(5), 5);
    let on = resumed.after(&BulkChange::Record { done: 5, refused: 0 }, at(4)).unwrap();
    assert_eq!(on.state, BulkState::Running);
}

#[test]
fn a_pause_before_the_canary_is_over_does_not_pass_it() {
    let paused = bulk(10, Some(3)).after(&BulkChange::Pause { by: by() }, at(1)).unwrap();
    let resumed = paused.after(&BulkChange::Resume { by: by() }, at(2)).unwrap();
    assert_eq!(resumed.next_count(200), 3);
}

#[test]
fn a_canary_of_everything_completes() {
    let ended = bulk(3, Some(3)).after(&BulkChange::Record { done: 3, refused: 0 }, at(1)).unwrap();
    assert_eq!(ended.state, BulkState::Completed);
}

#[test]
fn a_bulk_of_nothing_has_ended() {
    assert_eq!(bulk(0, None).state, BulkState::Completed);
}
