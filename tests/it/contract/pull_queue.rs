//! What every `PullQueue` must do: a task is one worker's at a time, and stays for as long as an
//! attempt wants it.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::pull_queue::{
    Answer, ClaimToken, Claimed, PullQueue, QueueName, Seen, Task, Wish, Word,
};
use actions_infra::memory::MemoryPullQueue;
use actions_infra::redis::{Redis, RedisPullQueue};
use actions_infra::system::SystemClock;
use futures_util::future::join_all;

use super::given;
use super::stores::Stores;
use crate::support::process::pause;
use crate::support::redis as server;

const ADMIN: TenantId = TenantId::ADMIN;
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

macro_rules! contract {
    ($($sentence:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let queue = super::MemoryPullQueue::new(super::Arc::new(super::SystemClock));
                super::$sentence(&queue).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let stores = super::Stores::postgres().await;
                super::$sentence(&*stores.pull_queue().await).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let redis = super::Redis::new(&super::server::url()).unwrap();
                let queue = super::RedisPullQueue::named(&redis, &super::server::name("pull"));
                super::$sentence(&queue).await;
            })+
        }
    };
}

contract! {
    tasks_are_claimed_in_order_and_once,
    tasks_of_several_queues_are_claimed_oldest_first,
    workers_that_ask_at_once_get_different_tasks,
    a_worker_gets_tasks_of_its_own_tenant_and_queues,
    a_silent_worker_loses_its_task_and_its_word,
    a_worker_that_is_heard_keeps_its_task,
    what_a_worker_says_is_seen_by_the_attempt,
    the_first_answer_stands,
    a_task_that_nobody_wants_any_more_is_gone,
    putting_a_task_in_again_changes_nothing,
    the_task_of_the_next_attempt_replaces_the_one_before,
}

fn task(number: u32, queue: &str) -> Task {
    let body = Json::parse(&format!(r#"{{"n": {number}}}"#)).unwrap();
    let queue = queue.to_owned();
    Task { execution: given::execution_id(0), attempt: 1, tenant: ADMIN, queue, body }
}

async fn put(queue: &dyn PullQueue, number: u32) -> Task {
    let task = task(number, "images");
    queue.put(&task, LONG).await.unwrap();
    task
}

fn wish(max: u32, lease: Duration) -> Wish {
    let (queues, worker) = (vec!["images".to_owned()], "resizer".to_owned());
    Wish { tenant: ADMIN, queues, max, worker, lease, nonce: given::uuid() }
}

async fn claim(queue: &dyn PullQueue, max: u32) -> Vec<Claimed> {
    queue.claim(&wish(max, LONG)).await.unwrap()
}

async fn seen(queue: &dyn PullQueue, task: &Task) -> Option<Seen> {
    queue.visit(task.execution, task.attempt, LONG).await.unwrap()
}

async fn tell(queue: &dyn PullQueue, token: ClaimToken, word: Word) -> Option<Duration> {
    queue.tell(ADMIN, token, &word).await.unwrap()
}

fn done(output: &str) -> Word {
    Word::Answer(Answer::Done { output: output.to_owned() })
}

fn ids(claimed: &[Claimed]) -> Vec<ExecutionId> {
    claimed.iter().map(|task| task.token.execution).collect()
}

async fn tasks_are_claimed_in_order_and_once(queue: &dyn PullQueue) {
    let tasks = [put(queue, 1).await, put(queue, 2).await, put(queue, 3).await];
    let first = claim(queue, 2).await;
    let rest = claim(queue, 10).await;
    assert_eq!(ids(&first), [tasks[0].execution, tasks[1].execution]);
    assert_eq!(ids(&rest), [tasks[2].execution]);
    assert_eq!((first[0].queue.as_str(), &first[0].body), ("images", &tasks[0].body));
    assert!(claim(queue, 10).await.is_empty());
}

async fn tasks_of_several_queues_are_claimed_oldest_first(queue: &dyn PullQueue) {
    let mut tasks = Vec::new();
    for (number, name) in (0..).zip(["mails", "images", "images", "mails", "images"]) {
        tasks.push(task(number, name));
        queue.put(&tasks[tasks.len() - 1], LONG).await.unwrap();
    }
    // The queue that is named first is not served first, and one that is named twice not twice.
    let queues = ["images", "mails", "images"].map(str::to_owned).to_vec();
    let wish = |max| Wish { queues: queues.clone(), ..wish(max, LONG) };
    let first = queue.claim(&wish(3)).await.unwrap();
    let rest = queue.claim(&wish(3)).await.unwrap();
    let expected: Vec<ExecutionId> = tasks.iter().map(|task| task.execution).collect();
    assert_eq!([ids(&first), ids(&rest)], [expected[..3].to_vec(), expected[3..].to_vec()]);
}

async fn workers_that_ask_at_once_get_different_tasks(queue: &dyn PullQueue) {
    for number in 0..20 {
        put(queue, number).await;
    }
    let claimed = join_all((0..8).map(|_| claim(queue, 3))).await;
    let mut all: Vec<ExecutionId> = claimed.iter().flat_map(|claimed| ids(claimed)).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a task was given to two");
    // Who asked while another one had its hands on a task may have come away with fewer.
    all.extend(ids(&claim(queue, 20).await));
    assert_eq!(all.len(), 20);
}

async fn a_worker_gets_tasks_of_its_own_tenant_and_queues(queue: &dyn PullQueue) {
    put(queue, 1).await;
    let strange = Wish { tenant: TenantId(77), ..wish(9, LONG) };
    assert!(queue.claim(&strange).await.unwrap().is_empty());
    let other = Wish { queues: vec!["mails".to_owned()], ..wish(9, LONG) };
    assert!(queue.claim(&other).await.unwrap().is_empty());
    let both = Wish { queues: vec!["mails".to_owned(), "images".to_owned()], ..wish(9, LONG) };
    let claimed = queue.claim(&both).await.unwrap();
    assert_eq!(claimed.len(), 1);

    let strange = queue.tell(TenantId(77), claimed[0].token, &done("1")).await.unwrap();
    assert_eq!(strange, None);
    assert!(QueueName::parse("a:b").is_err());
}

async fn a_silent_worker_loses_its_task_and_its_word(queue: &dyn PullQueue) {
    let task = put(queue, 1).await;
    let lost = queue.claim(&wish(1, SHORT)).await.unwrap().remove(0);
    let checkpoint = Some(Json::parse("7").unwrap());
    let word = Word::Progress { done: None, note: None, checkpoint: checkpoint.clone() };
    assert_eq!(tell(queue, lost.token, word).await, Some(SHORT));
    assert!(claim(queue, 1).await.is_empty());

    pause(SHORT * 2).await;

    // Nobody else has it yet, so it may still come back.
    assert!(tell(queue, lost.token, Word::Extend(None)).await.is_some());
    pause(SHORT * 2).await;
    let next = claim(queue, 1).await.remove(0);
    assert_eq!((next.token.execution, next.checkpoint), (task.execution, checkpoint));
    assert_eq!(tell(queue, lost.token, done("1")).await, None);
    assert_eq!(seen(queue, &task).await.unwrap().answer, None);
}

async fn a_worker_that_is_heard_keeps_its_task(queue: &dyn PullQueue) {
    put(queue, 1).await;
    let claimed = queue.claim(&wish(1, SHORT)).await.unwrap().remove(0);
    assert_eq!(tell(queue, claimed.token, Word::Extend(Some(LONG))).await, Some(LONG));
    pause(SHORT * 2).await;
    assert!(claim(queue, 1).await.is_empty());
    assert_eq!(tell(queue, claimed.token, Word::Extend(None)).await, Some(LONG));
}

async fn what_a_worker_says_is_seen_by_the_attempt(queue: &dyn PullQueue) {
    let task = put(queue, 1).await;
    assert_eq!(seen(queue, &task).await, Some(Seen::default()));
    let token = claim(queue, 1).await[0].token;
    let taken = seen(queue, &task).await.unwrap();
    assert_eq!((taken.words, taken.worker.as_deref()), (1, Some("resizer")));

    let checkpoint = Some(Json::parse(r#"{"page": 2}"#).unwrap());
    let note = Some("page 2".to_owned());
    let word =
        Word::Progress { done: Some(0.5), note: note.clone(), checkpoint: checkpoint.clone() };
    tell(queue, token, word).await.unwrap();
    let heard = seen(queue, &task).await.unwrap();
    assert_eq!((heard.words, heard.progress, heard.note), (2, Some(0.5), note));
    assert_eq!(heard.checkpoint, checkpoint);

    // Without a checkpoint, the one before stands.
    let word = Word::Progress { done: None, note: None, checkpoint: None };
    tell(queue, token, word).await.unwrap();
    let heard = seen(queue, &task).await.unwrap();
    assert_eq!((heard.progress, heard.note, heard.checkpoint), (None, None, checkpoint));
}

async fn the_first_answer_stands(queue: &dyn PullQueue) {
    let task = put(queue, 1).await;
    let token = claim(queue, 1).await[0].token;
    assert!(tell(queue, token, done(r#"{"size": 9}"#)).await.is_some());
    // Sent again, because the worker did not hear of it.
    assert!(tell(queue, token, done("2")).await.is_some());
    let answer = Some(Answer::Done { output: r#"{"size": 9}"#.to_owned() });
    assert_eq!(seen(queue, &task).await.unwrap().answer, answer);
    assert!(claim(queue, 1).await.is_empty());

    let failing = put(queue, 2).await;
    let token = claim(queue, 1).await[0].token;
    let answer = Answer::Failed {
        code: "worker.failed".to_owned(),
        message: "no disk".to_owned(),
        retryable: true,
        retry_after_ms: Some(5),
    };
    tell(queue, token, Word::Answer(answer.clone())).await.unwrap();
    assert_eq!(seen(queue, &failing).await.unwrap().answer, Some(answer));
}

async fn a_task_that_nobody_wants_any_more_is_gone(queue: &dyn PullQueue) {
    let task = task(1, "images");
    queue.put(&task, SHORT).await.unwrap();
    let token = claim(queue, 1).await[0].token;
    queue.visit(task.execution, 1, SHORT).await.unwrap().expect("it is there");

    pause(SHORT * 2).await;

    assert_eq!(tell(queue, token, done("1")).await, None);
    assert_eq!(seen(queue, &task).await, None);
    assert!(claim(queue, 1).await.is_empty());
    queue.put(&task, LONG).await.unwrap();
    assert_eq!(seen(queue, &task).await, Some(Seen::default()));
    assert_eq!(claim(queue, 1).await.len(), 1);
}

async fn putting_a_task_in_again_changes_nothing(queue: &dyn PullQueue) {
    let task = put(queue, 1).await;
    let token = claim(queue, 1).await[0].token;
    queue.put(&task, LONG).await.unwrap();
    assert!(claim(queue, 1).await.is_empty());
    assert!(tell(queue, token, done("1")).await.is_some());
    assert!(seen(queue, &task).await.unwrap().answer.is_some());
}

async fn the_task_of_the_next_attempt_replaces_the_one_before(queue: &dyn PullQueue) {
    let first = put(queue, 1).await;
    let token = claim(queue, 1).await[0].token;
    let next = Task { attempt: 2, queue: "mails".to_owned(), ..first.clone() };
    assert_eq!(seen(queue, &next).await, None);
    queue.put(&next, LONG).await.unwrap();
    queue.put(&first, LONG).await.unwrap();

    assert_eq!(tell(queue, token, done("1")).await, None);
    assert_eq!(seen(queue, &first).await, None);
    assert_eq!(seen(queue, &next).await, Some(Seen::default()));
    assert!(claim(queue, 1).await.is_empty(), "it waits elsewhere");
    let mails = Wish { queues: vec!["mails".to_owned()], ..wish(1, LONG) };
    assert_eq!(queue.claim(&mails).await.unwrap().len(), 1);
}

/// A server that is short of memory drops whole keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_puts_a_task_back_into_a_queue_that_redis_has_dropped() {
    let (url, prefix) = (server::url(), server::name("pull"));
    let queue = RedisPullQueue::named(&Redis::new(&url).unwrap(), &prefix);
    let (worked_on, waiting) = (put(&queue, 1).await, put(&queue, 2).await);
    assert_eq!(ids(&claim(&queue, 1).await), [worked_on.execution]);
    let name = format!("{{{prefix}}}:pull:queue:{ADMIN}:images");
    let dropped: i64 = server::ask(&url, ::redis::cmd("DEL").arg(name)).await;
    assert_eq!(dropped, 1);

    seen(&queue, &worked_on).await.expect("it is there");
    seen(&queue, &waiting).await.expect("it is there");

    // Whoever works on the other one goes on.
    assert_eq!(ids(&claim(&queue, 9).await), [waiting.execution]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_behind_thousands_that_are_over_are_found_in_redis() {
    let (url, prefix) = (server::url(), server::name("pull"));
    let queue = RedisPullQueue::named(&Redis::new(&url).unwrap(), &prefix);
    let name = format!("{{{prefix}}}:pull:queue:{ADMIN}:images");
    let left = put(&queue, 1).await;
    // Older than it, and nobody wants them any more.
    let now: (i64, i64) = server::ask(&url, &::redis::cmd("TIME")).await;
    let mut add = ::redis::cmd("ZADD");
    add.arg(&name);
    for number in 0..2_500 {
        add.arg((now.0 - 60) * 1_000_000 + number).arg(given::execution_id(0).to_string());
    }
    let added: i64 = server::ask(&url, &add).await;
    assert_eq!(added, 2_500);
    let mut claims = 0;
    let claimed = loop {
        claims += 1;
        let claimed = claim(&queue, 1).await;
        if !claimed.is_empty() {
            break claimed;
        }
        assert!(claims < 10, "no claim gets through");
    };
    assert_eq!(ids(&claimed), [left.execution]);
    assert!(claims > 1, "one claim removes only so many");
}
