//! Regular expressions: in sets for event types, one by one for texts in the data.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use actions_domain::event::EventType;
use actions_domain::limits::REGEX_COMPILED_BYTES_MAX;
use actions_domain::matching::condition::TextMatch;
use actions_domain::matching::pattern::Pattern;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::index::Bucket;

/// A set answers in microseconds up to about this size, and in milliseconds beyond it.
const SHARD_MAX: usize = 500;
/// What a set may remember of its states. More brings nothing for texts as short as types.
const SHARD_CACHE_BYTES_MAX: usize = 512 * 1024;
/// Expressions that are added to a set before it is compiled anew.
const FRESH_MAX: usize = 16;
/// Groups of expressions that name their first word. Sets of a few dozen are small and fast; one
/// for each word would take more memory than all expressions together.
const GROUPS: u64 = 64;

/// Patterns by the first word that they spell out. A type is held only against those whose word
/// is in its own group, and those that name none.
pub(super) struct Regexes {
    by_first_word: Box<[Group]>,
    other: Group,
}

#[derive(Default)]
struct Group {
    shards: Vec<Shard>,
    /// Which shard an expression is in, and where.
    places: HashMap<Box<str>, (usize, usize)>,
}

/// A set, and the expressions that came after it was compiled.
#[derive(Default)]
struct Shard {
    /// A removed expression leaves its empty bucket until the set is compiled anew.
    entries: Vec<Entry>,
    /// `None`: to be compiled.
    set: Option<Set>,
}

struct Entry {
    source: Box<str>,
    bucket: Bucket,
    /// Compiled alone, until the set has it too.
    fresh: Option<Regex>,
}

struct Set {
    set: RegexSet,
    /// Which entries its expressions are. One that does not compile is in none: it was refused at
    /// the door, so only a record of an older version gets here.
    entries: Box<[usize]>,
}

impl Default for Regexes {
    fn default() -> Self {
        Self {
            by_first_word: (0..GROUPS).map(|_| Group::default()).collect(),
            other: Group::default(),
        }
    }
}

/// The group of a first word.
fn group_of(word: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    usize::try_from(hasher.finish() % GROUPS).unwrap_or(0)
}

impl Regexes {
    fn group_mut(&mut self, pattern: &Pattern) -> &mut Group {
        match pattern.first_word() {
            Some(word) => &mut self.by_first_word[group_of(&word)],
            None => &mut self.other,
        }
    }

    /// The bucket of a pattern, which is made when there is none.
    pub(super) fn bucket_mut(&mut self, pattern: &Pattern, source: &str) -> &mut Bucket {
        self.group_mut(pattern).bucket_mut(source)
    }

    /// Changes a bucket and forgets it when it has become empty.
    pub(super) fn change(
        &mut self,
        pattern: &Pattern,
        source: &str,
        change: impl FnOnce(&mut Bucket),
    ) {
        self.group_mut(pattern).change(source, change);
    }

    /// Compiles what was changed. Until then, expressions that were added are not found.
    pub(super) fn compile(&mut self) {
        self.by_first_word.iter_mut().chain([&mut self.other]).for_each(Group::compile);
    }

    /// Adds the buckets of all patterns that match, each once.
    pub(super) fn find<'r>(&'r self, event_type: &EventType, found: &mut Vec<&'r Bucket>) {
        let named = &self.by_first_word[group_of(event_type.first_word())];
        for shard in named.shards.iter().chain(&self.other.shards) {
            shard.find(event_type.as_str().as_bytes(), found);
        }
    }
}

impl Group {
    fn bucket_mut(&mut self, source: &str) -> &mut Bucket {
        let (shard, entry) = match self.places.get(source) {
            Some(place) => *place,
            None => self.add(source),
        };
        &mut self.shards[shard].entries[entry].bucket
    }

    fn add(&mut self, source: &str) -> (usize, usize) {
        let has_room = |shard: &Shard| shard.entries.len() < SHARD_MAX;
        let shard = self.shards.iter().position(has_room).unwrap_or_else(|| {
            self.shards.push(Shard::default());
            self.shards.len() - 1
        });
        let entry = self.shards[shard].add(source);
        self.places.insert(source.into(), (shard, entry));
        (shard, entry)
    }

    fn change(&mut self, source: &str, change: impl FnOnce(&mut Bucket)) {
        let Some(&(shard, entry)) = self.places.get(source) else {
            return;
        };
        let bucket = &mut self.shards[shard].entries[entry].bucket;
        change(bucket);
        if bucket.is_empty() {
            self.places.remove(source);
        }
    }

    fn compile(&mut self) {
        for (at, shard) in self.shards.iter_mut().enumerate().filter(|(_, shard)| shard.is_stale())
        {
            shard.compile();
            let entries = shard.entries.iter().enumerate();
            let places = entries.map(|(entry, found)| (found.source.clone(), (at, entry)));
            self.places.extend(places);
        }
    }
}

impl Shard {
    fn add(&mut self, source: &str) -> usize {
        // A set that is compiled anyway needs no expressions beside it.
        let fresh = self.set.as_ref().and_then(|_| type_regex(source).ok());
        self.entries.push(Entry { source: source.into(), bucket: Bucket::default(), fresh });
        self.entries.len() - 1
    }

    fn is_stale(&self) -> bool {
        let known = self.set.as_ref().map_or(0, |set| set.entries.len());
        let empty = self.entries.iter().filter(|entry| entry.bucket.is_empty()).count();
        let is_full = self.entries.len() == SHARD_MAX && empty > 0;
        let fresh = self.entries.iter().filter(|entry| entry.fresh.is_some()).count();
        self.set.is_none() || fresh > FRESH_MAX || empty > known / 2 || is_full
    }

    fn compile(&mut self) {
        self.entries.retain(|entry| !entry.bucket.is_empty());
        self.entries.iter_mut().for_each(|entry| entry.fresh = None);
        let all: Box<[usize]> = (0..self.entries.len()).collect();
        self.set = Some(self.set_of(all).unwrap_or_else(|_| {
            let is_sound = |at: &usize| check_type_pattern(&self.entries[*at].source).is_ok();
            let sound = (0..self.entries.len()).filter(is_sound).collect();
            let none = |_| Set { set: RegexSet::empty(), entries: Box::default() };
            self.set_of(sound).unwrap_or_else(none)
        }));
    }

    fn set_of(&self, entries: Box<[usize]>) -> Result<Set, regex::Error> {
        let sources: Vec<&str> = entries.iter().map(|at| &*self.entries[*at].source).collect();
        Ok(Set { set: set_of(&sources)?, entries })
    }

    fn find<'r>(&'r self, event_type: &[u8], found: &mut Vec<&'r Bucket>) {
        let Some(set) = &self.set else {
            return;
        };
        let known =
            set.set.matches(event_type).into_iter().map(|at| &self.entries[set.entries[at]]);
        let later = &self.entries[self.first_fresh()..];
        let is_match = |regex: &Regex| regex.is_match(event_type);
        let fresh = later.iter().filter(|entry| entry.fresh.as_ref().is_some_and(is_match));
        let buckets = known.chain(fresh).map(|entry| &entry.bucket);
        found.extend(buckets.filter(|bucket| !bucket.is_empty()));
    }

    /// Entries are added at the end, so those that the set does not have are the last ones.
    fn first_fresh(&self) -> usize {
        self.set.as_ref().and_then(|set| set.entries.last()).map_or(0, |last| last + 1)
    }
}

/// Compiles expressions for whole types, ignoring case. Types are ASCII, so the expressions work
/// on bytes, where `\w` is small.
fn set_of(sources: &[&str]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(sources.iter().map(|source| format!("^(?:{source})$")))
        .case_insensitive(true)
        .unicode(false)
        .size_limit(REGEX_COMPILED_BYTES_MAX * sources.len().max(1))
        .dfa_size_limit(SHARD_CACHE_BYTES_MAX)
        .build()
}

/// Compiles one expression in the same way.
fn type_regex(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{source})$"))
        .case_insensitive(true)
        .unicode(false)
        .size_limit(REGEX_COMPILED_BYTES_MAX)
        .dfa_size_limit(SHARD_CACHE_BYTES_MAX)
        .build()
}

/// Compiles an expression for event types, to refuse it early.
///
/// # Errors
/// The compiler's words.
pub(super) fn check_type_pattern(source: &str) -> Result<(), String> {
    // On its own first: `a)(b` would be repaired by the brackets around it.
    let alone =
        RegexBuilder::new(source).unicode(false).size_limit(REGEX_COMPILED_BYTES_MAX).build();
    alone.and_then(|_| type_regex(source)).map(drop).map_err(|error| plain(&error))
}

/// The last line says what is wrong; those before draw an arrow that only a console shows well.
fn plain(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(_) = error {
        return format!(
            "compiled, it would take more than {REGEX_COMPILED_BYTES_MAX} bytes; use smaller repeat counts"
        );
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or(&text);
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// An expression for texts in the data, found anywhere in them.
#[derive(Debug, Clone)]
pub(super) struct TextRegex(Arc<regex::Regex>);

impl TextMatch for TextRegex {
    fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    fn source(&self) -> &str {
        self.0.as_str()
    }
}

/// Compiles each text once, for as long as somebody holds the result.
#[derive(Default)]
pub(super) struct TextRegexes(Mutex<HashMap<Box<str>, Weak<regex::Regex>>>);

impl TextRegexes {
    /// # Errors
    /// The compiler's words.
    pub(super) fn compile(&self, source: &str) -> Result<TextRegex, String> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known().get(source).and_then(Weak::upgrade) {
            return Ok(TextRegex(regex));
        }
        let compiled = regex::RegexBuilder::new(source)
            .size_limit(REGEX_COMPILED_BYTES_MAX)
            .dfa_size_limit(REGEX_COMPILED_BYTES_MAX)
            .build();
        let regex = Arc::new(compiled.map_err(|error| plain(&error))?);
        let mut known = known();
        if known.len() == known.capacity() {
            known.retain(|_, regex| regex.strong_count() > 0);
        }
        known.insert(source.into(), Arc::downgrade(&regex));
        Ok(TextRegex(regex))
    }
}
