use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::entity_linking::{page_files, read_pages};
use crate::folder::LABEL_HEADERS;
use crate::jsonl::Record;
use crate::table::for_each_row;
use crate::{Error, Language, seed};

/// A label of an entity, and the label of this entity in the language of the texts. Such pairs are
/// used to evaluate the retrieval of labels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LabelPair {
    /// The entity's id.
    pub entity: String,
    /// The label's language.
    #[serde(rename = "lang")]
    pub language: Language,
    /// The label.
    pub label: String,
    /// The label in the language of the texts.
    pub source: String,
}

impl Record for LabelPair {
    const NAME: &'static str = "pair of labels";

    fn invalid_reason(&self) -> Option<String> {
        let blank = self.label.trim().is_empty() || self.source.trim().is_empty();
        blank.then(|| "a blank label".to_owned())
    }
}

/// Labels of entities by language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityLabels {
    labels: HashMap<Box<str>, Vec<(Language, Box<str>)>>,
}

impl EntityLabels {
    /// Reads the labels of entities in `languages` (all if `None`) from a table with the header `id
    /// lang label kind source`, `id lang label kind` or `id lang label`, which may be compressed. Labels in languages that are
    /// not requested are skipped.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Header`]; [`Error::Row`] with file, line and column for a wrong
    /// number of cells, an invalid language, or an entity with two labels in one language.
    pub fn read(path: impl AsRef<Path>, languages: Option<&[Language]>) -> Result<Self, Error> {
        let mut labels = Self::default();
        for_each_row(path.as_ref(), &LABEL_HEADERS, |row| {
            let ([id, code, label] | [id, code, label, "entity"] | [id, code, label, "entity", _]) =
                *row
            else {
                return Ok(());
            };
            let language = Language::new(code)?;
            match languages.is_none_or(|requested| requested.contains(&language)) {
                true => labels.add_unique(id, language, label),
                false => Ok(()),
            }
        })?;
        Ok(labels)
    }

    /// Reads the labels of the pages `entities.<lang>.jsonl[.gz]` in `folder`.
    ///
    /// # Errors
    /// As [`page_files`] and [`read_pages`]; [`Error::Json`] with file and line for an entity with
    /// two labels in one language.
    pub fn read_pages(
        folder: impl AsRef<Path>,
        languages: Option<&[Language]>,
    ) -> Result<Self, Error> {
        let mut labels = Self::default();
        let mut files = page_files(folder.as_ref())?;
        files
            .retain(|(language, _)| languages.is_none_or(|requested| requested.contains(language)));
        read_pages(&files, |language, page| match page.label {
            Some(label) => labels.add_unique(&page.id, language, &label),
            None => Ok(()),
        })?;
        Ok(labels)
    }

    fn add_unique(&mut self, id: &str, language: Language, label: &str) -> Result<(), Error> {
        match self.label(id, language) {
            Some(known) if known != label.trim() => Err(Error::Value {
                field: "label",
                expected: format!("one label of {id:?} in {language:?}, which is {known:?}"),
                got: format!("{label:?}"),
            }),
            _ => {
                self.add(id, language, label);
                Ok(())
            }
        }
    }

    /// Adds a label or replaces the entity's label in `language`. Blank labels and labels with
    /// control characters, such as line breaks, are ignored.
    pub fn add(&mut self, id: &str, language: Language, label: &str) {
        let label = label.trim();
        if label.is_empty() || label.contains(char::is_control) {
            return;
        }
        let labels = match self.labels.get_mut(id) {
            Some(labels) => labels,
            None => self.labels.entry(id.into()).or_default(),
        };
        match labels.binary_search_by_key(&language, |(language, _)| *language) {
            Ok(at) => labels[at].1 = label.into(),
            Err(at) => labels.insert(at, (language, label.into())),
        }
    }

    /// Returns the label of an entity in a language.
    pub fn label(&self, id: &str, language: Language) -> Option<&str> {
        let labels = self.labels.get(id)?;
        let at = labels.binary_search_by_key(&language, |(language, _)| *language).ok()?;
        Some(&labels[at].1)
    }

    /// Iterates over the entities and their labels, sorted by id and language.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = (&str, &[(Language, Box<str>)])> {
        let mut ids: Vec<&str> = self.labels.keys().map(|id| &**id).collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| (id, self.labels[id].as_slice()))
    }

    /// Whether an entity has a label in any language.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.labels.contains_key(id)
    }

    /// Removes a random fraction of the entities and returns their labels, so that their mentions
    /// are not switched. An entity is selected by a hash of `seed` and its id.
    pub fn hold_out(&mut self, fraction: f64, seed: u64) -> Self {
        let is_held_out = |id: &str| seed::hash_to_unit(seed, id) < fraction;
        Self { labels: self.labels.extract_if(|id, _| is_held_out(id)).collect() }
    }

    /// In each language except `source`, assigns each label to another entity, by a random cyclic
    /// permutation that depends on `seed`.
    ///
    /// Switched texts then contain the labels of the language, but at mentions of wrong entities.
    /// If a language has only one label, this label is not moved.
    pub fn assign_wrong_labels(&mut self, source: Language, seed: u64) {
        let languages = self.label_counts().into_keys().filter(|language| *language != source);
        for language in languages.collect::<Vec<_>>() {
            let mut ids: Vec<Box<str>> = self.labels.keys().cloned().collect();
            ids.retain(|id| self.label(id, language).is_some());
            ids.sort_unstable();
            ids.shuffle(&mut seed::stream_rng(seed, "wrong labels", 0));
            let label = |id: &str| self.label(id, language).expect("a label").to_owned();
            let labels: Vec<String> = ids.iter().map(|id| label(id)).collect();
            for (id, label) in ids.iter().zip(labels.iter().cycle().skip(1)) {
                self.add(id, language, label);
            }
        }
    }

    /// Returns the labels of an entity in `language` and in `source`, if it has both.
    pub fn pair(&self, id: &str, language: Language, source: Language) -> Option<LabelPair> {
        Some(LabelPair {
            entity: id.to_owned(),
            language,
            label: self.label(id, language)?.to_owned(),
            source: self.label(id, source)?.to_owned(),
        })
    }

    /// Returns, for each language, the number of entities with a label in the language.
    pub fn label_counts(&self) -> BTreeMap<Language, usize> {
        let mut counts = BTreeMap::new();
        for (language, _) in self.labels.values().flatten() {
            *counts.entry(*language).or_default() += 1;
        }
        counts
    }
}
