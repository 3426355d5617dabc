//! Turns: between tenants, between lanes, and with age.

use std::time::Duration;

use super::{FairQueue, Ticket};
use crate::Timestamp;
use crate::dispatch::entries::Slot;
use crate::execution::Priority;
use crate::id::TenantId;

const AGEING: Duration = Duration::from_secs(10);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

/// Puts items of (tenant, lane, second) into a queue; each one's slot is its number.
fn queue(items: &[(i32, Priority, i64)]) -> FairQueue {
    let mut queue = FairQueue::default();
    for (number, (tenant, lane, second)) in (0..).zip(items) {
        let (tenant, lane, since) = (TenantId(*tenant), *lane, at(*second));
        queue.push(Ticket { tenant, lane, since, serial: u64::from(number) }, Slot(number));
    }
    queue
}

fn order(queue: &mut FairQueue, now: i64) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop(at(now), AGEING, |_| false)).map(|slot| slot.0).collect()
}

#[test]
fn tenants_take_turns_however_much_they_have() {
    let lane = Priority::Normal;
    let mut queue = queue(&[
        (1, lane, 0),
        (1, lane, 0),
        (1, lane, 0),
        (1, lane, 0),
        (2, lane, 0),
        (3, lane, 0),
        (2, lane, 0),
    ]);
    assert_eq!(order(&mut queue, 0), [0, 4, 5, 1, 6, 2, 3]);
}

#[test]
fn the_urgent_lane_goes_first_inside_a_tenant() {
    let mut queue =
        queue(&[(1, Priority::Low, 0), (1, Priority::Critical, 1), (1, Priority::Normal, 1)]);
    assert_eq!(order(&mut queue, 2), [1, 2, 0]);
}

#[test]
fn what_has_waited_long_rises() {
    let items = [(1, Priority::High, 25), (1, Priority::Low, 0), (1, Priority::High, 26)];
    assert_eq!(order(&mut queue(&items), 27), [1, 0, 2]);
    // Without the time it would have come last.
    assert_eq!(order(&mut queue(&[items[0], (1, Priority::Low, 20), items[2]]), 27), [0, 2, 1]);
}

#[test]
fn who_holds_too_much_waits_until_nobody_else_does() {
    let lane = Priority::Normal;
    let mut queue = queue(&[(1, lane, 0), (2, lane, 0), (2, lane, 0)]);
    let first_is_over = |tenant| tenant == TenantId(1);
    let mut next = || queue.pop(at(0), AGEING, first_is_over).map(|slot| slot.0);
    assert_eq!([next(), next(), next(), next()], [Some(1), Some(2), Some(0), None]);
}

#[test]
fn a_tenant_leaves_the_ring_with_its_last_item() {
    let lane = Priority::Normal;
    let mut queue = queue(&[(1, lane, 0), (2, lane, 0)]);
    queue.remove(Ticket { tenant: TenantId(1), lane, since: at(0), serial: 0 });
    assert_eq!(order(&mut queue, 0), [1]);
    assert!(queue.ring.is_empty() && queue.tenants.is_empty());
}
