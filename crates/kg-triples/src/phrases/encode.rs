use std::ops::Range;

use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::{PhrasePassage, TextSpan};
use crate::tokens::{Tokens, without_limits};
use crate::{Error, Language};

/// Ids of the special tokens used by [`encode_passages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// The token before the passage: `<s>` or `[CLS]`.
    pub bos: u32,
    /// The token after the passage: `</s>` or `[SEP]`.
    pub eos: u32,
    /// The unknown token, `<unk>` or `[UNK]`, which never belongs to a phrase.
    pub unk: u32,
}

/// A passage, or a window of it, as encoder input `<s> passage </s>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassageExample {
    /// The passage's language.
    pub language: Language,
    /// Token ids, including special tokens, `[L]`.
    pub input_ids: Vec<u32>,
    /// Ranges of `input_ids` in which phrases occur, sorted by start; they may overlap.
    pub phrases: Vec<Range<usize>>,
}

/// Encodes passages in windows of at most `max_length` tokens, including `<s>` and `</s>`.
///
/// Windows do not overlap. If a phrase would cross the end of a window, the window ends before this
/// phrase. The phrase is split only if the window would then be shorter than half the maximum.
/// Windows without a phrase are skipped. A token belongs to a phrase if it contains a code point of
/// the phrase; `<unk>` belongs to no phrase.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Config`] if `max_length` is below 3; [`Error::Tokenizer`] with the text that cannot be
/// encoded.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::phrases::{
///     PhraseOccurrences, PhrasePassage, SpecialIds, TextSpan, encode_passages,
/// };
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
/// let passage = PhrasePassage {
///     language: Language::new("de")?,
///     text: "Die Aare fließt durch Bern.".into(),
///     phrases: vec![PhraseOccurrences {
///         phrase: "bern".into(),
///         occurrences: vec![TextSpan { start: 22, end: 26 }],
///     }],
/// };
/// let specials = SpecialIds { bos: 0, eos: 2, unk: 3 };
/// let examples = encode_passages(&[passage], &tokenizer, specials, 256)?;
/// let (ids, phrase) = (&examples[0].input_ids, examples[0].phrases[0].clone());
/// assert_eq!(tokenizer.decode(&ids[phrase], false).unwrap().trim(), "Bern");
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn encode_passages(
    passages: &[PhrasePassage],
    tokenizer: &Tokenizer,
    specials: SpecialIds,
    max_length: usize,
) -> Result<Vec<PassageExample>, Error> {
    let encoder = PassageEncoder::new(tokenizer, specials, max_length)?;
    let encode = |passage: &PhrasePassage| encoder.encode(passage);
    let examples: Vec<_> = passages.par_iter().map(encode).collect::<Result<_, Error>>()?;
    Ok(examples.concat())
}

/// Encodes single passages with the result of [`encode_passages`].
///
/// ```
/// use kg_triples::phrases::{PassageEncoder, PhrasePassage, SpecialIds};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// let specials = SpecialIds { bos: 0, eos: 2, unk: 3 };
/// let encoder = PassageEncoder::new(&tokenizer, specials, 256)?;
/// let line = r#"{"lang": "de", "text": "in Bern", "phrases": [{"phrase": "bern",
///     "occurrences": [{"start": 3, "end": 7}]}]}"#;
/// let passage: PhrasePassage = serde_json::from_str(line)?;
/// assert_eq!(encoder.encode(&passage)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PassageEncoder {
    /// The tokenizer without truncation and padding.
    tokenizer: Tokenizer,
    specials: SpecialIds,
    /// Maximum number of tokens per window, excluding special tokens.
    window_tokens: usize,
}

impl PassageEncoder {
    /// Creates an encoder with windows of at most `max_length` tokens, including special tokens.
    ///
    /// # Errors
    /// As [`encode_passages`].
    pub fn new(
        tokenizer: &Tokenizer,
        specials: SpecialIds,
        max_length: usize,
    ) -> Result<Self, Error> {
        if max_length < 3 {
            return Err(Error::Config {
                key: "max_length",
                value: max_length.to_string(),
                rule: "3 or more: two special tokens and one of text",
            });
        }
        Ok(Self { tokenizer: without_limits(tokenizer)?, specials, window_tokens: max_length - 2 })
    }

    /// Returns the windows of a passage that contain a phrase.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] with the text, if it cannot be encoded.
    pub fn encode(&self, passage: &PhrasePassage) -> Result<Vec<PassageExample>, Error> {
        let tokens = Tokens::encode(&self.tokenizer, &passage.text)?;
        let mut spans: Vec<Range<usize>> = passage
            .phrases
            .iter()
            .flat_map(|phrase| &phrase.occurrences)
            .filter_map(|TextSpan { start, end }| tokens.overlapping(*start, *end))
            .collect();
        spans.sort_unstable_by_key(|span| (span.start, span.end));
        spans.dedup();
        let mut examples = Vec::new();
        let mut start = 0;
        while start < tokens.ids.len() {
            let end = window_end(&spans, start, self.window_tokens).min(tokens.ids.len());
            let ids = &tokens.ids[start..end];
            let SpecialIds { bos, eos, unk } = self.specials;
            let phrases = phrases_in_window(&spans, start..end, ids, unk);
            if !phrases.is_empty() {
                let input_ids = [&[bos], ids, &[eos]].concat();
                examples.push(PassageExample { language: passage.language, input_ids, phrases });
            }
            start = end;
        }
        Ok(examples)
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

/// Returns the end of the window at `start`: `start + window_tokens`, or an earlier position at
/// which a phrase starts, so that no phrase crosses the end. `spans` are the token ranges of
/// phrases.
fn window_end(spans: &[Range<usize>], start: usize, window_tokens: usize) -> usize {
    let max_end = start + window_tokens;
    let mut end = max_end;
    // Spans are sorted by start and visited in reverse. If a span crosses the end, the end moves to
    // the start of this span. Then an earlier span can cross the new end and move it again.
    for span in spans.iter().rev() {
        if span.start > start && span.start < end && span.end > end {
            end = span.start;
        }
    }
    // If the window would be shorter than half its size, the phrases that cross its end are split.
    if end - start < window_tokens.div_ceil(2) { max_end } else { end }
}

/// Returns the parts of `spans` that are inside a window, as ranges of `<s> window </s>`. A part
/// does not contain `<unk>` tokens; they split a span into several parts.
fn phrases_in_window(
    spans: &[Range<usize>],
    window: Range<usize>,
    ids: &[u32],
    unknown: u32,
) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    for span in spans {
        let mut part_start: Option<usize> = None;
        for at in span.start.max(window.start)..span.end.min(window.end) {
            let index = at - window.start;
            if ids[index] == unknown {
                parts.extend(part_start.take().map(|first| first..index + 1));
            } else {
                part_start.get_or_insert(index + 1);
            }
        }
        let end = span.end.min(window.end).saturating_sub(window.start);
        parts.extend(part_start.map(|first| first..end + 1));
    }
    parts.sort_unstable_by_key(|part| (part.start, part.end));
    parts.dedup();
    parts
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // lists with one span
mod tests {
    use super::*;
    use crate::phrases::PhraseOccurrences;

    /// The tokenizer of the fixtures.
    fn tokenizer() -> Tokenizer {
        Tokenizer::from_file(testkit::fixture("tokenizer.json")).unwrap()
    }

    fn specials(tokenizer: &Tokenizer) -> SpecialIds {
        let id = |token: &str| tokenizer.token_to_id(token).unwrap();
        SpecialIds { bos: id("<s>"), eos: id("</s>"), unk: id("<unk>") }
    }

    fn passage(text: &str, phrases: &[&str]) -> PhrasePassage {
        let occurrences_of = |phrase: &&str| PhraseOccurrences {
            phrase: phrase.to_lowercase(),
            occurrences: text
                .match_indices(*phrase)
                .map(|(byte, _)| {
                    let start = text[..byte].chars().count();
                    TextSpan { start, end: start + phrase.chars().count() }
                })
                .collect(),
        };
        let phrases = phrases.iter().map(occurrences_of).collect();
        PhrasePassage { language: Language::new("en").unwrap(), text: text.into(), phrases }
    }

    #[test]
    fn phrase_positions_match_the_tokens_of_the_phrase() {
        let tokenizer = tokenizer();
        let specials = specials(&tokenizer);
        let text = "Die Hauptstadt von Frankreich: Paris, und Paris in Frankreich.";
        let passages = [passage(text, &["Paris", "von Frankreich"])];
        let examples = encode_passages(&passages, &tokenizer, specials, 256).unwrap();
        let [example] = examples.as_slice() else { panic!("{examples:?}") };
        let (first, last) = (example.input_ids.first(), example.input_ids.last());
        assert_eq!((first, last), (Some(&specials.bos), Some(&specials.eos)));
        let inner_ids = &example.input_ids[1..example.input_ids.len() - 1];
        let encoding = tokenizer.encode(text, false).unwrap();
        assert_eq!(inner_ids, encoding.get_ids());
        let decode = |span: &Range<usize>| {
            tokenizer.decode(&example.input_ids[span.clone()], false).unwrap()
        };
        let decoded: Vec<String> = example.phrases.iter().map(decode).collect();
        let trimmed: Vec<&str> = decoded.iter().map(|text| text.trim()).collect();
        assert_eq!(trimmed, ["von Frankreich", "Paris", "Paris"]);
    }

    #[test]
    fn windows_respect_the_length_and_do_not_split_phrases() {
        let tokenizer = tokenizer();
        let specials = specials(&tokenizer);
        let text = "eine Stadt an der Aare in Bern und ".repeat(12);
        let passages = [passage(text.trim(), &["Aare in Bern"])];
        let single_window = encode_passages(&passages, &tokenizer, specials, 10_000).unwrap();
        assert_eq!((single_window.len(), single_window[0].phrases.len()), (1, 12));
        let phrase = single_window[0].input_ids[single_window[0].phrases[0].clone()].to_vec();
        for max_length in [2 * phrase.len() + 3, 24, 40, 256] {
            let windows = encode_passages(&passages, &tokenizer, specials, max_length).unwrap();
            let mut count = 0;
            for example in &windows {
                assert!(example.input_ids.len() <= max_length && !example.phrases.is_empty());
                for span in &example.phrases {
                    assert_eq!(example.input_ids[span.clone()], phrase);
                    count += 1;
                }
            }
            assert_eq!(count, 12, "{max_length}");
        }
        // If windows are shorter than the phrase, each window contains a part of the phrase, and
        // the windows together contain the whole phrase.
        let windows = encode_passages(&passages, &tokenizer, specials, 3).unwrap();
        let tokens: Vec<u32> = windows.iter().map(|example| example.input_ids[1]).collect();
        assert_eq!(tokens, phrase.repeat(12));
        assert!(encode_passages(&passages, &tokenizer, specials, 2).is_err());
    }

    #[test]
    fn unknown_tokens_belong_to_no_phrase() {
        let ids = [7, 8, 3, 9, 3];
        assert_eq!(phrases_in_window(&[1..5], 0..5, &ids, 3), [2..3, 4..5]);
        assert!(phrases_in_window(&[2..3], 0..5, &ids, 3).is_empty());
        // `ids` are now the tokens 10 to 14 of a longer passage.
        assert_eq!(phrases_in_window(&[9..11], 10..15, &ids, 3), [1..2]);
    }

    #[test]
    fn a_window_ends_before_a_phrase() {
        assert_eq!(window_end(&[], 4, 10), 14);
        assert_eq!(window_end(&[12..14, 14..16], 4, 10), 14);
        assert_eq!(window_end(&[12..15], 4, 10), 12);
        // The window cannot end at the start of the second phrase, which is inside the first one.
        assert_eq!(window_end(&[10..13, 12..15], 4, 10), 10);
        // Phrases are split if the window would otherwise be too short.
        assert_eq!(window_end(&[4..30], 4, 10), 14);
        assert_eq!(window_end(&[5..30], 4, 10), 14);
    }
}
