//! Linked texts from files as passages whose mentions are masked.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use kg_triples::Language;
use kg_triples::entity_linking::LinkedText;
use kg_triples::phrases::{PassageEncoder, PassageExample, PhrasePassage, SpecialIds};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::{
    ExampleSource, Fingerprint, ShardPosition, Shards, ShuffleConfig, ShuffledLines, TaskError,
    seed_for,
};
use xlmr_model::SpecialTokens;

use crate::knowledge::parse;
use crate::{Error, Result};

/// Texts that are kept from training, to score a model with.
///
/// Those with the smallest draws from the seed and their ids: the same whatever the order of the
/// files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldBack {
    /// Texts of each language; 0: none.
    pub texts: usize,
    /// Seed of their choice.
    pub seed: u64,
}

/// Linked texts in files, as `kg-triples switch` and `link` write them, each file read once to
/// check and to count. Memory does not grow with them.
///
/// # Example
/// ```
/// use kg_triples::Language;
/// use tasks::masked_lm::{HeldBack, LinkedTextFiles};
/// use trainer::{ExampleSource, ShuffleConfig, rng_for};
/// # let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/base");
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("switched.jsonl");
/// # let lines = ["Bern", "Lima"].map(|name| format!(
/// #     r#"{{"id":"{name}","lang":"de","text":"in {name}",
/// #         "mentions":[{{"start":3,"end":7,"entity":"Q"}}]}}"#).replace('\n', ""));
/// # std::fs::write(&path, lines.join("\n"))?;
/// // let (root, path) = ("xlm-roberta-base", "switched.de.jsonl.gz");
/// let tokenizer = xlmr_model::read_tokenizer(root)?;
/// let specials = xlmr_model::SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };
/// let held_back = HeldBack { texts: 1, seed: 0 };
/// let files = LinkedTextFiles::open(&[path], &ShuffleConfig::default(), held_back)?;
/// assert_eq!((files.texts()[&Language::DE], files.held_back()[&Language::DE].len()), (1, 1));
/// let mut passages = files.passages(Language::DE, &tokenizer, specials, 128)?;
/// passages.start_epoch(0, rng_for(1, "order", 0))?;
/// assert_eq!(passages.next_example()?.map(|passage| passage.phrases.len()), Some(1));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct LinkedTextFiles {
    shards: Shards,
    shuffle: ShuffleConfig,
    seed: u64,
    languages: BTreeMap<Language, OfLanguage>,
}

/// What is known of a language's texts.
#[derive(Default)]
struct OfLanguage {
    texts: u64,
    files: BTreeSet<PathBuf>,
    /// The texts with the smallest draws.
    held_back: BTreeMap<(i64, String), PhrasePassage>,
}

impl OfLanguage {
    /// The largest draw that is held back.
    fn last_held_back(&self) -> Option<(i64, String)> {
        self.held_back.last_key_value().map(|(key, _)| key.clone())
    }
}

/// What a text is drawn by.
fn draw(seed: u64, text: &LinkedText) -> (i64, String) {
    (seed_for(seed, &text.id, 0), text.id.clone())
}

impl LinkedTextFiles {
    /// Reads each file once.
    ///
    /// # Errors
    /// As [`Shards::open_with`]; the line of an object that is no linked text is named.
    /// [`Error::Empty`] for a language whose texts are all held back.
    pub fn open<P: AsRef<Path>>(
        paths: &[P],
        shuffle: &ShuffleConfig,
        held_back: HeldBack,
    ) -> Result<Self> {
        shuffle.validate()?;
        let HeldBack { texts: most, seed } = held_back;
        let mut languages: BTreeMap<Language, OfLanguage> = BTreeMap::new();
        let shards = Shards::open_with(paths, |line| {
            let text: LinkedText = parse(line)?;
            let of = languages.entry(text.language).or_default();
            of.texts += 1;
            if !of.files.contains(line.path) {
                of.files.insert(line.path.to_owned());
            }
            let key = draw(seed, &text);
            let small = of.held_back.last_key_value().is_some_and(|(last, _)| key < *last);
            if small || of.held_back.len() < most {
                of.held_back.insert(key, PhrasePassage::from(&text));
                if of.held_back.len() > most {
                    of.held_back.pop_last();
                }
            }
            Ok(())
        })?;
        for (language, of) in &mut languages {
            of.texts = of.texts.saturating_sub(of.held_back.len() as u64);
            if of.texts == 0 {
                let what = format!("text in {language} beside the {most} that are held back");
                return Err(Error::empty(what));
            }
        }
        Ok(Self { shards, shuffle: shuffle.clone(), seed, languages })
    }

    /// Texts to train on, by language.
    pub fn texts(&self) -> BTreeMap<Language, u64> {
        self.languages.iter().map(|(language, of)| (*language, of.texts)).collect()
    }

    /// The texts that are held back, by language.
    pub fn held_back(&self) -> BTreeMap<Language, Vec<PhrasePassage>> {
        let texts = |of: &OfLanguage| of.held_back.values().cloned().collect();
        self.languages.iter().map(|(language, of)| (*language, texts(of))).collect()
    }

    /// The texts of a language as passages of at most `max_length` tokens, special ones counted;
    /// only files with such texts are read.
    ///
    /// # Errors
    /// [`Error::Empty`] if there is none; as [`PassageEncoder::new`].
    pub fn passages(
        &self,
        language: Language,
        tokenizer: &Tokenizer,
        specials: SpecialTokens,
        max_length: usize,
    ) -> Result<LinkedPassages> {
        let SpecialTokens { bos, eos, unk, .. } = specials;
        let Some(of) = self.languages.get(&language) else {
            return Err(Error::empty(format!("text in {language}")));
        };
        let shards = self.shards.only(|file| of.files.contains(file.path()));
        let ids = SpecialIds { bos, eos, unk };
        Ok(LinkedPassages {
            lines: ShuffledLines::new(shards, self.shuffle.clone())?,
            language,
            seed: self.seed,
            last_held_back: of.last_held_back(),
            encoder: PassageEncoder::new(tokenizer, ids, max_length)?,
            max_length,
            before: ShardPosition::default(),
            windows: VecDeque::new(),
            given: 0,
        })
    }
}

/// The texts of one language in windows, in the order of [`ShuffledLines`]; those of a text follow
/// each other. See [`LinkedTextFiles::passages`].
pub struct LinkedPassages {
    lines: ShuffledLines,
    language: Language,
    seed: u64,
    last_held_back: Option<(i64, String)>,
    encoder: PassageEncoder,
    max_length: usize,
    /// The place before the present text.
    before: ShardPosition,
    /// Its windows that have not been given, and the number of those that have.
    windows: VecDeque<PassageExample>,
    given: usize,
}

/// A place between two windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkedPosition {
    /// The place before the next window's text.
    pub text: ShardPosition,
    /// Windows of this text before the place.
    pub window: usize,
}

impl LinkedPassages {
    /// Goes to the next text that has a window; `false` at the end of the epoch.
    fn next_text(&mut self) -> std::result::Result<bool, TaskError> {
        self.given = 0;
        self.windows.clear();
        while self.windows.is_empty() {
            self.before = self.lines.position();
            let Some(line) = self.lines.next_line()? else { return Ok(false) };
            let text: LinkedText = parse(line).map_err(|reason| line.refuse(reason))?;
            let held_back =
                self.last_held_back.as_ref().is_some_and(|last| draw(self.seed, &text) <= *last);
            if text.language == self.language && !held_back {
                let windows = self.encoder.encode(&PhrasePassage::from(&text));
                self.windows = windows.map_err(|error| line.refuse(error))?.into();
            }
        }
        Ok(true)
    }
}

impl ExampleSource for LinkedPassages {
    type Example = PassageExample;
    type Position = LinkedPosition;

    fn start_epoch(&mut self, _: u64, rng: ChaCha8Rng) -> std::result::Result<(), TaskError> {
        self.lines.start_epoch(rng);
        self.windows.clear();
        self.given = 0;
        Ok(())
    }

    fn next_example(&mut self) -> std::result::Result<Option<PassageExample>, TaskError> {
        if self.windows.is_empty() && !self.next_text()? {
            return Ok(None);
        }
        self.given += 1;
        Ok(self.windows.pop_front())
    }

    fn position(&self) -> LinkedPosition {
        if self.windows.is_empty() {
            return LinkedPosition { text: self.lines.position(), window: 0 };
        }
        LinkedPosition { text: self.before.clone(), window: self.given }
    }

    fn seek(&mut self, position: LinkedPosition) -> std::result::Result<(), TaskError> {
        self.lines.seek(position.text)?;
        self.windows.clear();
        self.given = 0;
        if position.window > 0 {
            let read = self.next_text()?;
            if !read || position.window >= self.windows.len() {
                let (window, windows) = (position.window, self.windows.len());
                return Err(format!("window {window} of a text of {windows}").into());
            }
            self.windows.drain(..position.window);
            self.given = position.window;
        }
        Ok(())
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint
            .serialize("language", &self.language)
            .number("max_length", self.max_length as u64)
            .serialize("held back", &self.last_held_back)
            .add("tokenizer", self.encoder.tokenizer().to_string(false).unwrap_or_default());
        self.lines.fingerprint(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use trainer::rng_for;

    use super::*;
    use crate::testing::specials;

    fn tokenizer() -> Tokenizer {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        xlmr_model::read_tokenizer(root.join("data/base")).unwrap()
    }

    /// Texts in two languages, all but the first with a mention, in a file for German and one for
    /// both.
    fn write(folder: &Path) -> [PathBuf; 2] {
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
        let (german, both) = (folder.join("de.jsonl"), folder.join("mixed.jsonl"));
        let de = (0..7).map(|number| line(number, "de", "Bern"));
        std::fs::write(&german, de.collect::<String>()).unwrap();
        let mixed = (7..19).map(|number| line(number, ["de", "es"][number % 2], "Lima"));
        std::fs::write(&both, mixed.collect::<String>()).unwrap();
        [german, both]
    }

    fn open(folder: &Path, texts: usize) -> LinkedTextFiles {
        let shuffle = ShuffleConfig { lines: 4, ..ShuffleConfig::default() };
        LinkedTextFiles::open(&write(folder), &shuffle, HeldBack { texts, seed: 3 }).unwrap()
    }

    fn german(files: &LinkedTextFiles, max_length: usize) -> LinkedPassages {
        let mut passages =
            files.passages(Language::DE, &tokenizer(), specials(), max_length).unwrap();
        passages.start_epoch(0, rng_for(4, "order", 0)).unwrap();
        passages
    }

    fn rest(passages: &mut LinkedPassages) -> Vec<Vec<u32>> {
        let example = || passages.next_example().unwrap();
        std::iter::from_fn(example).map(|example| example.input_ids).collect()
    }

    #[test]
    fn each_text_is_given_once_or_held_back() {
        let folder = tempfile::tempdir().unwrap();
        let all = open(folder.path(), 0);
        let de = all.texts()[&Language::DE];
        assert_eq!((de, all.texts()[&Language::new("es").unwrap()]), (13, 6));
        // One has no mention.
        let every = rest(&mut german(&all, 100));
        assert_eq!(every.len(), 12);
        let some = open(folder.path(), 4);
        let held_back = &some.held_back()[&Language::DE];
        assert_eq!((some.texts()[&Language::DE], held_back.len()), (9, 4));
        let bare = held_back.iter().filter(|passage| passage.phrases.is_empty()).count();
        assert_eq!(rest(&mut german(&some, 100)).len(), 12 - (4 - bare));
        assert!(rest(&mut german(&some, 100)).iter().all(|row| every.contains(row)));
        // Other names, another order: the same texts.
        let other = tempfile::tempdir().unwrap();
        let [first, second] = write(other.path());
        let turned =
            LinkedTextFiles::open(&[second, first], &some.shuffle, HeldBack { texts: 4, seed: 3 });
        assert_eq!(turned.unwrap().held_back(), some.held_back());
        let none = LinkedTextFiles::open(
            &write(other.path()),
            &some.shuffle,
            HeldBack { texts: 6, seed: 3 },
        );
        let error = none.err().unwrap().to_string();
        assert!(error.contains("text in es beside the 6 that are held back"), "{error}");
    }

    #[test]
    fn only_files_with_the_language_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let files = open(folder.path(), 0);
        std::fs::remove_file(folder.path().join("de.jsonl")).unwrap();
        let es = Language::new("es").unwrap();
        let mut spanish = files.passages(es, &tokenizer(), specials(), 100).unwrap();
        spanish.start_epoch(0, rng_for(4, "order", 0)).unwrap();
        assert_eq!(rest(&mut spanish).len(), 6);
        assert!(files.passages(Language::EN, &tokenizer(), specials(), 100).is_err());
    }

    #[test]
    fn every_place_can_be_gone_back_to() {
        let folder = tempfile::tempdir().unwrap();
        // Mentions are at the beginning: all windows but the first are left out, unless a mention
        // is cut.
        for max_length in [100, 12, 3] {
            let files = open(folder.path(), 2);
            let mut first = german(&files, max_length);
            let mut places = vec![first.position()];
            let mut rows = Vec::new();
            while let Some(example) = first.next_example().unwrap() {
                rows.push(example.input_ids);
                places.push(first.position());
            }
            assert!(rows.len() >= 10, "{}", rows.len());
            if max_length == 3 {
                assert!(places.iter().any(|place| place.window > 0), "{places:?}");
            }
            for (number, place) in places.into_iter().enumerate() {
                let mut other = german(&files, max_length);
                other.seek(place).unwrap();
                assert_eq!(rest(&mut other), rows[number..]);
            }
            let place = LinkedPosition { window: 99, ..LinkedPosition::default() };
            assert!(german(&files, max_length).seek(place).is_err());
        }
    }

    #[test]
    fn lines_that_are_no_linked_text_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let good = r#"{"id":"1","lang":"de","text":"Bern","mentions":[]}"#;
        let bad = r#"{"id":"2","lang":"de","text":"Bern","mentions":[{"start":0,"end":5,"entity":"Q70"}]}"#;
        std::fs::write(&path, format!("{good}\n{bad}\n")).unwrap();
        let error = LinkedTextFiles::open(&[path], &ShuffleConfig::default(), HeldBack::default());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("a.jsonl: line 2") && error.contains("0..5 of 4"), "{error}");
    }
}
