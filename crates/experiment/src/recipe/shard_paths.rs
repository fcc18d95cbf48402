//! Paths of streamed example files as values of a recipe.
use std::ops::Deref;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::{InputPath, ShardFiles};

/// Files of examples, or folders of such files: one path or a list of paths, each an [`InputPath`].
/// An empty list or path is an unused input.
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
    /// Returns whether there is at least one path.
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns whether there is no path.
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
