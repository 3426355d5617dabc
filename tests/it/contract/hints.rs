//! What every `Hints` must do: what is told reaches those who listen, mostly.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::Waiting;
use actions_domain::id::{ExecutionId, SubscriptionId, TenantId};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::hints::{Hint, Hints, read_hints};
use actions_domain::throttle::Scope;
use actions_domain::work::Part;
use actions_infra::memory::MemoryHints;
use actions_infra::postgres::{Postgres, PostgresHints, PostgresOptions};
use actions_infra::redis::{Redis, RedisHints};
use actions_infra::system::SystemClock;
use chrono::DateTime;
use uuid::Uuid;

use crate::support::postgres::fresh_database;
use crate::support::redis as server;

/// Two processes.
type Ends = [Arc<dyn Hints>; 2];

fn memory() -> Ends {
    let one = MemoryHints::default();
    let other = one.other_end();
    [Arc::new(one), Arc::new(other)]
}

async fn postgres() -> Ends {
    let database = Postgres::connect(PostgresOptions::new(fresh_database().await)).await.unwrap();
    [Arc::new(PostgresHints::new(&database)), Arc::new(PostgresHints::new(&database))]
}

fn redis() -> Ends {
    let redis = Redis::new(&server::url()).unwrap();
    [Arc::new(RedisHints::new(&redis)), Arc::new(RedisHints::new(&redis))]
}

macro_rules! contract {
    ($($sentence:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(super::memory()).await;
            })+
        }
        mod in_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(super::postgres().await).await;
            })+
        }
        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(super::redis()).await;
            })+
        }
    };
}

contract! {
    a_hint_reaches_another_process,
    hints_of_every_kind_are_understood,
    more_hints_than_one_message_holds_arrive,
}

const SCOPE: Scope = Scope::Subscription(TenantId(7), SubscriptionId(Uuid::max()));

fn execution() -> ExecutionId {
    ExecutionId(Uuid::from_u128(42))
}

/// Tells again and again, as long as the other one has not heard all of them: what nobody
/// listened to yet is lost.
async fn tell_until_heard([one, other]: Ends, hints: &[Hint]) {
    let mut missing = hints.to_vec();
    let hearing = async {
        while !missing.is_empty() {
            let heard = other.next().await.unwrap();
            missing.retain(|hint| !heard.contains(hint));
        }
    };
    let telling = async {
        loop {
            one.tell(hints).await.unwrap();
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = SystemClock.sleep(Duration::from_secs(20));
    tokio::select! {
        () = hearing => {}
        () = telling => {}
        () = patience => panic!("hints do not arrive"),
    }
}

async fn a_hint_reaches_another_process(ends: Ends) {
    tell_until_heard(ends, &[Hint::Work(Part(3))]).await;
}

async fn hints_of_every_kind_are_understood(ends: Ends) {
    let all = [
        Hint::Work(Part(u16::MAX)),
        Hint::Later(Part(0)),
        Hint::Definitions(TenantId(i32::MAX), i64::MAX),
        Hint::Cancels,
        Hint::ApiKeys,
        Hint::Why(execution()),
        Hint::Because(execution(), Waiting::ForSlot),
        Hint::Because(execution(), Waiting::ForConcurrency { scope: SCOPE, max: 3 }),
        // A key may have spaces, and hints are told apart by them.
        Hint::Because(
            execution(),
            Waiting::ForKeyConcurrency { key: "order:a b\u{a0}\"c".into(), running: 1, max: 2 },
        ),
        Hint::Because(execution(), Waiting::ForTime(DateTime::from_timestamp_nanos(1_700))),
    ];
    tell_until_heard(ends, &all).await;
}

async fn more_hints_than_one_message_holds_arrive(ends: Ends) {
    let many: Vec<Hint> =
        (0..2_000).map(|number| Hint::Definitions(TenantId(number), i64::MAX)).collect();
    tell_until_heard(ends, &many).await;
}

#[test]
fn words_that_are_no_hints_are_left_out() {
    let text = "w1 w x l70000 d1 d1: d:1 dx:1 cc  c é w-1 y y1 b b1:{} \
        b00000000-0000-0000-0000-00000000002a:{\"for_tea\":1}";
    assert_eq!(read_hints(text), [Hint::Work(Part(1)), Hint::Cancels]);
}
