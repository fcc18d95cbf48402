//! What a tokenizer puts around one text and around two.
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, PostProcessor, Token, Tokenizer};

use crate::quietly;

/// Names of special tokens, XLM-R's first, then BERT's and EuroBERT's, which pads with the token
/// after a text.
const PAD: &[&str] = &["<pad>", "[PAD]", "<|pad|>", "<|end_of_text|>"];
const MASK: &[&str] = &["<mask>", "[MASK]", "<|mask|>"];
const UNKNOWN: &[&str] = &["<unk>", "[UNK]"];

/// The tokens before and after a text in the families that are known by name, and how often the
/// last stands between two.
const FAMILIES: [(&str, &str, usize); 3] =
    [("<s>", "</s>", 2), ("[CLS]", "[SEP]", 1), ("<|begin_of_text|>", "<|end_of_text|>", 1)];

/// The two texts of a pair, as ids that no vocabulary reaches.
const FIRST: u32 = u32::MAX;
const SECOND: u32 = u32::MAX - 1;

/// A tokenizer whose special tokens are not understood, or that lacks one. Messages go on after
/// "tokenizer: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// It has no special token of a kind.
    #[error("it has no {kind} token, none of {names}; take the tokenizer.json of an encoder")]
    Missing {
        /// `padding`, `mask` or `unknown`.
        kind: &'static str,
        /// The names that are known.
        names: String,
    },
    /// Neither a post-processor nor known tokens decide what stands around a text.
    #[error(
        "it has no post-processor that puts tokens around a text, and none of {} among its tokens; \
         understood are a post-processor that puts one token before a text and one after it, and \
         these names without one",
        FAMILIES.map(|(before, after, _)| format!("{before} and {after}")).join(", ")
    )]
    Nothing,
    /// Other than one token stands before a text, or after it.
    #[error(
        "its post-processor lays a text out as `{layout}`; understood is one token before a text \
         and one after it"
    )]
    Single {
        /// The tokens, with A for the text.
        layout: String,
    },
    /// Two texts do not stand between the tokens of one, or with nothing between them.
    #[error(
        "its post-processor lays two texts out as `{layout}`; understood is `{before} A … B \
         {after}` with one token or more for the dots"
    )]
    Pair {
        /// The tokens, with A and B for the texts.
        layout: String,
        /// The token before a text.
        before: String,
        /// The token after a text.
        after: String,
    },
    /// Its post-processor fails.
    #[error("its post-processor fails: {0}")]
    PostProcessor(String),
}

/// The special tokens of a tokenizer, and where it puts them: around a text, and around and between
/// two.
///
/// What stands around texts is what the tokenizer's post-processor makes of them, whatever its
/// kind. A tokenizer whose post-processor adds nothing, or that has none, is taken for XLM-R's,
/// `<s> A </s></s> B </s>`, if it has these tokens, else for BERT's, `[CLS] A [SEP] B [SEP]`, else
/// for EuroBERT's. The padding token, the mask and the unknown token go by the names that these
/// have for them; of two, the one that is marked special.
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
    pad: Option<u32>,
    mask: Option<u32>,
    unknown: Option<u32>,
}

impl Layout {
    /// The layout of a tokenizer, whatever it truncates or pads.
    ///
    /// # Errors
    /// [`LayoutError`] if it does not put one token before a text and one after it. Other tokens
    /// that it lacks are an error of the method that returns them.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, LayoutError> {
        let processed = processed(tokenizer, &[FIRST])?.filter(|ids| ids.len() > 1);
        let (before, after, between) = match processed.as_deref() {
            Some(&[before, FIRST, after]) => (before, after, between(tokenizer, before, after)),
            Some(other) => {
                return Err(LayoutError::Single { layout: spell(tokenizer, other) });
            }
            None => by_name(tokenizer)?,
        };
        let padding = tokenizer
            .get_padding()
            .filter(|padding| tokenizer.token_to_id(&padding.pad_token) == Some(padding.pad_id));
        Ok(Self {
            before,
            after,
            between,
            pad: find(tokenizer, PAD).or(padding.map(|padding| padding.pad_id)),
            mask: find(tokenizer, MASK),
            unknown: find(tokenizer, UNKNOWN).or_else(|| models_unknown(tokenizer)),
        })
    }

    /// The token before a text: `<s>`, `[CLS]`.
    pub fn before(&self) -> u32 {
        self.before
    }

    /// The token after a text, and after the second of two: `</s>`, `[SEP]`.
    pub fn after(&self) -> u32 {
        self.after
    }

    /// The tokens between two texts, at least one: `</s></s>` of XLM-R, `[SEP]` of BERT.
    ///
    /// # Errors
    /// [`LayoutError::Pair`] if two texts do not stand between the tokens of one, or have nothing
    /// between them; [`LayoutError::PostProcessor`].
    pub fn between(&self) -> Result<&[u32], LayoutError> {
        self.between.as_deref().map_err(Clone::clone)
    }

    /// The padding token.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn pad(&self) -> Result<u32, LayoutError> {
        need(self.pad, "padding", PAD)
    }

    /// The token that stands for a hidden one.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn mask(&self) -> Result<u32, LayoutError> {
        need(self.mask, "mask", MASK)
    }

    /// The token of what the vocabulary lacks.
    ///
    /// # Errors
    /// [`LayoutError::Missing`].
    pub fn unknown(&self) -> Result<u32, LayoutError> {
        need(self.unknown, "unknown", UNKNOWN)
    }

    /// One text with its tokens around it: `<s> A </s>`.
    pub fn single(&self, ids: &[u32]) -> Vec<u32> {
        [&[self.before], ids, &[self.after]].concat()
    }

    /// Two texts with their tokens: `<s> A </s></s> B </s>`, `[CLS] A [SEP] B [SEP]`.
    ///
    /// # Errors
    /// As [`between`](Self::between).
    pub fn pair(&self, first: &[u32], second: &[u32]) -> Result<Vec<u32>, LayoutError> {
        Ok([&[self.before], first, self.between()?, second, &[self.after]].concat())
    }

    /// Whether `id` is a token that no text has of itself: one of those around or between texts,
    /// the padding token or the mask.
    pub fn is_control(&self, id: u32) -> bool {
        let between = self.between.as_deref().unwrap_or_default();
        [self.before, self.after].contains(&id)
            || between.contains(&id)
            || [self.pad, self.mask].contains(&Some(id))
    }
}

fn need(id: Option<u32>, kind: &'static str, names: &[&str]) -> Result<u32, LayoutError> {
    id.ok_or_else(|| LayoutError::Missing { kind, names: names.join(", ") })
}

/// What the post-processor makes of texts of one token each; `None` without one.
fn processed(tokenizer: &Tokenizer, texts: &[u32]) -> Result<Option<Vec<u32>>, LayoutError> {
    let Some(processor) = tokenizer.get_post_processor() else { return Ok(None) };
    let text = |&id: &u32| Encoding::from_tokens(vec![Token::new(id, "a".into(), (0, 1))], 0);
    let texts = texts.iter().map(text).collect();
    // `tokenizers` does not check all that a file may say.
    let failed = |problem: String| LayoutError::PostProcessor(problem);
    let made = quietly(|| processor.process_encodings(texts, true))
        .ok_or_else(|| failed("it is damaged".into()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Some(made.iter().flat_map(Encoding::get_ids).copied().collect()))
}

/// What stands between two texts.
fn between(tokenizer: &Tokenizer, before: u32, after: u32) -> Result<Vec<u32>, LayoutError> {
    let ids = processed(tokenizer, &[FIRST, SECOND])?.unwrap_or_default();
    match ids.as_slice() {
        &[first, FIRST, ref between @ .., SECOND, last]
            if (first, last) == (before, after)
                && !between.is_empty()
                && !between.contains(&FIRST)
                && !between.contains(&SECOND) =>
        {
            Ok(between.to_vec())
        }
        _ => Err(LayoutError::Pair {
            layout: spell(tokenizer, &ids),
            before: spell(tokenizer, &[before]),
            after: spell(tokenizer, &[after]),
        }),
    }
}

type Parts = (u32, u32, Result<Vec<u32>, LayoutError>);

/// The layout of a known family, for a tokenizer without a post-processor.
fn by_name(tokenizer: &Tokenizer) -> Result<Parts, LayoutError> {
    for (before, after, separators) in FAMILIES {
        let ids = tokenizer.token_to_id(before).zip(tokenizer.token_to_id(after));
        if let Some((before, after)) = ids {
            return Ok((before, after, Ok(vec![after; separators])));
        }
    }
    Err(LayoutError::Nothing)
}

/// Tokens by their names, with A and B for the texts.
fn spell(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let name = |&id: &u32| match id {
        FIRST => "A".to_owned(),
        SECOND => "B".to_owned(),
        id => tokenizer.id_to_token(id).unwrap_or_else(|| format!("token {id}")),
    };
    ids.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// The first of these tokens that is marked special, else the first that there is.
fn find(tokenizer: &Tokenizer, names: &[&str]) -> Option<u32> {
    let ids: Vec<u32> = names.iter().filter_map(|name| tokenizer.token_to_id(name)).collect();
    let added = tokenizer.get_added_tokens_decoder();
    let special = |id: &&u32| added.get(id).is_some_and(|token| token.special);
    ids.iter().find(special).or(ids.first()).copied()
}

/// The unknown token that the model names itself.
fn models_unknown(tokenizer: &Tokenizer) -> Option<u32> {
    let name = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_deref(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
        ModelWrapper::Unigram(_) => None,
    };
    tokenizer.token_to_id(name?)
}
