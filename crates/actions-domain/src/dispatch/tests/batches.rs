//! Heads of batches: closed with their mark, and due earlier when they are full.

use super::*;
use crate::gathering::Gathering;
use crate::terms::Terms;

fn head(number: u128, is_open: bool) -> Work {
    let key = is_open.then_some([7; 16]);
    let terms = Terms { gathering: Some(Gathering { key, size_max: 3 }), ..Terms::default() };
    Work { terms: terms.unless_empty(), ..work(number) }
}

fn waiting(work: Work, delay: Duration) -> Later {
    let item = item(work, 1, Home::Later);
    Later { item, delay, why: Why::Delay, hold: false }
}

fn marked(node: &mut Node) -> Vec<Token> {
    let marks = node.effects.extract_if(.., |effect| matches!(effect, Effect::Mark { .. }));
    let items = marks
        .flat_map(|effect| if let Effect::Mark { items, .. } = effect { items } else { vec![] });
    items.map(|(token, _)| token).collect()
}

#[test]
fn a_batch_is_closed_before_its_first_attempt_only() {
    let mut node = Node::ready(settings());
    node.due(vec![waiting(head(1, true), Duration::ZERO)]);
    assert_eq!(node.started(), []);
    let tokens = marked(&mut node);
    assert_eq!(tokens.len(), 1, "its mark closes it");
    node.step(Input::Marked(tokens));
    let start = node.starts().remove(0);
    assert!(start.is_marked);
    node.end(start.token, AttemptOutcome::Failed);
    let later = node.retries().remove(0);
    node.step(Input::Committed(vec![id(1)]));
    node.advance(later.delay);
    assert_eq!(node.started(), [id(1)], "it was closed by the first one");
}

#[test]
fn what_repeats_a_batch_has_nothing_to_close() {
    let mut node = Node::ready(settings());
    node.due(vec![waiting(head(1, false), Duration::ZERO)]);
    assert_eq!(node.started(), [id(1)]);
}

#[test]
fn a_batch_that_is_full_is_due_earlier() {
    let mut node = Node::ready(settings());
    let (soon, plain) = (Duration::from_secs(20), work(2));
    node.due(vec![waiting(head(1, true), soon), waiting(plain.clone(), soon)]);
    node.due(vec![waiting(head(1, true), Duration::ZERO), waiting(plain, Duration::ZERO)]);
    assert_eq!(marked(&mut node).len(), 1);
    assert_eq!(node.started(), [], "what was read of others may be old");
    node.advance(soon);
    assert_eq!(node.started(), [id(2)]);
}

#[test]
fn an_old_reading_brings_no_retry_forward() {
    let mut node = Node::ready(settings());
    node.due(vec![waiting(head(1, true), Duration::ZERO)]);
    let tokens = marked(&mut node);
    node.step(Input::Marked(tokens));
    let start = node.starts().remove(0);
    node.end(start.token, AttemptOutcome::Failed);
    let later = node.retries().remove(0);
    node.step(Input::Committed(vec![id(1)]));
    node.due(vec![waiting(head(1, true), Duration::ZERO)]);
    assert_eq!(node.started(), []);
    node.advance(later.delay);
    assert_eq!(node.started(), [id(1)]);
}
