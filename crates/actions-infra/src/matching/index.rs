//! Finds the ways that an event may take, without looking at the others.
//!
//! Ways with one pattern share a [`Bucket`]. In a bucket, a way whose condition asks for a plain
//! value at some place stands under that value, so a hundred thousand ways that differ by one
//! value are one look-up. What is found still has to be judged.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use actions_domain::event::EventType;
use actions_domain::matching::condition::Path;
use actions_domain::matching::pattern::{Form, Pattern};
use serde_json::{Number, Value};

use super::glob::Globs;
use super::regex::Regexes;

/// The number of a way inside one matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WayId(pub(super) u32);

/// Where a way stands inside its pattern's bucket.
#[derive(Debug)]
pub(super) enum Place {
    /// Always looked at.
    Open,
    /// Looked at when the value at the path has one of these hashes.
    Under(Path, Box<[u64]>),
}

/// A path and the hashes of the values, one of which must stand there.
pub(super) type Anchor = (Path, Box<[u64]>);

#[derive(Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Bucket>,
    globs: Globs,
    regexes: Regexes,
    hasher: RandomState,
}

impl Index {
    /// Adds a way and answers where it stands, which is needed to remove it.
    pub(super) fn insert(&mut self, pattern: &Pattern, way: WayId, anchors: Vec<Anchor>) -> Place {
        self.bucket_mut(pattern).insert(way, anchors)
    }

    fn bucket_mut(&mut self, pattern: &Pattern) -> &mut Bucket {
        match pattern.form() {
            Form::Exact(text) => {
                self.exact.entry(text.to_ascii_lowercase().into_boxed_str()).or_default()
            }
            Form::Glob(text) => self.globs.bucket_mut(&text.to_ascii_lowercase()),
            Form::Regex(source) => self.regexes.bucket_mut(pattern, source),
        }
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, way: WayId, place: &Place) {
        match pattern.form() {
            Form::Exact(text) => {
                let text = text.to_ascii_lowercase();
                if let Some(bucket) = self.exact.get_mut(text.as_str()) {
                    bucket.remove(way, place);
                    if bucket.is_empty() {
                        self.exact.remove(text.as_str());
                    }
                }
            }
            Form::Glob(text) => {
                self.globs.change(&text.to_ascii_lowercase(), |bucket| bucket.remove(way, place));
            }
            Form::Regex(source) => {
                self.regexes.change(pattern, source, |bucket| bucket.remove(way, place));
            }
        }
    }

    /// Completes changes. Until then, ways that were added may not be found.
    pub(super) fn compile(&mut self) {
        self.regexes.compile();
    }

    /// The buckets of all patterns that match a type, each once.
    pub(super) fn find(&self, event_type: &EventType) -> Vec<&Bucket> {
        let mut found = Vec::new();
        found.extend(self.exact.get(event_type.as_str()));
        self.globs.find(event_type, &mut found);
        self.regexes.find(event_type, &mut found);
        found
    }

    /// Hashes a value so that equal values have equal hashes. Lists and objects have none.
    pub(super) fn hash(&self, value: &Value) -> Option<u64> {
        Some(match value {
            Value::Null => self.hasher.hash_one(0_u8),
            Value::Bool(flag) => self.hasher.hash_one((1_u8, flag)),
            Value::Number(number) => match whole(number) {
                Some(whole) => self.hasher.hash_one((2_u8, whole)),
                None => self.hasher.hash_one((3_u8, number.as_f64()?.to_bits())),
            },
            Value::String(text) => self.hasher.hash_one((4_u8, text)),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }
}

/// The number as a whole one, also when it is written with a point.
fn whole(number: &Number) -> Option<i128> {
    // Far inside of what a 128-bit number holds, and far outside of what JSON integers hold.
    const BOUND: f64 = 1e30;
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    exact.or_else(|| {
        let double = number.as_f64()?;
        (double.fract() == 0.0 && double.abs() < BOUND).then_some(double as i128)
    })
}

/// All ways with one pattern.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    open: Vec<WayId>,
    under: Vec<Under>,
}

/// Ways that stand under the value at one path.
#[derive(Debug)]
struct Under {
    path: Path,
    ways: HashMap<u64, Vec<WayId>>,
}

impl Bucket {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.under.is_empty()
    }

    /// Chooses the anchor that the fewest other ways share.
    pub(super) fn insert(&mut self, way: WayId, anchors: Vec<Anchor>) -> Place {
        let best = anchors.into_iter().min_by_key(|(path, hashes)| self.crowd(path, hashes));
        let Some((path, mut hashes)) = best else {
            self.open.push(way);
            return Place::Open;
        };
        hashes.sort_unstable();
        let mut unique = hashes.into_vec();
        unique.dedup();
        let under = self.under_mut(&path);
        for hash in &unique {
            under.ways.entry(*hash).or_default().push(way);
        }
        Place::Under(path, unique.into_boxed_slice())
    }

    fn crowd(&self, path: &Path, hashes: &[u64]) -> usize {
        let under = self.under.iter().find(|under| under.path == *path);
        let ways = |hash| under.and_then(|under| under.ways.get(hash)).map_or(0, Vec::len);
        hashes.iter().map(ways).sum()
    }

    fn under_mut(&mut self, path: &Path) -> &mut Under {
        let at = self.under.iter().position(|under| under.path == *path).unwrap_or_else(|| {
            self.under.push(Under { path: path.clone(), ways: HashMap::new() });
            self.under.len() - 1
        });
        &mut self.under[at]
    }

    pub(super) fn remove(&mut self, way: WayId, place: &Place) {
        match place {
            Place::Open => forget(&mut self.open, way),
            Place::Under(path, hashes) => {
                let under = self.under_mut(path);
                for hash in hashes {
                    if let Some(ways) = under.ways.get_mut(hash) {
                        forget(ways, way);
                        if ways.is_empty() {
                            under.ways.remove(hash);
                        }
                    }
                }
                self.under.retain(|under| !under.ways.is_empty());
            }
        }
    }

    /// The ways that may match an event with this data, each once. The data is asked for only
    /// when some way stands under a value.
    pub(super) fn candidates<'b, 'd>(
        &'b self,
        index: &'b Index,
        data: impl Fn() -> &'d Value,
    ) -> impl Iterator<Item = WayId> {
        let under = self.under.iter().filter_map(move |under| {
            let hash = index.hash(under.path.find(data())?)?;
            under.ways.get(&hash)
        });
        self.open.iter().chain(under.flatten()).copied()
    }

    /// All ways of the bucket. One that stands under several values comes several times.
    pub(super) fn all(&self) -> impl Iterator<Item = WayId> {
        let under = self.under.iter().flat_map(|under| under.ways.values().flatten());
        self.open.iter().chain(under).copied()
    }
}

fn forget(ways: &mut Vec<WayId>, way: WayId) {
    if let Some(at) = ways.iter().position(|other| *other == way) {
        ways.swap_remove(at);
    }
}
