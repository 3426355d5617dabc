//! What every `Usages` must do: sums are exact whoever adds, and what waits is counted as it is. And
//! what every store does with an act that allows no more things than so many.

use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, TOKEN_RANDOM_BYTES, Token};
use actions_domain::audit::{Act, ActKind};
use actions_domain::authorization::{AuthorizationContext, Role};
use actions_domain::id::{ApiKeyId, SecretId, SubscriptionId, TenantId};
use actions_domain::ports::api_keys::ApiKeysError;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::secrets::{NextVersion, SecretsError};
use actions_domain::schedule::ScheduleName;
use actions_domain::secret::{MasterKeyId, Sealed, SecretName, SecretPlace};
use actions_domain::settings::{Bound, Setting};
use actions_domain::tenant::TenantSlug;
use actions_domain::usage::{Day, DayUsage, Level, Usage};
use actions_domain::work::{Commit, Submission, Work};

use super::given::{self, PART};
use super::stores::{Ports, Stores};

contract! { Usages:
    what_is_added_is_summed_up_by_day,
    nodes_that_add_at_once_lose_nothing,
    a_level_has_the_bytes_since_its_day,
    what_has_not_ended_is_counted,
    what_waits_for_a_retry_is_counted_once,
    forgotten_days_are_gone_and_others_stay,
    no_more_actions_are_made_than_the_act_allows,
    no_more_subscriptions_are_made_than_the_act_allows,
    no_more_schedules_are_made_than_the_act_allows,
    no_more_secrets_are_made_than_the_act_allows,
    no_more_api_keys_are_made_than_the_act_allows,
    nodes_that_make_things_at_once_keep_to_the_bound,
}

const ADMIN: TenantId = TenantId::ADMIN;
const OTHER: TenantId = TenantId(2);

fn day(tenant: TenantId, day: i32, events: u64) -> DayUsage {
    let usage = Usage { events, bytes: events * 10, executions: events * 2 };
    DayUsage { tenant, day: Day(day), usage }
}

async fn what_is_added_is_summed_up_by_day(stores: &Stores) {
    let ports = stores.open().await;
    ports.usages.add_usage(&[]).await.unwrap();
    ports.usages.add_usage(&[day(ADMIN, 7, 1), day(OTHER, 7, 5), day(ADMIN, 9, 2)]).await.unwrap();
    ports.usages.add_usage(&[day(ADMIN, 7, 3)]).await.unwrap();
    let since = async |since| ports.usages.usage_since(ADMIN, Day(since)).await.unwrap();
    assert_eq!(since(0).await, [day(ADMIN, 9, 2), day(ADMIN, 7, 4)], "the newest first");
    assert_eq!(since(8).await, [day(ADMIN, 9, 2)]);
    assert_eq!(since(10).await, []);
}

async fn nodes_that_add_at_once_lose_nothing(stores: &Stores) {
    let (one, other) = (stores.open().await, stores.open().await);
    let adding = async |ports: &Ports, forwards: bool| {
        for _ in 0..20 {
            let mut days = vec![day(ADMIN, 1, 1), day(OTHER, 1, 1), day(OTHER, 2, 1)];
            if !forwards {
                days.reverse();
            }
            ports.usages.add_usage(&days).await.unwrap();
        }
    };
    tokio::join!(adding(&one, true), adding(&other, false));
    let found = one.usages.usage_since(OTHER, Day(0)).await.unwrap();
    assert_eq!(found, [day(OTHER, 2, 40), day(OTHER, 1, 40)]);
}

async fn a_level_has_the_bytes_since_its_day(stores: &Stores) {
    let ports = stores.open().await;
    let days = [day(ADMIN, 3, 1), day(ADMIN, 4, 2), day(OTHER, 4, 7)];
    ports.usages.add_usage(&days).await.unwrap();
    let asked = [(OTHER, Day(5)), (ADMIN, Day(4)), (TenantId(77), Day(0))];
    let levels = ports.usages.levels(&asked).await.unwrap();
    let level = |tenant, stored_bytes| Level { tenant, stored_bytes, waiting: 0, counted_at: None };
    assert_eq!(levels, [level(ADMIN, 20), level(OTHER, 0), level(TenantId(77), 0)]);
}

async fn waiting(ports: &Ports, tenant: TenantId) -> u64 {
    let counted = ports.usages.count_waiting(&[tenant]).await.unwrap();
    let [(of, waiting)] = counted.as_slice() else { panic!("one tenant: {counted:?}") };
    assert_eq!(*of, tenant);
    let level = ports.usages.levels(&[(tenant, Day(0))]).await.unwrap();
    assert_eq!(level[0].waiting, *waiting, "what was counted is noted");
    assert!(level[0].counted_at.is_some());
    *waiting
}

async fn what_has_not_ended_is_counted(stores: &Stores) {
    let node = stores.owner("node").await;
    let slug = TenantSlug::parse("acme").unwrap();
    let acme = node.ports.definitions.create_tenant(given::uuid(), &slug, "A", None).await.unwrap();
    assert_eq!(waiting(&node.ports, ADMIN).await, 0);
    let items = node.enqueue(PART, 3).await;
    let other = Work { tenant: acme.id, ..given::work(None) };
    let job = Submission { tenant: acme.id, ..given::submission(vec![given::job(PART, other)]) };
    node.commit(Commit { submissions: vec![job], ..Commit::default() }).await.unwrap();
    assert_eq!((waiting(&node.ports, ADMIN).await, waiting(&node.ports, acme.id).await), (3, 1));
    node.finish(&items[1]).await.unwrap();
    assert_eq!((waiting(&node.ports, ADMIN).await, waiting(&node.ports, acme.id).await), (2, 1));
    let counted = node.ports.usages.count_waiting(&[]).await.unwrap();
    assert_eq!(counted, []);
}

async fn what_waits_for_a_retry_is_counted_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    let later = given::retry(&items[0], node.id, Duration::from_secs(600));
    node.retry(later.clone()).await.unwrap();
    assert_eq!(waiting(&node.ports, ADMIN).await, 2);
    node.finish(&later.item).await.unwrap();
    assert_eq!(waiting(&node.ports, ADMIN).await, 1);
}

async fn forgotten_days_are_gone_and_others_stay(stores: &Stores) {
    let ports = stores.open().await;
    ports.usages.add_usage(&[day(ADMIN, 3, 1), day(ADMIN, 4, 2)]).await.unwrap();
    ports.usages.forget_usage(Day(4)).await.unwrap();
    assert_eq!(ports.usages.usage_since(ADMIN, Day(0)).await.unwrap(), [day(ADMIN, 4, 2)]);
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

/// Somebody makes something, if there are no more than two of it then.
fn making(kind: ActKind, setting: Setting) -> Act {
    let caller = AuthorizationContext::of_bootstrap_token("request".to_owned());
    let act = Act::new(&caller, ADMIN, now(), kind, "it");
    act.within(Some(Bound { setting, most: 2 }))
}

/// The acts that the audit has: what was refused left none.
async fn acts(ports: &Ports) -> usize {
    ports.audit.audit_after(ADMIN, 0, 100).await.unwrap().len()
}

async fn make_action(ports: &Ports, name: &str, act: &Act) -> Result<(), DefinitionsError> {
    let spec = given::action_spec(name);
    let (definitions, any) = (&ports.definitions, Expected::Anything);
    definitions.save_action(ADMIN, given::uuid(), &spec, any, Some(act)).await.map(drop)
}

async fn no_more_actions_are_made_than_the_act_allows(stores: &Stores) {
    let ports = stores.open().await;
    let act = making(ActKind::ActionCreated, Setting::Actions);
    make_action(&ports, "a", &act).await.unwrap();
    make_action(&ports, "b", &act).await.unwrap();
    let third = make_action(&ports, "c", &act).await;
    assert!(matches!(third, Err(DefinitionsError::TooMany(_))), "{third:?}");
    assert_eq!(acts(&ports).await, 2);
    let name = given::action_spec("a").name;
    ports.definitions.delete_action(ADMIN, &name, Expected::Anything, None).await.unwrap();
    make_action(&ports, "c", &act).await.unwrap();
}

async fn no_more_subscriptions_are_made_than_the_act_allows(stores: &Stores) {
    let ports = stores.open().await;
    let (definitions, spec) = (&ports.definitions, given::action_spec("a"));
    let action =
        definitions.save_action(ADMIN, given::uuid(), &spec, Expected::Absent, None).await.unwrap();
    let act = making(ActKind::SubscriptionCreated, Setting::Subscriptions);
    let pattern = given::subscription_spec("a.b");
    let make = async || {
        let id = SubscriptionId(given::uuid());
        let absent = Expected::Absent;
        definitions.save_subscription(ADMIN, id, action.id, &pattern, absent, Some(&act)).await
    };
    let first = make().await.unwrap();
    make().await.unwrap();
    let third = make().await;
    assert!(matches!(third, Err(DefinitionsError::TooMany(_))), "{third:?}");
    assert_eq!(acts(&ports).await, 2);
    definitions.delete_subscription(ADMIN, first.id, Expected::Anything, None).await.unwrap();
    make().await.unwrap();
}

async fn no_more_schedules_are_made_than_the_act_allows(stores: &Stores) {
    let ports = stores.open().await;
    let act = making(ActKind::ScheduleCreated, Setting::Schedules);
    let make = async |name: &str| {
        let spec = super::schedules::spec(name);
        ports.schedules.save_schedule(ADMIN, &spec, Expected::Absent, now(), Some(&act)).await
    };
    make("a").await.unwrap();
    make("b").await.unwrap();
    let third = make("c").await;
    assert!(matches!(third, Err(DefinitionsError::TooMany(_))), "{third:?}");
    assert_eq!(acts(&ports).await, 2);
    let name = ScheduleName::parse("a").unwrap();
    ports.schedules.delete_schedule(ADMIN, &name, Expected::Anything, None).await.unwrap();
    make("c").await.unwrap();
}

async fn no_more_secrets_are_made_than_the_act_allows(stores: &Stores) {
    let ports = stores.open().await;
    let act = making(ActKind::SecretCreated, Setting::Secrets);
    let make = async |name: &str| {
        let name = SecretName::parse(name).unwrap();
        let id = SecretId(given::uuid());
        let put = NextVersion {
            place: SecretPlace { tenant: ADMIN, id, name, number: 1 },
            sealed: Sealed {
                key: MasterKeyId::parse("k").unwrap(),
                wrapped: vec![1],
                text: vec![2],
            },
            at: now(),
            by: "me".to_owned(),
            previous_ends_at: now(),
        };
        ports.secrets.put_secret(&put, Some(&act)).await
    };
    let first = make("A").await.unwrap();
    make("B").await.unwrap();
    let third = make("C").await;
    assert!(matches!(third, Err(SecretsError::TooMany(_))), "{third:?}");
    assert_eq!(acts(&ports).await, 2);
    ports.secrets.delete_secret(ADMIN, &first.name, None).await.unwrap();
    make("C").await.unwrap();
}

async fn no_more_api_keys_are_made_than_the_act_allows(stores: &Stores) {
    let ports = stores.open().await;
    let act = making(ActKind::ApiKeyCreated, Setting::ApiKeys);
    let make = async |name: &str| {
        let mut random = [0; TOKEN_RANDOM_BYTES];
        random[..16].copy_from_slice(given::uuid().as_bytes());
        let token = Token::mint(&random);
        let key = ApiKey {
            id: ApiKeyId(given::uuid()),
            tenant: ADMIN,
            name: ApiKeyName::parse(name).unwrap(),
            role: Role::Viewer,
            created_by: "me".to_owned(),
            created_at: now(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            lookup: token.lookup(),
            others_end_at: None,
        };
        ports.api_keys.create_api_key(&key, &token.stored(), Some(&act)).await.map(|()| key)
    };
    let first = make("a").await.unwrap();
    make("b").await.unwrap();
    let third = make("c").await;
    assert!(matches!(third, Err(ApiKeysError::TooMany(_))), "{third:?}");
    assert_eq!(acts(&ports).await, 2);
    // One that holds no more makes room.
    ports.api_keys.revoke_api_key(ADMIN, first.id, now(), None).await.unwrap();
    make("c").await.unwrap();
}

async fn nodes_that_make_things_at_once_keep_to_the_bound(stores: &Stores) {
    let act = making(ActKind::ActionCreated, Setting::Actions);
    let mut makers = Vec::new();
    for number in 0..6 {
        let (ports, act) = (stores.open().await, act.clone());
        makers.push(tokio::spawn(
            async move { make_action(&ports, &format!("a{number}"), &act).await },
        ));
    }
    let mut made = 0;
    for maker in makers {
        match maker.await.unwrap() {
            Ok(()) => made += 1,
            Err(DefinitionsError::TooMany(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 2);
    let changes = stores.open().await.definitions.changes(ADMIN, 0).await.unwrap();
    assert_eq!(changes.actions.len(), 2, "nothing of the others is left");
}
