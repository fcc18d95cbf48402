//! Switched sentences by language: a task for each, and their shares of the batches.
use std::collections::BTreeMap;

use kg_triples::Language;
use kg_triples::phrases::PhrasePassage;
use kg_triples::switch::SwitchedCorpus;
use serde::{Deserialize, Serialize};
use trainer::TaskError;
use trainer::selection::{CheckpointSelection, Scores};
use xlmr_model::Pretrained;

use super::{HeldBack, LinkedTextFiles, PhraseMaskingTask, PhraseTaskConfig};
use crate::{Error, Result};

/// Sentences with entities of several languages in them (EntityCS, Whitehouse et al. 2022), and
/// some of each language that are kept from training.
pub enum SwitchedSentences {
    /// In memory.
    Held {
        /// Those to train on.
        corpus: SwitchedCorpus,
        /// Those to score with, by language.
        held_back: BTreeMap<Language, Vec<PhrasePassage>>,
    },
    /// From files.
    Streamed(LinkedTextFiles),
}

/// The sentences of one language as a training task.
pub struct LanguageTask<'a> {
    /// The language of the labels, or of the sources.
    pub language: Language,
    /// Windows where they are in memory, else texts.
    pub examples: usize,
    /// The task.
    pub task: PhraseMaskingTask<'a>,
}

impl SwitchedSentences {
    /// Keeps `held_back` of the corpus from training.
    pub fn held(mut corpus: SwitchedCorpus, held_back: HeldBack) -> Self {
        let held_back = corpus.hold_back(held_back.texts, held_back.seed);
        Self::Held { corpus, held_back }
    }

    /// A task for each language that `wanted` is true for, in the order of their codes, on windows
    /// of at most `max_length` tokens.
    ///
    /// # Errors
    /// As [`PhraseMaskingTask::from_passages`] and [`LinkedTextFiles::passages`]; [`Error::Empty`]
    /// if no language is wanted.
    pub fn tasks<'a>(
        &self,
        base: &'a Pretrained,
        wanted: impl Fn(Language) -> bool,
        max_length: usize,
        config: &PhraseTaskConfig,
    ) -> Result<Vec<LanguageTask<'a>>> {
        let tasks = match self {
            Self::Held { corpus, .. } => {
                let source = corpus.source.first().map(|first| (first.language, &corpus.source));
                let switched = corpus.switched.iter().map(|(language, all)| (*language, all));
                let all = switched.chain(source).filter(|(language, _)| wanted(*language));
                held_tasks(base, all.collect(), max_length, config)?
            }
            Self::Streamed(files) => {
                let texts = files.texts().into_iter().filter(|(language, _)| wanted(*language));
                let task = |(language, texts): (Language, u64)| {
                    let (tokenizer, specials) = (&base.tokenizer, base.specials);
                    let passages = files.passages(language, tokenizer, specials, max_length)?;
                    let examples = usize::try_from(texts).unwrap_or(usize::MAX);
                    let task = PhraseMaskingTask::streamed(base, passages, config)?;
                    Ok(LanguageTask { language, examples, task })
                };
                texts.map(task).collect::<Result<Vec<_>>>()?
            }
        };
        if tasks.is_empty() {
            return Err(Error::empty("sentence in a language that is trained on"));
        }
        Ok(tasks)
    }

    /// The same for sentences that are kept from training, of languages with some.
    ///
    /// # Errors
    /// As [`PhraseMaskingTask::from_passages`].
    pub fn held_back<'a>(
        &self,
        base: &'a Pretrained,
        wanted: impl Fn(Language) -> bool,
        max_length: usize,
        config: &PhraseTaskConfig,
    ) -> Result<Vec<LanguageTask<'a>>> {
        let streamed;
        let held_back = match self {
            Self::Held { held_back, .. } => held_back,
            Self::Streamed(files) => {
                streamed = files.held_back();
                &streamed
            }
        };
        let some = held_back.iter().filter(|(_, passages)| !passages.is_empty());
        let some = some.map(|(language, passages)| (*language, passages));
        let all = some.filter(|(language, _)| wanted(*language)).collect();
        held_tasks(base, all, max_length, config)
    }
}

fn held_tasks<'a>(
    base: &'a Pretrained,
    passages: BTreeMap<Language, &Vec<PhrasePassage>>,
    max_length: usize,
    config: &PhraseTaskConfig,
) -> Result<Vec<LanguageTask<'a>>> {
    let task = |(language, passages): (Language, &Vec<PhrasePassage>)| {
        let task = PhraseMaskingTask::from_passages(base, passages, max_length, config)?;
        Ok(LanguageTask { language, examples: task.len(), task })
    };
    passages.into_iter().map(task).collect()
}

/// Chooses the model with the lowest mean perplexity over languages, on sentences in memory (see
/// [`PhraseMaskingTask::perplexity`]); `None` without any.
pub fn lowest_perplexity<'a>(
    sentences: &'a [LanguageTask<'_>],
    seed: u64,
    batch_size: usize,
) -> Option<CheckpointSelection<'a>> {
    let names = sentences.iter().map(|one| one.language.to_string());
    let score = move || {
        let perplexity = |one: &LanguageTask<'_>| {
            Ok((one.language.to_string(), one.task.perplexity(seed, batch_size)?))
        };
        sentences.iter().map(perplexity).collect::<std::result::Result<Scores, TaskError>>()
    };
    (!sentences.is_empty()).then(|| CheckpointSelection::lowest_mean(names, score))
}

/// How languages share the batches, each of one language.
///
/// # Example
/// ```
/// use tasks::masked_lm::LanguageShares;
///
/// let shares = LanguageShares { smoothing: 0.5, batches_per_round: 10 };
/// assert_eq!(shares.batches(&[400, 100]), [7, 3]); // 20 to 10
/// assert_eq!(shares.batches(&[1_000_000, 1]), [10, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageShares {
    /// Exponent of their numbers of sentences.
    pub smoothing: f64,
    /// Batches in a round, in which each language has its share, at least one.
    pub batches_per_round: u32,
}

impl Default for LanguageShares {
    fn default() -> Self {
        Self { smoothing: 0.5, batches_per_round: 100 }
    }
}

impl LanguageShares {
    /// Checks every key.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(Error::config("smoothing", self.smoothing, "from 0 to 1"));
        }
        if self.batches_per_round == 0 {
            return Err(Error::config("batches_per_round", 0, "1 or more"));
        }
        Ok(())
    }

    /// Batches of each language in a round: n^smoothing of its n sentences, in whole numbers.
    pub fn batches(&self, sizes: &[usize]) -> Vec<u32> {
        let weight = |size: usize| (size as f64).powf(self.smoothing);
        let total: f64 = sizes.iter().map(|&size| weight(size)).sum();
        let share = |size: usize| f64::from(self.batches_per_round) * weight(size) / total;
        sizes.iter().map(|&size| (share(size).round() as u32).max(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use kg_triples::entity_linking::LinkedText;
    use kg_triples::switch::{EntityLabels, SwitchConfig};
    use tch::Device;
    use trainer::ShuffleConfig;
    use xlmr_model::{Head, LoadOptions, Segments};

    use super::*;

    fn base() -> Pretrained {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base");
        let options = LoadOptions { segments: Segments::default(), seed: 0 };
        Pretrained::load(&root, &[Head::MaskedLm], Device::Cpu, options).unwrap().0
    }

    fn corpus() -> SwitchedCorpus {
        let text = |number: usize| -> LinkedText {
            let line = serde_json::json!({"id": number.to_string(), "lang": "en",
                "text": format!("Munich is city number {number}"),
                "mentions": [{"start": 0, "end": 6, "entity": "Q1726"}]});
            serde_json::from_value(line).unwrap()
        };
        let mut labels = EntityLabels::default();
        labels.add("Q1726", Language::DE, "München");
        let config = SwitchConfig::for_languages([Language::DE]);
        let texts = (0..20).map(|number| Ok(text(number)));
        SwitchedCorpus::of(texts, &labels, &BTreeSet::new(), &config).unwrap()
    }

    #[test]
    fn memory_and_files_give_the_same_languages_and_scores() {
        let base = base();
        let config = PhraseTaskConfig::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switched.jsonl");
        let all = corpus();
        let line = |(number, passage): (usize, &PhrasePassage)| {
            let at = passage.phrases[0].occurrences[0];
            let language = passage.language;
            serde_json::json!({"id": format!("{number}@{language}"), "lang": language,
                "text": passage.text, "mentions": [{"start": at.start, "end": at.end, "entity": "Q"}]})
            .to_string()
                + "\n"
        };
        let lines = all.source.iter().enumerate().map(line);
        let lines = lines.chain(all.switched[&Language::DE].iter().enumerate().map(line));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let back = HeldBack { texts: 5, seed: 1 };
        let files = LinkedTextFiles::open(&[path], &ShuffleConfig::default(), back).unwrap();
        let (streamed, held) =
            (SwitchedSentences::Streamed(files), SwitchedSentences::held(all, back));
        for sentences in [&held, &streamed] {
            let tasks = sentences.tasks(&base, |_| true, 96, &config).unwrap();
            let sizes: Vec<_> = tasks.iter().map(|one| (one.language, one.examples)).collect();
            assert_eq!(sizes, [(Language::DE, 15), (Language::EN, 15)]);
            let english = sentences.tasks(&base, |one| one == Language::EN, 96, &config).unwrap();
            assert_eq!(english.len(), 1);
            assert!(sentences.tasks(&base, |_| false, 96, &config).is_err());
            let back = sentences.held_back(&base, |_| true, 96, &config).unwrap();
            assert_eq!(back.iter().map(|one| one.examples).collect::<Vec<_>>(), [5, 5]);
            let selection = lowest_perplexity(&back, 7, 4).unwrap();
            assert_eq!(selection.names, ["de", "en"]);
            let scores = (selection.score)().unwrap();
            assert!(scores.values().all(|perplexity| *perplexity > 1.0), "{scores:?}");
        }
        assert!(lowest_perplexity(&[], 7, 4).is_none());
    }

    #[test]
    fn shares_are_checked() {
        assert!(LanguageShares::default().validate().is_ok());
        let refuse = |shares: LanguageShares| shares.validate().unwrap_err().to_string();
        let text = refuse(LanguageShares { smoothing: 1.5, ..Default::default() });
        assert!(text.contains("smoothing = 1.5"), "{text}");
        let text = refuse(LanguageShares { batches_per_round: 0, ..Default::default() });
        assert!(text.contains("batches_per_round = 0"), "{text}");
    }
}
