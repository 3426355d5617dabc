//! Partitions that are given back: to a node that has fewer, or because this one stops.

use super::*;

/// What was given back, and from where its log is read next.
fn given_back(node: &mut Node) -> Vec<(Part, Seq)> {
    let given = node.effects.extract_if(.., |effect| matches!(effect, Effect::GiveBack { .. }));
    given
        .filter_map(|effect| {
            let Effect::GiveBack { fence, low } = effect else { return None };
            Some((fence.part, low))
        })
        .collect()
}

#[test]
fn a_partition_is_given_back_when_what_runs_there_has_ended() {
    let mut node = Node::ready(settings());
    node.hand_over((1..=6).map(work).collect());
    let running = node.starts();
    assert_eq!(running.len(), 4);

    node.step(Input::GiveUp(1));
    for start in &running {
        assert_eq!(given_back(&mut node), []);
        node.end(start.token, AttemptOutcome::Completed);
        node.step(Input::Committed(vec![start.item.work.id]));
    }

    assert_eq!(given_back(&mut node), [(PART, Seq(1))]);
    assert_eq!(node.finishes().len(), 4, "the others wait for the next owner");
    node.step(Input::TailSeen { part: PART, tail: Seq(9) });
    node.step(Input::GiveUp(1));
    node.advance(Duration::from_secs(100));
    assert!(node.effects.is_empty(), "{:?}", node.effects);
    node.step(Input::Lost(PART));
    assert_eq!(node.dispatcher.depths(), super::super::Depths::default());
}

#[test]
fn who_waits_for_a_key_does_not_get_it_when_its_partition_goes() {
    let mut node = Node::ready(settings());
    node.hand_over(vec![mutate(1, "order:9"), mutate(2, "order:9"), mutate(3, "order:9")]);
    let running = node.starts();
    node.step(Input::GiveUp(1));
    node.end(running[0].token, AttemptOutcome::Failed);
    node.step(Input::Committed(vec![id(1)]));
    assert_eq!(given_back(&mut node).len(), 1);
    node.advance(Duration::from_secs(5));
    assert_eq!(node.started(), [], "its retry waits for the next owner as well");
}

#[test]
fn a_partition_whose_attempts_take_too_long_is_kept_for_a_while() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.hand_over(vec![work(1), work(2)]);
    let running = node.starts();
    node.step(Input::GiveUp(1));
    node.advance(Duration::from_secs(9));
    assert!(node.effects.is_empty());
    node.advance(Duration::from_secs(1));

    // What was dropped is read again, and what still runs is not started twice.
    assert!(matches!(node.effects[..], [Effect::LoadDue { .. }]), "{:?}", node.effects);
    node.due(Vec::new());
    let items = vec![item(work(1), 1, Home::Log), item(work(2), 2, Home::Log)];
    node.step(Input::Loaded { part: PART, from: Seq(1), next: Seq(3), items, skipped: [].into() });
    assert_eq!(node.started(), []);
    node.end(running[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(2)]);
    node.step(Input::Committed(vec![id(1)]));

    node.step(Input::GiveUp(1));
    node.hand_over(vec![work(3)]);
    assert_eq!(node.run(AttemptOutcome::Completed), [] as [ExecutionId; 0]);
    assert_eq!(given_back(&mut node), [], "it was kept just now");
}

#[test]
fn a_drain_gives_back_what_is_idle_at_once() {
    let mut node = Node::ready(settings());
    let idle = Part(1);
    node.step(Input::Claimed(Lease { part: idle, ..lease(true) }));
    node.step(Input::Due { part: idle, laters: Vec::new(), complete: true });
    node.effects.clear();
    node.hand_over(vec![work(1)]);
    let running = node.starts();

    node.step(Input::Drain);
    assert_eq!(given_back(&mut node), [(idle, Seq(1))]);
    node.end(running[0].token, AttemptOutcome::Completed);
    node.step(Input::Committed(vec![id(1)]));
    assert_eq!(given_back(&mut node), [(PART, Seq(1))]);
    // A claim was under way.
    let late = Part(2);
    node.step(Input::Claimed(Lease { part: late, ..lease(true) }));
    assert_eq!(given_back(&mut node), [(late, Seq(1))]);
}

#[test]
fn what_a_former_owner_may_have_started_is_not_given_up() {
    let mut node = Node::with_lease(settings(), Lease { tail: Seq(2), ..lease(false) });
    node.step(Input::GiveUp(1));
    node.step(Input::Drain);
    assert_eq!(given_back(&mut node), []);
    assert_eq!(node.dispatcher.clean(), []);
}

#[test]
fn least_is_given_up_where_most_is_going_on() {
    let mut node = Node::ready(settings());
    for part in [Part(1), Part(2)] {
        node.step(Input::Claimed(Lease { part, ..lease(true) }));
        node.step(Input::Due { part, laters: Vec::new(), complete: true });
    }
    node.hand_over(vec![work(1)]);
    node.step(Input::GiveUp(2));
    let given: Vec<Part> = given_back(&mut node).into_iter().map(|(part, _)| part).collect();
    assert_eq!(given, [Part(1), Part(2)]);
}

#[test]
fn what_waits_of_a_tenant_that_is_gone_is_dropped_and_what_runs_is_ended() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    let of = |number, tenant| Work { tenant: TenantId(tenant), ..work(number) };
    node.hand_over(vec![of(1, 7), of(2, 7), of(3, 8)]);
    let running = node.starts();
    assert_eq!(running.len(), 1);
    assert_eq!(running[0].item.work.tenant, TenantId(7));

    node.step(Input::Forget(TenantId(7)));
    let aborted = node.effects.iter().any(|effect| matches!(effect, Effect::Abort(_)));
    assert!(aborted, "{:?}", node.effects);
    let ends = node.finishes();
    assert_eq!(ends.len(), 1, "its end is committed, and the store leaves it out");
    node.step(Input::Committed(vec![ends[0].item.work.id]));
    assert_eq!(node.run(AttemptOutcome::Completed), [id(3)], "others go on");

    // What was on its way is not taken in.
    node.hand_over(vec![of(4, 7)]);
    assert_eq!(node.started(), [] as [ExecutionId; 0]);
    assert_eq!(node.dispatcher.depths(), super::super::Depths::default());
}
