//! Orders that go well, and orders that do not.

use actions_domain::flow::orchestration::Orchestrations;
use actions_domain::flow::orchestration::rehearsal::Rehearsal;
use serde_json::{Value, json};

use super::{DAY, LARGE, orchestration};

fn order(total: u64) -> Value {
    json!({ "id": "o1", "customer": "ann", "items": ["book", "pen", "ink"], "total": total })
}

/// Everybody does what they are asked, but the couriers.
fn rehearsal() -> Rehearsal {
    let plain = [
        "orders.check",
        "billing.refund",
        "stock.release",
        "warehouse.label",
        "warehouse.unpack",
        "customers.tell",
        "customers.points",
        "customers.ask",
        "orders.invoice",
    ];
    let run = plain.into_iter().fold(Rehearsal::new(orchestration().unwrap()), |run, name| {
        run.answering(name, |_| Ok(json!(null)))
    });
    run.answering("stock.reserve", |_| Ok(json!({ "reservation": "r1" })))
        .answering("billing.charge", |_| Ok(json!({ "payment": "p1" })))
        .answering("warehouse.pack", |item| Ok(json!({ "parcel": item })))
}

#[test]
fn an_order_is_sent_and_the_customer_asked_a_day_later() {
    let mut run = rehearsal()
        .answering("courier.cheap", |_| Ok(json!({ "courier": "cheap", "tracking": "t1" })));
    run.start(&order(500));
    assert_eq!(run.run().custom_status().unwrap().to_value(), json!({ "sent": "t1" }));
    assert_eq!(run.called().len(), 12);
    run.advance(DAY);
    assert_eq!(run.called().last(), Some(&"customers.ask"));
    assert_eq!(run.output().unwrap()["courier"], "cheap");
}

#[test]
fn an_order_that_no_courier_takes_is_undone_in_reverse() {
    let mut run = rehearsal();
    run.start(&order(500));
    run.advance(DAY);
    assert_eq!(run.run().phase().word(), "failed", "{run:?}");
    let undone = ["warehouse.unpack", "warehouse.unpack", "warehouse.unpack"];
    let undone = undone.into_iter().chain(["billing.refund", "stock.release"]);
    assert_eq!(run.called()[9..], undone.collect::<Vec<_>>());
}

#[test]
fn a_large_order_waits_for_somebody_and_not_for_ever() {
    let mut run = rehearsal();
    run.start(&order(LARGE));
    assert_eq!(run.run().custom_status().unwrap().to_value(), json!("waiting for approval"));
    run.advance(2 * DAY);
    assert_eq!(run.called(), ["orders.check", "stock.reserve", "stock.release"]);

    let mut run = rehearsal();
    run.start(&order(LARGE));
    run.signal("approve", &json!({ "approved": true, "by": "bob" })).unwrap();
    assert!(run.called().contains(&"billing.charge"));
}

#[test]
fn every_history_is_followed_again() {
    let mut known = Orchestrations::default();
    known.register(orchestration().unwrap()).unwrap();
    let mut run = rehearsal();
    run.start(&order(500));
    run.advance(DAY);
    run.history().replay(&known).unwrap();
}
