//! Regular expressions: in sets for event types, one by one for texts in the data.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use actions_domain::event::EventType;
use actions_domain::limits::REGEX_COMPILED_BYTES_MAX;
use actions_domain::matching::condition::TextMatch;
use actions_domain::matching::pattern::Pattern;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::index::Bucket;

/// A set answers in microseconds up to about this size, and in milliseconds beyond it.
const SHARD_MAX: usize = 500;
/// What a set may remember of its states. More brings nothing for texts as short as types.
const SHARD_CACHE_BYTES_MAX: usize = 512 * 1024;

/// Patterns by the first word that they spell out. A type is held only against those that name
/// its first word or none.
#[derive(Default)]
pub(super) struct Regexes {
    by_first_word: HashMap<Box<str>, Group>,
    other: Group,
}

#[derive(Default)]
struct Group {
    shards: Vec<Shard>,
    /// Which shard an expression is in.
    shard_of: HashMap<Box<str>, usize>,
}

/// A set that is compiled at the first question after a change.
#[derive(Default)]
struct Shard {
    entries: Vec<(Box<str>, Bucket)>,
    set: OnceLock<Set>,
}

enum Set {
    Whole(RegexSet),
    /// The numbers of those that compile, when some do not. They were refused at the door, so
    /// only a record of an older version gets here.
    Sound(RegexSet, Vec<usize>),
}

impl Regexes {
    /// The bucket of a pattern, which is made when there is none.
    pub(super) fn bucket_mut(&mut self, pattern: &Pattern, source: &str) -> &mut Bucket {
        match pattern.first_word() {
            Some(word) => self.by_first_word.entry(word.into()).or_default().bucket_mut(source),
            None => self.other.bucket_mut(source),
        }
    }

    /// Changes a bucket and takes it away when it has become empty.
    pub(super) fn change(
        &mut self,
        pattern: &Pattern,
        source: &str,
        change: impl FnOnce(&mut Bucket),
    ) {
        let Some(word) = pattern.first_word() else {
            return self.other.change(source, change);
        };
        if let Some(group) = self.by_first_word.get_mut(word.as_str()) {
            group.change(source, change);
            if group.shard_of.is_empty() {
                self.by_first_word.remove(word.as_str());
            }
        }
    }

    /// Adds the buckets of all patterns that match, each once.
    pub(super) fn find<'r>(&'r self, event_type: &EventType, found: &mut Vec<&'r Bucket>) {
        let named = self.by_first_word.get(event_type.first_word());
        for group in named.into_iter().chain([&self.other]) {
            for shard in &group.shards {
                shard.find(event_type.as_str(), found);
            }
        }
    }
}

impl Group {
    fn bucket_mut(&mut self, source: &str) -> &mut Bucket {
        let shard = match self.shard_of.get(source) {
            Some(shard) => *shard,
            None => self.add(source),
        };
        let entries = &mut self.shards[shard].entries;
        let at = entries.iter().position(|(other, _)| **other == *source);
        &mut entries[at.expect("the shard has what the map says")].1
    }

    fn add(&mut self, source: &str) -> usize {
        let has_room = |shard: &Shard| shard.entries.len() < SHARD_MAX;
        let shard = self.shards.iter().position(has_room).unwrap_or_else(|| {
            self.shards.push(Shard::default());
            self.shards.len() - 1
        });
        self.shards[shard].set = OnceLock::new();
        self.shards[shard].entries.push((source.into(), Bucket::default()));
        self.shard_of.insert(source.into(), shard);
        shard
    }

    fn change(&mut self, source: &str, change: impl FnOnce(&mut Bucket)) {
        let Some(&at) = self.shard_of.get(source) else {
            return;
        };
        let shard = &mut self.shards[at];
        let Some(entry) = shard.entries.iter().position(|(other, _)| **other == *source) else {
            return;
        };
        let bucket = &mut shard.entries[entry].1;
        change(bucket);
        if bucket.is_empty() {
            shard.entries.swap_remove(entry);
            shard.set = OnceLock::new();
            self.shard_of.remove(source);
        }
    }
}

impl Shard {
    fn find<'r>(&'r self, event_type: &str, found: &mut Vec<&'r Bucket>) {
        if self.entries.is_empty() {
            return;
        }
        let mut add = |at: usize| found.push(&self.entries[at].1);
        match self.set.get_or_init(|| self.compile()) {
            Set::Whole(set) => set.matches(event_type.as_bytes()).iter().for_each(&mut add),
            Set::Sound(set, numbers) => {
                set.matches(event_type.as_bytes()).iter().for_each(|at| add(numbers[at]));
            }
        }
    }

    fn compile(&self) -> Set {
        let sources: Vec<&str> = self.entries.iter().map(|(source, _)| &**source).collect();
        if let Ok(set) = set_of(&sources) {
            return Set::Whole(set);
        }
        let is_sound = |at: &usize| check_type_pattern(sources[*at]).is_ok();
        let sound: Vec<usize> = (0..sources.len()).filter(is_sound).collect();
        let texts: Vec<&str> = sound.iter().map(|at| sources[*at]).collect();
        match set_of(&texts) {
            Ok(set) => Set::Sound(set, sound),
            Err(_) => Set::Sound(RegexSet::empty(), Vec::new()),
        }
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

/// Compiles an expression for event types, to refuse it early.
///
/// # Errors
/// The compiler's words.
pub(super) fn check_type_pattern(source: &str) -> Result<(), String> {
    // On its own first: `)(` would be repaired by the brackets around it.
    let alone = regex::bytes::RegexBuilder::new(source)
        .unicode(false)
        .size_limit(REGEX_COMPILED_BYTES_MAX)
        .build();
    alone.and_then(|_| set_of(&[source]).map(drop)).map_err(|error| plain(&error))
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
