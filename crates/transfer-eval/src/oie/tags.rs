//! Extractions as word tags: predicates, and the arguments of a marked predicate.
use std::ops::Range;

use tokenizers::Tokenizer;

use super::{OieExtraction, OieSentence};
use crate::ner::Sentence;
use crate::tokens::PieceEncoder;
use crate::{Error, Result};

/// Entity type of predicates in tags.
pub const PREDICATE: &str = "P";

/// Entity types of arguments in tags: the subject, and up to three others.
pub const ARGUMENTS: [&str; 4] = ["A0", "A1", "A2", "A3"];

/// Sentences with IOB2 tags of predicates, and the extractions that tags cannot represent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedPredicates {
    /// The tagged sentences.
    pub sentences: Vec<Sentence>,
    /// Number of extractions without tags: a text is not a contiguous part of the sentence, texts
    /// overlap, or there are more than four arguments.
    pub skipped: usize,
}

/// Sentences with one marked predicate and IOB2 tags of its arguments, and the extractions that tags
/// cannot represent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedArguments {
    /// The tagged sentences, one for each extraction.
    pub sentences: Vec<MarkedPredicate>,
    /// Number of extractions without tags, as in [`TaggedPredicates`].
    pub skipped: usize,
}

/// A sentence with one marked predicate.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkedPredicate {
    /// The sentence with the predicate between two marks, and with tags of arguments.
    pub sentence: Sentence,
    /// Index of the sentence without marks.
    pub source: usize,
    /// Words of the predicate in the sentence without marks.
    pub predicate: Range<usize>,
}

impl MarkedPredicate {
    /// Inserts marks before and after a predicate.
    fn new(
        (source, words): (usize, &[&str]),
        mut tags: Vec<String>,
        predicate: Range<usize>,
        marks: &[String; 2],
    ) -> Self {
        let mut words = words.to_vec();
        for (position, mark) in [(predicate.end, &marks[1]), (predicate.start, &marks[0])] {
            words.insert(position, mark);
            tags.insert(position, "O".to_owned());
        }
        Self { sentence: tagged_sentence(&words, tags), source, predicate }
    }
}

/// Tags the predicates of each sentence with [`PREDICATE`], as the first step of Multi²OIE.
///
/// Words are separated by spaces. A predicate that overlaps an earlier one of its sentence has no
/// tags.
///
/// ```
/// use transfer_eval::oie::{predicate_tags, read_oie_gold};
///
/// let gold = read_oie_gold("../testkit/fixtures/transfer/oie/gold.tsv")?;
/// let tagged = predicate_tags(&gold);
/// assert_eq!(tagged.sentences[1].words[..3], ["The", "river", "is"]);
/// assert_eq!(tagged.sentences[1].tags[..4], ["O", "O", "B-P", "O"]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
pub fn predicate_tags(sentences: &[OieSentence]) -> TaggedPredicates {
    let mut tagged = TaggedPredicates::default();
    for sentence in sentences {
        let words: Vec<&str> = sentence.text.split_whitespace().collect();
        let mut tags = vec!["O".to_owned(); words.len()];
        for extraction in &sentence.extractions {
            let Some(spans) = find_spans(&words, extraction) else {
                tagged.skipped += 1;
                continue;
            };
            let predicate = &spans[0];
            // The same predicate can have several extractions.
            let is_same = tags[predicate.start] == format!("B-{PREDICATE}")
                && span_at(&tags, predicate.start) == *predicate;
            if is_same {
                continue;
            }
            match tags[predicate.clone()].iter().all(|tag| tag == "O") {
                true => write_tags(&mut tags, predicate, PREDICATE),
                false => tagged.skipped += 1,
            }
        }
        tagged.sentences.push(tagged_sentence(&words, tags));
    }
    tagged
}

/// Tags the arguments of each extraction with [`ARGUMENTS`], in a copy of the sentence whose predicate
/// is between two `marks`, which should be in the tokenizer's vocabulary.
pub fn argument_tags(sentences: &[OieSentence], marks: &[String; 2]) -> TaggedArguments {
    let mut tagged = TaggedArguments::default();
    for (source, sentence) in sentences.iter().enumerate() {
        let words: Vec<&str> = sentence.text.split_whitespace().collect();
        for extraction in &sentence.extractions {
            let Some(spans) = find_spans(&words, extraction) else {
                tagged.skipped += 1;
                continue;
            };
            let mut tags = vec!["O".to_owned(); words.len()];
            for (span, name) in spans[1..].iter().zip(ARGUMENTS) {
                write_tags(&mut tags, span, name);
            }
            let predicate = spans[0].clone();
            let marked = MarkedPredicate::new((source, &words), tags, predicate, marks);
            tagged.sentences.push(marked);
        }
    }
    tagged
}

/// Checks that two marks differ and are in the vocabulary.
///
/// # Errors
/// [`Error::Config`] if they are equal; [`Error::Tokenizer`] naming a mark without a piece.
pub fn check_marks(marks: &[String; 2], tokenizer: &Tokenizer) -> Result<()> {
    if marks[0] == marks[1] {
        return Err(Error::config("marks", format!("{marks:?}"), "two different marks"));
    }
    let pieces = PieceEncoder::of(tokenizer)?;
    let advice = "set marks to two characters of the vocabulary";
    marks.iter().try_for_each(|mark| pieces.encode_mark(mark, advice).map(drop))
}

/// Returns one sentence for each predicate in tagged sentences, such as the predictions for
/// [`predicate_tags`]. The predicate is between two `marks`, and all tags are `O`.
pub fn marked_predicates(sentences: &[Sentence], marks: &[String; 2]) -> Vec<MarkedPredicate> {
    let mut marked = Vec::new();
    for (source, sentence) in sentences.iter().enumerate() {
        let words: Vec<&str> = sentence.words.iter().map(String::as_str).collect();
        for span in spans_of(&sentence.tags, PREDICATE) {
            let tags = vec!["O".to_owned(); words.len()];
            marked.push(MarkedPredicate::new((source, &words), tags, span, marks));
        }
    }
    marked
}

/// Returns the confidence of an extraction as in the released Multi²OIE: the probability of the
/// predicate's first tag plus, for each argument, the mean probability of the first tags of its spans.
///
/// `tags` and `probabilities` have one entry for each word of the sentence with the marked predicate.
/// The sum ranks an extraction with more arguments higher.
///
/// ```
/// use transfer_eval::oie::extraction_confidence;
///
/// let tags = ["B-A0", "I-A0", "O", "O", "O", "B-A1", "B-A1"].map(String::from);
/// let probabilities = [0.75, 0.1, 0.1, 0.1, 0.1, 0.5, 0.25];
/// assert_eq!(extraction_confidence(0.5, &tags, &probabilities), 0.5 + 0.75 + (0.5 + 0.25) / 2.0);
/// ```
///
/// # Panics
/// If there are fewer probabilities than tags.
pub fn extraction_confidence(predicate: f64, tags: &[String], probabilities: &[f64]) -> f64 {
    let argument = |name: &str| {
        let starts = spans_of(tags, name).into_iter().map(|span| probabilities[span.start]);
        let (sum, count) = starts.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
        if count == 0.0 { 0.0 } else { sum / count }
    };
    predicate + ARGUMENTS.map(argument).iter().sum::<f64>()
}

/// Converts argument tags of sentences with a marked predicate to extractions. `confidences` has one
/// value for each sentence. Consecutive extractions of one source are in one sentence.
///
/// If an argument has several spans, the first is used. An extraction without an argument is
/// excluded.
///
/// # Errors
/// [`Error::Count`] if the numbers of sentences and confidences differ; [`Error::Mismatch`] naming a
/// sentence whose predicate is empty or outside of its words.
pub fn extractions_of_tags(
    sentences: &[MarkedPredicate],
    confidences: &[f64],
) -> Result<Vec<OieSentence>> {
    let name = |index: usize| Some(sentences.get(index)?.sentence.words.join(" "));
    crate::error::check_counts(
        ("sentence", "sentences"),
        sentences.len(),
        confidences.len(),
        name,
    )?;
    let mut list: Vec<(usize, OieSentence)> = Vec::new();
    for (index, (marked, &confidence)) in sentences.iter().zip(confidences).enumerate() {
        let MarkedPredicate { sentence, source, predicate } = marked;
        let count = sentence.words.len();
        // The marks are at these positions.
        let start = predicate.start;
        let end = predicate.end + 1;
        if predicate.is_empty() || end >= count {
            let message = format!("predicate {predicate:?} of {count} words with two marks");
            return Err(Error::mismatch("sentence", index, sentence.line(), message));
        }
        let text_of = |range: Range<usize>| {
            let words = range.filter(|&word| word != start && word != end);
            words.map(|word| sentence.words[word].as_str()).collect::<Vec<_>>().join(" ")
        };
        let argument = |name: &str| {
            let span = spans_of(&sentence.tags, name).into_iter().next();
            span.map_or(String::new(), &text_of)
        };
        let mut arguments: Vec<String> = ARGUMENTS.map(argument).into();
        while arguments.last().is_some_and(String::is_empty) {
            arguments.pop();
        }
        if arguments.is_empty() {
            continue;
        }
        let extraction = OieExtraction { predicate: text_of(start..end), arguments, confidence };
        match list.last_mut().filter(|(last, _)| last == source) {
            Some((_, sentence)) => sentence.extractions.push(extraction),
            None => {
                let text = text_of(0..count);
                list.push((*source, OieSentence { text, extractions: vec![extraction] }));
            }
        }
    }
    Ok(list.into_iter().map(|(_, sentence)| sentence).collect())
}

/// Finds the words of the predicate and of each argument. Empty arguments have an empty span.
fn find_spans(words: &[&str], extraction: &OieExtraction) -> Option<Vec<Range<usize>>> {
    let OieExtraction { predicate, arguments, .. } = extraction;
    if arguments.len() > ARGUMENTS.len() || predicate.trim().is_empty() {
        return None;
    }
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (index, text) in std::iter::once(predicate).chain(arguments).enumerate() {
        let part: Vec<&str> = text.split_whitespace().collect();
        if part.is_empty() {
            spans.push(0..0);
            continue;
        }
        let starts = (0..words.len()).filter(|&start| words[start..].starts_with(&part));
        let ranges = starts.map(|start| start..start + part.len());
        let overlaps = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start) < a.end.min(b.end);
        let free: Vec<Range<usize>> =
            ranges.filter(|range| !spans.iter().any(|other| overlaps(range, other))).collect();
        // Of several occurrences, the subject is the last before the predicate, and another argument
        // is the first after it.
        let predicate = spans.first().cloned();
        let closest = match (index, predicate) {
            (0, _) | (_, None) => None,
            (1, Some(predicate)) => free.iter().rev().find(|range| range.end <= predicate.start),
            (_, Some(predicate)) => free.iter().find(|range| range.start >= predicate.end),
        };
        spans.push(closest.or(free.first())?.clone());
    }
    Some(spans)
}

fn write_tags(tags: &mut [String], span: &Range<usize>, name: &str) {
    for word in span.clone() {
        tags[word] = format!("{}-{name}", if word == span.start { "B" } else { "I" });
    }
}

/// Returns the span of the tag at `start` with the tags that continue it.
fn span_at(tags: &[String], start: usize) -> Range<usize> {
    let inside = tags[start + 1..].iter().take_while(|tag| tag.starts_with("I-"));
    start..start + 1 + inside.count()
}

/// Returns the spans of this type. `I` after another type or `O` starts a span, as in Multi²OIE.
fn spans_of(tags: &[String], name: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (word, tag) in tags.iter().enumerate() {
        let Some((prefix, _)) = tag.split_once('-').filter(|(_, other)| *other == name) else {
            continue;
        };
        match spans.last_mut().filter(|span| span.end == word && prefix == "I") {
            Some(span) => span.end = word + 1,
            None => spans.push(word..word + 1),
        }
    }
    spans
}

fn tagged_sentence(words: &[&str], tags: Vec<String>) -> Sentence {
    let words = words.iter().map(|&word| word.to_owned()).collect();
    Sentence { id: None, text: None, words, tags, lines: Vec::new() }
}
