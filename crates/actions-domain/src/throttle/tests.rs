use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::{Bucket, Holder, Rate, Scope, Share, ShareAsk};
use crate::Timestamp;
use crate::id::{ActionId, NodeId};

const ACTION: Scope = Scope::Action(ActionId(9));

fn at(micros: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::microseconds(micros)
}

fn ask(max: u32, keep: u32, want: u32) -> ShareAsk {
    ShareAsk { scope: ACTION, max, keep, want, hold: 0 }
}

fn holder(node: i32, amount: u32, want: u32, took: i64) -> Holder {
    Holder { node: NodeId(node), amount, want, took_at: at(took) }
}

fn exchange(ask: &ShareAsk, own: Option<Holder>, node: NodeId, others: &[Holder]) -> Share {
    super::exchange(ask, node, own, others, at(0)).0
}

#[test]
fn a_lone_node_gets_what_it_wants_up_to_the_limit() {
    assert_eq!(exchange(&ask(10, 0, 4), None, NodeId(1), &[]).amount, 4);
    assert_eq!(exchange(&ask(10, 0, 40), None, NodeId(1), &[]).amount, 10);
}

#[test]
fn nobody_gets_what_another_node_holds() {
    let share = exchange(&ask(10, 0, 10), None, NodeId(2), &[holder(1, 8, 10, 0)]);
    assert_eq!(share.amount, 2);
}

#[test]
fn who_holds_too_much_starts_nothing_more_and_gives_back_what_is_free() {
    let own = Some(holder(1, 10, 10, 0));
    let others = [holder(2, 0, 10, 1)];
    let share = exchange(&ask(10, 10, 10), own, NodeId(1), &others);
    assert_eq!((share.amount, share.cap), (10, 5));
    let share = exchange(&ask(10, 7, 10), own, NodeId(1), &others);
    assert_eq!((share.amount, share.cap), (7, 5));
}

#[test]
fn a_limit_of_one_goes_to_who_has_waited_longest() {
    let first =
        exchange(&ask(1, 1, 5), Some(holder(1, 1, 5, 10)), NodeId(1), &[holder(2, 0, 5, 5)]);
    assert_eq!((first.amount, first.cap), (1, 0));
    let given =
        exchange(&ask(1, 0, 5), Some(holder(1, 1, 5, 10)), NodeId(1), &[holder(2, 0, 5, 5)]);
    assert_eq!(given.amount, 0);
    let taken =
        exchange(&ask(1, 0, 5), Some(holder(2, 0, 5, 5)), NodeId(2), &[holder(1, 0, 5, 10)]);
    assert_eq!((taken.amount, taken.cap), (1, 1));
}

#[test]
fn what_nobody_needs_stays_where_it_is() {
    let own = Some(holder(1, 10, 10, 0));
    let idle = ShareAsk { hold: 10, ..ask(10, 0, 0) };
    assert_eq!(exchange(&idle, own, NodeId(1), &[holder(2, 0, 0, 0)]).cap, 10);
    assert_eq!(exchange(&idle, own, NodeId(1), &[holder(2, 0, 3, 0)]).cap, 0);
}

#[test]
fn a_rate_lets_a_twentieth_pass_at_once_and_then_paces() {
    let rate = Rate { per_minute: Some(60), per_hour: None };
    let mut bucket = Bucket::default();
    assert_eq!(rate.draw(&mut bucket, at(0), 10), (3, Duration::from_secs(1)));
    assert_eq!(rate.draw(&mut bucket, at(999_999), 1).0, 0);
    assert_eq!(rate.draw(&mut bucket, at(1_000_000), 10).0, 1);
}

#[test]
fn the_tighter_window_decides() {
    let rate = Rate { per_minute: Some(60), per_hour: Some(600) };
    let mut bucket = Bucket::default();
    let started: u32 =
        (0..3_600).map(|second| rate.draw(&mut bucket, at(second * 1_000_000), 9).0).sum();
    assert!((600..=630).contains(&started), "{started}");
    let in_a_minute: u32 = {
        let mut bucket = Bucket::default();
        (0..30).map(|second| rate.draw(&mut bucket, at(second * 1_000_000), 9).0).sum()
    };
    assert_eq!(in_a_minute, 32, "a group of them may start as fast as a minute lets it");
}

proptest! {
    /// Whatever nodes ask for and in whatever order, what is held never exceeds the limit, and
    /// nobody loses what it keeps.
    #[test]
    fn shares_never_exceed_their_limit(
        max in 0u32..20,
        steps in proptest::collection::vec((0usize..4, 0u32..20, 0u32..30, any::<bool>()), 1..60),
    ) {
        let mut table: Vec<Holder> = (0..4).map(|node| holder(node, 0, 0, 0)).collect();
        for (time, (index, keep, want, holds)) in (1i64..).zip(steps) {
            let own = table[index];
            let keep = keep.min(own.amount);
            let others: Vec<Holder> =
                table.iter().copied().filter(|other| other.node != own.node).collect();
            let hold = if holds { own.amount } else { 0 };
            let asked = ShareAsk { hold, ..ask(max, keep, want) };
            let (share, noted) = super::exchange(&asked, own.node, Some(own), &others, at(time));
            prop_assert!(share.amount >= keep);
            prop_assert!(share.cap <= share.amount);
            table[index] = noted.unwrap_or(Holder { amount: 0, want: 0, ..own });
            prop_assert_eq!(table[index].amount, share.amount);
            prop_assert!(table.iter().map(|holder| holder.amount).sum::<u32>() <= max);
        }
    }

    /// Nodes that always want everything and give back what they must each get their part.
    #[test]
    fn everybody_gets_a_turn(max in 1u32..8, nodes in 2usize..6) {
        let mut table: Vec<Holder> =
            (0..nodes).map(|node| holder(i32::try_from(node).unwrap(), 0, max, 0)).collect();
        let mut had = vec![0u32; nodes];
        for time in 1..200i64 {
            for index in 0..nodes {
                let own = table[index];
                let others: Vec<Holder> =
                    table.iter().copied().filter(|other| other.node != own.node).collect();
                // Everything that ran has ended.
                let asked = ask(max, 0, max);
                let (share, noted) =
                    super::exchange(&asked, own.node, Some(own), &others, at(time));
                table[index] = noted.expect("it wants something");
                had[index] += share.cap;
            }
        }
        prop_assert!(had.iter().all(|had| *had > 0), "{had:?}");
    }

    /// In no window of time does more start than a rate and its burst allow.
    #[test]
    fn no_minute_sees_more_than_the_rate_and_its_burst(
        limit in 1u32..2_000,
        pauses in proptest::collection::vec((0i64..500_000, 0u32..100), 1..400),
    ) {
        let rate = Rate { per_minute: Some(limit), per_hour: None };
        let mut bucket = Bucket::default();
        let mut now = 0;
        let mut starts = Vec::new();
        for (pause, want) in pauses {
            now += pause;
            starts.push((now, rate.draw(&mut bucket, at(now), want).0));
        }
        for (from, _) in &starts {
            let window = starts.iter().filter(|(at, _)| (*from..from + 60_000_000).contains(at));
            let count: u32 = window.map(|(_, count)| count).sum();
            prop_assert!(count <= limit + rate.burst(), "{count} in a minute");
        }
    }
}
