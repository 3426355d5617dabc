//! One item from its arrival to its end.

use super::*;

#[test]
fn an_item_starts_and_its_end_is_numbered() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1), work(2)]);
    assert_eq!(node.dispatcher.lows()[0].1, Seq(1));
    let ids = node.run(AttemptOutcome::Completed);
    assert_eq!(ids, [id(1), id(2)]);

    let ends = node.finishes();
    let told: Vec<_> =
        ends.iter().map(|end| (end.fin, end.status, end.item.attempts.len())).collect();
    assert_eq!(told, [(1, Status::Completed, 1), (2, Status::Completed, 1)]);
    assert_eq!(ends[0].item.attempts[0].cause, Cause::First);
    assert!(node.dispatcher.is_idle());
    assert_eq!(node.dispatcher.lows()[0].1, Seq(3));
}

#[test]
fn a_failure_is_retried_until_the_policy_ends_it() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    for (number, cause) in [(1, Cause::First), (2, Cause::Retry), (3, Cause::Timeout)] {
        let starts = node.starts();
        assert_eq!((starts[0].number, starts[0].cause), (number, cause));
        let outcome = if number == 2 { AttemptOutcome::Timeout } else { AttemptOutcome::Failed };
        node.end(starts[0].token, outcome);
        node.step(Input::Committed(vec![id(1)]));
        assert_eq!(node.starts().len(), 0, "not before its time");
        assert_eq!(node.retries().len(), usize::from(number < 3));
        node.advance(Duration::from_secs(1));
    }
    let end = node.finishes().remove(0);
    assert_eq!((end.status, end.item.attempts.len()), (Status::Failed, 3));
    assert!(end.dead.is_some());
}

#[test]
fn a_rejected_attempt_is_not_retried() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let token = node.starts()[0].token;
    let end = End { rejected: true, ..node.ending(AttemptOutcome::Failed) };
    node.step(Input::Ended { token, end });
    assert_eq!(node.finishes()[0].status, Status::Failed);
}

#[test]
fn an_attempt_that_was_cut_off_is_made_again_and_not_counted() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    for _ in 0..5 {
        assert_eq!(node.run(AttemptOutcome::Cancelled), [id(1)]);
        assert_eq!(node.retries()[0].delay, Duration::ZERO);
    }
    node.run(AttemptOutcome::Failed);
    assert_eq!(node.retries()[0].delay, Duration::from_secs(1));
}

#[test]
fn a_stale_token_is_dropped() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let token = node.starts()[0].token;
    node.end(token, AttemptOutcome::Failed);
    node.end(token, AttemptOutcome::Completed);
    assert_eq!((node.finishes().len(), node.retries().len()), (0, 1));
    node.step(Input::Committed(vec![id(1)]));
    node.advance(Duration::from_secs(1));
    node.end(token, AttemptOutcome::Completed);
    node.end(Token(99), AttemptOutcome::Completed);
    assert_eq!(node.finishes().len(), 0);
    assert_ne!(node.starts()[0].token, token);
}

#[test]
fn an_item_is_known_once() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let again = || Input::Arrived {
        part: PART,
        from: Seq(1),
        next: Seq(2),
        items: vec![item(work(1), 1, Home::Log)],
    };
    node.step(again());
    assert_eq!(node.run(AttemptOutcome::Completed), [id(1)]);
    node.step(again());
    node.step(Input::Deferred(vec![later(work(1), 2, 0)]));
    assert_eq!(node.started(), []);
}

#[test]
fn a_gap_in_the_log_is_read() {
    let mut node = Node::ready(settings());
    let items = vec![item(work(3), 3, Home::Log)];
    node.step(Input::Arrived { part: PART, from: Seq(3), next: Seq(4), items });
    assert_eq!(node.started(), []);
    assert!(matches!(node.effects[..], [Effect::Load { from: Seq(1), limit: 8, .. }]));

    let items = (1..=3_i64).map(|seq| item(work(u128::from(seq.unsigned_abs())), seq, Home::Log));
    let items = items.collect();
    node.step(Input::Loaded { part: PART, from: Seq(1), next: Seq(4), items, skipped: [].into() });
    assert_eq!(node.started(), [id(1), id(2), id(3)]);
}

#[test]
fn a_wrong_word_of_the_tail_is_asked_about_once() {
    let mut node = Node::ready(settings());
    node.step(Input::TailSeen { part: PART, tail: Seq(9) });
    assert_eq!(node.effects.len(), 1);
    node.step(Input::Loaded {
        part: PART,
        from: Seq(1),
        next: Seq(1),
        items: Vec::new(),
        skipped: [].into(),
    });
    assert_eq!(node.effects.len(), 1);
}

#[test]
fn a_reading_that_found_nothing_goes_on_where_it_ended() {
    let mut node = Node::ready(settings());
    node.step(Input::TailSeen { part: PART, tail: Seq(100) });
    let (items, skipped) = (Vec::new(), [].into());
    node.step(Input::Loaded { part: PART, from: Seq(1), next: Seq(50), items, skipped });
    let next = node.effects.last();
    assert!(matches!(next, Some(Effect::Load { from: Seq(50), .. })), "{:?}", node.effects);
}

#[test]
fn a_later_item_starts_when_it_is_due() {
    let mut node = Node::ready(settings());
    node.step(Input::Deferred(vec![later(work(1), 2, 5), later(work(2), 2, 600)]));
    assert_eq!(node.dispatcher.next_tick(), Some(node.now + TimeDelta::seconds(5)));
    node.advance(Duration::from_secs(4));
    assert_eq!(node.started(), []);
    node.advance(Duration::from_secs(1));
    assert_eq!(node.started(), [id(1)]);
    assert_eq!(node.dispatcher.waiting(id(2)), None, "too far ahead to be kept");
}

#[test]
fn later_items_are_read_from_time_to_time() {
    let mut node = Node::ready(settings());
    node.advance(Duration::from_secs(29));
    assert_eq!(node.effects.len(), 0);
    node.advance(Duration::from_secs(1));
    let due_ahead = settings().due_ahead;
    assert!(matches!(node.effects[..], [Effect::LoadDue { ahead, .. }] if ahead == due_ahead));
}

#[test]
fn word_of_new_later_items_is_followed_by_a_reading_that_began_after_it() {
    let mut node = Node::ready(settings());
    node.step(Input::LaterSeen(PART));
    node.step(Input::LaterSeen(PART));
    assert_eq!(node.effects.len(), 1, "one at a time");
    node.due(Vec::new());
    assert!(matches!(node.effects[..], [Effect::LoadDue { .. }, Effect::LoadDue { .. }]));
    node.due(Vec::new());
    assert_eq!(node.effects.len(), 2);
}

#[test]
fn a_reading_that_began_before_an_end_does_not_bring_the_item_back() {
    let mut node = Node::ready(settings());
    node.step(Input::Deferred(vec![later(work(1), 2, 30)]));
    node.advance(Duration::from_secs(30));
    node.run(AttemptOutcome::Completed);
    node.due(vec![later(work(1), 1, 0)]);
    assert_eq!(node.started(), []);
}

#[test]
fn whatever_stands_somewhere_can_be_cancelled() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.hand_over(vec![work(1), work(2), mutate(3, "a:b"), mutate(4, "a:b")]);
    node.step(Input::Deferred(vec![later(work(5), 2, 5)]));
    node.step(Input::Cancel(id(6)));
    node.hand_over(vec![work(6)]);
    for number in (1..=5).rev() {
        node.step(Input::Cancel(id(number)));
    }
    let aborts = node.effects.iter().filter(|effect| matches!(effect, Effect::Abort(_)));
    assert_eq!(aborts.count(), 1);
    let ends = node.finishes();
    let told: Vec<_> = ends.iter().map(|end| (end.item.work.id, end.item.attempts.len())).collect();
    assert_eq!(told, [(id(6), 0), (id(5), 0), (id(4), 0), (id(3), 0), (id(2), 0), (id(1), 1)]);
    assert!(ends.iter().all(|end| end.status == Status::Cancelled && end.dead.is_none()));
    node.step(Input::Committed((1..=6).map(id).collect()));
    assert!(node.dispatcher.is_idle());
    assert_eq!(node.dispatcher.depths(), super::super::Depths::default());
}

#[test]
fn a_cancellation_during_a_retry_waits_for_its_commit() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let token = node.starts()[0].token;
    node.end(token, AttemptOutcome::Failed);
    node.step(Input::Cancel(id(1)));
    assert_eq!(node.finishes().len(), 0);
    node.step(Input::Committed(vec![id(1)]));
    assert_eq!(node.finishes()[0].status, Status::Cancelled);
}

#[test]
fn a_draining_node_ends_what_runs_and_starts_nothing() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.hand_over(vec![work(1), work(2)]);
    node.step(Input::Drain);
    assert!(!node.dispatcher.is_idle());
    assert_eq!(node.run(AttemptOutcome::Completed), [id(1)]);
    assert!(node.dispatcher.is_idle());
    assert_eq!(node.started(), []);
    assert_eq!(node.dispatcher.next_tick(), None);
}

#[test]
fn a_backlog_is_kept_in_bounds_and_read_again() {
    let mut node = Node::ready(Settings { slots: 1, lane_items: 4, ..settings() });
    let other = Work { tenant: TenantId(8), ..work(100) };
    let works: Vec<Work> = (1..=20).map(work).chain([other]).collect();
    let log: Vec<Item> =
        (1..).zip(&works).map(|(seq, work)| item(work.clone(), seq, Home::Log)).collect();
    node.hand_over(works);
    let mut order = Vec::new();
    for _ in 0..100 {
        let depths = node.dispatcher.depths();
        assert!(depths.waiting <= 6, "{depths:?}");
        order.extend(node.run(AttemptOutcome::Completed));
        let loads = node.effects.extract_if(.., |effect| matches!(effect, Effect::Load { .. }));
        let loads: Vec<Seq> = loads
            .filter_map(
                |effect| if let Effect::Load { from, .. } = effect { Some(from) } else { None },
            )
            .collect();
        for from in loads {
            let done = |item: &&Item| item.ord >= from && !order.contains(&item.work.id);
            let items: Vec<Item> = log.iter().filter(done).take(8).cloned().collect();
            let next = if items.len() == 8 { Seq(items[7].ord.0 + 1) } else { Seq(22) };
            node.effects.extend(node.dispatcher.step(
                Input::Loaded { part: PART, from, next, items, skipped: [].into() },
                node.now,
            ));
        }
    }
    assert_eq!(order.len(), 21);
    assert_eq!(order.iter().position(|ended| *ended == id(100)), Some(1));
    order.retain(|ended| *ended != id(100));
    assert_eq!(order, (1..=20).map(id).collect::<Vec<_>>());
}

#[test]
fn where_an_item_stands_can_be_asked() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.limit(ActionId(9), Some(0));
    let limited = Work { action: ActionId(9), tenant: TenantId(8), ..work(4) };
    node.hand_over(vec![mutate(1, "a:b"), mutate(2, "a:b"), work(3), limited]);
    node.step(Input::Deferred(vec![later(work(5), 2, 5)]));
    let token = node.starts()[0].token;
    node.end(token, AttemptOutcome::Completed);
    let waiting = |number| node.dispatcher.waiting(id(number));
    assert_eq!(waiting(1), Some(Waiting::Running { since_attempt: 1 }));
    assert_eq!(waiting(2), Some(Waiting::ForKey { holder: id(1) }));
    assert_eq!(waiting(3), Some(Waiting::Running { since_attempt: 1 }));
    assert_eq!(
        waiting(4),
        Some(Waiting::ForConcurrency { scope: Scope::Action(ActionId(9)), max: 0 })
    );
    assert_eq!(waiting(5), Some(Waiting::ForTime(node.now + TimeDelta::seconds(5))));
    assert_eq!(waiting(9), None);
}

#[test]
fn a_cancel_of_something_unknown_looks_among_the_later_items_once() {
    let mut node = Node::ready(settings());
    node.step(Input::Cancel(id(1)));
    assert!(matches!(node.effects[..], [Effect::LoadDue { .. }]));
    node.due(vec![later(work(1), 1, 864_000)]);
    assert_eq!(node.finishes()[0].status, Status::Cancelled);
    node.effects.clear();
    node.step(Input::Cancel(id(2)));
    node.due(Vec::new());
    node.effects.clear();
    node.step(Input::Cancel(id(2)));
    assert!(node.effects.is_empty(), "{:?}", node.effects);
}

fn supersede(node: &mut Node, number: u128) {
    node.step(Input::Supersede { execution: id(number), by: id(99) });
}

#[test]
fn what_has_not_started_makes_room_for_a_newer_one() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.hand_over(vec![work(1), work(2), mutate(3, "order:1"), mutate(4, "order:1")]);
    assert_eq!(node.started(), [id(1)]);
    node.step(Input::Deferred(vec![later(work(5), 9, 30)]));
    for number in [2, 4, 5] {
        supersede(&mut node, number);
    }
    let ends = node.finishes();
    assert_eq!(ends.len(), 3);
    for end in &ends {
        assert_eq!((end.status, end.dead.as_deref()), (Status::Skipped, None));
        let error = end.error.as_ref().unwrap();
        assert_eq!(error.code.as_str(), "execution.superseded");
        assert_eq!(error.message, format!("superseded by {}", id(99)));
    }
}

#[test]
fn what_has_started_is_left_alone() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1), work(2)]);
    let starts = node.starts();
    supersede(&mut node, 1);
    assert_eq!(node.finishes().len(), 0);
    node.end(starts[0].token, AttemptOutcome::Completed);
    assert_eq!(node.finishes()[0].status, Status::Completed);
    node.end(starts[1].token, AttemptOutcome::Failed);
    node.step(Input::Committed(vec![id(2)]));
    supersede(&mut node, 2);
    assert_eq!(node.finishes().len(), 0, "its retry is of something that has started");
    node.advance(Duration::from_secs(1));
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn who_was_superseded_before_it_was_read_never_starts() {
    let mut node = Node::ready(settings());
    supersede(&mut node, 1);
    let terms = crate::terms::Terms { superseded_by: Some(id(99)), ..Default::default() };
    let told_by_the_store = Work { terms: terms.unless_empty(), ..work(2) };
    node.hand_over(vec![work(1), told_by_the_store, work(3)]);
    assert_eq!(node.started(), [id(3)]);
    let ends = node.finishes();
    let statuses: Vec<_> = ends.iter().map(|end| (end.item.work.id, end.status)).collect();
    assert_eq!(statuses, [(id(1), Status::Skipped), (id(2), Status::Skipped)]);
}
