//! What is kept, what is read again, and that nothing is taken twice or left out.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Stream, Window, streams_of};
use crate::Timestamp;
use crate::execution::Priority;
use crate::id::{ActionId, ExecutionId, TenantId};
use crate::work::{Key, KeyMode, Seq, Skip, Work};

fn work(number: u64, tenant: i32, lane: Priority, key: Option<&str>) -> Work {
    Work {
        id: ExecutionId(Uuid::from_u128(u128::from(number))),
        tenant: TenantId(tenant),
        lane,
        action: ActionId(1),
        defs: 1,
        key: key.map(|name| Key::parse(name, KeyMode::Mutate).unwrap()),
        event: None,
        parent: None,
        queued_at: Timestamp::UNIX_EPOCH,
        delay: None,
        input: None,
        depth: 0,
        terms: None,
    }
}

/// Feeds a stretch of a log and answers what was taken.
fn feed(window: &mut Window, log: &[Work], from: i64, next: i64) -> Vec<i64> {
    feed_without(window, log, from, next, &[])
}

/// Feeds a stretch that was read without some streams.
fn feed_without(
    window: &mut Window,
    log: &[Work],
    from: i64,
    next: i64,
    skipped: &[Skip],
) -> Vec<i64> {
    let Some(mut stretch) = window.open(Seq(from), Seq(next), skipped) else { return Vec::new() };
    let mut taken = Vec::new();
    for seq in from..next {
        let item = &log[usize::try_from(seq - 1).unwrap()];
        if skipped.contains(&Skip::of(item)) {
            continue;
        }
        if window.take(&mut stretch, item, Seq(seq), true) {
            taken.push(seq);
        }
    }
    window.close(stretch);
    taken
}

#[test]
fn a_full_tenant_does_not_hide_what_is_behind_it() {
    let low = Priority::Low;
    let mut log: Vec<Work> = (1..=10).map(|number| work(number, 1, low, None)).collect();
    log.push(work(11, 2, low, None));
    let mut window = Window::new(Seq(1), 4);

    assert_eq!(feed(&mut window, &log, 1, 12), [1, 2, 3, 4, 11]);
    assert_eq!((window.head(), window.low()), (Seq(12), Seq(5)));
    assert_eq!(window.refill_from(true), None);
    window.leave(&log[0]);
    window.leave(&log[1]);
    assert_eq!(window.refill_from(true), Some(Seq(5)));
    assert_eq!(feed(&mut window, &log, 5, 12), [5, 6]);
    assert_eq!(window.low(), Seq(7));
}

#[test]
fn what_is_full_is_passed_over_until_it_has_drained() {
    let low = Priority::Low;
    let mut log: Vec<Work> = (1..=10).map(|number| work(number, 1, low, None)).collect();
    log.push(work(11, 2, low, None));
    let mut window = Window::new(Seq(1), 2);

    assert_eq!(feed(&mut window, &log, 1, 5), [1, 2]);
    let skip = window.useless_from(Seq(5));
    assert_eq!(skip, [Skip::Lane(TenantId(1), low)]);
    assert_eq!(feed_without(&mut window, &log, 5, 12, &skip), [11]);
    assert_eq!((window.head(), window.low()), (Seq(12), Seq(3)));
    window.leave(&log[0]);
    assert_eq!(window.refill_from(true), Some(Seq(3)));
    assert_eq!(window.useless_from(Seq(3)), [], "it is what is read for");
}

#[test]
fn a_blocked_key_does_not_hide_the_other_keys_of_its_tenant() {
    let lane = Priority::Normal;
    let mut log: Vec<Work> = (1..=8).map(|number| work(number, 1, lane, Some("order:9"))).collect();
    log.push(work(9, 1, lane, Some("order:10")));
    let mut window = Window::new(Seq(1), 16);

    assert_eq!(feed(&mut window, &log, 1, 10), [1, 2, 3, 4, 9]);
    assert_eq!(window.low(), Seq(5));
}

#[test]
fn without_room_one_item_of_each_stream_is_kept() {
    let log: Vec<Work> = (1..=4)
        .map(|number| work(number, i32::try_from(number % 2).unwrap(), Priority::Low, None))
        .collect();
    let mut window = Window::new(Seq(1), 16);
    let mut stretch = window.open(Seq(1), Seq(5), &[]).unwrap();
    let taken = (1..=4_i64)
        .zip(&log)
        .map(|(seq, work)| (seq, window.take(&mut stretch, work, Seq(seq), false)));
    assert_eq!(taken.collect::<Vec<_>>(), [(1, true), (2, true), (3, false), (4, false)]);
    window.close(stretch);
    assert_eq!(window.refill_from(false), None);
    window.leave(&log[1]);
    assert_eq!(window.refill_from(false), Some(Seq(4)));
}

/// A generator that needs no crate: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn random_work(dice: &mut Dice, number: u64) -> Work {
    let tenant = i32::try_from(dice.below(2)).unwrap();
    let lane = if dice.below(2) == 0 { Priority::Low } else { Priority::High };
    let key = format!("k:{}", dice.below(3));
    work(number, tenant, lane, Some(&*key).filter(|_| dice.below(3) > 0))
}

/// Takes stretches in that were asked for, and others that come late, twice or too early; some
/// were read without what was full when they were asked for.
#[test]
fn every_item_is_taken_once_and_in_order() {
    for seed in 1..=400 {
        let mut dice = Dice(seed);
        let size = 60 + dice.below(60);
        let log: Vec<Work> = (1..=size).map(|number| random_work(&mut dice, number)).collect();
        let end = i64::try_from(size).unwrap() + 1;
        let mut window = Window::new(Seq(1), 1 + usize::try_from(dice.below(12)).unwrap());
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<Stream, i64> = BTreeMap::new();
        let mut kept: Vec<i64> = Vec::new();
        let mut under_way: Vec<(i64, i64, Vec<Skip>)> = Vec::new();
        for _ in 0..4_000 {
            let from = match dice.below(4) {
                0 => 1 + i64::try_from(dice.below(size)).unwrap(),
                1 => window.head().0,
                _ => window.refill_from(true).map_or_else(|| window.head().0, |seq| seq.0),
            };
            let next = end.min(from + i64::try_from(dice.below(20)).unwrap());
            let skip = if dice.below(3) == 0 { Vec::new() } else { window.useless_from(Seq(from)) };
            under_way.push((from, next, skip));
            if dice.below(3) == 0 {
                continue;
            }
            let answered = dice.below(u64::try_from(under_way.len()).unwrap());
            let (from, next, skip) = under_way.swap_remove(usize::try_from(answered).unwrap());
            for seq in feed_without(&mut window, &log, from, next, &skip) {
                assert!(seen.insert(seq), "seed {seed}: {seq} twice");
                let (main, root) = streams_of(&log[usize::try_from(seq - 1).unwrap()]);
                // Only the order inside a lane and inside a root matters.
                let stream = root.unwrap_or(main);
                let before = last.insert(stream, seq);
                assert!(before.is_none_or(|before| before < seq), "seed {seed}: {seq} late");
                kept.push(seq);
            }
            if !kept.is_empty() && dice.below(3) > 0 {
                let index =
                    usize::try_from(dice.below(u64::try_from(kept.len()).unwrap())).unwrap();
                let gone = kept.swap_remove(index);
                window.leave(&log[usize::try_from(gone - 1).unwrap()]);
            }
        }
        assert_eq!(seen.len(), log.len(), "seed {seed}");
        kept.iter().for_each(|seq| window.leave(&log[usize::try_from(seq - 1).unwrap()]));
        assert!(window.streams.is_empty() && window.hungry.is_empty(), "seed {seed}");
        assert_eq!(window.low(), Seq(end));
    }
}
