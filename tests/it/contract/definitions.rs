//! What every `Definitions` must do: versions without gaps, nothing overwritten unseen.

use std::sync::Arc;

use actions_domain::action::{Action, ActionName, ActionSpec, Health};
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::subscription::{Subscription, SubscriptionSpec};
use actions_domain::tenant::{
    ControlChange, Controls, Pause, Retention, Tenant, TenantLimits, TenantSlug,
};
use uuid::Uuid;

use super::given;
use super::stores::{Ports, Stores};

const ADMIN: TenantId = TenantId::ADMIN;

contract! { Definitions:
    the_tenant_admin_is_there_from_the_start,
    a_tenant_is_created_once,
    a_tenant_is_read_back_as_it_was_created,
    an_action_is_read_back_as_it_was_saved,
    every_change_takes_the_next_version_of_its_tenant,
    concurrent_changes_take_different_versions,
    an_equal_specification_changes_nothing,
    a_replaced_action_keeps_its_identity,
    an_action_that_must_be_new_is_refused_when_it_exists,
    an_action_that_somebody_else_changed_is_not_overwritten,
    a_refused_change_takes_no_version,
    a_definition_of_an_unknown_tenant_is_refused,
    actions_of_tenants_are_separate,
    changes_are_what_came_since,
    changes_of_other_tenants_are_not_included,
    a_deleted_action_takes_its_subscriptions_along,
    a_deleted_action_is_not_paused_any_more,
    a_deleted_name_can_be_used_again,
    what_is_not_there_cannot_be_deleted,
    all_versions_of_an_action_are_kept,
    an_action_is_found_as_it_was_at_a_version,
    a_health_check_is_a_change_like_any_other,
    a_subscription_is_read_back_as_it_was_saved,
    a_subscription_is_replaced_by_its_id,
    a_subscription_needs_an_action_of_its_tenant,
    a_subscription_of_another_tenant_is_not_touched,
    a_deleted_subscription_is_a_change,
    controls_are_changed_one_by_one_and_seen_with_the_version,
}

async fn the_tenant_admin_is_there_from_the_start(stores: &Stores) {
    for _ in 0..2 {
        let tenants = stores.open().await.definitions.tenants().await.unwrap();
        assert_eq!(tenants.len(), 1, "{tenants:?}");
        assert_eq!((tenants[0].id, tenants[0].slug.as_str()), (ADMIN, "admin"));
        assert_eq!(tenants[0].defs_version, 0);
    }
}

async fn a_tenant_is_created_once(stores: &Stores) {
    let ports = stores.open().await;
    tenant(&ports, "acme").await;
    for taken in ["acme", "admin"] {
        let slug = TenantSlug::parse(taken).unwrap();
        let refused = ports.definitions.create_tenant(given::uuid(), &slug, "Again", None).await;
        assert!(matches!(refused, Err(DefinitionsError::Exists { .. })), "{refused:?}");
    }
    assert_eq!(ports.definitions.tenants().await.unwrap().len(), 2);
}

async fn a_tenant_is_read_back_as_it_was_created(stores: &Stores) {
    let ports = stores.open().await;
    let created = [tenant(&ports, "acme").await, tenant(&ports, "umbrella").await];

    let tenants = stores.open().await.definitions.tenants().await.unwrap();

    assert_eq!(tenants[0].id, ADMIN, "admin comes first");
    assert_eq!(tenants[1..], created);
    assert_eq!(created[0].defs_version, 0);
}

async fn an_action_is_read_back_as_it_was_saved(stores: &Stores) {
    let ports = stores.open().await;
    let spec: ActionSpec = serde_json::from_value(serde_json::json!({
        "name": "Send.mail-1", "action_type": "email", "handler": "email.smtp",
        "config": {"to": "ü@example.com", "n": 1.5, "deep": {"a": [1, null, true]}},
        "event_patterns": ["users.*", "*.created"], "conditions": {"and": [{"a": 1}]},
        "is_active": false, "priority": "very_high", "timeout_seconds": 17,
        "max_concurrent_executions": 3, "rate_limit_per_minute": 60,
        "affinity": {"key": "user:{data.id}", "mode": "create"},
        "description": "A \"description\"", "tags": ["a", "b"], "metadata": {"x": []},
    }))
    .unwrap();
    let uuid = given::uuid();

    let saved =
        ports.definitions.save_action(ADMIN, uuid, &spec, Expected::Absent, None).await.unwrap();

    assert_eq!((saved.uuid, &saved.spec, saved.tenant), (uuid, &spec, ADMIN));
    assert_eq!(saved.health, Health::default());
    assert!(!saved.deleted && saved.created_at == saved.updated_at);
    assert_eq!(
        stores.open().await.definitions.changes(ADMIN, 0).await.unwrap().actions,
        [Arc::new(saved)]
    );
}

async fn every_change_takes_the_next_version_of_its_tenant(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let acme = tenant(&ports, "acme").await.id;
    save(&ports, acme, "other").await;

    let first = save(&ports, ADMIN, "first").await;
    let second = save(&ports, ADMIN, "second").await;
    let third = subscribe(&ports, ADMIN, first.id, "a.*").await;
    let fourth = definitions.set_health(ADMIN, second.id, &Health::default(), None).await.unwrap();
    let fifth =
        definitions.delete_subscription(ADMIN, third.id, Expected::Anything, None).await.unwrap();
    let name = &second.spec.name;
    let sixth = definitions.delete_action(ADMIN, name, Expected::Anything, None).await.unwrap();

    let versions = [first.version, second.version, third.version, fourth.version, fifth, sixth];
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(version(&ports, ADMIN).await, 6);
    assert_eq!(version(&ports, acme).await, 1);
    let tenants = definitions.tenants().await.unwrap();
    assert_eq!(tenants[0].defs_version, 6);
}

async fn concurrent_changes_take_different_versions(stores: &Stores) {
    let mut changes = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let ports = stores.open().await;
        changes.spawn(async move {
            for number in 0..5 {
                save(&ports, ADMIN, &format!("action-{writer}-{number}")).await;
            }
        });
    }
    while let Some(ended) = changes.join_next().await {
        ended.unwrap();
    }

    let changes = stores.open().await.definitions.changes(ADMIN, 0).await.unwrap();
    let mut versions: Vec<i64> = changes.actions.iter().map(|action| action.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<i64>>());
    assert_eq!(changes.version, 20);
}

async fn an_equal_specification_changes_nothing(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;
    let subscription = subscribe(&ports, ADMIN, action.id, "a.*").await;

    let again = save(&ports, ADMIN, "a").await;
    let spec = given::subscription_spec("a.*");
    let subscribed_again = (ports.definitions)
        .save_subscription(ADMIN, subscription.id, action.id, &spec, Expected::Version(2), None)
        .await
        .unwrap();

    assert_eq!((again, subscribed_again), (action.clone(), subscription));
    assert_eq!(version(&ports, ADMIN).await, 2);
    let versions =
        ports.definitions.action_versions(ADMIN, &action.spec.name, None, 10).await.unwrap();
    assert_eq!(versions.len(), 1);
}

async fn a_replaced_action_keeps_its_identity(stores: &Stores) {
    let ports = stores.open().await;
    let old = save(&ports, ADMIN, "a").await;
    (ports.definitions).set_health(ADMIN, old.id, &sick(), None).await.unwrap();

    let new = (ports.definitions)
        .save_action(ADMIN, given::uuid(), &changed("a"), Expected::Version(2), None)
        .await
        .unwrap();

    assert_eq!((new.id, new.uuid, new.created_at), (old.id, old.uuid, old.created_at));
    assert_eq!((new.version, &new.spec), (3, &changed("a")));
    assert_eq!(new.health, sick(), "an edit is no health check");
    assert!(new.updated_at >= old.updated_at);
}

async fn an_action_that_must_be_new_is_refused_when_it_exists(stores: &Stores) {
    let ports = stores.open().await;
    save(&ports, ADMIN, "a").await;
    for spec in [given::action_spec("a"), changed("a")] {
        let refused = ports
            .definitions
            .save_action(ADMIN, given::uuid(), &spec, Expected::Absent, None)
            .await;
        assert!(matches!(refused, Err(DefinitionsError::Exists { .. })), "{refused:?}");
    }
}

async fn an_action_that_somebody_else_changed_is_not_overwritten(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let mine = save(&ports, ADMIN, "a").await;
    let theirs = definitions
        .save_action(ADMIN, given::uuid(), &changed("a"), Expected::Version(mine.version), None)
        .await
        .unwrap();

    let expected = Expected::Version(mine.version);
    let saved = definitions.save_action(ADMIN, given::uuid(), &mine.spec, expected, None).await;
    let deleted = definitions.delete_action(ADMIN, &mine.spec.name, expected, None).await;

    let current = theirs.version;
    assert!(matches!(saved, Err(DefinitionsError::Stale { current: it }) if it == current));
    assert!(matches!(deleted, Err(DefinitionsError::Stale { current: it }) if it == current));
    assert_eq!(definitions.changes(ADMIN, 0).await.unwrap().actions, [Arc::new(theirs)]);
}

async fn a_refused_change_takes_no_version(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;
    let definitions = &ports.definitions;
    let wrong = Expected::Version(9);

    let _ = definitions.save_action(ADMIN, given::uuid(), &changed("a"), wrong, None).await;
    let _ = definitions.save_action(ADMIN, given::uuid(), &changed("b"), wrong, None).await;
    let _ = definitions.delete_action(ADMIN, &action.spec.name, wrong, None).await;
    let _ = definitions.set_health(ADMIN, ActionId(404), &sick(), None).await;
    let id = subscription_id();
    let spec = given::subscription_spec("a.*");
    let _ = definitions.save_subscription(ADMIN, id, action.id, &spec, wrong, None).await;
    let _ = definitions.delete_subscription(ADMIN, id, Expected::Anything, None).await;

    let changes = definitions.changes(ADMIN, 0).await.unwrap();
    assert_eq!(changes.version, 1);
    assert_eq!((changes.actions, changes.subscriptions.len()), (vec![Arc::new(action)], 0));
}

async fn a_definition_of_an_unknown_tenant_is_refused(stores: &Stores) {
    let ports = stores.open().await;
    let spec = given::action_spec("a");
    let nobody = TenantId(404);
    let refused =
        ports.definitions.save_action(nobody, given::uuid(), &spec, Expected::Anything, None).await;
    assert!(
        matches!(refused, Err(DefinitionsError::NotFound { what: "tenant", .. })),
        "{refused:?}"
    );
}

async fn actions_of_tenants_are_separate(stores: &Stores) {
    let ports = stores.open().await;
    let acme = tenant(&ports, "acme").await.id;
    let ours = save(&ports, ADMIN, "a").await;
    let theirs = save(&ports, acme, "a").await;
    assert_ne!(ours.id, theirs.id);

    let foreign = ports.definitions.set_health(acme, ours.id, &sick(), None).await;
    assert!(matches!(foreign, Err(DefinitionsError::NotFound { .. })), "{foreign:?}");
    (ports.definitions)
        .delete_action(acme, &ours.spec.name, Expected::Anything, None)
        .await
        .unwrap();

    assert_eq!(
        ports.definitions.changes(ADMIN, 0).await.unwrap().actions,
        [Arc::new(ours.clone())]
    );
    let versions =
        ports.definitions.action_versions(ADMIN, &ours.spec.name, None, 10).await.unwrap();
    assert_eq!(versions, [ours]);
}

async fn changes_are_what_came_since(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let first = save(&ports, ADMIN, "first").await;
    let second = save(&ports, ADMIN, "second").await;
    let subscription = Arc::new(subscribe(&ports, ADMIN, second.id, "a.*").await);
    let first_again =
        Arc::new(definitions.set_health(ADMIN, first.id, &sick(), None).await.unwrap());

    let all = definitions.changes(ADMIN, 0).await.unwrap();
    let some = definitions.changes(ADMIN, 2).await.unwrap();
    let none = definitions.changes(ADMIN, 4).await.unwrap();

    assert_eq!((all.version, some.version, none.version), (4, 4, 4));
    assert_eq!(sorted(all.actions), [first_again.clone(), Arc::new(second)]);
    assert_eq!(all.subscriptions, std::slice::from_ref(&subscription));
    assert_eq!((some.actions, some.subscriptions), (vec![first_again], vec![subscription]));
    assert!(none.actions.is_empty() && none.subscriptions.is_empty());
}

async fn changes_of_other_tenants_are_not_included(stores: &Stores) {
    let ports = stores.open().await;
    let acme = tenant(&ports, "acme").await.id;
    let theirs = save(&ports, acme, "a").await;
    subscribe(&ports, acme, theirs.id, "a.*").await;

    let changes = ports.definitions.changes(ADMIN, 0).await.unwrap();

    assert_eq!(changes, actions_domain::ports::definitions::Changes::default());
}

async fn a_deleted_action_takes_its_subscriptions_along(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;
    let other = save(&ports, ADMIN, "b").await;
    let gone = subscribe(&ports, ADMIN, action.id, "a.*").await;
    let stays = subscribe(&ports, ADMIN, other.id, "b.*").await;

    let version = (ports.definitions)
        .delete_action(ADMIN, &action.spec.name, Expected::Version(action.version), None)
        .await
        .unwrap();

    let since = ports.definitions.changes(ADMIN, version - 1).await.unwrap();
    assert_eq!(since.version, version);
    assert_eq!(since.actions.len(), 1);
    assert!(since.actions[0].deleted && since.actions[0].id == action.id);
    assert_eq!(since.subscriptions.len(), 1);
    let deleted = &since.subscriptions[0];
    assert_eq!((deleted.id, deleted.deleted, deleted.version), (gone.id, true, version));
    let all = ports.definitions.changes(ADMIN, 0).await.unwrap();
    assert!(all.subscriptions.contains(&Arc::new(stays)));
}

async fn a_deleted_action_is_not_paused_any_more(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let (gone, stays) = (save(&ports, ADMIN, "a").await, save(&ports, ADMIN, "b").await);
    let pause =
        Pause { at: "2026-01-02T03:04:05Z".parse().unwrap(), by: "me".to_owned(), reason: None };
    for action in [&gone, &stays] {
        let change = ControlChange::PauseAction(action.id, pause.clone());
        definitions.change_controls(ADMIN, &change, None).await.unwrap();
    }

    let version =
        definitions.delete_action(ADMIN, &gone.spec.name, Expected::Anything, None).await.unwrap();

    let after = definitions.changes(ADMIN, version - 1).await.unwrap();
    assert_eq!(after.version, version, "both go with one version");
    assert_eq!(after.controls.paused_actions, [(stays.id, pause)].into());
}

async fn a_deleted_name_can_be_used_again(stores: &Stores) {
    let ports = stores.open().await;
    let old = save(&ports, ADMIN, "a").await;
    (ports.definitions)
        .delete_action(ADMIN, &old.spec.name, Expected::Anything, None)
        .await
        .unwrap();

    let new = (ports.definitions)
        .save_action(ADMIN, given::uuid(), &old.spec, Expected::Absent, None)
        .await
        .unwrap();

    assert_ne!(new.id, old.id, "a number is never used again");
    assert_eq!((new.version, new.deleted), (3, false));
    let all = ports.definitions.changes(ADMIN, 0).await.unwrap().actions;
    let deleted: Vec<bool> = sorted(all).iter().map(|action| action.deleted).collect();
    assert_eq!(deleted, [true, false]);
}

async fn what_is_not_there_cannot_be_deleted(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;
    let name = &action.spec.name;
    (ports.definitions).delete_action(ADMIN, name, Expected::Anything, None).await.unwrap();

    let again = ports.definitions.delete_action(ADMIN, name, Expected::Anything, None).await;
    let never = ports
        .definitions
        .delete_subscription(ADMIN, subscription_id(), Expected::Anything, None)
        .await;
    let sick = ports.definitions.set_health(ADMIN, action.id, &sick(), None).await;

    assert!(matches!(again, Err(DefinitionsError::NotFound { .. })), "{again:?}");
    assert!(matches!(never, Err(DefinitionsError::NotFound { .. })), "{never:?}");
    assert!(matches!(sick, Err(DefinitionsError::NotFound { .. })), "{sick:?}");
}

async fn all_versions_of_an_action_are_kept(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let first = save(&ports, ADMIN, "a").await;
    save(&ports, ADMIN, "b").await;
    let second = definitions
        .save_action(ADMIN, given::uuid(), &changed("a"), Expected::Anything, None)
        .await
        .unwrap();
    let third = definitions.set_health(ADMIN, first.id, &sick(), None).await.unwrap();
    let name = &first.spec.name;

    assert_eq!(
        definitions.action_versions(ADMIN, name, None, 10).await.unwrap(),
        [third, second, first.clone()]
    );
    definitions.delete_action(ADMIN, name, Expected::Anything, None).await.unwrap();
    let versions = definitions.action_versions(ADMIN, name, None, 10).await.unwrap();
    assert_eq!((versions.len(), versions[0].deleted), (4, true));
    let last = definitions.action_versions(ADMIN, name, Some(versions[1].version), 1).await;
    assert_eq!(last.unwrap(), versions[2..3]);
    let unknown = ActionName::parse("never").unwrap();
    assert_eq!(definitions.action_versions(ADMIN, &unknown, None, 10).await.unwrap(), []);
}

async fn an_action_is_found_as_it_was_at_a_version(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    save(&ports, ADMIN, "b").await;
    let old = save(&ports, ADMIN, "a").await;
    save(&ports, ADMIN, "c").await;
    let new = definitions
        .save_action(ADMIN, given::uuid(), &changed("a"), Expected::Anything, None)
        .await
        .unwrap();

    let mut found = Vec::new();
    for defs in [1, 2, 3, 4, 99] {
        found.push(definitions.action_at(old.id, defs).await.unwrap());
    }

    let [old, new] = [Some(old), Some(new)];
    assert_eq!(found, [None, old.clone(), old, new.clone(), new]);
    assert_eq!(definitions.action_at(ActionId(404), 99).await.unwrap(), None);
}

async fn a_health_check_is_a_change_like_any_other(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;

    let checked = ports.definitions.set_health(ADMIN, action.id, &sick(), None).await.unwrap();

    assert_eq!(checked.health, sick());
    assert_eq!((checked.version, &checked.spec), (2, &action.spec));
    let changes = ports.definitions.changes(ADMIN, 1).await.unwrap();
    assert_eq!((changes.version, changes.actions), (2, vec![Arc::new(checked)]));
}

async fn a_subscription_is_read_back_as_it_was_saved(stores: &Stores) {
    let ports = stores.open().await;
    let action = save(&ports, ADMIN, "a").await;
    let spec: SubscriptionSpec = serde_json::from_value(serde_json::json!({
        "name": "n", "description": "d", "event_pattern": "orders.*", "is_active": false,
        "conditions": {"data.total": {"gt": 1.50}}, "priority": 7,
        "tenant_filter": [Uuid::from_u128(1)], "user_filter": [Uuid::from_u128(2)],
        "source_service_filter": ["shop"], "rate_limit_per_hour": 9, "created_by": "me",
    }))
    .unwrap();
    let id = subscription_id();

    let saved = (ports.definitions)
        .save_subscription(ADMIN, id, action.id, &spec, Expected::Absent, None)
        .await
        .unwrap();

    assert_eq!((saved.id, saved.tenant, saved.action, &saved.spec), (id, ADMIN, action.id, &spec));
    assert_eq!(ports.definitions.changes(ADMIN, 1).await.unwrap().subscriptions, [Arc::new(saved)]);
}

async fn a_subscription_is_replaced_by_its_id(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let [first, second] = [save(&ports, ADMIN, "a").await, save(&ports, ADMIN, "b").await];
    let old = subscribe(&ports, ADMIN, first.id, "a.*").await;
    let spec = given::subscription_spec("b.*");

    let new = definitions
        .save_subscription(ADMIN, old.id, second.id, &spec, Expected::Version(old.version), None)
        .await
        .unwrap();
    let late = definitions
        .save_subscription(ADMIN, old.id, first.id, &old.spec, Expected::Version(old.version), None)
        .await;
    let twice = definitions
        .save_subscription(ADMIN, old.id, first.id, &old.spec, Expected::Absent, None)
        .await;

    assert_eq!((new.id, new.action, &new.spec), (old.id, second.id, &spec));
    assert_eq!((new.created_at, new.version), (old.created_at, 4));
    assert!(matches!(late, Err(DefinitionsError::Stale { current: 4 })), "{late:?}");
    assert!(matches!(twice, Err(DefinitionsError::Exists { .. })), "{twice:?}");
    assert_eq!(definitions.changes(ADMIN, 0).await.unwrap().subscriptions, [Arc::new(new)]);
}

async fn a_subscription_needs_an_action_of_its_tenant(stores: &Stores) {
    let ports = stores.open().await;
    let acme = tenant(&ports, "acme").await.id;
    let theirs = save(&ports, acme, "a").await;
    let deleted = save(&ports, ADMIN, "d").await;
    (ports.definitions)
        .delete_action(ADMIN, &deleted.spec.name, Expected::Anything, None)
        .await
        .unwrap();
    let spec = given::subscription_spec("a.*");

    for action in [theirs.id, deleted.id, ActionId(404)] {
        let refused = (ports.definitions)
            .save_subscription(ADMIN, subscription_id(), action, &spec, Expected::Absent, None)
            .await;
        assert!(
            matches!(refused, Err(DefinitionsError::NotFound { what: "action", .. })),
            "{refused:?}"
        );
    }
}

async fn a_subscription_of_another_tenant_is_not_touched(stores: &Stores) {
    let ports = stores.open().await;
    let acme = tenant(&ports, "acme").await.id;
    let (ours, theirs) = (save(&ports, ADMIN, "a").await, save(&ports, acme, "a").await);
    let subscription = subscribe(&ports, acme, theirs.id, "a.*").await;

    let deleted = ports
        .definitions
        .delete_subscription(ADMIN, subscription.id, Expected::Anything, None)
        .await;
    assert!(matches!(deleted, Err(DefinitionsError::NotFound { .. })), "{deleted:?}");

    // An id that another tenant uses is as free as any other: nothing tells that it is used.
    let spec = given::subscription_spec("b.*");
    let saved = (ports.definitions)
        .save_subscription(ADMIN, subscription.id, ours.id, &spec, Expected::Absent, None)
        .await
        .unwrap();
    assert_eq!((saved.id, saved.tenant, saved.action), (subscription.id, ADMIN, ours.id));
    let changes = ports.definitions.changes(ADMIN, 0).await.unwrap();
    assert_eq!(changes.subscriptions, [Arc::new(saved)]);

    (ports.definitions)
        .delete_subscription(ADMIN, subscription.id, Expected::Anything, None)
        .await
        .unwrap();
    let changes = ports.definitions.changes(acme, 0).await.unwrap();
    assert_eq!(changes.subscriptions, [Arc::new(subscription)]);
}

async fn a_deleted_subscription_is_a_change(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let action = save(&ports, ADMIN, "a").await;
    let subscription = subscribe(&ports, ADMIN, action.id, "a.*").await;

    let wrong =
        definitions.delete_subscription(ADMIN, subscription.id, Expected::Version(9), None).await;
    let version = definitions
        .delete_subscription(ADMIN, subscription.id, Expected::Version(2), None)
        .await
        .unwrap();

    assert!(matches!(wrong, Err(DefinitionsError::Stale { current: 2 })), "{wrong:?}");
    let changes = definitions.changes(ADMIN, 2).await.unwrap();
    assert_eq!((version, changes.version), (3, 3));
    assert_eq!((changes.subscriptions[0].deleted, changes.subscriptions[0].version), (true, 3));
    // The id can be used again.
    let spec = given::subscription_spec("a.*");
    let again = definitions
        .save_subscription(ADMIN, subscription.id, action.id, &spec, Expected::Absent, None)
        .await
        .unwrap();
    assert_eq!((again.version, again.deleted), (4, false));
}

async fn tenant(ports: &Ports, slug: &str) -> Tenant {
    let slug = TenantSlug::parse(slug).unwrap();
    ports.definitions.create_tenant(given::uuid(), &slug, "A tenant", None).await.unwrap()
}

async fn save(ports: &Ports, tenant: TenantId, name: &str) -> Action {
    let spec = given::action_spec(name);
    let saved =
        ports.definitions.save_action(tenant, given::uuid(), &spec, Expected::Anything, None).await;
    saved.unwrap()
}

async fn subscribe(
    ports: &Ports,
    tenant: TenantId,
    action: ActionId,
    pattern: &str,
) -> Subscription {
    let spec = given::subscription_spec(pattern);
    let saved = (ports.definitions)
        .save_subscription(tenant, subscription_id(), action, &spec, Expected::Absent, None)
        .await;
    saved.unwrap()
}

async fn version(ports: &Ports, tenant: TenantId) -> i64 {
    ports.definitions.changes(tenant, 0).await.unwrap().version
}

/// Another specification under the same name.
fn changed(name: &str) -> ActionSpec {
    ActionSpec { description: Some("changed".to_owned()), ..given::action_spec(name) }
}

fn sick() -> Health {
    let error = Some("no answer".to_owned());
    let last_check_at = "2026-01-31T23:59:59.123456Z".parse().ok();
    Health { is_healthy: false, last_check_at, error }
}

fn subscription_id() -> SubscriptionId {
    SubscriptionId(given::event_id(0).0)
}

fn sorted(mut actions: Vec<Arc<Action>>) -> Vec<Arc<Action>> {
    actions.sort_by_key(|action| action.id);
    actions
}

async fn controls_are_changed_one_by_one_and_seen_with_the_version(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let before = definitions.changes(TenantId::ADMIN, 0).await.unwrap();
    assert_eq!(before.controls, Controls::default());
    let limits = TenantLimits { weight: Some(3), ..TenantLimits::default() };
    definitions
        .change_controls(TenantId::ADMIN, &ControlChange::SetLimits(limits), None)
        .await
        .unwrap();
    let pause = Pause {
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        by: "someone".to_owned(),
        reason: Some("\"why\"".to_owned()),
    };
    let retention = Retention { keep_days: Some(7), dead_letter_days: Some(3) };
    let kept = ControlChange::SetRetention(retention);
    definitions.change_controls(TenantId::ADMIN, &kept, None).await.unwrap();
    let change = ControlChange::PauseAction(ActionId(9), pause.clone());
    let changed = definitions.change_controls(TenantId::ADMIN, &change, None).await.unwrap();
    assert_eq!((changed.limits, changed.retention), (limits, retention));
    assert_eq!(changed.paused_actions, [(ActionId(9), pause)].into());

    let after = definitions.changes(TenantId::ADMIN, before.version).await.unwrap();
    assert_eq!((after.version, &after.controls), (before.version + 3, &changed));
    definitions.change_controls(TenantId::ADMIN, &change, None).await.unwrap();
    let same = definitions.changes(TenantId::ADMIN, 0).await.unwrap();
    assert_eq!(same.version, after.version, "what changes nothing takes no version");

    let resumed = definitions
        .change_controls(TenantId::ADMIN, &ControlChange::ResumeAction(ActionId(9)), None)
        .await
        .unwrap();
    assert!(resumed.paused_actions.is_empty());
    let missing =
        definitions.change_controls(TenantId(77), &ControlChange::Resume, None).await.unwrap_err();
    assert!(matches!(missing, DefinitionsError::NotFound { .. }), "{missing:?}");
}
