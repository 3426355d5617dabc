//! Who goes first, and who waits for whom.

use super::*;

#[test]
fn a_key_is_held_until_the_end_is_committed() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![mutate(1, "order:9"), mutate(2, "order:9:line:1"), mutate(3, "order:8")]);
    let starts = node.starts();
    assert_eq!(starts.len(), 2);
    node.end(starts[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [], "recorded first");
    node.step(Input::Committed(vec![id(1)]));
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn who_mutates_keeps_the_key_over_its_retries() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![mutate(1, "order:9"), mutate(2, "order:9")]);
    assert_eq!(node.run(AttemptOutcome::Failed), [id(1)]);
    assert!(node.retries()[0].hold);
    assert_eq!(node.started(), []);
    node.advance(Duration::from_secs(1));
    assert_eq!(node.run(AttemptOutcome::Completed), [id(1)]);
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn who_reads_gives_the_key_back_and_keeps_its_place() {
    let mut node = Node::ready(settings());
    let read = Work { key: Some(Key::parse("order:9", KeyMode::Read).unwrap()), ..work(1) };
    node.hand_over(vec![read, mutate(2, "order:9"), mutate(3, "order:9")]);
    assert_eq!(node.run(AttemptOutcome::Failed), [id(1)]);
    assert!(!node.retries()[0].hold);
    let second = node.starts();
    assert_eq!(second[0].item.work.id, id(2));
    node.advance(Duration::from_secs(1));
    node.end(second[0].token, AttemptOutcome::Completed);
    node.step(Input::Committed(vec![id(2)]));
    assert_eq!(node.started(), [id(1)], "before those that came after it");
}

#[test]
fn a_retry_beyond_the_horizon_is_left_to_the_store() {
    let mut node = Node::ready(Settings { due_ahead: Duration::from_millis(500), ..settings() });
    node.hand_over(vec![work(1), mutate(2, "order:9")]);
    node.run(AttemptOutcome::Failed);
    assert_eq!(node.dispatcher.waiting(id(1)), None);
    assert!(node.dispatcher.waiting(id(2)).is_some(), "it holds its key");
}

#[test]
fn one_tenant_leaves_room_for_the_others() {
    let mut node = Node::ready(settings());
    let busy = |number| work(number);
    let quiet = |number| Work { tenant: TenantId(8), ..work(number) };
    node.hand_over((1..=8).map(busy).collect());
    let first = node.starts();
    assert_eq!(first.len(), 4, "alone it may have everything");
    node.hand_over(vec![quiet(11), quiet(12), quiet(13)]);

    // Three of four is its share. While it holds as much, the free slots are the others'.
    node.end(first[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(11)]);
    node.end(first[1].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(5)], "below its share it takes turns");
    node.end(first[2].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(12)]);
}

#[test]
fn urgent_lanes_go_first() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    let with = |number, lane| Work { lane, ..work(number) };
    node.hand_over(vec![
        work(1),
        with(2, Priority::Low),
        with(3, Priority::Critical),
        with(4, Priority::High),
    ]);
    let order: Vec<_> = (0..4).flat_map(|_| node.run(AttemptOutcome::Completed)).collect();
    assert_eq!(order, [id(3), id(4), id(1), id(2)]);
}

#[test]
fn an_old_item_overtakes_urgent_ones() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    let with = |number, lane| Work { lane, ..work(number) };
    node.hand_over(vec![work(1), with(2, Priority::Low)]);
    node.advance(Duration::from_secs(61));
    node.hand_over(vec![with(3, Priority::Normal), with(4, Priority::VeryHigh)]);
    let order: Vec<_> = (0..4).flat_map(|_| node.run(AttemptOutcome::Completed)).collect();
    assert_eq!(order, [id(1), id(4), id(2), id(3)]);
}

#[test]
fn a_limited_action_does_not_hold_up_the_others() {
    let mut node = Node::ready(settings());
    node.limit(ActionId(9), Some(1));
    let limited = |number| Work { action: ActionId(9), ..work(number) };
    node.hand_over(vec![limited(1), limited(2), limited(3), work(4)]);
    let starts = node.starts();
    assert_eq!(starts.iter().map(|start| start.item.work.id).collect::<Vec<_>>(), [id(1), id(4)]);
    node.end(starts[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(2)]);
    node.limit(ActionId(9), None);
    assert_eq!(node.started(), [id(3)]);
}

#[test]
fn memory_is_bounded_and_drops_events_first() {
    let mut node = Node::ready(Settings { slots: 1, window_bytes: 3_000, ..settings() });
    let data = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let event = crate::event::Event {
        id: crate::id::EventId(Uuid::from_u128(1)),
        tenant: TenantId(7),
        event_type: crate::event::EventType::parse("a.b").unwrap(),
        source: String::new(),
        external_id: None,
        accepted_at: Timestamp::UNIX_EPOCH,
        data: crate::json::Json::from_record(data(5_000)),
        attributes: crate::event::Attributes::default(),
    };
    let event = Arc::new(event);
    let items = (1..=9)
        .map(|seq: i64| Item {
            event: Some(Arc::clone(&event)),
            ..item(work(u128::from(seq.unsigned_abs())), seq, Home::Log)
        })
        .collect();
    node.step(Input::Arrived { part: PART, from: Seq(1), next: Seq(10), items });
    assert!(node.dispatcher.depths().window_bytes <= 3_000);
    assert_eq!(node.dispatcher.depths().waiting, 4, "one runs by now");
    assert_eq!(node.dispatcher.lows()[0].1, Seq(1));
}
