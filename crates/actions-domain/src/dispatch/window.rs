//! Which part of a partition's log is in memory.
//!
//! The reader follows the head of the log and keeps what there is room for. Items belong to
//! *streams*: those without a key to one per tenant and lane; those with a key to one per tenant
//! and to one per root of the key. When a stream is full, its items are not kept from there on,
//! and it remembers the first: so one tenant's backlog does not hide another's items behind it,
//! and one blocked key does not hide the tenant's other keys. When a stream has drained, it is
//! read again from the first item that it does not have.
//!
//! The items that a stream has are always the first ones of the stream, in order. That is why
//! all keys of a tenant are in one stream, whatever their lanes: an item may only ask for its key
//! when all earlier items that could want it have asked.
//!
//! A stream that misses items has no use for later ones, so a reading leaves it out: behind a long
//! backlog, what others have to do is found by passing over it.
//!
//! Everything here goes by ranges of the log, never by who asked for them: a range that arrives
//! twice, late or unasked adds exactly what was missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::lock_table::root_hash;
use crate::execution::Priority;
use crate::id::TenantId;
use crate::limits::SKIPS_MAX;
use crate::work::{Seq, Skip, Work};

/// What shares a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Lane(TenantId, Priority),
    Keyed(TenantId),
    Root(TenantId, u64),
}

impl From<Skip> for Stream {
    fn from(skip: Skip) -> Self {
        match skip {
            Skip::Lane(tenant, lane) => Self::Lane(tenant, lane),
            Skip::Keyed(tenant) => Self::Keyed(tenant),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// Items of the stream that wait in memory.
    count: usize,
    /// The first item of the stream that may exist and is not in memory.
    missing: Option<Seq>,
}

/// The reader's place in one log, and what it has passed without keeping it.
#[derive(Debug)]
pub(super) struct Window {
    /// Everything before was read once.
    head: Seq,
    lane_items: usize,
    streams: BTreeMap<Stream, Kept>,
    /// The streams that miss items, by the first.
    missing: BTreeSet<(Seq, Stream)>,
    /// The streams that miss items and have drained.
    hungry: BTreeSet<Stream>,
    /// The stream that was read again last.
    cursor: Option<Stream>,
}

/// One stretch of the log on its way in.
#[derive(Debug)]
pub(super) struct Stretch {
    from: Seq,
    next: Seq,
    /// Where each stream was full.
    denied: BTreeMap<Stream, Seq>,
}

impl Window {
    pub(super) fn new(head: Seq, lane_items: usize) -> Self {
        Self {
            head,
            lane_items: lane_items.max(1),
            streams: BTreeMap::new(),
            missing: BTreeSet::new(),
            hungry: BTreeSet::new(),
            cursor: None,
        }
    }

    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// What a reading from here may leave out, because earlier items are missing.
    pub(super) fn useless_from(&self, from: Seq) -> Vec<Skip> {
        let before = self.missing.range(..first_at(from));
        let skips = before.filter_map(|(_, stream)| match *stream {
            Stream::Lane(tenant, lane) => Some(Skip::Lane(tenant, lane)),
            Stream::Keyed(tenant) => Some(Skip::Keyed(tenant)),
            Stream::Root(..) => None,
        });
        skips.take(SKIPS_MAX).collect()
    }

    /// Begins to take a stretch in that was read without `skipped`. `None`: it does not touch what is
    /// known, or it is all known.
    pub(super) fn open(&self, from: Seq, next: Seq, skipped: &[Skip]) -> Option<Stretch> {
        let is_new = from <= self.head && next > self.head;
        let mut refills = self.missing.range(first_at(from)..first_at(next)).peekable();
        if !is_new && refills.peek().is_none() {
            return None;
        }
        // What was left out is as unknown as before, also of streams that have caught up since.
        let mut denied = BTreeMap::new();
        if !skipped.is_empty() {
            let skipped: BTreeSet<Stream> = skipped.iter().copied().map(Stream::from).collect();
            let is_out = |stream: &Stream| match *stream {
                Stream::Lane(..) | Stream::Keyed(_) => skipped.contains(stream),
                Stream::Root(tenant, _) => skipped.contains(&Stream::Keyed(tenant)),
            };
            let unread = refills.filter(|(_, stream)| is_out(stream));
            denied.extend(unread.map(|(seq, stream)| (*stream, *seq)));
            if is_new {
                let caught_up = skipped.iter().filter(|stream| self.missing_of(**stream).is_none());
                denied.extend(caught_up.map(|stream| (*stream, self.head)));
            }
        }
        Some(Stretch { from, next, denied })
    }

    /// Whether this item of the stretch is missing and may be kept. Items are asked in order;
    /// `has_room` says whether the node has memory left.
    pub(super) fn take(
        &mut self,
        stretch: &mut Stretch,
        work: &Work,
        seq: Seq,
        has_room: bool,
    ) -> bool {
        let (main, root) = streams_of(work);
        let by_root = root.and_then(|root| self.missing_of(root));
        // A root misses items only before its tenant's stream does, so it is asked first.
        let missing = by_root.or_else(|| self.missing_of(main)).unwrap_or(self.head);
        if seq < missing || stretch.from > missing {
            return false;
        }
        let is_denied = |stream| stretch.denied.contains_key(&stream);
        if is_denied(main) || root.is_some_and(is_denied) {
            return false;
        }
        // A root that is read again does not ask for its tenant's quota: it must come to an end
        // before the tenant's stream goes on, whatever that holds.
        let is_full = |stream, quota| {
            let count = self.streams.get(&stream).map_or(0, |kept| kept.count);
            count >= quota || (!has_room && count > 0)
        };
        let full = (root.filter(|root| is_full(*root, self.root_items()))).or_else(|| {
            Some(main).filter(|_| by_root.is_none()).filter(|main| is_full(*main, self.lane_items))
        });
        if let Some(full) = full {
            stretch.denied.insert(full, seq);
            return false;
        }
        for stream in [Some(main), root].into_iter().flatten() {
            self.streams.entry(stream).or_default().count += 1;
        }
        true
    }

    /// Ends a stretch: remembers what was not kept.
    pub(super) fn close(&mut self, stretch: Stretch) {
        let Stretch { from, next, denied } = stretch;
        if from <= self.head {
            self.head = self.head.max(next);
        }
        let range = (Bound::Included(first_at(from)), Bound::Excluded(first_at(next)));
        let read_again = self.missing.range(range).map(|(_, stream)| *stream);
        let touched: BTreeSet<Stream> = read_again.chain(denied.keys().copied()).collect();
        // The order of streams puts a tenant's before its roots: how far a root is known depends
        // on how far the tenant's is.
        for stream in touched {
            let until = match stream {
                Stream::Lane(..) | Stream::Keyed(_) => self.head,
                Stream::Root(tenant, _) => {
                    self.missing_of(Stream::Keyed(tenant)).unwrap_or(self.head)
                }
            };
            let unread = Some(next).filter(|next| *next < until);
            self.set_missing(stream, denied.get(&stream).copied().or(unread));
        }
    }

    /// Notes that an item does not wait in memory any more.
    pub(super) fn leave(&mut self, work: &Work) {
        let (main, root) = streams_of(work);
        for stream in [Some(main), root].into_iter().flatten() {
            if let Some(kept) = self.streams.get_mut(&stream) {
                kept.count = kept.count.saturating_sub(1);
            }
            self.tidy(stream);
        }
    }

    /// Where to read again, of the streams that have drained: each in its turn.
    pub(super) fn refill_from(&mut self, has_room: bool) -> Option<Seq> {
        let wants = |stream: &&Stream| {
            has_room || self.streams.get(stream).is_none_or(|kept| kept.count == 0)
        };
        let after = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.hungry.range((after, Bound::Unbounded)).find(wants);
        let stream = *next.or_else(|| self.hungry.iter().find(wants))?;
        self.cursor = Some(stream);
        self.streams.get(&stream)?.missing
    }

    /// The first place from which anything may be missing.
    pub(super) fn low(&self) -> Seq {
        self.missing.first().map_or(self.head, |(seq, _)| *seq).min(self.head)
    }

    /// A blocked key keeps at most a quarter of what its tenant may.
    fn root_items(&self) -> usize {
        (self.lane_items / 4).max(4)
    }

    fn missing_of(&self, stream: Stream) -> Option<Seq> {
        self.streams.get(&stream).and_then(|kept| kept.missing)
    }

    fn set_missing(&mut self, stream: Stream, missing: Option<Seq>) {
        let kept = self.streams.entry(stream).or_default();
        if let Some(before) = kept.missing {
            self.missing.remove(&(before, stream));
        }
        kept.missing = missing;
        if let Some(seq) = missing {
            self.missing.insert((seq, stream));
        }
        self.tidy(stream);
    }

    fn tidy(&mut self, stream: Stream) {
        let Some(kept) = self.streams.get(&stream) else { return };
        let quota = match stream {
            Stream::Lane(..) | Stream::Keyed(_) => self.lane_items,
            Stream::Root(..) => self.root_items(),
        };
        if kept.missing.is_some() && kept.count <= quota / 2 {
            self.hungry.insert(stream);
        } else {
            self.hungry.remove(&stream);
        }
        if kept.missing.is_none() && kept.count == 0 {
            self.streams.remove(&stream);
        }
    }
}

fn streams_of(work: &Work) -> (Stream, Option<Stream>) {
    match &work.key {
        None => (Stream::Lane(work.tenant, work.lane), None),
        Some(key) => {
            let root = Stream::Root(work.tenant, root_hash(work.tenant, key));
            (Stream::Keyed(work.tenant), Some(root))
        }
    }
}

fn first_at(seq: Seq) -> (Seq, Stream) {
    (seq, Stream::Lane(TenantId(i32::MIN), Priority::Low))
}

#[cfg(test)]
mod tests;
