//! Limits for each key of an action, and rates of subscriptions.

use super::*;
use crate::id::SubscriptionId;
use crate::terms::Terms;
use crate::throttle::{Draw, Drawn, PerKey, Rate};

const LIMITED: ActionId = ActionId(9);
const ACTION: Scope = Scope::Action(LIMITED);

fn node_with(per_key: PerKey) -> Node {
    let mut node = Node::ready(Settings { slots: 8, tenant_share: 100, ..settings() });
    set(&mut node, Limits { per_key, ..Limits::default() });
    node
}

fn set(node: &mut Node, limits: Limits) {
    node.step(Input::Limits { scope: ACTION, limits });
}

fn at_once(max: u32) -> PerKey {
    PerKey { concurrency: Some(max), ..PerKey::default() }
}

fn a_minute(per_minute: u32) -> PerKey {
    let rate = Rate { per_minute: Some(per_minute), per_hour: None };
    PerKey { rate, ..PerKey::default() }
}

fn with(number: u128, terms: Terms) -> Work {
    Work { action: LIMITED, terms: Some(Arc::new(terms)), ..work(number) }
}

fn counted(number: u128, key: &str) -> Work {
    with(number, Terms { concurrency_key: Some(key.into()), ..Terms::default() })
}

fn paced(number: u128, key: &str) -> Work {
    with(number, Terms { throttle_key: Some(key.into()), ..Terms::default() })
}

#[test]
fn as_many_run_of_each_key_as_may() {
    let mut node = node_with(at_once(2));
    let works = [(1, "customer:1"), (2, "customer:1"), (3, "customer:1"), (4, "customer:2")];
    node.hand_over(works.map(|(number, key)| counted(number, key)).into());
    let first = node.starts();
    let ids: Vec<_> = first.iter().map(|start| start.item.work.id).collect();
    assert_eq!(ids, [id(1), id(2), id(4)]);
    let why = Waiting::ForKeyConcurrency { key: "customer:1".into(), running: 2, max: 2 };
    assert_eq!(node.dispatcher.waiting(id(3)), Some(why));
    node.end(first[2].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [], "another key's place is of no use");
    node.end(first[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(3)]);
}

#[test]
fn an_attempt_that_is_made_again_gives_its_place_back_meanwhile() {
    let mut node = node_with(at_once(1));
    node.hand_over(vec![counted(1, "customer:1"), counted(2, "customer:1")]);
    assert_eq!(node.run(AttemptOutcome::Failed), [id(1)]);
    assert_eq!(node.run(AttemptOutcome::Completed), [id(2)]);
    node.advance(Duration::from_secs(1));
    assert_eq!(node.run(AttemptOutcome::Completed), [id(1)]);
}

#[test]
fn a_changed_limit_holds_for_what_waits() {
    let mut node = node_with(at_once(1));
    node.hand_over((1..=4).map(|number| counted(number, "customer:1")).collect());
    assert_eq!(node.started(), [id(1)]);
    set(&mut node, Limits { per_key: at_once(2), ..Limits::default() });
    assert_eq!(node.started(), [id(2)]);
    set(&mut node, Limits::default());
    assert_eq!(node.started(), [id(3), id(4)]);
}

#[test]
fn who_waits_for_its_key_takes_no_place_of_the_action() {
    let mut node = node_with(at_once(1));
    set(&mut node, Limits { concurrency: Some(2), per_key: at_once(1), ..Limits::default() });
    node.step(Input::Shares(vec![Share { scope: ACTION, amount: 2, cap: 2 }]));
    let keys = ["customer:1", "customer:1", "customer:2", "customer:3"];
    node.hand_over((1..).zip(keys).map(|(number, key)| counted(number, key)).collect());
    node.step(Input::Shares(vec![Share { scope: ACTION, amount: 2, cap: 2 }]));
    assert_eq!(node.run(AttemptOutcome::Completed), [id(1), id(3)]);
    let mut rest = node.run(AttemptOutcome::Completed);
    rest.sort();
    assert_eq!(rest, [id(2), id(4)]);
}

#[test]
fn a_cancelled_one_leaves_its_line_and_its_place() {
    let mut node = node_with(at_once(1));
    node.hand_over((1..=4).map(|number| counted(number, "customer:1")).collect());
    assert_eq!(node.started(), [id(1)]);
    node.step(Input::Cancel(id(2)));
    node.step(Input::Cancel(id(1)));
    assert_eq!(node.started(), [id(3)], "the second one is gone, the first one ended");
}

#[test]
fn each_key_starts_at_its_own_rate() {
    let mut node = node_with(a_minute(60));
    node.hand_over((1..=4).map(|number| paced(number, "customer:1")).collect());
    node.hand_over(vec![paced(5, "customer:2")]);
    assert_eq!(node.started(), [id(1), id(2), id(3), id(5)], "a twentieth at once");
    let until = node.now + TimeDelta::seconds(1);
    let why = Waiting::ForKeyRate { key: "customer:1".into(), until };
    assert_eq!(node.dispatcher.waiting(id(4)), Some(why));
    assert_eq!(node.dispatcher.next_tick(), Some(until));
    node.advance(Duration::from_millis(999));
    assert_eq!(node.started(), []);
    node.advance(Duration::from_millis(1));
    assert_eq!(node.started(), [id(4)]);
}

#[test]
fn a_rate_that_is_paid_is_forgotten() {
    let mut node = node_with(a_minute(60));
    node.hand_over((1..=3).map(|number| paced(number, "customer:1")).collect());
    assert_eq!(node.run(AttemptOutcome::Completed).len(), 3);
    let paid_at = node.now + TimeDelta::seconds(3);
    assert_eq!(node.dispatcher.key_gates.next_at(), Some(paid_at));
    node.advance(Duration::from_secs(3));
    assert_eq!(node.dispatcher.key_gates.next_at(), None);
}

#[test]
fn a_new_owner_counts_from_nothing() {
    let mut node = node_with(at_once(1));
    node.hand_over(vec![counted(1, "customer:1"), counted(2, "customer:1")]);
    assert_eq!(node.started(), [id(1)]);
    node.step(Input::Lost(PART));
    node.next = 1;
    node.step(Input::Claimed(lease(true)));
    node.due(Vec::new());
    node.hand_over(vec![counted(1, "customer:1"), counted(2, "customer:1")]);
    assert_eq!(node.started(), [id(1)]);
}

#[test]
fn a_subscription_starts_at_its_rate_what_it_led_to() {
    let mut node = Node::ready(settings());
    let subscription = SubscriptionId(Uuid::from_u128(5));
    let scope = Scope::Subscription(TenantId(7), subscription);
    let rate = Rate { per_minute: Some(60), per_hour: None };
    node.step(Input::Limits { scope, limits: Limits { rate, ..Limits::default() } });
    let terms = Terms { subscription: Some(subscription), ..Terms::default() };
    node.hand_over(vec![with(1, terms.clone()), with(2, terms), work(3)]);
    assert_eq!(node.started(), [id(3)]);
    assert_eq!(node.dispatcher.waiting(id(1)), Some(Waiting::ForRate { scope }));
    let asked = node.effects.iter().find_map(|effect| {
        if let Effect::Draw(draws) = effect { Some(draws.clone()) } else { None }
    });
    assert_eq!(asked, Some(vec![Draw { scope, rate, want: 2 }]));
    node.step(Input::Drawn(vec![Drawn { scope, count: 1, again_in: Duration::from_secs(1) }]));
    assert_eq!(node.started(), [id(1)]);
}
