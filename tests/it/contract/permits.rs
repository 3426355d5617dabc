//! What every `Permits` must do: no limit is exceeded over nodes, and rates are paced.

use std::time::Duration;

use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Draw, Drawn, Rate, Scope, Share, ShareAsk};

use super::given;
use super::stores::{Node, Stores};

contract! { Permits:
    a_lone_node_gets_the_whole_limit,
    shares_of_all_nodes_never_exceed_the_limit,
    a_node_gives_back_what_another_one_waits_for,
    a_limit_of_one_goes_round,
    what_nobody_needs_stays_with_its_holder,
    a_dead_nodes_share_is_free,
    a_dead_node_gets_no_share,
    limits_of_different_scopes_are_apart,
    nodes_that_exchange_at_once_share_the_limit,
    a_rate_paces_its_starts,
    the_tighter_of_two_windows_decides,
    nodes_draw_from_one_ledger,
    a_faster_rate_does_not_pay_for_a_slower_one,
    a_window_that_is_not_asked_for_keeps_its_debt,
    several_limits_are_drawn_from_at_once,
    a_subscription_has_a_rate_of_its_own,
}

/// The ledger of rates alone may be in Redis.
mod in_redis {
    use super::Stores;
    use crate::support::redis::url;

    #[tokio::test]
    async fn a_rate_paces_its_starts() {
        super::a_rate_paces_its_starts(&Stores::with_rates_in_redis(url())).await;
    }

    #[tokio::test]
    async fn the_tighter_of_two_windows_decides() {
        super::the_tighter_of_two_windows_decides(&Stores::with_rates_in_redis(url())).await;
    }

    #[tokio::test]
    async fn nodes_draw_from_one_ledger() {
        super::nodes_draw_from_one_ledger(&Stores::with_rates_in_redis(url())).await;
    }

    #[tokio::test]
    async fn a_faster_rate_does_not_pay_for_a_slower_one() {
        let stores = Stores::with_rates_in_redis(url());
        super::a_faster_rate_does_not_pay_for_a_slower_one(&stores).await;
    }

    #[tokio::test]
    async fn a_window_that_is_not_asked_for_keeps_its_debt() {
        let stores = Stores::with_rates_in_redis(url());
        super::a_window_that_is_not_asked_for_keeps_its_debt(&stores).await;
    }

    #[tokio::test]
    async fn several_limits_are_drawn_from_at_once() {
        super::several_limits_are_drawn_from_at_once(&Stores::with_rates_in_redis(url())).await;
    }

    #[tokio::test]
    async fn a_lone_node_gets_the_whole_limit() {
        super::a_lone_node_gets_the_whole_limit(&Stores::with_rates_in_redis(url())).await;
    }

    /// Nobody listens on this port.
    const AWAY: &str = "redis://127.0.0.1:1/";

    #[tokio::test]
    async fn rates_hold_while_it_is_away() {
        let stores = Stores::with_rates_in_redis(AWAY.to_owned());
        super::a_rate_paces_its_starts(&stores).await;
        let stores = Stores::with_rates_in_redis(AWAY.to_owned());
        super::nodes_draw_from_one_ledger(&stores).await;
    }
}

const ACTION: Scope = Scope::Action(ActionId(9));

fn ask(max: u32, keep: u32, want: u32) -> ShareAsk {
    ShareAsk { scope: ACTION, max, keep, want, hold: 0 }
}

async fn exchange(node: &Node, ask: ShareAsk) -> Share {
    let shares = node.ports.permits.exchange(node.id, &[ask]).await.unwrap();
    assert_eq!(shares.len(), 1);
    shares[0]
}

fn share(amount: u32, cap: u32) -> Share {
    Share { scope: ACTION, amount, cap }
}

async fn a_lone_node_gets_the_whole_limit(stores: &Stores) {
    let node = stores.join("node").await;
    assert_eq!(exchange(&node, ask(10, 0, 4)).await, share(4, 4));
    assert_eq!(exchange(&node, ask(10, 4, 100)).await, share(10, 10));
    assert_eq!(exchange(&node, ask(10, 3, 3)).await, share(3, 3));
}

async fn shares_of_all_nodes_never_exceed_the_limit(stores: &Stores) {
    let [one, two, three] =
        [stores.join("one").await, stores.join("two").await, stores.join("three").await];
    assert_eq!(exchange(&one, ask(10, 0, 7)).await.amount, 7);
    assert_eq!(exchange(&two, ask(10, 0, 7)).await.amount, 3);
    assert_eq!(exchange(&three, ask(10, 0, 7)).await.amount, 0);
    // A limit that was lowered takes nothing away from what runs.
    assert_eq!(exchange(&one, ask(5, 7, 7)).await.amount, 7);
    assert_eq!(exchange(&three, ask(5, 0, 7)).await.amount, 0);
}

async fn a_node_gives_back_what_another_one_waits_for(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    exchange(&one, ask(10, 0, 10)).await;
    assert_eq!(exchange(&two, ask(10, 0, 10)).await, share(0, 0));
    assert_eq!(exchange(&one, ask(10, 10, 10)).await, share(10, 5), "it starts no more");
    assert_eq!(exchange(&one, ask(10, 6, 10)).await, share(6, 5));
    assert_eq!(exchange(&two, ask(10, 0, 10)).await, share(4, 4));
    assert_eq!(exchange(&one, ask(10, 5, 10)).await, share(5, 5));
    assert_eq!(exchange(&two, ask(10, 4, 10)).await, share(5, 5));
}

async fn a_limit_of_one_goes_round(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    assert_eq!(exchange(&one, ask(1, 0, 9)).await, share(1, 1));
    for (holder, waiter) in [(&one, &two), (&two, &one), (&one, &two)] {
        assert_eq!(exchange(waiter, ask(1, 0, 9)).await, share(0, 0));
        assert_eq!(exchange(holder, ask(1, 1, 9)).await, share(1, 0));
        assert_eq!(exchange(holder, ask(1, 0, 9)).await, share(0, 0));
        assert_eq!(exchange(waiter, ask(1, 0, 9)).await, share(1, 1));
    }
}

async fn what_nobody_needs_stays_with_its_holder(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    exchange(&one, ask(4, 0, 4)).await;
    let idle = ShareAsk { hold: 4, ..ask(4, 4, 0) };
    assert_eq!(exchange(&one, idle).await, share(4, 4));
    assert_eq!(exchange(&two, ask(4, 0, 2)).await, share(0, 0));
    assert_eq!(exchange(&one, idle).await, share(4, 0));
    assert_eq!(exchange(&one, ShareAsk { hold: 4, ..ask(4, 0, 0) }).await, share(0, 0));
    assert_eq!(exchange(&two, ask(4, 0, 2)).await, share(2, 2));
}

async fn a_dead_nodes_share_is_free(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    exchange(&one, ask(3, 0, 3)).await;
    assert_eq!(exchange(&two, ask(3, 0, 3)).await.amount, 0);
    two.ports.leases.claim(two.id, &[one.id], 0).await.unwrap();
    assert_eq!(exchange(&two, ask(3, 0, 3)).await, share(3, 3));
}

async fn a_dead_node_gets_no_share(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    two.ports.leases.claim(two.id, &[one.id], 0).await.unwrap();
    let refused = one.ports.permits.exchange(one.id, &[ask(3, 0, 3)]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
}

async fn limits_of_different_scopes_are_apart(stores: &Stores) {
    let node = stores.join("node").await;
    let other = ShareAsk { scope: Scope::Tenant(TenantId(9)), ..ask(2, 0, 5) };
    let shares = node.ports.permits.exchange(node.id, &[ask(3, 0, 5), other]).await.unwrap();
    let mut amounts: Vec<_> = shares.iter().map(|share| (share.scope, share.amount)).collect();
    amounts.sort();
    assert_eq!(amounts, [(Scope::Tenant(TenantId(9)), 2), (ACTION, 3)]);
}

async fn nodes_that_exchange_at_once_share_the_limit(stores: &Stores) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let node = stores.join(&format!("node {number}")).await;
        tasks.spawn(async move { exchange(&node, ask(5, 0, 3)).await.amount });
    }
    let amounts = tasks.join_all().await;
    assert_eq!(amounts.iter().sum::<u32>(), 5, "{amounts:?}");
}

async fn draw(node: &Node, rate: Rate, want: u32) -> Drawn {
    let drawn = node.ports.permits.draw(&[Draw { scope: ACTION, rate, want }]).await.unwrap();
    assert_eq!(drawn.len(), 1);
    drawn[0]
}

async fn a_rate_paces_its_starts(stores: &Stores) {
    let node = stores.join("node").await;
    let begun_at = node.ports.store.now().await.unwrap();
    // 600 a minute: 30 at once, then one in 100 ms.
    let rate = Rate { per_minute: Some(600), per_hour: None };
    let first = draw(&node, rate, 50).await;
    assert_eq!(first.count, 30);
    assert!(first.again_in <= Duration::from_millis(100), "{first:?}");
    let second = draw(&node, rate, 50).await;
    // However slow this machine is: at most what the time since then allows.
    let passed = node.ports.store.now().await.unwrap() - begun_at;
    let most = passed.num_milliseconds() / 100 + 1;
    assert!(i64::from(second.count) <= most, "{second:?} within {passed}");
    let enough = draw(&stores.join("other").await, rate, 0).await;
    assert_eq!((enough.count, enough.again_in), (0, Duration::ZERO));
}

async fn the_tighter_of_two_windows_decides(stores: &Stores) {
    let node = stores.join("node").await;
    let rate = Rate { per_minute: Some(1_000), per_hour: Some(100) };
    let drawn = draw(&node, rate, 50).await;
    assert_eq!(drawn.count, 5, "a twentieth of the hour");
    let again = drawn.again_in;
    assert!((Duration::from_secs(35)..=Duration::from_secs(36)).contains(&again), "{again:?}");
}

async fn nodes_draw_from_one_ledger(stores: &Stores) {
    let (one, two) = (stores.join("one").await, stores.join("two").await);
    let rate = Rate { per_minute: Some(20), per_hour: None };
    assert_eq!(draw(&one, rate, 1).await.count, 1);
    assert_eq!(draw(&two, rate, 1).await.count, 0);
}

async fn a_faster_rate_does_not_pay_for_a_slower_one(stores: &Stores) {
    let node = stores.join("node").await;
    let slow = Rate { per_minute: None, per_hour: Some(1) };
    assert_eq!(draw(&node, slow, 1).await.count, 1);
    let fast = Rate { per_minute: None, per_hour: Some(3_600) };
    let drawn = draw(&node, fast, 1).await;
    assert!(drawn.count == 1 || drawn.again_in <= Duration::from_secs(1), "{drawn:?}");
}

async fn a_window_that_is_not_asked_for_keeps_its_debt(stores: &Stores) {
    let node = stores.join("node").await;
    let by_hour = Rate { per_minute: None, per_hour: Some(20) };
    assert_eq!(draw(&node, by_hour, 1).await.count, 1);
    let by_minute = Rate { per_minute: Some(1_000), per_hour: None };
    assert_eq!(draw(&node, by_minute, 1).await.count, 1);
    assert_eq!(draw(&node, by_hour, 1).await.count, 0);
}

async fn several_limits_are_drawn_from_at_once(stores: &Stores) {
    let node = stores.join("node").await;
    let minute = Rate { per_minute: Some(20), per_hour: None };
    let hour = Rate { per_minute: None, per_hour: Some(40) };
    let draws = [
        Draw { scope: Scope::Tenant(TenantId(9)), rate: minute, want: 3 },
        Draw { scope: ACTION, rate: hour, want: 1 },
    ];
    let mut drawn = node.ports.permits.draw(&draws).await.unwrap();
    drawn.sort_by_key(|drawn| drawn.scope);
    let counts: Vec<_> = drawn.iter().map(|drawn| (drawn.scope, drawn.count)).collect();
    assert_eq!(counts, [(Scope::Tenant(TenantId(9)), 1), (ACTION, 1)]);
    assert!(drawn[0].again_in > Duration::from_secs(2), "{drawn:?}");
    assert_eq!(drawn[1].again_in, Duration::ZERO);
}

async fn a_subscription_has_a_rate_of_its_own(stores: &Stores) {
    let node = stores.join("node").await;
    let rate = Rate { per_minute: Some(20), per_hour: None };
    let scopes =
        [1, 2].map(|_| Scope::Subscription(TenantId::ADMIN, SubscriptionId(given::uuid())));
    let draws = scopes.map(|scope| Draw { scope, rate, want: 1 });
    for expected in [1, 0] {
        let drawn = node.ports.permits.draw(&draws).await.unwrap();
        let mut found: Vec<_> = drawn.iter().map(|drawn| (drawn.scope, drawn.count)).collect();
        found.sort();
        let mut wanted = scopes.map(|scope| (scope, expected)).to_vec();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
