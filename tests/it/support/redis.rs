//! A Redis server that can be cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use actions_domain::id::EventId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::dice::Dice;
use actions_infra::system::{SystemClock, SystemDice};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tests' server. Tests share it, so each uses names of its own.
///
/// # Panics
/// When there is none: nothing is skipped silently.
#[expect(clippy::disallowed_methods, reason = "the test program has no configuration")]
pub fn url() -> String {
    std::env::var("ACTIONS_TEST_REDIS").expect(
        "ACTIONS_TEST_REDIS is the URL of a Redis server; run ./scripts/test, which provides one",
    )
}

/// A name that nobody else uses.
pub fn name(what: &str) -> String {
    format!("{what}:{}", EventId::mint(SystemClock.now(), SystemDice.bytes()).0.simple())
}

/// A database of the tests' server for a test that flushes: others are left alone.
pub fn own_database() -> String {
    // 0 is shared.
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < 16, "a Redis server has 16 databases");
    let mut url: reqwest::Url = url().parse().unwrap();
    url.set_path(&number.to_string());
    url.to_string()
}

/// Asks a server something by itself.
pub async fn ask<T: redis::FromRedisValue>(url: &str, command: &redis::Cmd) -> T {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

/// A way to a server that can be shut, with everything that goes through it.
pub struct Gate {
    address: String,
    target: String,
    url: reqwest::Url,
    open: Option<CancellationToken>,
}

impl Gate {
    /// A gate in front of this server, open.
    pub async fn to(url: &str) -> Self {
        let mut url: reqwest::Url = url.parse().unwrap();
        let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(6379));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(free.port())).unwrap();
        let mut gate = Self { address: free.to_string(), target, url, open: None };
        gate.open().await;
        gate
    }

    /// The server, through the gate.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    pub async fn open(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        let (open, target) = (CancellationToken::new(), Arc::new(self.target.clone()));
        self.open = Some(open.clone());
        tokio::spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                tokio::select! {
                    () = open.cancelled() => return,
                    Ok((mut inside, _)) = listener.accept() => {
                        let target = target.clone();
                        ways.spawn(async move {
                            let Ok(mut outside) = connect(&target).await else { return };
                            let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                        });
                    }
                }
            }
        });
    }

    /// Cuts every connection, and lets none through.
    pub async fn shut(&mut self) {
        self.open.take().expect("the gate is open").cancel();
        // Until the listener is gone, somebody might still get in.
        while connect(&self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own wire, no call of the engine")]
async fn connect(address: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect(address).await
}
