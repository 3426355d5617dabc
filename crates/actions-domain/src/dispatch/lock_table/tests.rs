//! The matrix of modes and the order of requests.

use uuid::Uuid;

use super::{LockTable, Place};
use crate::dispatch::entries::Slot;
use crate::id::{ExecutionId, TenantId};
use crate::work::{Key, KeyMode, Seq};

const TENANT: TenantId = TenantId(7);
const REQUESTS: [(&str, KeyMode); 9] = [
    ("order:9", KeyMode::Read),
    ("order:9", KeyMode::Create),
    ("order:9", KeyMode::Mutate),
    ("order:9:line:1", KeyMode::Read),
    ("order:9:line:1", KeyMode::Create),
    ("order:9:line:1", KeyMode::Mutate),
    ("order:9:line:2", KeyMode::Create),
    ("order:9:line:12", KeyMode::Mutate),
    ("order:9:note:1", KeyMode::Create),
];

fn key(name: &str, mode: KeyMode) -> Key {
    Key::parse(name, mode).unwrap()
}

fn place(ord: i64) -> Place {
    (Seq(ord), ExecutionId(Uuid::from_u128(u128::from(ord.unsigned_abs()))))
}

fn request(table: &mut LockTable, name: &str, mode: KeyMode, ord: i64) -> bool {
    table.request(TENANT, &key(name, mode), place(ord), slot(ord))
}

fn release(table: &mut LockTable, name: &str, mode: KeyMode, ord: i64) -> Vec<Slot> {
    table.release(TENANT, &key(name, mode), place(ord))
}

fn slot(ord: i64) -> Slot {
    Slot(u32::try_from(ord).unwrap())
}

#[test]
fn every_mode_beside_every_other() {
    // Rows are asked for while the column is held. `.` both at once, `w` the row waits.
    let expected = [
        "order:9          Read    . w w . . w . w .",
        "order:9          Create  w w w w w w w w w",
        "order:9          Mutate  w w w w w w w w w",
        "order:9:line:1   Read    . w w . w w . . .",
        "order:9:line:1   Create  . w w w w w w . .",
        "order:9:line:1   Mutate  w w w w w w . . .",
        "order:9:line:2   Create  . w w . w . w . .",
        "order:9:line:12  Mutate  w w w . . . . w .",
        "order:9:note:1   Create  . w w . . . . . w",
    ];
    let grid = REQUESTS.map(|(name, mode)| {
        let cells = REQUESTS.map(|(held_name, held_mode)| {
            let mut table = LockTable::default();
            assert!(request(&mut table, held_name, held_mode, 1));
            if request(&mut table, name, mode, 2) { "." } else { "w" }
        });
        format!("{name:<16} {:<7} {}", format!("{mode:?}"), cells.join(" "))
    });
    assert_eq!(grid, expected);
}

#[test]
fn tenants_do_not_share_keys() {
    let mut table = LockTable::default();
    let order = key("order:9", KeyMode::Mutate);
    assert!(table.request(TenantId(1), &order, place(1), slot(1)));
    assert!(table.request(TenantId(2), &order, place(2), slot(2)));
}

#[test]
fn a_waiting_mutate_is_not_overtaken_by_later_readers() {
    let mut table = LockTable::default();
    assert!(request(&mut table, "order:9", KeyMode::Read, 1));
    assert!(!request(&mut table, "order:9", KeyMode::Mutate, 2));
    assert!(!request(&mut table, "order:9", KeyMode::Read, 3));
    assert!(!request(&mut table, "order:9:line:1", KeyMode::Read, 4));

    assert_eq!(release(&mut table, "order:9", KeyMode::Read, 1), [slot(2)]);
    // Both readers at once, as soon as the mutate is done.
    assert_eq!(release(&mut table, "order:9", KeyMode::Mutate, 2), [slot(3), slot(4)]);
    assert_eq!(release(&mut table, "order:9", KeyMode::Read, 3), []);
    assert_eq!(release(&mut table, "order:9:line:1", KeyMode::Read, 4), []);
    assert!(table.roots.is_empty());
}

#[test]
fn places_decide_and_not_the_time_of_asking() {
    let mut table = LockTable::default();
    assert!(request(&mut table, "order:9", KeyMode::Mutate, 5));
    assert!(!request(&mut table, "order:9", KeyMode::Mutate, 8));
    assert!(!request(&mut table, "order:9", KeyMode::Mutate, 6));
    assert_eq!(release(&mut table, "order:9", KeyMode::Mutate, 5), [slot(6)]);
    assert_eq!(release(&mut table, "order:9", KeyMode::Mutate, 6), [slot(8)]);
}

#[test]
fn who_gives_up_waiting_lets_those_behind_pass() {
    let mut table = LockTable::default();
    assert!(request(&mut table, "order:9", KeyMode::Read, 1));
    assert!(!request(&mut table, "order:9", KeyMode::Mutate, 2));
    assert!(!request(&mut table, "order:9", KeyMode::Read, 3));
    let blocker = table.blocker(TENANT, &key("order:9", KeyMode::Read), place(3));
    assert_eq!(blocker, Some(place(2).1));
    assert_eq!(release(&mut table, "order:9", KeyMode::Mutate, 2), [slot(3)]);
}

#[test]
fn a_held_key_blocks_from_the_start() {
    let mut table = LockTable::default();
    table.hold(TENANT, &key("order:9", KeyMode::Mutate), place(9));
    assert!(!request(&mut table, "order:9", KeyMode::Mutate, 1));
    assert_eq!(release(&mut table, "order:9", KeyMode::Mutate, 9), [slot(1)]);
}
