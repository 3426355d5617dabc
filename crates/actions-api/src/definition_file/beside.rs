//! Reads a struct that has one more member in files than in memory, keeping the parser's places
//! for mistakes in all of it.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};

/// A `T` and the member `key` beside its own members.
#[derive(Debug)]
pub(crate) struct Beside<T, X, K> {
    pub(crate) value: T,
    pub(crate) extra: Option<X>,
    key: PhantomData<K>,
}

/// The name of the member.
pub(crate) trait Key {
    const NAME: &'static str;
}

impl<'de, T: Deserialize<'de>, X: Deserialize<'de>, K: Key> Deserialize<'de> for Beside<T, X, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

struct Reader<T, X, K>(PhantomData<(T, X, K)>);

impl<'de, T: Deserialize<'de>, X: Deserialize<'de>, K: Key> Visitor<'de> for Reader<T, X, K> {
    type Value = Beside<T, X, K>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        let mut extra = None;
        let members = Members { map, name: K::NAME, extra: &mut extra };
        let value = T::deserialize(MapAccessDeserializer::new(members))?;
        Ok(Beside { value, extra, key: PhantomData })
    }
}

/// The members without the one that is kept aside.
struct Members<'a, M, X> {
    map: M,
    name: &'static str,
    extra: &'a mut Option<X>,
}

impl<'de, M: MapAccess<'de>, X: Deserialize<'de>> MapAccess<'de> for Members<'_, M, X> {
    type Error = M::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key == self.name {
                if self.extra.replace(self.map.next_value()?).is_some() {
                    return Err(M::Error::custom(format!("{key} is there twice")));
                }
                continue;
            }
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        self.map.next_value_seed(seed)
    }
}
