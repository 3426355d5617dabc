//! Words with wildcards, found by the letters that they begin or end with.

use std::collections::{BTreeMap, HashMap};

use actions_domain::matching::pattern::word_matches;

/// What stands behind each word with `?` or `*` in it.
#[derive(Debug)]
pub(super) struct Parts<T> {
    by_start: Affixes<T>,
    by_end: Affixes<T>,
    /// Those with wildcards at both ends are tried one after the other.
    other: Vec<(Box<str>, T)>,
}

/// Words by some letters, which all words that match have too.
#[derive(Debug)]
struct Affixes<T> {
    lists: HashMap<Box<str>, Vec<(Box<str>, T)>>,
    /// How many lists there are for letters of each length.
    lengths: BTreeMap<usize, usize>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { by_start: Affixes::default(), by_end: Affixes::default(), other: Vec::new() }
    }
}

impl<T> Default for Affixes<T> {
    fn default() -> Self {
        Self { lists: HashMap::new(), lengths: BTreeMap::new() }
    }
}

/// The plain letters before the first and after the last wildcard.
fn affixes(part: &str) -> (&str, &str) {
    let is_wild = ['*', '?'];
    let start = part.find(is_wild).map_or(part, |at| &part[..at]);
    let end = part.rfind(is_wild).map_or("", |at| &part[at + 1..]);
    (start, end)
}

impl<T: Default> Parts<T> {
    pub(super) fn get_mut(&mut self, part: &str) -> &mut T {
        let (start, end) = affixes(part);
        if start.is_empty() && end.is_empty() {
            entry(&mut self.other, part)
        } else if start.len() >= end.len() {
            entry(self.by_start.list_mut(start), part)
        } else {
            entry(self.by_end.list_mut(end), part)
        }
    }

    pub(super) fn remove(&mut self, part: &str) {
        let (start, end) = affixes(part);
        if start.is_empty() && end.is_empty() {
            self.other.retain(|(other, _)| **other != *part);
        } else if start.len() >= end.len() {
            self.by_start.remove(start, part);
        } else {
            self.by_end.remove(end, part);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.other.is_empty() && self.by_start.lists.is_empty() && self.by_end.lists.is_empty()
    }

    /// Whatever stands behind the parts that match a word.
    pub(super) fn find<'p, 'w>(
        &'p self,
        word: &'w str,
    ) -> impl Iterator<Item = &'p T> + use<'p, 'w, T> {
        let starts = self.by_start.lists_of(word, |length| word.get(..length));
        let ends = self.by_end.lists_of(word, |length| word.get(word.len() - length..));
        let tried = starts.chain(ends).flatten().chain(&self.other);
        tried.filter(move |(part, _)| word_matches(part, word)).map(|(_, value)| value)
    }
}

fn entry<'l, T: Default>(list: &'l mut Vec<(Box<str>, T)>, part: &str) -> &'l mut T {
    let at = list.iter().position(|(other, _)| **other == *part).unwrap_or_else(|| {
        list.push((part.into(), T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

impl<T> Affixes<T> {
    fn list_mut(&mut self, letters: &str) -> &mut Vec<(Box<str>, T)> {
        if !self.lists.contains_key(letters) {
            *self.lengths.entry(letters.len()).or_default() += 1;
        }
        self.lists.entry(letters.into()).or_default()
    }

    fn remove(&mut self, letters: &str, part: &str) {
        let Some(list) = self.lists.get_mut(letters) else {
            return;
        };
        list.retain(|(other, _)| **other != *part);
        if !list.is_empty() {
            return;
        }
        self.lists.remove(letters);
        if let Some(count) = self.lengths.get_mut(&letters.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&letters.len());
            }
        }
    }

    /// The lists for the letters that `cut` takes from a word.
    fn lists_of<'p, 'w, F: Fn(usize) -> Option<&'w str>>(
        &'p self,
        word: &'w str,
        cut: F,
    ) -> impl Iterator<Item = &'p Vec<(Box<str>, T)>> + use<'p, 'w, T, F> {
        let lengths = self.lengths.range(..=word.len());
        lengths.filter_map(move |(length, _)| self.lists.get(cut(*length)?))
    }
}
