//! Conversion of examples to a classifier's inputs, with markers around the entities.
use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizer_file::Layout;
use tokenizers::Tokenizer;

use super::RelationExample;
use crate::tokens::{PieceEncoder, layout};
use crate::{Error, Result};

/// Marks of the two entities in an input. They consist of pieces of the pretrained vocabulary (Zhou
/// and Chen 2022), so no embedding is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Markers {
    /// No marks; the classifier does not know which words are the entities.
    None,
    /// `@ subject @` and `# object #`.
    Entity,
    /// The entity types in lower case as well: `@ * person * subject @` and
    /// `# ^ title ^ object #`.
    #[default]
    Typed,
}

/// Options of [`encode_relations`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelationConfig {
    /// Marks of the entities.
    pub markers: Markers,
    /// The four marks: of the subject, of the object, and of the types of both. Each must be in the
    /// tokenizer's vocabulary.
    pub marks: [String; 4],
    /// Whether only the entities are encoded, without the other words of the sentence. This is a
    /// control: its score is what the names predict without the sentence.
    pub mentions_only: bool,
    /// Maximum number of pieces of an input, including special tokens and markers. The words
    /// furthest from the entities are omitted first. The default is MultiTACRED's.
    pub max_length: usize,
}

impl Default for RelationConfig {
    fn default() -> Self {
        Self {
            markers: Markers::default(),
            marks: ["@", "#", "*", "^"].map(str::to_owned),
            mentions_only: false,
            max_length: 128,
        }
    }
}

/// The input of an example: `<s> pieces </s>`, with the special tokens of the tokenizer and without
/// padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationInput {
    /// Piece ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// Position of the subject's first marker, or of its first piece without markers.
    pub subject: usize,
    /// Position of the object's first marker, or of its first piece without markers.
    pub object: usize,
}

/// Encodes each example as one input, in order.
///
/// Each word is tokenised as if it followed a space. Escaped brackets (`-LRB-`) are replaced by
/// brackets.
///
/// ```
/// use transfer_eval::relations::{RelationConfig, encode_relations, read_relations};
///
/// let examples = read_relations("../testkit/fixtures/transfer/relations.json")?;
/// let tokenizer = tokenizers::Tokenizer::from_file("../testkit/fixtures/tokenizer.json").unwrap();
/// let marks = ["§", "°", "+", "="].map(String::from); // the default marks are not in this vocabulary
/// let config = RelationConfig { marks, ..RelationConfig::default() };
/// let inputs = encode_relations(&examples, &tokenizer, &config)?;
/// let piece = |position: usize| tokenizer.id_to_token(inputs[0].input_ids[position]).unwrap();
/// assert!(piece(inputs[0].subject + 1).contains('§') || piece(inputs[0].subject).contains('§'));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`] naming an example whose entities are outside of its words, have no pieces or
/// do not fit into `max_length`; [`Error::Tokenizer`], also if the vocabulary has no piece for a
/// mark.
pub fn encode_relations(
    examples: &[RelationExample],
    tokenizer: &Tokenizer,
    config: &RelationConfig,
) -> Result<Vec<RelationInput>> {
    let layout = layout(tokenizer)?;
    let encoder = Encoder {
        marks: match config.markers {
            Markers::None => None,
            Markers::Entity | Markers::Typed => Some(Marks::of(tokenizer, config)?),
        },
        pieces: PieceEncoder::of(tokenizer)?,
        layout,
        config,
    };
    let encode = |(index, example): (usize, &RelationExample)| {
        encoder.encode(example)?.map_err(|problem| {
            let message = format!("`{}`: {problem}", example.id);
            Error::mismatch("example", index, None, message)
        })
    };
    examples.par_iter().enumerate().map(encode).collect()
}

/// Pieces of the markers.
struct Marks {
    /// Start and end of the subject and of the object.
    entities: [Vec<u32>; 2],
    /// Start and end of their types.
    types: [Vec<u32>; 2],
}

impl Marks {
    fn of(tokenizer: &Tokenizer, config: &RelationConfig) -> Result<Self> {
        let pieces = PieceEncoder::of(tokenizer)?;
        let advice = "set marks to four characters of the vocabulary, or markers = \"none\"";
        let mark = |text: &str| pieces.encode_mark(text, advice);
        let [subject, object, subject_type, object_type] = &config.marks;
        Ok(Self {
            entities: [mark(subject)?, mark(object)?],
            types: [mark(subject_type)?, mark(object_type)?],
        })
    }
}

struct Encoder<'a> {
    marks: Option<Marks>,
    pieces: PieceEncoder,
    layout: Layout,
    config: &'a RelationConfig,
}

/// The result of an example; the inner error is a problem of the example.
type Encoded = Result<Result<RelationInput, String>>;

impl Encoder<'_> {
    fn encode(&self, example: &RelationExample) -> Encoded {
        let spans = [&example.subject, &example.object];
        let count = example.words.len();
        if spans.iter().any(|span| span.is_empty() || span.end > count) {
            let [subject, object] = spans;
            return Ok(Err(format!("entities {subject:?} and {object:?} of {count} words")));
        }
        let words: Vec<Vec<u32>> = example
            .words
            .iter()
            .map(|word| self.pieces.encode_after_space(unescaped(word)))
            .collect::<Result<_>>()?;
        let types = [&example.subject_type, &example.object_type];
        let mut openings: [Vec<u32>; 2] = Default::default();
        let mut closings: [Vec<u32>; 2] = Default::default();
        if let Some(marks) = &self.marks {
            for side in 0..2 {
                openings[side].clone_from(&marks.entities[side]);
                closings[side].clone_from(&marks.entities[side]);
                if self.config.markers == Markers::Typed {
                    let name = types[side].replace('_', " ").to_lowercase();
                    let name = self.pieces.encode_after_space(&name)?;
                    let mark = &marks.types[side];
                    openings[side].extend([&mark[..], &name, mark].concat());
                }
            }
        }
        let marker_count: usize = openings.iter().chain(&closings).map(Vec::len).sum();
        let fixed = 2 + marker_count;
        let used = match self.used_words(&words, spans, fixed) {
            Ok(used) => used,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut input_ids = vec![self.layout.before()];
        let mut starts = [None; 2];
        for (word, ids) in words.iter().enumerate() {
            for side in 0..2 {
                if spans[side].start == word {
                    starts[side] = Some(input_ids.len());
                    input_ids.extend(&openings[side]);
                }
            }
            if used[word] {
                input_ids.extend(ids);
            }
            for side in 0..2 {
                if spans[side].end == word + 1 {
                    input_ids.extend(&closings[side]);
                }
            }
        }
        input_ids.push(self.layout.after());
        let [subject, object] = starts.map(|start| start.expect("a span starts at a word"));
        Ok(Ok(RelationInput { input_ids, subject, object }))
    }

    /// Selects the entities and, up to the maximum length, the words closest to them.
    fn used_words(
        &self,
        words: &[Vec<u32>],
        spans: [&Range<usize>; 2],
        fixed: usize,
    ) -> Result<Vec<bool>, String> {
        let distance = |word: usize| {
            let to = |span: &Range<usize>| match word {
                word if word < span.start => span.start - word,
                word if word >= span.end => word + 1 - span.end,
                _ => 0,
            };
            to(spans[0]).min(to(spans[1]))
        };
        for span in spans {
            if words[span.clone()].iter().all(Vec::is_empty) {
                return Err(format!("the tokenizer has no pieces for the words {span:?}"));
            }
        }
        let mut order: Vec<usize> = (0..words.len()).collect();
        order.sort_by_key(|&word| (distance(word), word));
        let mut used = vec![false; words.len()];
        let mut length = fixed;
        for word in order {
            length += words[word].len();
            let is_entity = distance(word) == 0;
            if !is_entity && self.config.mentions_only {
                break;
            }
            if length > self.config.max_length {
                if is_entity {
                    let max = self.config.max_length;
                    return Err(format!(
                        "the entities with their markers exceed max_length = {max}"
                    ));
                }
                break;
            }
            used[word] = true;
        }
        Ok(used)
    }
}

/// Returns the bracket of an escaped bracket of the Penn Treebank, or the word.
fn unescaped(word: &str) -> &str {
    const BRACKETS: [(&str, &str); 6] = [
        ("-lrb-", "("),
        ("-rrb-", ")"),
        ("-lsb-", "["),
        ("-rsb-", "]"),
        ("-lcb-", "{"),
        ("-rcb-", "}"),
    ];
    let bracket = BRACKETS.iter().find(|(escaped, _)| word.eq_ignore_ascii_case(escaped));
    bracket.map_or(word, |(_, bracket)| bracket)
}
