//! Files of examples that are streamed, as values of a recipe.
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Error, InputFiles, InputPath, Result};

/// The shards of a folder, see [`trainer::is_shard`].
pub enum ShardFiles {}

impl InputFiles for ShardFiles {
    const EXPECTED: &'static str = "*.jsonl or *.txt, plain or packed as .gz or .zst, or *.parquet";

    fn reads(name: &str) -> bool {
        trainer::is_shard(name)
    }
}

/// Files of examples, or folders of them: a path, or a list of paths, each an
/// [`InputPath`]. None, or an empty text, is an input that is not used.
///
/// ```
/// use experiment::ShardPaths;
///
/// #[derive(serde::Deserialize)]
/// struct Data {
///     text: ShardPaths,
///     #[serde(default)]
///     examples: ShardPaths,
/// }
///
/// let data: Data = toml::from_str("text = [\"en.txt.gz\", \"more\"]")?;
/// assert!(data.text.len() == 2 && data.text.is_set() && !data.examples.is_set());
/// let data: Data = toml::from_str("text = \"en.txt.gz\"\nexamples = \"\"")?;
/// assert!(data.text.len() == 1 && !data.examples.is_set());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShardPaths(Vec<InputPath<ShardFiles>>);

impl ShardPaths {
    /// Whether there is a path.
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether there is none.
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for ShardPaths {
    type Target = [InputPath<ShardFiles>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ShardPaths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a path or a list of paths")]
        enum Paths {
            One(InputPath<ShardFiles>),
            Many(Vec<InputPath<ShardFiles>>),
        }
        let mut paths = match Paths::deserialize(deserializer)? {
            Paths::One(path) => vec![path],
            Paths::Many(paths) => paths,
        };
        paths.retain(InputPath::is_set);
        Ok(Self(paths))
    }
}

/// The keys of `S`, and a key `examples` with [`ShardPaths`]: examples that were made before and
/// are streamed, in place of what `S` makes them of.
///
/// ```
/// use experiment::WithExamples;
///
/// #[derive(Default, serde::Deserialize, serde::Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Source {
///     kg: String,
/// }
///
/// let read = toml::from_str::<WithExamples<Source>>;
/// assert_eq!(read("kg = \"kg\"")?.source.kg, "kg");
/// assert!(read("examples = \"oe\"")?.examples.is_set());
/// assert!(read("example = \"oe\"").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WithExamples<S> {
    /// Made before.
    #[serde(skip_serializing_if = "ShardPaths::is_unset")]
    pub examples: ShardPaths,
    /// What examples are made of otherwise.
    #[serde(flatten)]
    pub source: S,
}

impl<S> WithExamples<S> {
    /// Whether `source` is read: there are no examples. `section` is the key of this value, and
    /// `raw` are keys of `source`, each with whether it is set.
    ///
    /// # Errors
    /// If there are examples and one of `raw` is set.
    pub fn reads_source(&self, section: &str, raw: &[(&str, bool)]) -> Result<bool> {
        match raw.iter().find(|(_, set)| *set && self.examples.is_set()) {
            Some((key, _)) => {
                let reason = format!("and {section}.{key} are both set: leave one out");
                Err(Error::setting(format!("{section}.examples"), reason))
            }
            None => Ok(!self.examples.is_set()),
        }
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for WithExamples<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<S>(std::marker::PhantomData<S>);

        impl<'de, S: Deserialize<'de>> Visitor<'de> for Table<S> {
            type Value = WithExamples<S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let examples = RefCell::new(None);
                let others = Others { map, examples: &examples };
                let source = S::deserialize(MapAccessDeserializer::new(others))?;
                Ok(WithExamples { examples: examples.take().unwrap_or_default(), source })
            }
        }

        deserializer.deserialize_map(Table(std::marker::PhantomData))
    }
}

/// The entries of a table but for `examples`, which is put aside. Values are read where they
/// stand, so that errors show their place.
struct Others<'e, A> {
    map: A,
    examples: &'e RefCell<Option<ShardPaths>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Others<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key != "examples" {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.examples.replace(Some(self.map.next_value()?));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
