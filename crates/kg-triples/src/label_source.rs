//! The kinds of languages from which a label was taken.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Language;

/// The kind of language from which a label was taken for a requested language, in lookup order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The language itself.
    #[default]
    Language,
    /// A variant of the language, such as `zh-hant` for `zh`.
    Variant,
    /// A fallback language, such as `de` for `lb`.
    Fallback,
    /// `mul`, Wikidata's code of names for all languages.
    Mul,
}

impl LabelSource {
    /// All kinds, in lookup order.
    pub const ALL: [Self; 4] = [Self::Language, Self::Variant, Self::Fallback, Self::Mul];

    /// Returns the name of the kind, which is used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Language => "language",
            Self::Variant => "variant",
            Self::Fallback => "fallback",
            Self::Mul => "mul",
        }
    }

    /// Returns the kind with this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// Number of labels of a language by [`LabelSource`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LabelSourceCounts {
    /// Labels of the language itself.
    pub language: u64,
    /// Labels of a variant.
    pub variant: u64,
    /// Labels of a fallback language.
    pub fallback: u64,
    /// Labels of `mul`.
    pub mul: u64,
}

impl LabelSourceCounts {
    /// Returns the number of labels of all sources.
    pub fn total(&self) -> u64 {
        self.language + self.variant + self.fallback + self.mul
    }

    /// Counts a label.
    pub fn add(&mut self, source: LabelSource) {
        *match source {
            LabelSource::Language => &mut self.language,
            LabelSource::Variant => &mut self.variant,
            LabelSource::Fallback => &mut self.fallback,
            LabelSource::Mul => &mut self.mul,
        } += 1;
    }
}

/// Label counts by language.
pub type LabelSourcesByLanguage = BTreeMap<Language, LabelSourceCounts>;
