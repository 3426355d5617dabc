//! Limits: shares that are asked for, given back, and starts that are drawn.

use super::*;
use crate::throttle::{Draw, Drawn, Rate, ShareAsk};

const ACTION: Scope = Scope::Action(ActionId(9));
const TENANT: Scope = Scope::Tenant(TenantId(7));

impl Node {
    fn limits(&mut self, scope: Scope, limits: Limits) {
        self.step(Input::Limits { scope, limits });
    }

    fn share(&mut self, scope: Scope, amount: u32, cap: u32) {
        self.step(Input::Shares(vec![Share { scope, amount, cap }]));
    }

    fn asks(&mut self) -> Vec<ShareAsk> {
        let asks = self.effects.extract_if(.., |effect| matches!(effect, Effect::Exchange(_)));
        asks.flat_map(|effect| if let Effect::Exchange(asks) = effect { asks } else { vec![] })
            .collect()
    }

    fn draws(&mut self) -> Vec<Draw> {
        let draws = self.effects.extract_if(.., |effect| matches!(effect, Effect::Draw(_)));
        draws
            .flat_map(|effect| if let Effect::Draw(draws) = effect { draws } else { vec![] })
            .collect()
    }
}

fn at_once(max: u32) -> Limits {
    Limits { concurrency: Some(max), ..Limits::default() }
}

fn limited(number: u128) -> Work {
    Work { action: ActionId(9), ..work(number) }
}

#[test]
fn nothing_of_a_limited_action_starts_without_a_share() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(2));
    assert_eq!(node.asks(), [], "nobody waits");
    node.hand_over(vec![limited(1), limited(2), limited(3)]);
    assert_eq!(node.started(), []);
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 2, keep: 0, want: 2, hold: 0 }]);
    node.share(ACTION, 1, 1);
    assert_eq!(node.started(), [id(1)]);
    node.advance(Duration::from_millis(99));
    assert_eq!(node.asks(), []);
    node.advance(Duration::from_millis(1));
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 2, keep: 1, want: 2, hold: 1 }]);
    node.share(ACTION, 2, 2);
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn what_others_wait_for_is_given_back_when_it_is_free() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(2));
    node.hand_over((1..=4).map(limited).collect());
    node.share(ACTION, 2, 2);
    let tokens: Vec<Token> = node.starts().iter().map(|start| start.token).collect();
    node.advance(Duration::from_secs(1));
    assert_eq!(node.asks().last().unwrap().keep, 2);
    node.share(ACTION, 2, 1);
    node.advance(Duration::from_millis(20));
    assert_eq!(node.asks(), [], "both still run");
    node.end(tokens[0], AttemptOutcome::Completed);
    assert_eq!(node.started(), [], "one runs, and that is all that may");
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 2, keep: 1, want: 2, hold: 2 }]);
    node.share(ACTION, 1, 1);
    node.end(tokens[1], AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(3)]);
}

#[test]
fn an_answer_about_a_limit_that_was_lowered_meanwhile_starts_nothing() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(9));
    node.hand_over((1..=4).map(limited).collect());
    assert_eq!(node.asks()[0].max, 9);
    node.limits(ACTION, at_once(2));
    node.share(ACTION, 4, 4);
    assert_eq!(node.started(), [], "the others may have two starts of their own");
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 2, keep: 0, want: 2, hold: 4 }]);
    node.share(ACTION, 1, 1);
    assert_eq!(node.started(), [id(1)]);
}

#[test]
fn who_waits_no_longer_says_so() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(1));
    node.hand_over(vec![limited(1)]);
    assert_eq!(node.asks()[0].want, 1);
    node.share(ACTION, 0, 0);
    node.step(Input::Lost(PART));
    node.advance(Duration::from_secs(1));
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 1, keep: 0, want: 0, hold: 0 }]);
    node.share(ACTION, 0, 0);
    assert_eq!(node.dispatcher.next_tick(), None, "and then nothing is asked any more");
}

#[test]
fn an_unused_share_is_given_up() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(3));
    node.hand_over(vec![limited(1)]);
    node.share(ACTION, 1, 1);
    let token = node.starts()[0].token;
    node.end(token, AttemptOutcome::Completed);
    node.asks();
    node.advance(Duration::from_secs(5));
    let kept = ShareAsk { scope: ACTION, max: 3, keep: 1, want: 0, hold: 1 };
    assert_eq!(node.asks(), [kept]);
    node.share(ACTION, 1, 1);
    node.advance(Duration::from_secs(10));
    assert_eq!(node.asks(), [ShareAsk { keep: 0, hold: 0, ..kept }]);
}

#[test]
fn a_limited_tenant_waits_and_the_others_go_on() {
    let mut node = Node::ready(settings());
    node.limits(TENANT, at_once(1));
    let other = |number| Work { tenant: TenantId(8), ..work(number) };
    node.hand_over(vec![work(1), work(2), other(3), other(4)]);
    assert_eq!(node.started(), [id(3), id(4)]);
    assert_eq!(node.asks()[0].want, 1);
    assert_eq!(
        node.dispatcher.waiting(id(1)),
        Some(Waiting::ForConcurrency { scope: TENANT, max: 1 })
    );
    node.share(TENANT, 1, 1);
    let first = node.starts();
    assert_eq!(first.len(), 1);
    node.end(first[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn a_rate_lets_what_was_drawn_start() {
    let mut node = Node::ready(settings());
    let rate = Rate { per_minute: Some(600), per_hour: None };
    node.limits(ACTION, Limits { rate, ..Limits::default() });
    node.hand_over(vec![limited(1), limited(2), limited(3)]);
    assert_eq!(node.started(), []);
    assert_eq!(node.draws(), [Draw { scope: ACTION, rate, want: 3 }]);
    assert_eq!(node.dispatcher.waiting(id(1)), Some(Waiting::ForRate { scope: ACTION }));
    let again_in = Duration::from_millis(100);
    node.step(Input::Drawn(vec![Drawn { scope: ACTION, count: 2, again_in }]));
    assert_eq!(node.started(), [id(1), id(2)]);
    node.advance(Duration::from_millis(99));
    assert_eq!(node.draws(), []);
    node.advance(Duration::from_millis(1));
    assert_eq!(node.draws(), [Draw { scope: ACTION, rate, want: 1 }]);
}

#[test]
fn what_is_paused_waits_until_it_is_resumed() {
    let mut node = Node::ready(settings());
    let paused = Limits { is_paused: true, ..Limits::default() };
    node.limits(ACTION, paused);
    node.hand_over(vec![limited(1), work(2)]);
    assert_eq!(node.started(), [id(2)]);
    assert_eq!(node.dispatcher.waiting(id(1)), Some(Waiting::ForResume { scope: ACTION }));
    node.limits(TENANT, paused);
    node.limits(ACTION, Limits::default());
    assert_eq!(node.started(), []);
    assert_eq!(node.dispatcher.waiting(id(1)), Some(Waiting::ForResume { scope: TENANT }));
    node.limits(TENANT, Limits::default());
    assert_eq!(node.started(), [id(1)]);
}

#[test]
fn a_heavier_tenant_gets_more_turns() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.step(Input::Weight { tenant: TenantId(8), weight: 3 });
    let other = |number| Work { tenant: TenantId(8), ..work(number) };
    node.hand_over((1..=4).map(work).collect());
    node.hand_over((11..=16).map(other).collect());
    let order: Vec<_> = (0..9).flat_map(|_| node.run(AttemptOutcome::Completed)).collect();
    // The first had no one beside it.
    let of_heavy = order[1..].iter().filter(|ended| (11..=16).any(|number| **ended == id(number)));
    assert_eq!(of_heavy.count(), 6, "{order:?}");
}

#[test]
fn who_was_called_waits_again_when_its_action_is_paused() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    node.limits(ACTION, at_once(3));
    node.hand_over(vec![work(1), limited(2), limited(3)]);
    let first = node.starts();
    node.share(ACTION, 3, 3);
    node.limits(ACTION, Limits { is_paused: true, ..at_once(3) });
    node.end(first[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), []);
    assert_eq!(node.dispatcher.waiting(id(2)), Some(Waiting::ForResume { scope: ACTION }));
    node.limits(ACTION, at_once(3));
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn a_rate_is_not_used_up_by_what_cannot_start() {
    let mut node = Node::ready(settings());
    let rate = Rate { per_minute: Some(600), per_hour: None };
    node.limits(ACTION, Limits { rate, ..Limits::default() });
    node.limits(TENANT, Limits { is_paused: true, ..Limits::default() });
    node.hand_over((1..=6).map(limited).collect());
    let mut drawn = 0;
    for _ in 0..50 {
        for draw in node.draws() {
            drawn += draw.want;
            let given = Drawn { scope: ACTION, count: draw.want, again_in: Duration::ZERO };
            node.step(Input::Drawn(vec![given]));
        }
        node.advance(Duration::from_millis(100));
    }
    assert_eq!(drawn, 0, "nothing of a paused tenant needs a start");
}

#[test]
fn drawn_starts_are_forgotten_when_they_are_not_used() {
    let mut node = Node::ready(Settings { slots: 1, ..settings() });
    let rate = Rate { per_minute: Some(600), per_hour: None };
    node.limits(ACTION, Limits { rate, ..Limits::default() });
    node.hand_over(vec![limited(1), limited(2), limited(3)]);
    node.draws();
    let again_in = Duration::ZERO;
    node.step(Input::Drawn(vec![Drawn { scope: ACTION, count: 3, again_in }]));
    let first = node.starts();
    assert_eq!(first.len(), 1);
    node.advance(Duration::from_secs(2));
    node.end(first[0].token, AttemptOutcome::Completed);
    assert_eq!(node.started(), [], "what was drawn two seconds ago counts for nothing");
    assert_eq!(node.draws().len(), 1);
}

#[test]
fn two_rates_whose_starts_come_at_different_times_let_an_item_pass() {
    let mut node = Node::ready(settings());
    let rate = Rate { per_minute: Some(1), per_hour: None };
    for scope in [TENANT, ACTION] {
        node.limits(scope, Limits { rate, ..Limits::default() });
    }
    node.hand_over(vec![limited(1)]);
    let half_a_minute = Duration::from_secs(30);
    let drawn = |scope, count, again_in| Input::Drawn(vec![Drawn { scope, count, again_in }]);
    node.step(drawn(TENANT, 1, half_a_minute * 2));
    node.step(drawn(ACTION, 0, half_a_minute));
    assert_eq!(node.started(), []);
    node.draws();
    node.advance(half_a_minute);
    assert_eq!(node.draws().iter().map(|draw| draw.scope).collect::<Vec<_>>(), [ACTION]);
    node.step(drawn(ACTION, 1, half_a_minute * 2));
    assert_eq!(node.started(), [id(1)], "the tenant's start was kept for it");
}

#[test]
fn a_lower_limit_holds_for_whatever_starts_next() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(4));
    node.hand_over(vec![limited(1)]);
    node.share(ACTION, 4, 4);
    assert_eq!(node.started(), [id(1)]);
    node.asks();
    node.limits(ACTION, at_once(2));
    node.hand_over(vec![limited(2)]);
    assert_eq!(node.started(), [], "another node may have started two by now");
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 2, keep: 1, want: 1, hold: 4 }]);
}

#[test]
fn a_changed_rate_is_asked_about_at_once() {
    let mut node = Node::ready(settings());
    let rate = |per_hour| Limits {
        rate: Rate { per_minute: None, per_hour: Some(per_hour) },
        ..Limits::default()
    };
    node.limits(ACTION, rate(1));
    node.hand_over(vec![limited(1)]);
    node.draws();
    let again_in = Duration::from_secs(3_600);
    node.step(Input::Drawn(vec![Drawn { scope: ACTION, count: 0, again_in }]));
    assert_eq!(node.draws(), []);
    node.limits(ACTION, rate(36_000));
    assert_eq!(node.draws().len(), 1);
}

#[test]
fn a_limit_that_is_taken_away_costs_nothing_more() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(2));
    node.hand_over(vec![limited(1)]);
    node.share(ACTION, 2, 2);
    node.asks();
    node.limits(ACTION, Limits::default());
    node.advance(Duration::from_secs(1));
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 0, keep: 0, want: 0, hold: 0 }]);
    node.share(ACTION, 0, 0);
    node.advance(Duration::from_secs(5));
    assert_eq!(node.asks(), [], "although it still runs");
}

#[test]
fn a_node_that_drains_gives_back_what_does_not_run() {
    let mut node = Node::ready(settings());
    node.limits(ACTION, at_once(3));
    node.hand_over(vec![limited(1), limited(2)]);
    node.share(ACTION, 3, 3);
    let tokens: Vec<Token> = node.starts().iter().map(|start| start.token).collect();
    node.asks();
    node.step(Input::Drain);
    node.advance(Duration::from_millis(100));
    assert_eq!(node.asks(), [ShareAsk { scope: ACTION, max: 3, keep: 2, want: 2, hold: 0 }]);
    node.share(ACTION, 2, 2);
    node.end(tokens[0], AttemptOutcome::Completed);
    node.advance(Duration::from_millis(100));
    assert_eq!(node.asks().last().map(|ask| (ask.keep, ask.want)), Some((1, 1)));
}

/// It once held up the whole node: nothing starts before it runs alone.
#[test]
fn what_runs_alone_holds_up_nobody_while_its_tenant_may_not() {
    let mut node = Node::ready(settings());
    node.limits(TENANT, Limits { is_paused: true, ..Limits::default() });
    let mut lost = later(work(1), 1, 0);
    lost.item.losses = 1;
    node.step(Input::Deferred(vec![lost]));
    let other = |number| Work { tenant: TenantId(8), ..work(number) };
    node.hand_over(vec![other(2), other(3)]);
    assert_eq!(node.started(), [id(2), id(3)]);
}
