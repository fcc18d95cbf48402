//! The special tokens that a tokenizer adds to single texts and to pairs.
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, PostProcessor, Token, Tokenizer};

use crate::catch_panic;

/// Names of the special tokens of XLM-R, BERT and EuroBERT. EuroBERT may use its end-of-text token
/// for padding.
const PAD: &[&str] = &["<pad>", "[PAD]", "<|pad|>", "<|end_of_text|>"];
const MASK: &[&str] = &["<mask>", "[MASK]", "<|mask|>"];
const UNKNOWN: &[&str] = &["<unk>", "[UNK]"];

/// Known families: the token before a text, the token after a text, and the number of after-text
/// tokens between two texts.
const FAMILIES: [(&str, &str, usize); 3] =
    [("<s>", "</s>", 2), ("[CLS]", "[SEP]", 1), ("<|begin_of_text|>", "<|end_of_text|>", 1)];

/// Placeholder ids for the two texts of a pair, above the ids of any vocabulary.
const FIRST_TEXT: u32 = u32::MAX;
const SECOND_TEXT: u32 = u32::MAX - 1;

/// Special tokens that are missing or have an unsupported layout. Callers are expected to prefix
/// the messages with "tokenizer: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A special token is missing.
    #[error("no {kind} token (supported: {names}); use the tokenizer.json of an encoder")]
    Missing {
        /// `padding`, `mask` or `unknown`.
        kind: &'static str,
        /// The supported names.
        names: String,
    },
    /// There is neither a post-processor that adds tokens nor a known pair of special tokens.
    #[error(
        "no post-processor that adds tokens around a text, and none of the tokens {}; supported: a \
         post-processor that adds one token before and one after a text, or a pair of these tokens",
        FAMILIES.map(|(before, after, _)| format!("{before} and {after}")).join(", ")
    )]
    NoSpecialTokens,
    /// The post-processor does not add exactly one token before and one after a text.
    #[error(
        "its post-processor formats a text as `{layout}`; supported: one token before the text \
         and one after it"
    )]
    Single {
        /// The layout, with A for the text.
        layout: String,
    },
    /// A pair does not begin and end with the tokens of a single text, or has no separator.
    #[error(
        "its post-processor formats two texts as `{layout}`; supported: `{before} A … B {after}` \
         where … is at least one token"
    )]
    Pair {
        /// The layout, with A and B for the texts.
        layout: String,
        /// The token before a text.
        before: String,
        /// The token after a text.
        after: String,
    },
    /// The type ids of a pair are neither all 0, nor 0 up to a separator and then 1.
    #[error(
        "its post-processor gives the tokens of `{layout}` the types {types}; supported: 0 for all \
         tokens, or 1 for the second text, the token after it and all but the first separator"
    )]
    Types {
        /// The layout, with A and B for the texts.
        layout: String,
        /// The type ids of the tokens.
        types: String,
    },
    /// The post-processor fails.
    #[error("its post-processor fails: {0}")]
    PostProcessor(String),
}

/// The special tokens of a tokenizer and their positions in single texts and in pairs.
///
/// The layout is determined by running the tokenizer's post-processor. If no post-processor adds
/// tokens, the layout is the first in this list whose tokens are in the vocabulary: XLM-R's (`<s> A
/// </s></s> B </s>`), BERT's (`[CLS] A [SEP] B [SEP]`), EuroBERT's. The unknown token is the one that
/// the tokenizer's model specifies. The padding and mask tokens, and an unknown token that is not
/// specified, are found by their names in these families; if several names exist, a token that is
/// marked special is preferred.
///
/// ```
/// use tokenizer_file::Layout;
///
/// let layout = Layout::of(&tokenizer_file::read("../testkit/fixtures/tokenizer.json")?)?;
/// assert_eq!((layout.before(), layout.after()), (0, 2)); // `<s>` and `</s>`
/// assert_eq!(layout.pair(&[5, 6], &[7])?, [0, 5, 6, 2, 2, 7, 2]);
///
/// let layout = Layout::of(&tokenizer_file::read("../testkit/fixtures/wordpiece.json")?)?;
/// assert_eq!(layout.between()?, [layout.after()]); // `[SEP]`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    before: u32,
    after: u32,
    between: Result<Vec<u32>, LayoutError>,
    pair_segments: Result<Option<usize>, LayoutError>,
    pad: Option<u32>,
    mask: Option<u32>,
    unknown: Option<u32>,
}

impl Layout {
    /// Determines the layout of a tokenizer; its truncation and padding are ignored.
    ///
    /// # Errors
    /// [`LayoutError`] if the tokenizer does not add one token before a text and one after it.
    /// Methods that return another token, such as [`pad`](Self::pad), return an error if that token
    /// is missing.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, LayoutError> {
        let processed = post_process(tokenizer, &[FIRST_TEXT])?.filter(|(ids, _)| ids.len() > 1);
        let (before, after, between, pair_segments) = match processed {
            Some((ids, _)) => {
                let &[before, FIRST_TEXT, after] = ids.as_slice() else {
                    return Err(LayoutError::Single { layout: format_tokens(tokenizer, &ids) });
                };
                let (between, types) = separators(tokenizer, before, after)?;
                (before, after, between, types)
            }
            None => {
                let (before, after, between) = family_layout(tokenizer)?;
                // BERT's family has one separator, and the second text of a pair is segment 1.
                let types = (between.len() == 1).then_some(0);
                (before, after, Ok(between), Ok(types))
            }
        };
        let padding = tokenizer
            .get_padding()
            .filter(|padding| tokenizer.token_to_id(&padding.pad_token) == Some(padding.pad_id));
        Ok(Self {
            before,
            after,
            between,
            pair_segments,
            pad: find_token(tokenizer, PAD).or(padding.map(|padding| padding.pad_id)),
            mask: find_token(tokenizer, MASK),
            unknown: configured_unknown(tokenizer).or_else(|| find_token(tokenizer, UNKNOWN)),
        })
    }

    /// Returns the token before a text, such as `<s>` or `[CLS]`.
    pub fn before(&self) -> u32 {
        self.before
    }

    /// Returns the token after a single text and after a pair, such as `</s>` or `[SEP]`.
    pub fn after(&self) -> u32 {
        self.after
    }

    /// Returns the tokens between two texts, at least one: `</s></s>` for XLM-R, `[SEP]` for BERT.
    ///
    /// # Errors
    /// [`LayoutError::Pair`] if a pair does not begin and end with the tokens of a single text, or
    /// has no separator; [`LayoutError::PostProcessor`].
    pub fn between(&self) -> Result<&[u32], LayoutError> {
        self.between.as_deref().map_err(Clone::clone)
    }

    /// Returns how many of the tokens between two texts have type id 1 like the second text; they are
    /// the last ones. Returns `None` if all tokens of a pair have type id 0.
    ///
    /// The post-processor determines the type ids. Without a post-processor, the second text has
    /// type id 1 in BERT's layout and 0 in XLM-R's. Whether programs pass type ids to the model
    /// depends on other files, see [`returns_token_types`](crate::returns_token_types).
    ///
    /// ```
    /// use tokenizer_file::Layout;
    ///
    /// let layout = Layout::of(&tokenizer_file::read("../testkit/fixtures/wordpiece.json")?)?;
    /// assert_eq!(layout.pair_segments()?, Some(0)); // `[SEP]` between the texts has type id 0
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LayoutError::Types`] for any other type ids; the errors of [`between`](Self::between).
    pub fn pair_segments(&self) -> Result<Option<usize>, LayoutError> {
        self.pair_segments.clone()
    }

    /// Returns the padding token.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn pad(&self) -> Result<u32, LayoutError> {
        require(self.pad, "padding", PAD)
    }

    /// Returns the mask token.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn mask(&self) -> Result<u32, LayoutError> {
        require(self.mask, "mask", MASK)
    }

    /// Returns the unknown token.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn unknown(&self) -> Result<u32, LayoutError> {
        require(self.unknown, "unknown", UNKNOWN)
    }

    /// Adds the special tokens of a single text, as in `<s> A </s>`.
    pub fn single(&self, ids: &[u32]) -> Vec<u32> {
        [&[self.before], ids, &[self.after]].concat()
    }

    /// Joins two texts with special tokens, as in `<s> A </s></s> B </s>`.
    ///
    /// # Errors
    /// The errors of [`between`](Self::between).
    pub fn pair(&self, first: &[u32], second: &[u32]) -> Result<Vec<u32>, LayoutError> {
        Ok([&[self.before], first, self.between()?, second, &[self.after]].concat())
    }

    /// Returns whether `id` is a special token that does not occur in text: before, after or
    /// between texts, padding or mask.
    pub fn is_control(&self, id: u32) -> bool {
        // Without known separators, none is a control token.
        let is_separator = self.between.as_ref().is_ok_and(|between| between.contains(&id));
        [self.before, self.after].contains(&id)
            || is_separator
            || [self.pad, self.mask].contains(&Some(id))
    }
}

fn require(id: Option<u32>, kind: &'static str, names: &[&str]) -> Result<u32, LayoutError> {
    id.ok_or_else(|| LayoutError::Missing { kind, names: names.join(", ") })
}

/// Token ids and type ids.
type Processed = (Vec<u32>, Vec<u32>);

/// Applies the post-processor to texts of one token each; `None` without a post-processor.
fn post_process(tokenizer: &Tokenizer, texts: &[u32]) -> Result<Option<Processed>, LayoutError> {
    let Some(processor) = tokenizer.get_post_processor() else { return Ok(None) };
    // As in `tokenizers`, the type id of a text is its index, unless the post-processor changes it.
    let text = |(type_id, &id): (u32, &u32)| {
        Encoding::from_tokens(vec![Token::new(id, "a".into(), (0, 1))], type_id)
    };
    let texts = (0..).zip(texts).map(text).collect();
    // `tokenizers` does not validate all fields of a file, so the post-processor can panic.
    let processor_error = |problem: String| LayoutError::PostProcessor(problem);
    let encodings = catch_panic(|| processor.process_encodings(texts, true))
        .ok_or_else(|| processor_error("it is damaged".into()))?
        .map_err(|error| processor_error(error.to_string()))?;
    let ids = encodings.iter().flat_map(Encoding::get_ids).copied().collect();
    Ok(Some((ids, encodings.iter().flat_map(Encoding::get_type_ids).copied().collect())))
}

/// The separator tokens between two texts, and the number of them that have type id 1; see
/// [`Layout::pair_segments`].
type Separators = (Result<Vec<u32>, LayoutError>, Result<Option<usize>, LayoutError>);

fn separators(tokenizer: &Tokenizer, before: u32, after: u32) -> Result<Separators, LayoutError> {
    let processed = match post_process(tokenizer, &[FIRST_TEXT, SECOND_TEXT]) {
        Ok(processed) => processed,
        Err(error) => return Ok((Err(error.clone()), Err(error))),
    };
    #[expect(clippy::expect_used, reason = "the caller has run the post-processor")]
    let (ids, types) = processed.expect("there is a post-processor");
    let names = |ids: &[u32]| format_tokens(tokenizer, ids);
    let between = match ids.as_slice() {
        &[first, FIRST_TEXT, ref between @ .., SECOND_TEXT, last]
            if (first, last) == (before, after)
                && !between.is_empty()
                && !between.contains(&FIRST_TEXT)
                && !between.contains(&SECOND_TEXT) =>
        {
            between.to_vec()
        }
        _ => {
            let (before, after) = (names(&[before]), names(&[after]));
            let error = LayoutError::Pair { layout: names(&ids), before, after };
            return Ok((Err(error.clone()), Err(error)));
        }
    };
    // The second text and the token after it are the last two tokens.
    let first_of_segment_1 = types.iter().position(|&id| id != 0);
    let segments = match first_of_segment_1 {
        None => Ok(None),
        Some(first)
            if (3..=ids.len() - 2).contains(&first)
                && types.iter().skip(first).all(|&id| id == 1) =>
        {
            Ok(Some(ids.len() - 2 - first))
        }
        Some(_) => Err(LayoutError::Types { layout: names(&ids), types: format!("{types:?}") }),
    };
    Ok((Ok(between), segments))
}

/// Returns the special tokens of the first known family whose tokens are in the vocabulary: before,
/// after and between texts.
fn family_layout(tokenizer: &Tokenizer) -> Result<(u32, u32, Vec<u32>), LayoutError> {
    for (before, after, n_separators) in FAMILIES {
        let ids = tokenizer.token_to_id(before).zip(tokenizer.token_to_id(after));
        if let Some((before, after)) = ids {
            return Ok((before, after, vec![after; n_separators]));
        }
    }
    Err(LayoutError::NoSpecialTokens)
}

/// Returns the names of tokens, with A and B for the texts.
fn format_tokens(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let name_of = |&id: &u32| match id {
        FIRST_TEXT => "A".to_owned(),
        SECOND_TEXT => "B".to_owned(),
        id => tokenizer.id_to_token(id).unwrap_or_else(|| format!("token {id}")),
    };
    ids.iter().map(name_of).collect::<Vec<_>>().join(" ")
}

/// Returns the first of the named tokens that is marked special, or otherwise the first one that is
/// in the vocabulary.
fn find_token(tokenizer: &Tokenizer, names: &[&str]) -> Option<u32> {
    let ids: Vec<u32> = names.iter().filter_map(|name| tokenizer.token_to_id(name)).collect();
    let added_tokens = tokenizer.get_added_tokens_decoder();
    let is_special = |id: &&u32| added_tokens.get(id).is_some_and(|token| token.special);
    ids.iter().find(is_special).or(ids.first()).copied()
}

/// Returns the unknown token of the model's configuration. MPNet's vocabulary also contains another
/// token with a known name, `<unk>`, which the model does not use.
fn configured_unknown(tokenizer: &Tokenizer) -> Option<u32> {
    let name = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_deref(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
        ModelWrapper::Unigram(_) => None,
    };
    tokenizer.token_to_id(name?)
}
