#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes
)]
use actions_domain::event::*;
use actions_domain::execution::*;
use actions_domain::id::*;
use actions_domain::json::Json;
use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::Store;
use actions_domain::work::*;
use actions_infra::postgres::*;
use chrono::Utc;
use std::sync::Arc;
use std::time::Instant;

fn ts() -> chrono::DateTime<Utc> {
    use chrono::SubsecRound;
    Utc::now().trunc_subsecs(6)
}
fn rnd() -> [u8; 10] {
    let b = uuid::Uuid::new_v4();
    b.as_bytes()[6..].try_into().unwrap()
}

#[tokio::main]
async fn main() {
    let url = std::env::var("URL").unwrap();
    let clients: usize = std::env::var("CLIENTS").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let batch: usize = std::env::var("BATCH").ok().and_then(|v| v.parse().ok()).unwrap_or(500);
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(100);
    let pg = Postgres::connect(PostgresOptions::new(url)).await.unwrap();
    pg.migrate().await.unwrap();
    let node = pg.join("bench").await.unwrap();
    let leases = pg.claim(node, &[], 64).await.unwrap();
    println!("leases {}", leases.len());
    let start = Instant::now();
    let mut tasks = Vec::new();
    for c in 0..clients {
        let pg = pg.clone();
        let lease = leases[c];
        tasks.push(tokio::spawn(async move {
            let mut fin = lease.next_fin;
            let (mut ti, mut tf) = (0.0, 0.0);
            for r in 0..rounds {
                let (works, commit) = ingest(lease.part, batch);
                let t = Instant::now();
                let receipt = pg.commit(commit).await.unwrap();
                ti += t.elapsed().as_secs_f64();
                let first = receipt.first[0].1.0;
                let commit = finish(node, lease, &works, first, &mut fin);
                let t = Instant::now();
                pg.commit(commit).await.unwrap();
                tf += t.elapsed().as_secs_f64();
                if r % 50 == 49 && c == 0 {
                    println!(
                        "round {r} ingest {:.2} ms finish {:.2} ms",
                        ti / 50.0 * 1e3,
                        tf / 50.0 * 1e3
                    );
                    ti = 0.0;
                    tf = 0.0;
                }
            }
        }));
    }
    for t in tasks {
        t.await.unwrap();
    }
    let n = clients * batch * rounds;
    let s = start.elapsed().as_secs_f64();
    let pids: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity where datname = current_database() and application_name = 'actions'").fetch_all(pg.pool()).await.unwrap();
    let mut ticks = 0.0;
    for pid in pids {
        let t = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let f: Vec<&str> = t.rsplit(')').next().unwrap().split_whitespace().collect();
        ticks += f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap();
    }
    println!(
        "backend cpu {:.1} us per action, {:.3} ms per flush",
        ticks / 100.0 / n as f64 * 1e6,
        ticks / 100.0 / (clients * rounds * 2) as f64 * 1e3
    );
    println!("{n} actions in {s:.2} s = {:.0}/s", n as f64 / s);
}

fn ingest(part: Part, n: usize) -> (Vec<Arc<Work>>, Commit) {
    let now = ts();
    let mut works = Vec::new();
    let mut submissions = Vec::new();
    for i in 0..n {
        let id = EventId::mint(now, rnd());
        let event = Event {
            id, tenant: TenantId::ADMIN, event_type: EventType::parse("orders.paid").unwrap(),
            source: "/shop".into(), external_id: Some(format!("ext-{id}")), accepted_at: now,
            data: Json::parse(&format!("{{\"order_id\":{i},\"amount\":{},\"customer\":\"someone@example.com\",\"note\":\"{}\"}}", i * 17, "x".repeat(100))).unwrap(),
            attributes: Attributes::default(),
        };
        let work = Arc::new(Work {
            id: ExecutionId::mint(now, rnd()),
            tenant: TenantId::ADMIN,
            lane: Priority::Normal,
            action: ActionId((i % 7) as i32),
            defs: 0,
            key: None,
            event: Some(id),
            parent: None,
            queued_at: now,
            delay: None,
            input: None,
            depth: 0,
        });
        works.push(work.clone());
        let dedupe = std::env::var("DEDUPE")
            .is_ok()
            .then(|| Dedupe { key: id.0.into_bytes(), subject: id.0 });
        let works = vec![(part, work)];
        let ingest = Ingest { event: Some(Arc::new(event)), dedupe, works, requeue_of: None };
        submissions.push(Submission::new(TenantId::ADMIN, Some(0), vec![ingest]));
    }
    (works, Commit { submissions, ..Commit::default() })
}

fn finish(
    node: NodeId,
    lease: actions_domain::ports::leases::Lease,
    works: &[Arc<Work>],
    first: i64,
    fin: &mut i64,
) -> Commit {
    let now = ts();
    let finishes = works
        .iter()
        .enumerate()
        .map(|(i, work)| {
            let f = *fin;
            *fin += 1;
            Finish {
                item: Item {
                    work: work.clone(),
                    part: lease.part,
                    ord: Seq(first + i as i64),
                    home: Home::Log,
                    losses: 0,
                    event: None,
                    attempts: vec![Attempt {
                        number: 1,
                        node,
                        epoch: lease.epoch,
                        cause: Cause::First,
                        lost_epoch: None,
                        started_at: work.queued_at,
                        ended_at: now,
                        outcome: AttemptOutcome::Completed,
                        error: None,
                        cpu_ms: None,
                        memory_mb: None,
                    }],
                },
                fin: f,
                epoch: lease.epoch,
                status: Status::Completed,
                started_at: Some(work.queued_at),
                ended_at: now,
                output: Some(Json::parse("{\"ok\":true}").unwrap()),
                error: None,
                dead: None,
            }
        })
        .collect();
    Commit {
        node: Some(node),
        fences: vec![Fence { part: lease.part, epoch: lease.epoch }],
        finishes,
        ..Commit::default()
    }
}
