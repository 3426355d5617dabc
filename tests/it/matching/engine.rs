//! What `explain` says against what the engine did, over random definitions and events.

use std::collections::BTreeSet;

use actions_app::commands::submit_event::NewEvent;
use actions_app::queries::executions::executions_of_event;
use actions_app::queries::explain::{Explained, explain_event, explain_sample};
use actions_domain::action::{HandlerId, Health};
use actions_domain::execution::Status;
use actions_domain::id::ActionId;
use actions_domain::ports::definitions::Expected;
use proptest::prelude::*;
use uuid::Uuid;

use super::{ActionRow, Happened, SubscriptionRow};
use super::{action_row, happened, subscription_id, subscription_row, to_action, to_event};
use super::{to_subscription, user_id};
use crate::support::engine::{TestEngine, caller};

/// An engine with these definitions.
async fn engine(actions: &[ActionRow], subscriptions: &[SubscriptionRow]) -> TestEngine {
    let engine = TestEngine::start().await;
    let definitions = &engine.app.ports.definitions;
    let mut ids = Vec::new();
    let mut version = 0;
    for (number, row) in (0..).zip(actions) {
        let mut spec = to_action(number, Some(row)).spec;
        if row.is_installed {
            spec.handler = HandlerId::parse("test.script").unwrap();
        }
        let uuid = Uuid::from_u128(10 + u128::from(number.unsigned_abs()));
        let saved =
            definitions.save_action(engine.tenant, uuid, &spec, Expected::Absent, None).await;
        let saved = saved.unwrap();
        ids.push(saved.id);
        version = saved.version;
        if !row.is_healthy {
            let health = Health { is_healthy: false, ..Health::default() };
            let saved = definitions.set_health(engine.tenant, saved.id, &health, None).await;
            version = saved.unwrap().version;
        }
    }
    for (number, row) in (0..).zip(subscriptions) {
        let spec = to_subscription(number, Some(row)).spec;
        let action = ids[usize::try_from(row.action).unwrap() % ids.len()];
        let id = subscription_id(number);
        let saved = definitions
            .save_subscription(engine.tenant, id, action, &spec, Expected::Absent, None)
            .await;
        version = saved.unwrap().version;
    }
    engine.app.catalogue.refresh(engine.tenant, version).await.unwrap();
    engine
}

fn new_event(happened: &Happened) -> NewEvent {
    let event = to_event(happened);
    NewEvent {
        event_type: event.event_type,
        source: Some(event.source),
        external_id: None,
        data: event.data,
        attributes: actions_domain::event::Attributes {
            user_id: happened.user.map(user_id),
            source_service: happened.service.map(str::to_owned),
            ..Default::default()
        },
        delay: None,
    }
}

fn matched(explained: &Explained) -> BTreeSet<ActionId> {
    explained.ways.iter().filter(|way| way.matched).map(|way| way.action_id).collect()
}

/// What was explained before and after, and what ran.
async fn compare(engine: &TestEngine, happened: &Happened) -> [BTreeSet<ActionId>; 3] {
    let (app, caller) = (&engine.app, caller(engine.tenant));
    let event = new_event(happened);
    let before = explain_sample(app, &caller, engine.tenant, event.clone()).await.unwrap();
    let accepted = engine.submit(vec![event]).await.unwrap().remove(0);
    engine.settle().await;
    let after = explain_event(app, &caller, engine.tenant, accepted.event).await.unwrap();
    let made = executions_of_event(app, &caller, engine.tenant, accepted.event).await.unwrap();
    assert!(made.iter().all(|execution| execution.status == Status::Completed), "{made:#?}");
    let ran: Vec<ActionId> = made.iter().map(|execution| execution.action).collect();
    let distinct: BTreeSet<ActionId> = ran.iter().copied().collect();
    assert_eq!(ran.len(), distinct.len(), "an action ran twice for one event");
    [matched(&before), matched(&after), distinct]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_explain_says_is_what_the_engine_runs(
        actions in proptest::collection::vec(action_row(), 1..6),
        subscriptions in proptest::collection::vec(subscription_row(), 0..8),
        events in proptest::collection::vec(happened(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let compared = runtime.block_on(async {
            let engine = engine(&actions, &subscriptions).await;
            let mut compared = Vec::new();
            for happened in &events {
                compared.push(compare(&engine, happened).await);
            }
            compared
        });
        for ([before, after, ran], happened) in compared.iter().zip(&events) {
            prop_assert_eq!(before, ran, "{:?}", happened);
            prop_assert_eq!(after, ran, "{:?}", happened);
        }
    }
}
