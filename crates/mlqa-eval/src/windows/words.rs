//! A cache of the tokens of words, for tokenizers that treat each word independently.
//!
//! Nearly all words of a text also occur in texts that were tokenised earlier. If a tokenizer
//! treats a word between two spaces independently of its context, a lookup is much faster than
//! tokenising the word again.
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use ahash::{AHashSet, RandomState};
use memchr::memmem::Finder;
use tokenizer_file::Layout;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{PostProcessorWrapper, Tokenizer};

/// Maximum length of a cached word in bytes. Offsets in such a word fit into a byte; longer words
/// are rare.
const MAX_WORD_BYTES: usize = 64;
/// Maximum number of words per shard. A word requires about 150 bytes.
const MAX_SHARD_WORDS: usize = 4096;
/// Number of shards. Each shard has a separate lock, so that threads rarely wait for each other.
const SHARD_COUNT: usize = 16;
/// Maximum number of added tokens for which the cache is used, because every text is searched for
/// every added token.
const MAX_ADDED_TOKENS: usize = 64;

/// Token ids without special tokens, and the offsets `[start, end)` of each token in code points.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub ids: Vec<u32>,
    pub offsets: Vec<(usize, usize)>,
}

/// A token's id, and its start and end in code points of the word.
type Piece = (u32, u8, u8);
/// Maps words to their tokens.
type PieceMap = HashMap<Box<str>, Box<[Piece]>, RandomState>;

/// A cache of the tokens of words for one tokenizer.
#[derive(Debug)]
pub(crate) struct WordCache {
    hasher: RandomState,
    shards: Vec<RwLock<PieceMap>>,
    /// Added tokens; texts that contain one are not split into words.
    added: Vec<Finder<'static>>,
    /// Ids of the added tokens, except for the unknown token.
    added_ids: AHashSet<u32>,
}

impl WordCache {
    /// Creates a cache for a tokenizer that tokenises words between spaces independently, such as
    /// XLM-R's; returns `None` for all other tokenizers.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let added = tokenizer.get_added_tokens_decoder();
        let is_one_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        let is_supported = added.len() <= MAX_ADDED_TOKENS
            && added.values().all(|token| is_one_word(&token.content))
            && normalizes_words(tokenizer.get_normalizer())
            && splits_words(tokenizer.get_pre_tokenizer())
            && is_character_model(tokenizer.get_model())
            && matches!(
                tokenizer.get_post_processor(),
                None | Some(PostProcessorWrapper::Template(_))
            );
        let unknown_id = Layout::of(tokenizer).and_then(|layout| layout.unknown()).ok();
        is_supported.then(|| {
            let hasher = RandomState::new();
            let shard = || RwLock::new(HashMap::with_hasher(hasher.clone()));
            let finder = |text: &str| Finder::new(text).into_owned();
            Self {
                shards: std::iter::repeat_with(shard).take(SHARD_COUNT).collect(),
                added: added.values().map(|token| finder(&token.content)).collect(),
                added_ids: added.into_keys().filter(|&id| Some(id) != unknown_id).collect(),
                hasher,
            }
        })
    }

    /// Tokenises `text` word by word. The returned tokens equal those of the unsplit text.
    /// `tokenize` computes the tokens of a word that is not in the cache. The result is `None` if a
    /// word's tokens may depend on its neighbours.
    pub fn tokenize<E>(
        &self,
        text: &str,
        tokenize: impl Fn(&str) -> Result<Tokens, E>,
    ) -> Result<Option<Tokens>, E> {
        if self.added.iter().any(|token| token.find(text.as_bytes()).is_some()) {
            return Ok(None);
        }
        // If normalisation removed characters at the beginning, all later offsets would be wrong,
        // so such texts are not split.
        if !text.starts_with(is_independent) {
            return Ok(None);
        }
        let mut tokens = Tokens::default();
        // Number of code points before `part`.
        let mut at = 0;
        let mut rest = Some(text);
        while let Some(text) = rest {
            let part;
            (part, rest) = split_first_part(text);
            if !self.look_up(part, at, &mut tokens) {
                let word_tokens = tokenize(part)?;
                if word_tokens.ids.iter().any(|id| self.added_ids.contains(id)) {
                    return Ok(None);
                }
                self.store(part, &word_tokens);
                tokens.ids.extend(word_tokens.ids);
                tokens.offsets.extend(word_tokens.offsets.iter().map(|&(s, e)| (at + s, at + e)));
            }
            at += part.chars().count() + 1;
        }
        Ok(Some(tokens))
    }

    /// Returns the shard of a word; `None` for a word that is too long to be cached.
    fn shard(&self, word: &str) -> Option<&RwLock<PieceMap>> {
        // The map uses the low bits of the hash, so the shard is selected by the high bits.
        let hash = self.hasher.hash_one(word) >> 32;
        (word.len() <= MAX_WORD_BYTES).then(|| &self.shards[hash as usize % SHARD_COUNT])
    }

    /// Appends the cached tokens of a word, which begins at code point `at` of the text, to `tokens`.
    /// Returns whether the word is in the cache.
    fn look_up(&self, word: &str, at: usize, tokens: &mut Tokens) -> bool {
        let Some(shard) = self.shard(word) else { return false };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let Some(pieces) = shard.get(word) else { return false };
        for &(id, start, end) in pieces {
            tokens.ids.push(id);
            tokens.offsets.push((at + usize::from(start), at + usize::from(end)));
        }
        true
    }

    fn store(&self, word: &str, tokens: &Tokens) {
        let Some(shard) = self.shard(word) else { return };
        let pieces = tokens.ids.iter().zip(&tokens.offsets).map(|(&id, &(start, end))| {
            Some((id, u8::try_from(start).ok()?, u8::try_from(end).ok()?))
        });
        let Some(pieces) = pieces.collect::<Option<Box<[Piece]>>>() else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() < MAX_SHARD_WORDS {
            shard.insert(word.into(), pieces);
        }
    }
}

/// Whether words can be normalised separately. Composition processes one starter at a time, and
/// SentencePiece's tables process one grapheme at a time. Neither combines characters across a
/// space if [`is_independent`] is true for the characters before and after the space.
fn normalizes_words(normalizer: Option<&NormalizerWrapper>) -> bool {
    use NormalizerWrapper::{NFC, NFKC, Precompiled, Replace, Sequence};
    match normalizer {
        None | Some(NFC(_) | NFKC(_) | Precompiled(_)) => true,
        Some(Sequence(steps)) => {
            let steps: &[NormalizerWrapper] = steps.as_ref();
            steps.iter().all(|step| normalizes_words(Some(step)))
        }
        // Texts are never split at or between adjacent spaces.
        Some(Replace(step)) => {
            let collapse_spaces = serde_json::json!({
                "type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " ",
            });
            serde_json::to_value(step).is_ok_and(|step| step == collapse_spaces)
        }
        _ => false,
    }
}

/// Whether the tokenizer splits at white space first and no later step depends on a word's
/// position.
fn splits_words(pre_tokenizer: Option<&PreTokenizerWrapper>) -> bool {
    use PreTokenizerWrapper::{Digits, Metaspace, Punctuation, Sequence, WhitespaceSplit};
    let is_word_step = |step: &PreTokenizerWrapper| match step {
        WhitespaceSplit(_) | Punctuation(_) | Digits(_) => true,
        Metaspace(step) => step.prepend_scheme != PrependScheme::First,
        _ => false,
    };
    match pre_tokenizer {
        Some(WhitespaceSplit(_)) => true,
        Some(Sequence(steps)) => {
            let steps: &[PreTokenizerWrapper] = steps.as_ref();
            matches!(steps.first(), Some(WhitespaceSplit(_))) && steps.iter().all(is_word_step)
        }
        _ => false,
    }
}

/// Returns whether the model is deterministic and has no tokens that are parts of characters,
/// because the offsets of such tokens would depend on the text's bytes.
fn is_character_model(model: &ModelWrapper) -> bool {
    match model {
        ModelWrapper::BPE(model) => model.dropout.is_none() && !model.byte_fallback,
        ModelWrapper::Unigram(model) => !model.byte_fallback(),
        _ => false,
    }
}

/// Splits a text at the first space that certainly separates words. The first part is nearly always
/// one word. It is longer if a space is next to a character that normalisation may combine with the
/// space.
fn split_first_part(text: &str) -> (&str, Option<&str>) {
    let is_word_boundary = |&at: &usize| {
        let last = text[..at].chars().next_back();
        let first = text[at + 1..].chars().next();
        last.is_some_and(|c| is_independent(c) || is_devanagari(c))
            && first.is_some_and(is_independent)
    };
    let space = memchr::memchr_iter(b' ', text.as_bytes()).find(is_word_boundary);
    space.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])))
}

/// Returns true for characters that no normalisation combines with a space, converts to a space or
/// removes. These are letters and digits of alphabets without separate marks, ideographs, and
/// common punctuation.
fn is_independent(c: char) -> bool {
    match c {
        '!'..='~' => true,
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' | '\u{1e00}'..='\u{1eff}' => {
            c.is_alphanumeric() && c != '\u{37a}'
        }
        '\u{621}'..='\u{63a}' | '\u{641}'..='\u{64a}' | '\u{660}'..='\u{669}' => true,
        '\u{904}'..='\u{939}' | '\u{966}'..='\u{96f}' => true,
        '\u{4e00}'..='\u{9fa5}' => true,
        '\u{2018}'..='\u{201e}' | '\u{2013}' | '\u{2014}' => true,
        '\u{a1}' | '\u{ab}' | '\u{bb}' | '\u{bf}' => true,
        '\u{60c}' | '\u{61b}' | '\u{61f}' | '\u{964}' | '\u{3001}' | '\u{3002}' => true,
        _ => false,
    }
}

/// Returns whether a character is a Devanagari letter or mark, after which a space is a separate
/// grapheme cluster.
fn is_devanagari(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{963}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dataset, load_tokenizer};

    /// Returns a tokenizer with NFKC and BPE, and one with XLM-R's normalisation and Unigram.
    fn tokenizers() -> [Tokenizer; 2] {
        ["../../data/base/tokenizer.json", "../testkit/fixtures/tokenizer.json"]
            .map(|path| load_tokenizer(path).unwrap())
    }

    fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Tokens, tokenizers::Error> {
        let encoding = tokenizer.encode_char_offsets(text, false)?;
        Ok(Tokens { ids: encoding.get_ids().into(), offsets: encoding.get_offsets().into() })
    }

    /// Checks that the word cache returns the tokens of the unsplit text, both when it is empty and
    /// when it contains the words. Returns whether the text was split.
    fn check_words(cache: &WordCache, tokenizer: &Tokenizer, text: &str) -> bool {
        let tokenize = || cache.tokenize(text, |word| encode(tokenizer, word)).unwrap();
        let Some(first) = tokenize() else { return false };
        let expected = encode(tokenizer, text).unwrap();
        for tokens in [first, tokenize().unwrap()] {
            assert_eq!(tokens.ids, expected.ids, "{text:?}");
            assert_eq!(tokens.offsets, expected.offsets, "{text:?}");
        }
        split_first_part(text).1.is_some()
    }

    #[test]
    fn words_of_xquad_have_the_tokens_of_the_unsplit_text() {
        for (tokenizer, cache) in TOKENIZERS.iter() {
            for language in ["en", "de", "es", "vi", "ar", "hi", "zh"] {
                let path = format!("../../data/xquad/xquad.{language}.json");
                let mut questions = Dataset::read(path).unwrap().questions;
                questions.truncate(if testkit::is_long() { 1190 } else { 60 });
                let texts =
                    questions.iter().flat_map(|question| [&*question.question, &*question.context]);
                let split = texts.filter(|text| check_words(cache, tokenizer, text)).count();
                let share = split as f64 / (2 * questions.len()) as f64;
                let min_share = match language {
                    "zh" => 0.2,
                    "ar" => 0.75,
                    _ => 0.85,
                };
                assert!(share >= min_share, "{language}: {share}");
            }
        }
    }

    #[test]
    fn texts_are_split_at_spaces_that_separate_words() {
        let parts = |text: &'static str| -> Vec<&str> {
            let mut rest = Some(text);
            std::iter::from_fn(|| {
                let part;
                (part, rest) = split_first_part(rest?);
                Some(part)
            })
            .collect()
        };
        assert_eq!(parts("Who is it?"), ["Who", "is", "it?"]);
        assert_eq!(parts(" a b  c d \u{301}e f"), [" a", "b  c", "d \u{301}e", "f"]);
        assert_eq!(parts("a\tb \u{bd}, x\u{200b} y z "), ["a\tb \u{bd},", "x\u{200b} y", "z "]);
        assert_eq!(parts(""), [""]);
        for (tokenizer, cache) in TOKENIZERS.iter() {
            assert!(!check_words(cache, tokenizer, "\u{1}a b"));
            for text in ["Who a\tb \u{bd}, x?", "a  b c", "a \u{301}b c", "a \u{600} b c"] {
                assert!(check_words(cache, tokenizer, text), "{text:?}");
            }
            // Added tokens may include adjacent spaces.
            for text in ["a <mask> b", "a<s> b c"] {
                assert!(!check_words(cache, tokenizer, text), "{text:?}");
            }
        }
    }

    #[test]
    fn tokenizers_that_depend_on_neighbouring_words_are_rejected() {
        let [tokenizer, _] = tokenizers();
        let json = serde_json::to_value(&tokenizer).unwrap();
        let is_rejected_with = |pointer: &str, value: serde_json::Value| {
            let mut json = json.clone();
            *json.pointer_mut(pointer).unwrap() = value;
            WordCache::of(&json.to_string().parse().unwrap()).is_none()
        };
        let metaspace = serde_json::json!({
            "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true,
        });
        assert!(!is_rejected_with("/version", "1.0".into()));
        assert!(is_rejected_with("/normalizer", serde_json::json!({"type": "StripAccents"})));
        assert!(is_rejected_with("/pre_tokenizer", metaspace.clone()));
        assert!(is_rejected_with("/pre_tokenizer/pretokenizers/2", metaspace));
        assert!(is_rejected_with("/model/dropout", 0.1.into()));
        assert!(is_rejected_with("/model/byte_fallback", true.into()));
        assert!(is_rejected_with("/added_tokens/0/content", "<s> <s>".into()));
        // `byte_fallback` does not split texts into words; `wordpiece` splits as BERT does.
        for other in ["byte_fallback", "wordpiece"] {
            let path = format!("../testkit/fixtures/{other}.json");
            assert!(WordCache::of(&load_tokenizer(path).unwrap()).is_none(), "{other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(256)) })]

        #[test]
        fn random_texts_have_the_tokens_of_the_unsplit_text(pieces in prop::collection::vec(prop::sample::select(vec![
            "the", "House", " ", " ", " ", "e\u{301}", "\u{e9}", "\u{fc}ber", "\u{301}", "\u{bd}", "\u{fb01}",
            "\u{627}\u{644}\u{628}", "\u{64b}", "\u{4e2d}\u{6587}", "\u{ff0c}", "\u{939}\u{93f}\u{928}", "\u{94d}",
            "\u{200d}", "\t", "\u{a0}", "\u{1}", "\u{2581}", "<s>", "\u{130}", "\u{37a}", "\u{b4}", "\u{1100}",
            "1,870", "?", "\u{201c}", "\u{2014}", "\u{3002}", "\u{1f642}", "\u{fe0f}",
        ]), 0..16)) {
            let text = pieces.concat();
            for (tokenizer, cache) in TOKENIZERS.iter() {
                check_words(cache, tokenizer, &text);
            }
        }
    }

    static TOKENIZERS: std::sync::LazyLock<Vec<(Tokenizer, WordCache)>> =
        std::sync::LazyLock::new(|| {
            tokenizers()
                .map(|one| {
                    let cache = WordCache::of(&one).unwrap();
                    (one, cache)
                })
                .into()
        });
}
