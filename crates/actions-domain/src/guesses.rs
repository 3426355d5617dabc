//! Who guesses, and how long they wait for the next guess.
//!
//! Failures are counted by address, by account, and by both together. What makes somebody wait is
//! their own address's failures alone: however many others guess at an account, whoever comes from an
//! address that has not failed there is looked at. An account at which many guess leaves each address
//! fewer free tries, that is all. So nobody is locked out by somebody else's guessing, and a guesser
//! needs an address for every few guesses.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::Timestamp;
use crate::limits::{
    ACCOUNT_GUESSES_FREE, ACCOUNT_GUESSES_HOT, ACCOUNT_LOGINS_FREE, GUESS_WAIT_MAX, GUESSERS_MAX,
    GUESSES_FREE,
};

/// Where requests come from: an address, or the network of 64 bits that one customer has of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(IpAddr);

impl Peer {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
        }
    }
}

/// An account that somebody names, whether it is there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target([u8; 16]);

impl Target {
    pub fn of(tenant: &str, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(tenant.len() as u64).to_le_bytes());
        hasher.update(tenant.as_bytes());
        hasher.update(name.to_ascii_lowercase().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Peer(Peer),
    Target(Target),
    Both(Target, Peer),
    /// Logins that were right.
    Logins(Target),
}

impl Place {
    /// After so long one failure is forgotten.
    const fn forgives_after(self) -> Duration {
        match self {
            Self::Peer(_) | Self::Logins(_) => Duration::from_secs(60),
            // About as many in an hour as make an account hot.
            Self::Target(_) => Duration::from_secs(36),
            Self::Both(..) => Duration::from_secs(600),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    last: Timestamp,
    /// It was right from here before, so it is somebody who knows.
    is_familiar: bool,
    /// Its place in the order of use.
    turn: u64,
}

/// What is remembered of guesses, in bounded memory: who failed longest ago is forgotten first.
#[derive(Debug, Default)]
pub struct Guesses {
    entries: HashMap<Place, Entry>,
    order: BTreeMap<u64, Place>,
    turn: u64,
}

impl Guesses {
    /// How long somebody who was not right here has to wait before something that costs us is done.
    pub fn wait(&self, peer: Peer, now: Timestamp) -> Option<Duration> {
        self.wait_at(Place::Peer(peer), GUESSES_FREE, now)
    }

    /// Notes a credential that nobody has.
    pub fn fail(&mut self, peer: Peer, now: Timestamp) {
        self.add(Place::Peer(peer), now);
    }

    /// Lets somebody try a password. Until it is known to be right it counts as a failure, so that
    /// many at once are not all looked at. Answers whether it was right from there before. Of those
    /// without a `peer` nobody waits for others' failures, because they cannot be told apart.
    ///
    /// # Errors
    /// How long to wait.
    pub fn try_login(
        &mut self,
        target: Target,
        peer: Option<Peer>,
        now: Timestamp,
    ) -> Result<bool, Duration> {
        // Each costs a hash, a row and an entry of the audit, also where it is right.
        let often = self.wait_at(Place::Logins(target), ACCOUNT_LOGINS_FREE, now);
        let Some(peer) = peer else {
            return match often {
                Some(wait) => Err(wait),
                None => {
                    self.add(Place::Target(target), now);
                    Ok(false)
                }
            };
        };
        let both = Place::Both(target, peer);
        let is_familiar = self.entries.get(&both).is_some_and(|entry| entry.is_familiar);
        let is_hot = self.failures(Place::Target(target), now) >= ACCOUNT_GUESSES_HOT;
        let free = if is_hot && !is_familiar { 1 } else { ACCOUNT_GUESSES_FREE };
        let own = self.wait_at(both, free, now);
        // Others behind the same address do not hold up whoever was right from there before.
        let all = if is_familiar { None } else { self.wait(peer, now) };
        if let Some(wait) = own.max(all).max(often) {
            return Err(wait);
        }
        for place in places(target, Some(peer)) {
            self.add(place, now);
        }
        Ok(is_familiar)
    }

    /// The password was right.
    pub fn succeed(&mut self, target: Target, peer: Option<Peer>, now: Timestamp) {
        self.undo(target, peer);
        self.add(Place::Logins(target), now);
        let Some(peer) = peer else { return };
        let both = Place::Both(target, peer);
        self.touch(both, now, |entry| {
            entry.failures = 0;
            entry.is_familiar = true;
        });
    }

    /// Nobody has looked at the password.
    pub fn undo(&mut self, target: Target, peer: Option<Peer>) {
        for place in places(target, peer) {
            if let Some(entry) = self.entries.get_mut(&place) {
                entry.failures = entry.failures.saturating_sub(1);
            }
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn failures(&self, place: Place, now: Timestamp) -> u32 {
        self.entries.get(&place).map_or(0, |entry| left(place, entry, now))
    }

    fn wait_at(&self, place: Place, free: u32, now: Timestamp) -> Option<Duration> {
        let entry = self.entries.get(&place)?;
        let beyond = left(place, entry, now).checked_sub(free)?;
        let pause = Duration::from_secs(1 << beyond.min(16)).min(GUESS_WAIT_MAX);
        // A clock that was set back tells nothing, so nobody waits for it.
        let passed = (now - entry.last).to_std().ok()?;
        pause.checked_sub(passed).filter(|wait| !wait.is_zero())
    }

    fn add(&mut self, place: Place, now: Timestamp) {
        self.touch(place, now, |entry| {
            entry.failures = left(place, entry, now).saturating_add(1);
            entry.last = now;
        });
    }

    fn touch(&mut self, place: Place, now: Timestamp, change: impl FnOnce(&mut Entry)) {
        self.turn += 1;
        let turn = self.turn;
        let new = Entry { failures: 0, last: now, is_familiar: false, turn };
        let entry = self.entries.entry(place).or_insert(new);
        self.order.remove(&entry.turn);
        entry.turn = turn;
        change(entry);
        self.order.insert(turn, place);
        while self.entries.len() > GUESSERS_MAX {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.entries.remove(&oldest);
        }
    }
}

/// Where a try with a password counts.
fn places(target: Target, peer: Option<Peer>) -> impl Iterator<Item = Place> {
    let of_peer = peer.map(|peer| [Place::Peer(peer), Place::Both(target, peer)]);
    of_peer.into_iter().flatten().chain([Place::Target(target)])
}

/// The failures that are not forgotten yet.
fn left(place: Place, entry: &Entry, now: Timestamp) -> u32 {
    let passed = (now - entry.last).to_std().unwrap_or_default();
    let forgotten = passed.as_secs() / place.forgives_after().as_secs();
    entry.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
