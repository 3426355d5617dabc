//! Several servers over one PostgreSQL, which are killed and started again under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::postgres::fresh_database;
use super::process::{Sender, Server, pause, program};
use super::receiver::Receiver;

/// How often something is looked for before it counts as missing.
const LOOKS_MAX: u32 = 1_200;
/// How often the producer sends.
const SEND_EVERY: Duration = Duration::from_millis(50);
const BATCH_MEDIA: &str = "application/cloudevents-batch+json";
const EVENTS: &str = "/v1/tenants/acme/events";

/// Servers with the tenant `acme` and a receiver of webhooks.
pub struct Cluster {
    pub nodes: Vec<Server>,
    pub receiver: Receiver,
    database_url: String,
    settings: Vec<(&'static str, String)>,
}

impl Cluster {
    pub async fn start(count: usize) -> Self {
        Self::start_over(&fresh_database().await, count, Vec::new()).await
    }

    /// Starts servers over a database, all with these settings.
    pub async fn start_over(
        database_url: &str,
        count: usize,
        settings: Vec<(&'static str, String)>,
    ) -> Self {
        let receiver = Receiver::start().await;
        let database_url = database_url.to_owned();
        let mut cluster = Self { nodes: Vec::new(), receiver, database_url, settings };
        for _ in 0..count {
            cluster.add(&[]).await;
        }
        if count > 0 {
            cluster.create_tenant().await;
        }
        cluster
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub async fn create_tenant(&self) {
        let tenant = json!({ "slug": "acme", "name": "Acme" });
        self.nodes[0].create("/v1/admin/tenants", &tenant).await;
    }

    /// Starts one server more, with some settings of its own.
    pub async fn add(&mut self, settings: &[(&'static str, &str)]) -> usize {
        self.add_of(&program(), settings).await
    }

    /// Starts one server more, of another program.
    pub async fn add_of(&mut self, program: &Path, settings: &[(&'static str, &str)]) -> usize {
        let number = self.nodes.len();
        let mut all = self.settings.clone();
        all.push(("ACTIONS_NODE_NAME", format!("node-{number}")));
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.nodes.push(Server::start_of(program, &self.database_url, all).await);
        number
    }

    /// Creates an action that calls the receiver for events of the type `orders.{name}`, and
    /// waits until every node knows it.
    pub async fn create_action(&self, name: &str, changes: Value) {
        let mut action = json!({
            "name": name,
            "action_type": "webhook",
            "handler": "webhook.http",
            "event_patterns": [format!("orders.{name}")],
            "config": { "webhook_url": self.receiver.url() },
        });
        for (field, value) in changes.as_object().unwrap() {
            action[field] = value.clone();
        }
        self.nodes[0].create("/v1/tenants/acme/actions", &action).await;
        for node in &self.nodes {
            let path = format!("/v1/tenants/acme/actions/{name}");
            eventually("a node knows the action", async || {
                node.get(&path).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
    }

    /// How many partitions a node says that it owns.
    pub async fn parts_of(&self, node: usize) -> u32 {
        let ready = self.nodes[node].read("/readyz?verbose").await;
        let checks = ready["checks"].as_array().unwrap();
        let told = checks.iter().find(|check| check["check"] == "node").unwrap();
        // node 7 owns 5 partitions
        told["detail"].as_str().unwrap().split(' ').nth(3).unwrap().parse().unwrap()
    }

    /// The partitions that are written down for a node, which may be dead.
    pub async fn parts_in_store(&self, node: usize) -> Vec<i16> {
        let text = "select part from engine.lease join engine.node on node.id = lease.owner
            where node.alive and node.name = $1";
        let mut connection = PgConnection::connect(&self.database_url).await.unwrap();
        let parts = sqlx::query_scalar(text).bind(format!("node-{node}"));
        parts.fetch_all(&mut connection).await.unwrap()
    }

    /// Watches the partitions of a node that is about to die, and answers how long it took until
    /// others had claimed all of them.
    pub async fn watch_takeover(&self, node: usize) -> JoinHandle<Duration> {
        let mut connection = PgConnection::connect(&self.database_url).await.unwrap();
        let id = sqlx::query_scalar("select id from engine.node where alive and name = $1");
        let id: i32 = id.bind(format!("node-{node}")).fetch_one(&mut connection).await.unwrap();
        let began = Instant::now();
        tokio::spawn(async move {
            let owned = "select exists (select from engine.lease where owner = $1)";
            loop {
                let is_owned = sqlx::query_scalar(owned).bind(id).fetch_one(&mut connection);
                let is_owned: bool = is_owned.await.unwrap();
                if !is_owned {
                    return began.elapsed();
                }
                pause(Duration::from_millis(20)).await;
            }
        })
    }

    /// Waits until somebody else has claimed one of these partitions, and answers who.
    pub async fn next_owner_of(&self, parts: &[i16], former: usize) -> usize {
        let text = "select node.name from engine.lease join engine.node on node.id = lease.owner
            where part = any ($1) and node.name <> $2 limit 1";
        let mut connection = PgConnection::connect(&self.database_url).await.unwrap();
        for _ in 0..30_000 {
            let name = sqlx::query_scalar(text).bind(parts).bind(format!("node-{former}"));
            let found: Option<String> = name.fetch_optional(&mut connection).await.unwrap();
            if let Some(name) = found {
                return name.strip_prefix("node-").unwrap().parse().unwrap();
            }
            pause(Duration::from_millis(1)).await;
        }
        panic!("nobody takes over from node {former}");
    }

    /// Waits until these nodes own all partitions among them, each its share.
    pub async fn wait_until_owned_by(&self, nodes: &[usize]) {
        eventually("the nodes own everything", async || {
            let mut counts = Vec::new();
            for node in nodes {
                counts.push(self.parts_of(*node).await);
            }
            let least = PARTS / u32::try_from(nodes.len()).unwrap();
            counts.iter().sum::<u32>() == PARTS && counts.iter().all(|count| *count >= least)
        })
        .await;
    }

    /// Sends events of `orders.{action}` at a steady rate, each batch to one of the nodes by
    /// chance, and to another one for as long as nobody takes it.
    pub fn produce(&self, action: &str, per_second: usize) -> Producer {
        let senders: Vec<Sender> = self.nodes.iter().map(Server::sender).collect();
        let (sent, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let event_type = format!("orders.{action}");
        let batch_size = (per_second / 20).max(1);
        let (count, stop) = (sent.clone(), is_over.clone());
        let task = tokio::spawn(async move {
            let mut batches = JoinSet::new();
            let mut turn = tokio::time::interval(SEND_EVERY);
            let mut accepted = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                turn.tick().await;
                let first = count.fetch_add(batch_size, Ordering::Relaxed);
                let events = (first..first + batch_size)
                    .map(|number| event(&event_type, number, json!({ "number": number })));
                batches.spawn(post_somewhere(
                    senders.clone(),
                    first,
                    json!(events.collect::<Vec<_>>()),
                ));
                while let Some(done) = batches.try_join_next() {
                    accepted.push(done.unwrap());
                }
            }
            accepted.extend(batches.join_all().await);
            accepted
        });
        Producer { sent, is_over, task }
    }
}

/// Partitions of an installation.
pub const PARTS: u32 = 16;

/// Sends events until it is stopped.
pub struct Producer {
    sent: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<Instant>>,
}

impl Producer {
    /// Stops, and answers how many events were acknowledged: all that were sent.
    pub async fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

/// An event whose id is the same in every try.
pub fn event(event_type: &str, number: usize, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": number.to_string(),
        "source": "cluster",
        "type": event_type,
        "data": data,
    })
}

/// Sends a batch to one server after the other until one acknowledges it; begins with one by
/// chance.
pub async fn post_somewhere(senders: Vec<Sender>, seed: usize, batch: Value) -> Instant {
    let start = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    for turn in 0.. {
        let sender = &senders[(start as usize + turn) % senders.len()];
        if sender.post(EVENTS, BATCH_MEDIA, &batch).await.is_some() {
            break;
        }
        pause(Duration::from_millis(20)).await;
    }
    Instant::now()
}

/// Looks again and again until it is so.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so().await {
            return;
        }
        pause(Duration::from_millis(25)).await;
    }
    panic!("it never came to be that {what}");
}
