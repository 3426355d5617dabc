use std::time::Duration;

use uuid::Uuid;

use super::{Claim, ClaimHolder, ClaimVerdict, Conflict};
use crate::Timestamp;
use crate::id::ExecutionId;

const OLD: ExecutionId = ExecutionId(Uuid::from_u128(1));
const NEW: ExecutionId = ExecutionId(Uuid::from_u128(2));

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn unique(on_conflict: Conflict) -> Claim {
    Claim {
        key: [0; 16],
        until_finished: true,
        period: None,
        on_conflict,
        waits: false,
        max_wait: None,
    }
}

fn holder(until: Option<Timestamp>, until_finished: bool) -> ClaimHolder {
    ClaimHolder { execution: OLD, first_at: at(0), until, until_finished, due: None }
}

fn yields(claim: Claim, known: ClaimHolder, is_open: bool) -> bool {
    let verdict = claim.judge(NEW, None, Some((known, is_open)), at(10));
    verdict == ClaimVerdict::Yields { to: OLD }
}

#[test]
fn a_claim_stands_until_the_end_or_for_a_period_or_both() {
    let claim = unique(Conflict::Existing);
    let (past, future) = (Some(at(10)), Some(at(11)));
    assert!(yields(claim, holder(None, true), true));
    assert!(!yields(claim, holder(None, true), false));
    assert!(yields(claim, holder(future, false), false));
    assert!(!yields(claim, holder(past, false), true));
    assert!(yields(claim, holder(past, true), true));
    assert!(yields(claim, holder(future, true), false));
    assert!(!yields(claim, holder(past, true), false));
}

#[test]
fn who_replaces_supersedes_only_what_has_not_ended() {
    let claim = unique(Conflict::Replace);
    for (is_open, expected) in [(true, Some(OLD)), (false, None)] {
        let known = holder(Some(at(11)), true);
        match claim.judge(NEW, None, Some((known, is_open)), at(10)) {
            ClaimVerdict::Holds { holder, supersedes, .. } => {
                assert_eq!((holder.execution, supersedes), (NEW, expected));
            }
            ClaimVerdict::Yields { .. } => panic!("it replaces"),
        }
    }
}

#[test]
fn a_burst_is_put_off_but_not_beyond_its_longest_wait() {
    let claim = Claim { waits: true, max_wait: seconds(25), ..unique(Conflict::Replace) };
    let mut known = None;
    let mut starts = Vec::new();
    for now in [0, 8, 16, 24, 40] {
        match claim.judge(NEW, seconds(10), known, at(now)) {
            ClaimVerdict::Holds { holder, delay, .. } => {
                starts.push((delay.unwrap().as_secs(), holder.due.unwrap().timestamp()));
                known = Some((holder, holder.due.unwrap() > at(now)));
            }
            ClaimVerdict::Yields { .. } => panic!("it replaces"),
        }
    }
    assert_eq!(starts, [(10, 10), (10, 18), (9, 25), (1, 25), (10, 50)]);
}
