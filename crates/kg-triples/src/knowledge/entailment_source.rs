use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SameLanguage;
use super::description::text_budget;
use crate::entity_linking::PageText;
use crate::{KgError, Language};

/// What describes subject and object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DescribedBy {
    /// Texts of [`EntailmentSource::pages`], such as the beginning of the Wikipedia page: XLM-K's
    /// own (§3.3).
    #[default]
    Pages,
    /// Wikidata's short descriptions: `descriptions.tsv` in the folder of the triples.
    Wikidata,
    /// The label and other training triples of the entity: a stand-in for small data.
    Triples,
}

/// Where triples come from, how they are described, and how they are divided.
///
/// `P` is the type of paths, for programs that have one of their own, and `Q` that of the folder of
/// pages.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntailmentSource<P = PathBuf, Q = P> {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: P,
    /// What describes subject and object. Nothing takes the place of a missing description: the
    /// triple is left out and counted.
    pub descriptions: DescribedBy,
    /// Folder with `entities.<lang>.jsonl[.gz]`; with [`DescribedBy::Pages`] alone.
    pub pages: Q,
    /// Which text of a page describes its entity.
    pub page_text: PageText,
    /// Languages of the descriptions, two or more; empty: all there are. Triples are used whose
    /// subject is described in one of them and whose object in another.
    pub languages: Vec<Language>,
    /// Triples whose ends share their only language; not stated in the paper.
    pub same_language: SameLanguage,
    /// Exponent of the number of triples in the share of each language of the subject, from 0 to 1
    /// (XLM-K, §4.1, as XLM-R).
    pub smoothing: f64,
    /// Longest description in tokens, special tokens counted.
    pub description_tokens: usize,
    /// Fraction of the triples that is never trained, from 0 to below 1; 0 leaves no query.
    pub held_out_fraction: f64,
    /// Decides what is held out.
    pub seed: u64,
}

impl<P: Default, Q: Default> Default for EntailmentSource<P, Q> {
    fn default() -> Self {
        Self {
            kg: P::default(),
            descriptions: DescribedBy::default(),
            pages: Q::default(),
            page_text: PageText::default(),
            languages: Vec::new(),
            same_language: SameLanguage::default(),
            smoothing: 0.3,
            description_tokens: 256,
            held_out_fraction: 0.2,
            seed: 0,
        }
    }
}

impl<P, Q> EntailmentSource<P, Q> {
    /// Checks every key that can be checked without reading a file.
    ///
    /// # Errors
    /// [`KgError::Config`] naming the first key out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::EntailmentSource;
    ///
    /// let source =
    ///     EntailmentSource { held_out_fraction: 1.5, ..EntailmentSource::<String>::default() };
    /// assert_eq!(
    ///     source.validate().unwrap_err().to_string(),
    ///     "held_out_fraction = 1.5: must be from 0 to below 1"
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), KgError> {
        let refuse = |key, value: String, rule| Err(KgError::Config { key, value, rule });
        text_budget(self.description_tokens, "description_tokens")?;
        if !(0.0..1.0).contains(&self.held_out_fraction) {
            let value = self.held_out_fraction.to_string();
            return refuse("held_out_fraction", value, "from 0 to below 1");
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return refuse("smoothing", self.smoothing.to_string(), "from 0 to 1");
        }
        let distinct: BTreeSet<&Language> = self.languages.iter().collect();
        let too_few = distinct.len() == 1 && self.same_language == SameLanguage::Skip;
        if too_few || distinct.len() != self.languages.len() {
            let rule = "two languages or more, each once; leave it out for all there are";
            return refuse("languages", format!("{:?}", self.languages), rule);
        }
        Ok(())
    }

    /// The same, with these pages where it has none of its own.
    ///
    /// ```
    /// use kg_triples::knowledge::EntailmentSource;
    ///
    /// let source: EntailmentSource = EntailmentSource::default();
    /// assert_eq!(source.or_pages(&"wikipedia".into()).pages, std::path::Path::new("wikipedia"));
    /// ```
    pub fn or_pages(&self, pages: &Q) -> Self
    where
        P: Clone,
        Q: Clone + AsRef<Path>,
    {
        let own = &self.pages;
        let pages = if own.as_ref().as_os_str().is_empty() { pages.clone() } else { own.clone() };
        Self { pages, ..self.clone() }
    }
}

/// What became of the triples of an [`EntailmentDataset`](super::EntailmentDataset): all are the
/// sum of the three reasons, `ambiguous`, `train` and `test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntailmentReport {
    /// Triples of the graph.
    pub triples: usize,
    /// Left out: the subject is not described in a language asked for.
    pub without_subject: usize,
    /// Left out: the subject is described, the object is not.
    pub without_object: usize,
    /// Left out: both are described, but in the same language alone.
    pub without_language: usize,
    /// Used although both are described in the same language alone ([`SameLanguage::Allow`]).
    pub one_language: usize,
    /// Left out: held out, but subject and relation have several objects.
    pub ambiguous: usize,
    /// Triples to train on.
    pub train: usize,
    /// Relations of the graph, R.
    pub relations: usize,
    /// Held-out triples that are queries: subject and relation have one object only.
    pub test: usize,
}

impl EntailmentReport {
    /// Triples left out for want of descriptions.
    pub fn without_descriptions(&self) -> usize {
        self.without_subject + self.without_object + self.without_language
    }
}

impl fmt::Display for EntailmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} facts of {} relations to train on, {} held out with a unique answer (of {}: {} \
             without descriptions in two languages, {} held out with several answers)",
            self.train,
            self.relations,
            self.test,
            self.triples,
            self.without_descriptions(),
            self.ambiguous
        )
    }
}
