//! Linked texts from files, as passages with masked mentions.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kg_triples::Language;
use kg_triples::entity_linking::LinkedText;
use kg_triples::phrases::{PassageEncoder, PassageExample, PhrasePassage, SpecialIds};
use shards::Manifest;
use trainer::{Fingerprint, Shards, ShuffleConfig};
use xlmr_model::{Pretrained, SpecialTokens};

use super::{LanguageTask, PhraseMaskingTask, PhraseTaskConfig, tokenizer_json};
use crate::knowledge::parse_record;
use crate::shard_examples::{LineReader, ShardExamples};
use crate::{Error, Result};

/// Files of linked texts, written by `kg-triples switch` and `link`.
///
/// Each file is read once for validation and counting. If the texts of a language fit the shuffle
/// buffer, they are held in memory and batched by similar length. Otherwise they are streamed.
///
/// # Example
/// ```
/// use kg_triples::Language;
/// use tasks::masked_lm::{LinkedTextFiles, PhraseTaskConfig};
/// use trainer::ShuffleConfig;
/// use xlmr_model::{Head, LoadOptions, Pretrained, Segments};
/// # let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base");
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("switched.jsonl");
/// # let lines = ["Bern", "Lima"].map(|name| format!(
/// #     r#"{{"id":"{name}","lang":"de","text":"in {name}",
/// #         "mentions":[{{"start":3,"end":7,"entity":"Q"}}]}}"#).replace('\n', ""));
/// # std::fs::write(&path, lines.join("\n"))?;
/// // let (root, path) = (PathBuf::from("xlm-roberta-base"), "switched");
/// let options = LoadOptions::default();
/// let (base, _) = Pretrained::load(&root, &[Head::MaskedLm], tch::Device::Cpu, options)?;
/// let files = LinkedTextFiles::open(&[path], &ShuffleConfig::default())?;
/// assert_eq!(files.text_counts()[&Language::DE], 2);
/// let tasks = files.tasks(&base, |_| true, 128, &PhraseTaskConfig::default())?;
/// assert_eq!((tasks.len(), tasks[0].examples), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct LinkedTextFiles {
    shards: Shards,
    shuffle: ShuffleConfig,
    languages: BTreeMap<Language, LanguageTexts>,
    validation: BTreeMap<Language, Vec<PhrasePassage>>,
}

/// Number of a language's texts, and the files that contain these texts.
#[derive(Default)]
struct LanguageTexts {
    text_count: usize,
    files: BTreeSet<PathBuf>,
}

impl LinkedTextFiles {
    /// Opens the files and reads each file once. In a prepared folder, these are the files of
    /// `train` and `validation`.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names the line of a JSON object that is not a
    /// linked text.
    pub fn open<P: AsRef<Path>>(paths: &[P], shuffle: &ShuffleConfig) -> Result<Self> {
        shuffle.validate()?;
        let mut languages: BTreeMap<Language, LanguageTexts> = BTreeMap::new();
        let shards = Shards::open_with(paths, |line| {
            let text: LinkedText = parse_record(line)?;
            let language_texts = languages.entry(text.language).or_default();
            language_texts.text_count += 1;
            if !language_texts.files.contains(line.path) {
                language_texts.files.insert(line.path.to_owned());
            }
            Ok(())
        })?;
        let mut validation_files = Vec::new();
        for path in paths {
            if let Some(manifest) = Manifest::read(path)? {
                validation_files.extend(manifest.files_of(path, "validation")?);
            }
        }
        let mut validation: BTreeMap<Language, Vec<PhrasePassage>> = BTreeMap::new();
        if !validation_files.is_empty() {
            Shards::open_with(&validation_files, |line| {
                let text: LinkedText = parse_record(line)?;
                validation.entry(text.language).or_default().push(PhrasePassage::from(&text));
                Ok(())
            })?;
        }
        Ok(Self { shards, shuffle: shuffle.clone(), languages, validation })
    }

    /// Returns the number of training texts by language.
    pub fn text_counts(&self) -> BTreeMap<Language, usize> {
        self.languages
            .iter()
            .map(|(language, language_texts)| (*language, language_texts.text_count))
            .collect()
    }

    /// Creates a task for each language accepted by `selects_language`, in the order of the
    /// language codes.
    ///
    /// Windows have at most `max_length` tokens, including special tokens. Only files with texts of
    /// these languages are read.
    ///
    /// # Errors
    /// [`Error::Empty`] if `selects_language` accepts no language, or if the texts of a language
    /// are in memory and contain no mention; the errors of [`PassageEncoder::new`].
    pub fn tasks<'a>(
        &self,
        base: &'a Pretrained,
        selects_language: impl Fn(Language) -> bool,
        max_length: usize,
        config: &PhraseTaskConfig,
    ) -> Result<Vec<LanguageTask<'a>>> {
        let mut tasks = Vec::new();
        for (&language, language_texts) in
            self.languages.iter().filter(|(language, _)| selects_language(**language))
        {
            let task = PhraseMaskingTask::from_files(
                base,
                self.passages(language, language_texts, base, max_length)?,
                config,
            )?;
            let examples = if task.is_empty() { language_texts.text_count } else { task.len() };
            tasks.push(LanguageTask { language, examples, task });
        }
        if tasks.is_empty() {
            return Err(Error::empty("sentence in a language that is trained on"));
        }
        Ok(tasks)
    }

    /// Creates tasks for the texts of `validation`, for languages with such texts.
    ///
    /// # Errors
    /// The errors of [`PhraseMaskingTask::from_passages`].
    pub fn validation<'a>(
        &self,
        base: &'a Pretrained,
        selects_language: impl Fn(Language) -> bool,
        max_length: usize,
        config: &PhraseTaskConfig,
    ) -> Result<Vec<LanguageTask<'a>>> {
        let task = |(&language, passages): (&Language, &Vec<PhrasePassage>)| {
            let task = PhraseMaskingTask::from_passages(base, passages, max_length, config)?;
            Ok(LanguageTask { language, examples: task.len(), task })
        };
        let selected = self.validation.iter().filter(|(language, _)| selects_language(**language));
        selected.map(task).collect()
    }

    fn passages(
        &self,
        language: Language,
        language_texts: &LanguageTexts,
        base: &Pretrained,
        max_length: usize,
    ) -> Result<ShardExamples<PassageExample>> {
        let SpecialTokens { bos, eos, unk, .. } = base.special_tokens;
        let encoder =
            PassageEncoder::new(&base.tokenizer, SpecialIds { bos, eos, unk }, max_length)?;
        let mut selection = Fingerprint::new();
        selection
            .add_json("language", &language)
            .add_number("max_length", max_length as u64)
            .add("tokenizer", tokenizer_json(encoder.tokenizer()));
        let reader = LineReader {
            parse: Box::new(move |line| {
                let text: LinkedText = parse_record(line)?;
                if text.language != language {
                    return Ok(Vec::new());
                }
                encoder.encode(&PhrasePassage::from(&text)).map_err(|error| error.to_string())
            }),
            selection,
            example_count: None,
            tokens: |window: &PassageExample| window.input_ids.len(),
        };
        let shards = self.shards.filter(|file| language_texts.files.contains(file.path()));
        ShardExamples::open(shards, &self.shuffle, reader)
    }
}

#[cfg(test)]
mod tests {
    use shards::{Preparation, PreparedFolder};

    use super::*;
    use crate::masked_lm::lowest_perplexity;
    use crate::testing::base;

    /// Writes texts in two languages: a file for German, a file for both languages, and two
    /// validation texts per language. All texts except the first have a mention.
    fn prepare(out: &Path) {
        let line = |number: usize, language: &str, name: &str| {
            let text =
                format!("die Stadt {name} liegt am Fluss und ist alt ").repeat(number % 3 + 1);
            let mentions = match number {
                0 => serde_json::json!([]),
                _ => serde_json::json!([{"start": 10, "end": 10 + name.len(), "entity": "Q70"}]),
            };
            serde_json::json!({"id": format!("{number}@{language}"), "lang": language,
                "text": text.trim(), "mentions": mentions})
            .to_string()
                + "\n"
        };
        let folder = PreparedFolder::start(out).unwrap();
        let write = |name: &str, lines: String| {
            std::fs::write(folder.file(name).unwrap(), lines).unwrap();
        };
        write("train/de.jsonl", (0..7).map(|number| line(number, "de", "Bern")).collect());
        let mixed_lines = (7..19).map(|number| line(number, ["de", "es"][number % 2], "Lima"));
        write("train/mixed.jsonl", mixed_lines.collect());
        let validation_lines =
            (20..24).map(|number| line(number, ["de", "es"][number % 2], "Lima"));
        write("validation/all.jsonl", validation_lines.collect());
        let counts = serde_json::Value::Null;
        let (arguments, inputs) = (Vec::new(), Vec::new());
        let preparation = Preparation { program: "test", arguments, inputs, seed: None, counts };
        folder.finish(preparation).unwrap();
    }

    #[test]
    fn texts_in_memory_and_streams_have_the_same_languages() {
        let base = base();
        let config = PhraseTaskConfig::default();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("switched");
        prepare(&out);
        let es = Language::new("es").unwrap();
        // `examples` counts windows with a mention for texts in memory, and texts for streams.
        for (lines, german_examples) in [(100, 12), (4, 13)] {
            let shuffle = ShuffleConfig { lines, ..ShuffleConfig::default() };
            let files = LinkedTextFiles::open(&[&out], &shuffle).unwrap();
            assert_eq!(files.text_counts(), BTreeMap::from([(Language::DE, 13), (es, 6)]));
            let mut tasks = files.tasks(&base, |_| true, 96, &config).unwrap();
            let sizes: Vec<_> = tasks.iter().map(|task| (task.language, task.examples)).collect();
            assert_eq!(sizes, [(Language::DE, german_examples), (es, 6)]);
            let is_streamed = trainer::Task::examples(&mut tasks[0].task).lengths().is_none();
            assert_eq!(is_streamed, lines == 4);
            let spanish_tasks = files.tasks(&base, |language| language == es, 96, &config);
            assert_eq!(spanish_tasks.unwrap().len(), 1);
            assert!(files.tasks(&base, |_| false, 96, &config).is_err());
            let validation = files.validation(&base, |_| true, 96, &config).unwrap();
            assert_eq!(validation.iter().map(|task| task.examples).collect::<Vec<_>>(), [2, 2]);
            let selection = lowest_perplexity(&validation, 7, 4).unwrap();
            assert_eq!(selection.names, ["de", "es"]);
            let scores = (selection.score)().unwrap();
            assert!(scores.values().all(|loss| *loss > 0.0), "{scores:?}");
        }
        assert!(lowest_perplexity(&[], 7, 4).is_none());
    }

    #[test]
    fn only_files_with_the_language_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("switched");
        prepare(&out);
        let files = LinkedTextFiles::open(&[&out], &ShuffleConfig::default()).unwrap();
        std::fs::remove_file(out.join("train/de.jsonl")).unwrap();
        let base = base();
        let config = PhraseTaskConfig::default();
        let tasks_of = |code: &str| {
            let language_of_code = Language::new(code).unwrap();
            files.tasks(&base, |language| language == language_of_code, 96, &config)
        };
        assert_eq!(tasks_of("es").unwrap()[0].examples, 6);
        assert!(tasks_of("de").is_err());
    }

    #[test]
    fn invalid_lines_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let valid_line = r#"{"id":"1","lang":"de","text":"Bern","mentions":[]}"#;
        let invalid_line = r#"{"id":"2","lang":"de","text":"Bern","mentions":[{"start":0,"end":5,"entity":"Q70"}]}"#;
        std::fs::write(&path, format!("{valid_line}\n{invalid_line}\n")).unwrap();
        let error = LinkedTextFiles::open(&[path], &ShuffleConfig::default());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("a.jsonl: line 2") && error.contains("0..5 of 4"), "{error}");
    }
}
