//! Globs as a tree of words: finding those that match a type follows the type's words.

use std::collections::HashMap;

use actions_domain::event::EventType;

use self::parts::Parts;
use super::index::Bucket;

mod parts;

#[derive(Default)]
pub(super) struct Globs {
    /// `*` alone.
    every: Bucket,
    /// Globs that begin with the type's first word.
    anchored: Node,
    /// What follows a leading `*.`, which may begin at any word but the first.
    floating: Node,
}

/// What globs say after the same words.
#[derive(Default)]
struct Node {
    words: HashMap<Box<str>, Self>,
    /// Words with `?` or `*` in them.
    parts: Parts<Self>,
    /// A `*` that stands for exactly one word.
    one: Option<Box<Self>>,
    /// Globs that end here.
    end: Bucket,
    /// Globs that end with a `*` here: one or more words follow.
    rest: Bucket,
}

impl Globs {
    /// The bucket of a glob in lower case, which is made when there is none.
    pub(super) fn bucket_mut(&mut self, glob: &str) -> &mut Bucket {
        if glob == "*" {
            return &mut self.every;
        }
        match glob.strip_prefix("*.") {
            Some(rest) => self.floating.bucket_mut(rest),
            None => self.anchored.bucket_mut(glob),
        }
    }

    /// Changes a bucket and takes away what has become empty.
    pub(super) fn change(&mut self, glob: &str, change: impl FnOnce(&mut Bucket)) {
        if glob == "*" {
            return change(&mut self.every);
        }
        match glob.strip_prefix("*.") {
            Some(rest) => self.floating.change(rest, change),
            None => self.anchored.change(glob, change),
        }
    }

    /// Adds the buckets of all globs that match, each once.
    pub(super) fn find<'g>(&'g self, event_type: &EventType, found: &mut Vec<&'g Bucket>) {
        let words: Vec<&str> = event_type.words().collect();
        add(&self.every, found);
        self.anchored.find(&words, found);
        let start = found.len();
        for at in 1..words.len() {
            self.floating.find(&words[at..], found);
        }
        // `*.b.*` matches `a.b.b.c` from two words on.
        found[start..].sort_unstable_by_key(|bucket| std::ptr::from_ref::<Bucket>(bucket));
        let mut at = start;
        while at + 1 < found.len() {
            if std::ptr::eq(found[at], found[at + 1]) {
                found.remove(at + 1);
            } else {
                at += 1;
            }
        }
    }
}

fn add<'g>(bucket: &'g Bucket, found: &mut Vec<&'g Bucket>) {
    if !bucket.is_empty() {
        found.push(bucket);
    }
}

impl Node {
    fn bucket_mut(&mut self, glob: &str) -> &mut Bucket {
        if glob == "*" {
            return &mut self.rest;
        }
        let (part, rest) = split(glob);
        let child = self.child_mut(part);
        match rest {
            Some(rest) => child.bucket_mut(rest),
            None => &mut child.end,
        }
    }

    fn child_mut(&mut self, part: &str) -> &mut Self {
        if part == "*" {
            return self.one.get_or_insert_default();
        }
        if !part.contains(['*', '?']) {
            return self.words.entry(part.into()).or_default();
        }
        self.parts.get_mut(part)
    }

    fn change(&mut self, glob: &str, change: impl FnOnce(&mut Bucket)) {
        if glob == "*" {
            return change(&mut self.rest);
        }
        let (part, rest) = split(glob);
        let child = self.child_mut(part);
        match rest {
            Some(rest) => child.change(rest, change),
            None => change(&mut child.end),
        }
        if child.is_empty() {
            self.remove_child(part);
        }
    }

    fn remove_child(&mut self, part: &str) {
        if part == "*" {
            self.one = None;
        } else if self.words.remove(part).is_none() {
            self.parts.remove(part);
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
            && self.parts.is_empty()
            && self.one.is_none()
            && self.end.is_empty()
            && self.rest.is_empty()
    }

    /// Each node is reached at one depth only, so the work is bounded by the globs there are.
    fn find<'g>(&'g self, words: &[&str], found: &mut Vec<&'g Bucket>) {
        let [word, rest @ ..] = words else {
            return add(&self.end, found);
        };
        add(&self.rest, found);
        if let Some(child) = self.words.get(*word) {
            child.find(rest, found);
        }
        if let Some(child) = &self.one {
            child.find(rest, found);
        }
        for child in self.parts.find(word) {
            child.find(rest, found);
        }
    }
}

fn split(glob: &str) -> (&str, Option<&str>) {
    match glob.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (glob, None),
    }
}
