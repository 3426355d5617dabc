//! What changes hands: clean, unclean, and lost.

use super::super::recovery::carried;
use super::*;

fn unclean(tail: i64) -> Lease {
    Lease { tail: Seq(tail), ..lease(false) }
}

/// Reads the log from its start.
fn load(node: &mut Node, works: Vec<Work>) {
    let items: Vec<Item> = (1..).zip(works).map(|(seq, work)| item(work, seq, Home::Log)).collect();
    node.next = 1 + i64::try_from(items.len()).unwrap();
    let (from, next) = (Seq(1), Seq(node.next));
    node.step(Input::Loaded { part: PART, from, next, items, skipped: [].into() });
}

fn marks(node: &mut Node) -> Vec<Vec<Token>> {
    let marks = node.effects.extract_if(.., |effect| matches!(effect, Effect::Mark { .. }));
    marks
        .filter_map(
            |effect| if let Effect::Mark { items, .. } = effect { Some(items) } else { None },
        )
        .map(|items| items.iter().map(|(token, _)| *token).collect())
        .collect()
}

fn held(number: u128, ord: i64, seconds: u64, name: &str) -> Later {
    Later { hold: true, why: Why::Retry, ..later(mutate(number, name), ord, seconds) }
}

#[test]
fn who_holds_a_key_is_known_before_anything_is_read() {
    let mut node = Node::with_lease(settings(), Lease { tail: Seq(3), ..lease(true) });
    let asked = |effects: &[Effect]| matches!(effects, [Effect::LoadDue { limit: 8, .. }]);
    assert!(asked(&node.effects), "{:?}", node.effects);
    node.effects.clear();
    let laters = (1..=8).map(|n| held(10 + n, 1, 300, &format!("k:{n}"))).collect();
    node.step(Input::Due { part: PART, laters, complete: false });
    // All of them hold keys, so there may be more.
    assert!(matches!(node.effects[..], [Effect::LoadDue { limit: 16, .. }]), "{:?}", node.effects);
    node.effects.clear();
    node.due(vec![held(19, 1, 5, "order:9")]);
    assert!(matches!(node.effects[..], [Effect::Load { from: Seq(1), .. }]), "{:?}", node.effects);

    load(&mut node, vec![mutate(1, "order:9"), mutate(2, "order:8")]);
    assert_eq!(node.started(), [id(2)]);
    node.advance(Duration::from_secs(5));
    assert_eq!(node.run(AttemptOutcome::Completed), [id(19)]);
    assert_eq!(node.started(), [id(1)]);
}

#[test]
fn after_an_unclean_takeover_starts_are_written_down_first() {
    let mut node = Node::with_lease(settings(), unclean(4));
    node.due(vec![later(work(11), 4, 0), later(work(12), 4, 5)]);
    load(&mut node, (1..=3).map(work).collect());
    assert_eq!(node.started(), []);
    let groups = marks(&mut node);
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1]);

    node.step(Input::Marked(groups.concat()));
    let starts = node.starts();
    let told: Vec<_> =
        starts.iter().map(|start| (start.item.work.id, start.cause, start.lost_epoch)).collect();
    let lost = Some(Epoch(4));
    assert_eq!(
        told,
        [
            (id(11), Cause::LeaseLost, lost),
            (id(1), Cause::LeaseLost, lost),
            (id(2), Cause::LeaseLost, lost),
            (id(3), Cause::LeaseLost, lost),
        ]
    );
    // What came after the claim, or was not due at it, was started by nobody else.
    starts.iter().for_each(|start| node.end(start.token, AttemptOutcome::Completed));
    node.advance(Duration::from_secs(60));
    node.hand_over(vec![work(4)]);
    let causes: Vec<_> =
        node.starts().iter().map(|start| (start.item.work.id, start.cause)).collect();
    assert_eq!(causes, [(id(12), Cause::First), (id(4), Cause::First)]);
    assert_eq!(marks(&mut node).len(), 0, "after a while starts are not marked any more");
}

#[test]
fn a_clean_takeover_suspects_nothing() {
    let mut node = Node::with_lease(settings(), Lease { tail: Seq(2), ..lease(true) });
    node.due(Vec::new());
    load(&mut node, vec![Work { parent: Some(id(99)), ..work(1) }]);
    assert_eq!(node.starts()[0].cause, Cause::Replay);
}

#[test]
fn a_retry_after_a_suspect_start_is_a_retry() {
    let mut node = Node::with_lease(settings(), unclean(2));
    node.due(Vec::new());
    load(&mut node, vec![work(1)]);
    let tokens = marks(&mut node).concat();
    node.step(Input::Marked(tokens));
    assert_eq!(node.run(AttemptOutcome::Failed), [id(1)]);
    node.advance(Duration::from_secs(1));
    let tokens = marks(&mut node).concat();
    node.step(Input::Marked(tokens));
    assert_eq!(node.starts()[0].cause, Cause::Retry);
}

#[test]
fn what_was_marked_is_carried_over_with_a_loss() {
    let now = Timestamp::UNIX_EPOCH;
    let found = vec![item(mutate(1, "order:9"), 1, Home::Log), item(work(2), 2, Home::Later)];
    let carried = carried(found, unclean(3), false, |_| false, NodeId(4), now);

    let told: Vec<_> = carried
        .iter()
        .map(|later| (later.why, later.delay, later.hold, later.item.losses))
        .collect();
    assert_eq!(
        told,
        [(Why::Carried, Duration::ZERO, true, 1), (Why::Carried, Duration::ZERO, false, 1),]
    );
    let attempt = &carried[0].item.attempts[0];
    assert_eq!((attempt.outcome, attempt.epoch), (AttemptOutcome::Lost, Epoch(4)));
    assert_eq!((attempt.node, attempt.number), (NodeId(4), 1));
}

#[test]
fn what_must_not_happen_twice_is_carried_over_as_unknown_and_without_a_loss() {
    let found = vec![item(work(1), 1, Home::Log), item(work(2), 2, Home::Log)];
    let is_at_most_once = |item: &Item| item.work.id == id(1);
    let now = Timestamp::UNIX_EPOCH;
    let carried = carried(found, unclean(3), false, is_at_most_once, NodeId(4), now);
    let told: Vec<_> =
        carried.iter().map(|later| (later.item.attempts[0].outcome, later.item.losses)).collect();
    assert_eq!(told, [(AttemptOutcome::Unknown, 0), (AttemptOutcome::Lost, 1)]);

    let mut node = Node::with_lease(settings(), lease(true));
    node.due(vec![carried.into_iter().next().unwrap()]);
    let starts = node.starts();
    let told: Vec<_> = starts.iter().map(|start| (start.cause, start.lost_epoch)).collect();
    assert_eq!(told, [(Cause::LeaseLost, Some(Epoch(4)))]);
    let end = End { rejected: true, ..node.ending(AttemptOutcome::Unknown) };
    node.step(Input::Ended { token: starts[0].token, end });
    let end = node.finishes().remove(0);
    assert_eq!((end.status, end.dead.is_some()), (Status::Failed, true));
}

#[test]
fn a_start_that_has_to_be_written_down_is_given_out_again_afterwards() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let start = node.starts().remove(0);
    assert!(!start.is_marked);
    node.step(Input::MarkFirst(start.token));
    let tokens = marks(&mut node).concat();
    assert_eq!(tokens, [start.token]);
    assert!(!node.dispatcher.is_idle(), "it keeps its slot");

    // That goes on while the node drains: written down is begun.
    node.step(Input::Drain);
    node.step(Input::Marked(tokens));
    let again = node.starts().remove(0);
    assert_eq!((again.token, again.number, again.is_marked), (start.token, 1, true));
    node.end(again.token, AttemptOutcome::Completed);
    assert_eq!(node.finishes().len(), 1);
}

#[test]
fn what_was_cancelled_before_it_was_written_down_does_not_start() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![work(1)]);
    let token = node.starts()[0].token;
    node.step(Input::MarkFirst(token));
    node.step(Input::Cancel(id(1)));
    node.step(Input::Marked(vec![token]));
    node.step(Input::MarkFirst(token));
    assert_eq!((node.started(), marks(&mut node).len()), (Vec::new(), 1));
    assert_eq!(node.finishes()[0].status, Status::Cancelled);
}

#[test]
fn what_was_lost_once_runs_alone_and_marked() {
    let mut node = Node::with_lease(settings(), lease(true));
    let mut suspect = later(work(2), 1, 5);
    suspect.item.losses = 1;
    node.due(vec![suspect]);
    node.hand_over(vec![work(1)]);
    node.advance(Duration::from_secs(5));
    node.hand_over(vec![work(3)]);
    // Nothing new beside it, and it waits for what runs.
    let first = node.starts();
    assert_eq!(first.len(), 1);
    assert_eq!(marks(&mut node).len(), 0);
    node.end(first[0].token, AttemptOutcome::Completed);

    let tokens = marks(&mut node).concat();
    assert_eq!(tokens.len(), 1);
    node.step(Input::Marked(tokens));
    let alone = node.starts();
    assert_eq!(alone.iter().map(|start| start.item.work.id).collect::<Vec<_>>(), [id(2)]);
    node.end(alone[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(3)]);
}

#[test]
fn what_was_lost_too_often_is_set_aside() {
    let mut node = Node::with_lease(settings(), lease(true));
    let mut poison = held(1, 1, 0, "order:9");
    poison.item.losses = LOSSES_MAX;
    node.due(vec![poison]);
    let end = node.finishes().remove(0);
    assert_eq!(end.status, Status::Failed);
    assert_eq!(end.error.unwrap().code, "execution.poison");
    assert!(end.dead.is_some());
    assert_eq!(node.started(), []);
    // Its key is free when that is written down.
    node.hand_over(vec![mutate(2, "order:9")]);
    assert_eq!(node.started(), []);
    node.step(Input::Committed(vec![id(1)]));
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn a_lost_partition_is_forgotten() {
    let mut node = Node::ready(Settings { slots: 2, ..settings() });
    node.limit(ActionId(3), Some(2));
    node.hand_over(vec![work(1), mutate(2, "a:b"), mutate(3, "a:b"), work(4)]);
    node.step(Input::Deferred(vec![later(work(5), 2, 5)]));
    let starts = node.starts();
    node.end(starts[0].token, AttemptOutcome::Completed);
    node.step(Input::Lost(PART));
    let aborts = node.effects.iter().filter(|effect| matches!(effect, Effect::Abort(_)));
    assert_eq!(aborts.count(), 2);
    assert!(node.dispatcher.is_idle());
    assert_eq!(node.dispatcher.depths(), super::super::Depths::default());
    assert_eq!(node.dispatcher.lows(), []);

    // Late words change nothing, and the partition may come back.
    node.end(starts[1].token, AttemptOutcome::Completed);
    node.step(Input::Committed(vec![id(1)]));
    node.effects.clear();
    node.step(Input::Claimed(Lease { epoch: Epoch(7), tail: Seq(5), ..lease(false) }));
    node.due(Vec::new());
    load(&mut node, vec![work(1), mutate(2, "a:b"), mutate(3, "a:b"), work(4)]);
    let tokens = marks(&mut node).concat();
    node.step(Input::Marked(tokens));
    assert_eq!(node.starts()[0].lost_epoch, Some(Epoch(6)));
}

#[test]
fn a_cancelled_item_says_that_it_may_have_been_started() {
    let mut node = Node::with_lease(settings(), unclean(3));
    node.due(Vec::new());
    node.step(Input::Cancel(id(1)));
    load(&mut node, vec![work(1), work(2)]);
    node.step(Input::Cancel(id(2)));
    let attempts: Vec<_> = node
        .finishes()
        .iter()
        .map(|end| {
            end.item
                .attempts
                .iter()
                .map(|attempt| (attempt.outcome, attempt.epoch))
                .collect::<Vec<_>>()
        })
        .collect();
    // The second one had its turn, but its mark was not committed yet.
    assert_eq!(attempts, vec![vec![(AttemptOutcome::Unknown, Epoch(4))]; 2]);
}

#[test]
fn a_partition_is_clean_when_nothing_suspect_is_left() {
    let mut node = Node::with_lease(Settings { slots: 1, ..settings() }, unclean(3));
    assert_eq!(node.dispatcher.clean(), [], "nothing is known of it yet");
    node.due(Vec::new());
    load(&mut node, vec![work(1), work(2), work(3)]);
    for number in 1..=3 {
        assert_eq!(node.dispatcher.clean().len(), usize::from(number == 3), "{number}");
        let tokens = marks(&mut node).concat();
        node.step(Input::Marked(tokens));
        assert_eq!(node.run(AttemptOutcome::Completed), [id(number)]);
    }
    assert_eq!(Node::new(settings()).dispatcher.clean().len(), 1, "it was given back as clean");
}

#[test]
fn late_word_of_something_from_before_the_claim_is_checked() {
    let mut node = Node::with_lease(settings(), unclean(3));
    node.due(Vec::new());
    node.effects.clear();
    node.step(Input::Deferred(vec![later(work(1), 2, 0)]));
    let items = vec![item(work(2), 1, Home::Log)];
    node.step(Input::Arrived { part: PART, from: Seq(1), next: Seq(2), items });
    // Both may be finished by now. The log was being read anyway.
    assert!(matches!(node.effects[..], [Effect::LoadDue { .. }]), "{:?}", node.effects);
    assert_eq!(node.dispatcher.depths(), super::super::Depths::default());
}

#[test]
fn many_that_were_lost_take_turns_with_the_others() {
    let mut node = Node::with_lease(Settings { slots: 1, ..settings() }, lease(true));
    let lost = |number| {
        let mut lost = later(work(number), 1, 0);
        lost.item.losses = 1;
        lost
    };
    node.due((1..=3).map(lost).collect());
    node.hand_over((11..=13).map(work).collect());
    let mut order = Vec::new();
    for _ in 0..6 {
        let tokens = marks(&mut node).concat();
        node.step(Input::Marked(tokens));
        order.extend(node.run(AttemptOutcome::Completed));
    }
    assert_eq!(order, [1, 11, 2, 12, 3, 13].map(id));
}

#[test]
fn what_an_earlier_session_of_this_process_had_started_gains_no_loss() {
    let found = vec![item(work(1), 1, Home::Log)];
    let carried = carried(found, unclean(3), true, |_| false, NodeId(4), Timestamp::UNIX_EPOCH);
    assert_eq!(carried[0].item.losses, 0);
    assert_eq!(carried[0].item.attempts[0].outcome, AttemptOutcome::Lost);
}
