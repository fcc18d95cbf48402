//! Languages as domains of batch norm.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Language;

use crate::{Error, Result};

/// Languages of mentions and descriptions as domains of domain-specific batch norm; see
/// [`batch_norm_domains`](xlmr_model::KnowledgeConfig::batch_norm_domains).
///
/// # Example
/// ```
/// use tasks::knowledge::LanguageDomains;
///
/// let domains = LanguageDomains::of(&["en".parse()?, "de".parse()?].into());
/// assert_eq!((domains.count(), domains.ids(["en".parse()?])?), (2, vec![1]));
/// assert!(domains.ids(["fr".parse()?]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageDomains(BTreeMap<Language, usize>);

impl LanguageDomains {
    /// Creates the domains of these languages, in alphabetical order.
    pub fn of(languages: &BTreeSet<Language>) -> Self {
        Self(languages.iter().copied().zip(0..).collect())
    }

    /// Returns the number of domains.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the domain of each row, in `0..count`, from the row's language.
    ///
    /// # Errors
    /// [`Error::Data`] naming a language without a domain.
    pub fn ids(&self, languages: impl IntoIterator<Item = Language>) -> Result<Vec<usize>> {
        let id = |language: Language| {
            self.0.get(&language).copied().ok_or_else(|| {
                let supported = self.0.keys().map(Language::as_str).collect::<Vec<_>>().join(", ");
                Error::data("language of a row", format!("one of {supported}"), language)
            })
        };
        languages.into_iter().map(id).collect()
    }
}

/// Returns the domain of each row's language; empty without `domains`, because all rows then share
/// one domain.
pub(super) fn domain_ids(
    domains: Option<&LanguageDomains>,
    languages: impl IntoIterator<Item = Language>,
) -> Result<Vec<usize>> {
    domains.map_or_else(|| Ok(Vec::new()), |domains| domains.ids(languages))
}

/// Returns the domain of each triple. All triples share one domain, because a batch has too few
/// triples of a language for separate normalisation.
pub(super) fn shared_domain(norm_by_language: bool, rows: usize) -> Vec<usize> {
    if norm_by_language { vec![0; rows] } else { Vec::new() }
}
