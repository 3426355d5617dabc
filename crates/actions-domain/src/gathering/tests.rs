use uuid::Uuid;

use super::{Gathered, Gathering, OpenBatch};
use crate::id::ExecutionId;
use crate::limits::GATHERED_BYTES_MAX;
use crate::work::Part;

const HEAD: ExecutionId = ExecutionId(Uuid::from_u128(1));
const NEW: ExecutionId = ExecutionId(Uuid::from_u128(2));

fn open(size: u32, bytes: usize) -> OpenBatch {
    OpenBatch { head: HEAD, part: Part(3), size, bytes }
}

#[test]
fn the_first_one_begins_a_batch_and_others_join_it() {
    let first = Gathering::judge(HEAD, Part(3), 10, None);
    assert_eq!(first, Gathered::Begins { batch: open(1, 10), closes: None });
    let second = Gathering::judge(NEW, Part(0), 20, Some(open(1, 10)));
    assert_eq!(second, Gathered::Joins(open(2, 30)));
}

#[test]
fn what_finds_no_room_begins_the_next_batch() {
    let known = open(2, GATHERED_BYTES_MAX - 10);
    assert!(matches!(Gathering::judge(NEW, Part(0), 10, Some(known)), Gathered::Joins(_)));
    let Gathered::Begins { batch, closes } = Gathering::judge(NEW, Part(0), 11, Some(known)) else {
        panic!("it has no room")
    };
    assert_eq!((batch.head, batch.size, batch.bytes, closes), (NEW, 1, 11, Some(known)));
}

#[test]
fn a_batch_is_full_by_its_events_or_by_its_bytes() {
    assert!(!open(2, 10).is_full(3));
    assert!(open(3, 10).is_full(3));
    assert!(open(1, GATHERED_BYTES_MAX).is_full(3));
}
