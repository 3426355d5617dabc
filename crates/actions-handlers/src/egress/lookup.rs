//! Names to addresses, all of them checked.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error::EgressError;
use super::policy::EgressPolicy;
use super::{CONNECT_TIME_MAX, LOOKUP_TIME_MAX};

/// Asks for the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// # Errors
    /// Those of the resolution.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Lookups of the operating system at one time. Nothing can end one that hangs, so each holds its
/// place until it does, also when nobody waits for it any more.
const LOOKUPS_MAX: usize = 64;
/// A name whose lookup did not end in time is not asked for again for so long.
const PAUSE: Duration = Duration::from_secs(30);
/// Such names that are remembered.
const PAUSED_MAX: usize = 1_024;

type Ask = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Name resolution of the operating system.
#[derive(Debug, Clone)]
pub struct SystemLookup {
    places: Arc<Semaphore>,
    ask: Ask,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LOOKUPS_MAX)), ask }
    }
}

fn ask(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (ask, name) = (self.ask, name.to_owned());
        let asking = tokio::task::spawn_blocking(move || {
            let answers = ask(&name);
            drop(place);
            answers
        });
        asking.await.map_err(io::Error::other)?
    }
}

/// Resolves a name once and lets nothing pass unless every answer may be called. The HTTP
/// client dials what this answers, so nobody resolves the name a second time.
#[derive(Clone)]
pub(super) struct Resolver {
    policy: Arc<EgressPolicy>,
    lookup: Arc<dyn Lookup>,
    /// Names that did not resolve in time, and until when they are left alone.
    paused: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Resolver {
    pub(super) fn new(policy: Arc<EgressPolicy>, lookup: Arc<dyn Lookup>) -> Self {
        Self { policy, lookup, paused: Arc::default() }
    }

    /// The same under other rules.
    pub(super) fn under(&self, policy: Arc<EgressPolicy>) -> Self {
        Self { policy, ..self.clone() }
    }

    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, EgressError> {
        debug_assert!(LOOKUP_TIME_MAX < CONNECT_TIME_MAX, "a lookup is part of a connect");
        let failed = |detail: String| EgressError::Dns { host: name.to_owned(), detail };
        if self.is_paused(name) {
            return Err(failed("there was no answer in time a moment ago".to_owned()));
        }
        let asking = tokio::time::timeout(LOOKUP_TIME_MAX, self.lookup.lookup(name));
        let Ok(answers) = asking.await else {
            self.pause(name);
            return Err(failed("no answer in time".to_owned()));
        };
        let answers = answers.map_err(|error| failed(error.to_string()))?;
        if answers.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        for answer in &answers {
            self.policy.check_answer(*answer, name)?;
        }
        Ok(answers)
    }

    fn is_paused(&self, name: &str) -> bool {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        paused.get(name).is_some_and(|until| Instant::now() < *until)
    }

    fn pause(&self, name: &str) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if paused.len() >= PAUSED_MAX {
            paused.retain(|_, until| now < *until);
        }
        if paused.len() < PAUSED_MAX {
            paused.insert(name.to_owned(), now + PAUSE);
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let answers = Resolver::resolve(&resolver, name.as_str()).await?;
            let addresses = answers.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Condvar, Mutex};

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::{Lookup, PAUSE, Resolver, SystemLookup};
    use crate::egress::{EgressError, EgressPolicy};

    /// How many lookups have hung, and whether they may go on.
    static HANGING: AtomicUsize = AtomicUsize::new(0);
    static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn hang(_: &str) -> io::Result<Vec<IpAddr>> {
        HANGING.fetch_add(1, Ordering::SeqCst);
        let open = OPEN.0.lock().expect("no panic");
        drop(OPEN.1.wait_while(open, |open| !*open).expect("no panic"));
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    }

    #[tokio::test]
    async fn a_hanging_lookup_keeps_its_place_when_nobody_waits_any_more() {
        let lookup = SystemLookup { places: Arc::new(Semaphore::new(2)), ask: hang };
        for _ in 0..5 {
            let asking = tokio::spawn({
                let lookup = lookup.clone();
                async move { lookup.lookup("slow.example").await }
            });
            // Each of these gets as far as it can before it is given up.
            tokio::task::yield_now().await;
            asking.abort();
        }
        assert_eq!(lookup.places.available_permits(), 0);
        assert!(HANGING.load(Ordering::SeqCst) <= 2);
        *OPEN.0.lock().expect("no panic") = true;
        OPEN.1.notify_all();
        assert!(lookup.lookup("slow.example").await.is_ok());
    }

    /// Never answers, and counts how often it is asked.
    #[derive(Default)]
    struct Silent(AtomicUsize);

    #[async_trait]
    impl Lookup for Silent {
        async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_was_silent_is_not_asked_again_at_once() {
        let silent = Arc::new(Silent::default());
        let resolver = Resolver::new(Arc::new(EgressPolicy::default()), silent.clone());
        for _ in 0..3 {
            let failed = resolver.resolve("slow.example").await;
            assert!(matches!(failed, Err(EgressError::Dns { .. })), "{failed:?}");
        }
        assert_eq!(silent.0.load(Ordering::SeqCst), 1);
        tokio::time::advance(PAUSE).await;
        assert!(resolver.resolve("slow.example").await.is_err());
        assert_eq!(silent.0.load(Ordering::SeqCst), 2);
    }
}
