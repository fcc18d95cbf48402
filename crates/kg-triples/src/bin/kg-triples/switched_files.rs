//! Output files of switched texts: training, validation and the label probe.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kg_triples::entity_linking::LinkedText;
use kg_triples::jsonl::{self, JsonlWriter};
use kg_triples::switch::{EntityLabels, SwitchedText};
use kg_triples::{Error, Language};
use serde_json::{Value, json};
use shards::seed_for;

use crate::CommandResult;
use crate::out::{Out, write_lines};

/// Writers of the training texts, and the validation texts, which are written at the end.
pub struct TextFiles<'a> {
    out: &'a Out,
    by_language: bool,
    writers: BTreeMap<PathBuf, JsonlWriter<LinkedText>>,
    counts: BTreeMap<Language, u64>,
    validation: Validation,
}

/// The validation set. Each text has a random number that depends on the seed and the text's id.
/// For each language, the set contains the `size` texts with the smallest numbers.
pub struct Validation {
    size: usize,
    seed: u64,
    texts: BTreeMap<Language, BTreeMap<(i64, String), LinkedText>>,
}

impl Validation {
    pub fn new(size: usize, seed: u64) -> Self {
        Self { size, seed, texts: BTreeMap::new() }
    }

    /// Adds `text` to the validation set. If the set is then too large, removes and returns the
    /// text with the largest random number, which may be `text`.
    fn insert(&mut self, text: LinkedText) -> Option<LinkedText> {
        if self.size == 0 {
            return Some(text);
        }
        let texts = self.texts.entry(text.language).or_default();
        texts.insert((seed_for(self.seed, &text.id, 0), text.id.clone()), text);
        let exceeds_size = texts.len() > self.size;
        exceeds_size.then(|| texts.pop_last().map(|(_, text)| text)).flatten()
    }
}

impl<'a> TextFiles<'a> {
    pub fn new(out: &'a Out, by_language: bool, validation: Validation) -> Self {
        Self { out, by_language, writers: BTreeMap::new(), counts: BTreeMap::new(), validation }
    }

    pub fn write(&mut self, text: &LinkedText) -> CommandResult {
        match self.validation.insert(text.clone()) {
            Some(text) => self.write_train(&text),
            None => Ok(()),
        }
    }

    fn write_train(&mut self, text: &LinkedText) -> CommandResult {
        let name = match self.by_language {
            true => format!("train/switched.{}.jsonl.gz", text.language),
            false => "train/switched.jsonl.gz".to_owned(),
        };
        let path = self.out.file(&name)?;
        if !self.writers.contains_key(&path) {
            self.writers.insert(path.clone(), JsonlWriter::create(&path)?);
        }
        let writer = self.writers.get_mut(&path).expect("the file has a writer");
        writer.write(text)?;
        *self.counts.entry(text.language).or_default() += 1;
        Ok(())
    }

    /// Finishes the files and returns the number of training and validation texts by language.
    pub fn finish(self) -> Result<Value, Error> {
        let mut counts = json!({ "train": self.counts });
        if self.validation.size > 0 {
            let mut validation = BTreeMap::new();
            for (language, texts) in self.validation.texts {
                if !self.counts.contains_key(&language) {
                    return Err(Error::Empty {
                        what: format!("training texts in {language}"),
                        hint: format!("--validation uses all {} of them", texts.len()),
                    });
                }
                let name = format!("validation/switched.{language}.jsonl.gz");
                jsonl::write(self.out.file(&name)?, texts.values())?;
                validation.insert(language, texts.len());
            }
            counts["validation"] = json!(validation);
        }
        JsonlWriter::finish_all(self.writers.into_values())?;
        Ok(counts)
    }
}

/// The probe of label retrieval. It contains labels of switched entities, and of held-out entities
/// that are mentioned in the texts.
pub struct LabelProbe {
    held_out: EntityLabels,
    /// Switched entities by language.
    switched: BTreeMap<Language, BTreeSet<String>>,
    mentioned_held_out: BTreeSet<String>,
}

impl LabelProbe {
    pub fn new(held_out: EntityLabels) -> Self {
        Self { held_out, switched: BTreeMap::new(), mentioned_held_out: BTreeSet::new() }
    }

    pub fn record(&mut self, sentence: &LinkedText, source: Language, forms: &[SwitchedText]) {
        for mention in &sentence.mentions {
            if self.held_out.label(&mention.entity, source).is_some() {
                self.mentioned_held_out.insert(mention.entity.clone());
            }
        }
        for form in forms {
            let entities = self.switched.entry(form.text.language).or_default();
            for (mention, switched) in sentence.mentions.iter().zip(&form.switched) {
                if *switched && !entities.contains(&mention.entity) {
                    entities.insert(mention.entity.clone());
                }
            }
        }
    }

    /// Writes `probe/switched.jsonl.gz` and `probe/held-out.jsonl.gz`. Returns the number of labels
    /// per language.
    pub fn write(
        &self,
        out: &Out,
        labels: &EntityLabels,
        source: Language,
    ) -> Result<Value, Error> {
        let mut switched = JsonlWriter::create(out.file("probe/switched.jsonl.gz")?)?;
        let mut held_out = JsonlWriter::create(out.file("probe/held-out.jsonl.gz")?)?;
        let mut counts = BTreeMap::new();
        for (&language, entities) in &self.switched {
            let switched_pairs = entities.iter().filter_map(|id| labels.pair(id, language, source));
            let held_out_pairs = self.mentioned_held_out.iter();
            let held_out_pairs =
                held_out_pairs.filter_map(|id| self.held_out.pair(id, language, source));
            let switched_count = write_lines(&mut switched, switched_pairs)?;
            let held_out_count = write_lines(&mut held_out, held_out_pairs)?;
            counts.insert(language, [switched_count, held_out_count]);
        }
        JsonlWriter::finish_all([switched, held_out])?;
        Ok(json!(counts))
    }
}
