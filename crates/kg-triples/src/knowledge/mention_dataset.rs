use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::description::text_budget;
use super::{
    Descriptions, EncodedDescriptions, HeldOut, MentionConfig, MentionExample, MentionExamples,
    resample,
};
use crate::entity_linking::{
    EntityPage, LabelConfig, LabelMatcher, LinkedText, PageText, page_files, read_pages,
};
use crate::jsonl::JsonlReader;
use crate::tokens::Specials;
use crate::{KgError, Language};

/// Most examples of one passage: more would only be repetitions.
const MAX_DRAWS: u64 = 10_000;

/// Where mentions and descriptions come from, and how they are divided.
///
/// `P` is the type of paths, for programs that have one of their own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MentionSource<P = PathBuf> {
    /// Folder with `entities.<lang>.jsonl[.gz]`: the descriptions, and the passages too unless
    /// `text` is set.
    pub pages: P,
    /// Linked texts, JSONL; absent: labels are looked for in the pages.
    pub text: Option<P>,
    /// Languages of passages and descriptions; empty: all.
    pub languages: Vec<Language>,
    /// Longest description in tokens, special tokens counted.
    pub description_tokens: usize,
    /// How many examples each passage gives, each with another mention and language.
    pub draws: u64,
    /// Only this many entities, those with the most mentions in many languages, are trained, asked
    /// for and candidates; absent: all.
    pub most_mentioned: Option<usize>,
    /// Exponent of the languages' sizes in the training examples, from 0 to 1.
    pub smoothing: f64,
    /// Exponent of the entities' mentions in the training examples of a language, from 0 to 1: 1 as
    /// they come; less shows rare ones more often.
    pub entity_smoothing: f64,
    /// How an example is made of a passage.
    pub examples: MentionConfig,
    /// What is kept for the probes.
    pub held_out: HeldOut,
}

impl<P: Default> Default for MentionSource<P> {
    fn default() -> Self {
        Self {
            pages: P::default(),
            text: None,
            languages: Vec::new(),
            description_tokens: 256,
            draws: 1,
            most_mentioned: None,
            smoothing: 0.3,
            entity_smoothing: 1.0,
            examples: MentionConfig::default(),
            held_out: HeldOut::default(),
        }
    }
}

impl<P> MentionSource<P> {
    /// Checks every key that can be checked without reading a file.
    ///
    /// # Errors
    /// [`KgError::Config`] naming the first key out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::MentionSource;
    ///
    /// let source = MentionSource { smoothing: f64::NAN, ..MentionSource::<String>::default() };
    /// assert_eq!(
    ///     source.validate().unwrap_err().to_string(),
    ///     "smoothing = NaN: must be from 0 to 1"
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), KgError> {
        let refuse = |key, value: String, rule| Err(KgError::Config { key, value, rule });
        text_budget(self.description_tokens, "description_tokens")?;
        text_budget(self.examples.max_tokens, "examples.max_tokens")?;
        if !(1..=MAX_DRAWS).contains(&self.draws) {
            return refuse("draws", self.draws.to_string(), "from 1 to 10000");
        }
        if self.most_mentioned == Some(0) {
            return refuse("most_mentioned", "0".into(), "1 or more; leave it out for all");
        }
        for (key, exponent) in
            [("smoothing", self.smoothing), ("entity_smoothing", self.entity_smoothing)]
        {
            if !(0.0..=1.0).contains(&exponent) {
                return refuse(key, exponent.to_string(), "from 0 to 1");
            }
        }
        self.held_out.validate()
    }
}

/// What a [`MentionDataset`] holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct MentionDatasetReport {
    /// Texts read.
    pub texts: usize,
    /// Entities with a description.
    pub entities: usize,
    /// Examples to train on, before they are resampled.
    pub train: usize,
    /// Different entities of these.
    pub train_entities: usize,
    /// Queries of [`MentionDataset::test_seen_pairs`].
    pub test_seen_pairs: usize,
    /// Queries of [`MentionDataset::test_unseen_pairs`].
    pub test_unseen_pairs: usize,
    /// Queries of [`MentionDataset::test_unseen_entities`].
    pub test_unseen_entities: usize,
}

impl fmt::Display for MentionDatasetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} texts, {} described entities; {} examples of {} entities to train on; of \
             held-out texts {} queries in trained pairs of languages, {} in new pairs, {} about \
             new entities",
            self.texts,
            self.entities,
            self.train,
            self.train_entities,
            self.test_seen_pairs,
            self.test_unseen_pairs,
            self.test_unseen_entities
        )
    }
}

/// Mentions with descriptions of their entities (XLM-K, §3.1 and §3.2): what is trained, and three
/// test sets for the probes. See [`HeldOut`] for what no training example shares with them.
#[derive(Clone, Debug, Default)]
pub struct MentionDataset {
    /// Examples to train on, resampled by language and entity, in random order.
    pub train: Vec<MentionExample>,
    /// Queries from held-out texts about trained entities, in pairs of languages that are trained.
    pub test_seen_pairs: Vec<MentionExample>,
    /// Queries from held-out texts about trained entities, in pairs of languages that are not.
    pub test_unseen_pairs: Vec<MentionExample>,
    /// Queries from held-out texts about entities that are not trained.
    pub test_unseen_entities: Vec<MentionExample>,
    /// All descriptions as token ids.
    pub descriptions: EncodedDescriptions,
    /// The entities that are described, sorted: the candidates of a probe.
    pub entities: Vec<String>,
    /// What was found.
    pub report: MentionDatasetReport,
}

impl MentionDataset {
    /// Reads pages and texts, links them by labels where they have no links, encodes, and divides.
    /// With `multilingual: false`, training examples have descriptions in the passage's language;
    /// queries always ask for another one.
    ///
    /// The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`KgError::Config`] as [`MentionSource::validate`], before anything is read; then
    /// [`KgError::Io`], [`KgError::Json`] and [`KgError::Truncated`] naming file and line,
    /// [`KgError::Tokenizer`], and [`KgError::Empty`] if there is nothing to train on or to ask.
    ///
    /// ```
    /// use kg_triples::knowledge::{MentionDataset, MentionSource};
    /// # let tokenizer = tokenizers::Tokenizer::from_file(
    /// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # for language in ["de", "en"] {
    /// #     let pages: String = (0..40).map(|at| {
    /// #         let (one, other) = ((at + 7) % 40, (at + 13) % 40);
    /// #         format!("{{\"id\":\"Q{at}\",\"label\":\"Stadt {at}\",\"extract\":\
    /// #             \"Stadt {at} bei Stadt {one} und Stadt {other}\"}}\n")
    /// #     }).collect();
    /// #     let path = folder.path().join(format!("entities.{language}.jsonl"));
    /// #     std::fs::write(path, pages).unwrap();
    /// # }
    /// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
    /// // folder: entities.de.jsonl and entities.en.jsonl, each with id, label and extract
    /// let source = MentionSource { pages: folder.path().to_owned(), ..MentionSource::default() };
    /// let data = MentionDataset::load(&source, true, &tokenizer)?;
    /// println!("{}", data.report);
    /// assert!(data.train.iter().all(|example| example.language != example.description_language));
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn load<P: AsRef<Path>>(
        source: &MentionSource<P>,
        multilingual: bool,
        tokenizer: &Tokenizer,
    ) -> Result<Self, KgError> {
        source.validate()?;
        let pages = source.pages.as_ref();
        let Texts { texts, descriptions, mut entities } = read(source)?;
        if let Some(most) = source.most_mentioned {
            let kept = most_mentioned(&texts, most);
            entities.retain(|entity| kept.contains(entity.as_str()));
        }
        let descriptions = descriptions.encode(tokenizer, source.description_tokens)?;
        let examples = |multilingual| {
            let config = MentionConfig { multilingual, ..source.examples.clone() };
            draw(&texts, &descriptions, &entities, tokenizer, &config, source.draws)
        };
        let across_languages = examples(true)?;
        let splits = if multilingual {
            source.held_out.divide(&across_languages, &across_languages)
        } else {
            source.held_out.divide(&examples(false)?, &across_languages)
        };
        let splits = splits.map_err(|error| in_folder(error, pages))?;
        let trained: BTreeSet<&str> =
            splits.train.iter().map(|example| example.entity.as_str()).collect();
        let report = MentionDatasetReport {
            texts: texts.len(),
            entities: entities.len(),
            train: splits.train.len(),
            train_entities: trained.len(),
            test_seen_pairs: splits.test_seen_pairs.len(),
            test_unseen_pairs: splits.test_unseen_pairs.len(),
            test_unseen_entities: splits.test_unseen_entities.len(),
        };
        let MentionSource { smoothing, entity_smoothing, held_out, .. } = source;
        Ok(Self {
            train: resample(splits.train, *smoothing, *entity_smoothing, held_out.seed),
            test_seen_pairs: splits.test_seen_pairs,
            test_unseen_pairs: splits.test_unseen_pairs,
            test_unseen_entities: splits.test_unseen_entities,
            descriptions,
            entities,
            report,
        })
    }

    /// The languages of descriptions and of training passages.
    pub fn languages(&self) -> BTreeSet<Language> {
        let described = self.entities.iter().flat_map(|entity| self.descriptions.get(entity));
        let described = described.map(|(language, _)| *language);
        described.chain(self.train.iter().map(|example| example.language)).collect()
    }
}

/// Names the folder in what came out empty.
fn in_folder(error: KgError, folder: &Path) -> KgError {
    match error {
        KgError::Empty { what, hint } => {
            KgError::Empty { what: format!("{}: {what}", folder.display()), hint }
        }
        other => other,
    }
}

/// What the files hold.
struct Texts {
    /// Texts with their mentions.
    texts: Vec<LinkedText>,
    descriptions: Descriptions,
    /// The ids of the entities that are described, sorted.
    entities: Vec<String>,
}

fn read<P: AsRef<Path>>(source: &MentionSource<P>) -> Result<Texts, KgError> {
    let wanted =
        |language: &Language| source.languages.is_empty() || source.languages.contains(language);
    let mut files = page_files(source.pages.as_ref())?;
    files.retain(|(language, _)| wanted(language));
    let mut descriptions = Descriptions::default();
    let (mut labels, mut entities) = (Vec::new(), BTreeSet::new());
    read_pages(&files, |language, page| {
        if let Some(text) = page.text(PageText::Extract) {
            descriptions.add(&page.id, language, text)?;
            entities.insert(page.id.clone());
        }
        if let Some(label) = page.label {
            labels.push((language, label, page.id));
        }
        Ok(())
    })?;
    let texts = match &source.text {
        Some(path) => {
            let texts = JsonlReader::<LinkedText>::open(path)?;
            let kept = |text: &Result<LinkedText, KgError>| {
                text.as_ref().map_or(true, |text| wanted(&text.language))
            };
            texts.filter(kept).collect::<Result<_, _>>()?
        }
        None => linked_by_labels(&files, labels)?,
    };
    Ok(Texts { texts, descriptions, entities: entities.into_iter().collect() })
}

/// The pages as texts in which the labels are linked.
fn linked_by_labels(
    files: &[(Language, PathBuf)],
    labels: Vec<(Language, String, String)>,
) -> Result<Vec<LinkedText>, KgError> {
    let (matcher, _) = LabelMatcher::new(labels, LabelConfig::default())?;
    let mut reports = BTreeMap::new();
    let mut texts = Vec::new();
    for (language, path) in files {
        for page in JsonlReader::<EntityPage>::open(path)? {
            if let Some(mut text) = page?.into_text(*language, PageText::Extract) {
                matcher.link(&mut text, &mut reports);
                texts.push(text);
            }
        }
    }
    Ok(texts)
}

/// `draws` examples of each passage whose drawn mention is of one of `entities`.
fn draw(
    texts: &[LinkedText],
    descriptions: &EncodedDescriptions,
    entities: &[String],
    tokenizer: &Tokenizer,
    config: &MentionConfig,
    draws: u64,
) -> Result<Vec<MentionExample>, KgError> {
    let mut all = Vec::new();
    for number in 0..draws {
        let config = MentionConfig { seed: config.seed.wrapping_add(number), ..config.clone() };
        let texts = texts.iter().cloned().map(Ok::<_, KgError>);
        let examples = MentionExamples::new(texts, descriptions, tokenizer, config)?;
        all.extend(examples.collect::<Result<Vec<_>, _>>()?);
    }
    // A mention with `<unk>` says nothing about its entity.
    let unknown = Specials::find(tokenizer)?.unknown;
    all.retain(|example| {
        let span = example.input_ids.get(example.mention.start..example.mention.end);
        span.is_some_and(|span| span.iter().all(|&id| Some(id) != unknown))
    });
    let kept: BTreeSet<&String> = entities.iter().collect();
    all.retain(|example| kept.contains(&example.entity));
    Ok(all)
}

/// The `most` entities with the largest sum of `ln(1 + mentions)` over languages: those that are
/// mentioned often, and in many languages.
fn most_mentioned(texts: &[LinkedText], most: usize) -> BTreeSet<&str> {
    let mut counts: BTreeMap<&str, BTreeMap<Language, usize>> = BTreeMap::new();
    for text in texts {
        for mention in &text.mentions {
            let by_language = counts.entry(mention.entity.as_str()).or_default();
            *by_language.entry(text.language).or_default() += 1;
        }
    }
    let score = |by_language: BTreeMap<Language, usize>| -> f64 {
        by_language.into_values().map(|count| (count as f64).ln_1p()).sum()
    };
    let mut order: Vec<(&str, f64)> =
        counts.into_iter().map(|(entity, by_language)| (entity, score(by_language))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    order.into_iter().take(most).map(|(entity, _)| entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::digest;

    fn codex() -> (MentionSource, Tokenizer) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let source = MentionSource {
            pages: root.join("data/codex"),
            languages: ["de", "zh"].map(|code| Language::new(code).unwrap()).into(),
            description_tokens: 32,
            draws: 2,
            most_mentioned: Some(100),
            entity_smoothing: 0.3,
            examples: MentionConfig { max_tokens: 32, ..MentionConfig::default() },
            held_out: HeldOut { queries: 30, per_entity: Some(4), ..HeldOut::default() },
            ..MentionSource::default()
        };
        let tokenizer = Tokenizer::from_file(root.join("data/base/tokenizer.json")).unwrap();
        (source, tokenizer)
    }

    /// The number of examples, and the digest of them as JSONL.
    fn pin(examples: &[MentionExample]) -> (usize, String) {
        let lines = examples.iter().map(|example| serde_json::to_string(example).unwrap() + "\n");
        (examples.len(), digest(lines.collect()))
    }

    /// What the same seeds have always given: a change of these numbers is a change of results.
    #[test]
    fn splits_and_resampled_examples_are_pinned() {
        let (source, tokenizer) = codex();
        let data = MentionDataset::load(&source, true, &tokenizer).unwrap();
        assert_eq!(pin(&data.train), (4302, "6e15268b128b3708".into()));
        assert_eq!(pin(&data.test_seen_pairs), (30, "f66abbd5aef70fa0".into()));
        assert_eq!(pin(&data.test_unseen_pairs), (20, "f6b5f02e6065a9d3".into()));
        assert_eq!(pin(&data.test_unseen_entities), (12, "c606baf7c17f00de".into()));
        assert_eq!(digest(data.entities.join(" ")), "800fc65e6112d6cb");
        assert_eq!(
            data.report.to_string(),
            "3292 texts, 97 described entities; 4303 examples of 87 entities to train on; of \
             held-out texts 30 queries in trained pairs of languages, 20 in new pairs, 12 about \
             new entities"
        );

        let data = MentionDataset::load(&source, false, &tokenizer).unwrap();
        assert_eq!(pin(&data.train), (4075, "869c15758d8f0547".into()));
        assert_eq!(pin(&data.test_seen_pairs), (30, "fd3c253ae525ac53".into()));
        assert_eq!(pin(&data.test_unseen_pairs), (27, "70f9ddc62ec6cda0".into()));
        assert_eq!(pin(&data.test_unseen_entities), (12, "c606baf7c17f00de".into()));
    }
}
