//! Windows of token ids from questions and contexts.
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizer_file::Layout;
use tokenizers::Tokenizer;

use super::tokens::{clear_truncation, layout_error, tokenize, tokenize_as_is};
use super::words::{Tokens, WordCache};
use crate::metric::unicode::is_space;
use crate::{Answer, Compatible, Error, Question};

/// The tokens between question and context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// The tokenizer's template for two texts: `<s> question </s></s> context </s>` of XLM-R,
    /// `[CLS] question [SEP] context [SEP]` of BERT.
    #[default]
    Template,
    /// The end token twice, as in XLM-R: `<s> question </s></s> context </s>`.
    Double,
    /// The end token once: `<s> question </s> context </s>`.
    Single,
}

impl Separator {
    /// Number of separator tokens. [`Separator::Template`] is assumed to have two tokens, as in
    /// XLM-R.
    fn count(self) -> usize {
        match self {
            Self::Template | Self::Double => 2,
            Self::Single => 1,
        }
    }

    fn ids(self, layout: &Layout) -> Result<Vec<u32>, Error> {
        match self {
            Self::Template => Ok(layout.between().map_err(layout_error)?.to_vec()),
            Self::Double => Ok(vec![layout.after(); 2]),
            Self::Single => Ok(vec![layout.after()]),
        }
    }
}

/// Treatment of training windows without the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnanswerableWindow {
    /// Start and end position are 0, the position of `<s>` or `[CLS]`.
    #[default]
    Cls,
    /// The window is skipped.
    Drop,
}

/// Options of [`windows`]. The defaults are taken from the scripts on which the reproduced papers
/// build.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowConfig {
    /// Maximum window length in tokens, including special tokens.
    pub max_length: usize,
    /// Number of context tokens shared by adjacent windows, as `stride` in Hugging Face's `run_qa`.
    /// In BERT's original script, `doc_stride` is the step between windows.
    pub doc_stride: usize,
    /// Maximum number of question tokens; longer questions are truncated.
    pub max_question_length: usize,
    /// The tokens between question and context.
    pub separator: Separator,
    /// Whether `token_type_ids` always distinguish question (0) and context (1). With two or more
    /// separator tokens, segment 1 begins at the last one (the second `</s>` of XLM-R). With one
    /// separator token, segment 1 begins at the first context token. If false, all token types of a
    /// window are 0; a model whose tokenizer returns token types, such as BERT, still uses those.
    pub segment_ids: bool,
    /// Treatment of training windows without the answer.
    pub unanswerable_window: UnanswerableWindow,
    /// Compatibility mode for evaluation windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatible: Option<Compatible>,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            max_length: 384,
            doc_stride: 128,
            max_question_length: 64,
            separator: Separator::default(),
            segment_ids: false,
            unanswerable_window: UnanswerableWindow::default(),
            compatible: None,
        }
    }
}

/// Maximum of [`WindowConfig::max_length`] with [`Compatible::RunQa`].
const MAX_ROW_LENGTH: usize = 1 << 20;

impl WindowConfig {
    /// Returns the defaults, adjusted to a model's number of positions.
    ///
    /// ```
    /// use mlqa_eval::WindowConfig;
    ///
    /// assert_eq!(WindowConfig::for_model(512), WindowConfig::default());
    /// let config = WindowConfig::for_model(158);
    /// assert_eq!((config.max_length, config.doc_stride), (158, 52));
    /// config.validate(158, 1)?;
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    pub fn for_model(max_positions: usize) -> Self {
        let default = Self::default();
        if max_positions >= default.max_length {
            return default;
        }
        let third = max_positions / 3;
        Self {
            max_length: max_positions,
            doc_stride: default.doc_stride.min(third),
            max_question_length: default.max_question_length.min(third),
            ..default
        }
    }

    /// Validates the lengths against each other and against a model.
    ///
    /// `max_positions` is the maximum number of tokens of a model input, `segments` the number of
    /// segment embeddings. [`Separator::Template`] is assumed to add two separator tokens. If it
    /// adds more, [`windows`] may return [`Error::NoRoom`] for long questions.
    ///
    /// # Errors
    /// [`Error::Config`], naming the key whose value is invalid.
    ///
    /// ```
    /// use mlqa_eval::WindowConfig;
    ///
    /// let config = WindowConfig::default();
    /// config.validate(512, 1)?;
    /// assert!(config.validate(158, 1).unwrap_err().to_string().contains("max_length = 384"));
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    pub fn validate(&self, max_positions: usize, segments: usize) -> Result<(), Error> {
        self.check_lengths()?;
        if self.max_length > max_positions {
            let rule = format!("at most {max_positions}, the positions of the model");
            return Err(Error::config("max_length", self.max_length, rule));
        }
        let special_count = 2 + self.separator.count();
        let question = match self.compatible {
            None => self.max_question_length,
            // Questions are not truncated. A question that is too long is an error of `windows`.
            Some(Compatible::RunQa) => 0,
        };
        let min_length = question.saturating_add(special_count).saturating_add(self.doc_stride);
        if self.max_length <= min_length {
            let sum = match self.compatible {
                None => "max_question_length + doc_stride",
                Some(Compatible::RunQa) => "doc_stride",
            };
            let rule = format!("above {sum} + {special_count} = {min_length}");
            return Err(Error::config("max_length", self.max_length, rule));
        }
        if self.segment_ids && segments < 2 {
            let rule = "false: the model has one segment (model.segments = \"learned2\" adds one)";
            return Err(Error::config("segment_ids", true, rule));
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), Error> {
        // Every row of `run_qa` is padded to `max_length`.
        if self.compatible == Some(Compatible::RunQa) && self.max_length > MAX_ROW_LENGTH {
            let rule = format!(
                "at most {MAX_ROW_LENGTH} with compatible = \"run_qa\", which pads all rows to it"
            );
            return Err(Error::config("max_length", self.max_length, rule));
        }
        for (key, value) in
            [("max_length", self.max_length), ("max_question_length", self.max_question_length)]
        {
            if value == 0 {
                return Err(Error::config(key, value, "at least 1"));
            }
        }
        Ok(())
    }
}

/// Whether windows contain target positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Windows have `start_position` and `end_position` of the first gold answer with an offset.
    Train,
    /// Windows have no targets, and no window is skipped.
    Eval,
}

/// A model input without padding. Token indices start at 0 with the first special token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Window {
    /// Index of the question in the input slice.
    pub question: usize,
    /// Token ids, `[length]`.
    pub input_ids: Vec<u32>,
    /// 0 or 1 for each token, `[length]`.
    pub token_type_ids: Vec<u8>,
    /// Index after the last question token. The first question token has index 1.
    pub question_end: usize,
    /// Index of the first context token.
    pub context_start: usize,
    /// Index after the last context token.
    pub context_end: usize,
    /// `[start, end)` in code points of the context for each context token, without surrounding
    /// white space; empty for a token that is only white space. Tokens that are parts of one
    /// character (bytes) have the offsets of the whole character. With [`Compatible::RunQa`], the
    /// tokenizer's offsets are unchanged.
    pub offsets: Vec<(usize, usize)>,
    /// For each context token, whether the token has more context in this window than in any other
    /// window, as BERT defines it; always true for [`Compatible::RunQa`].
    pub max_context: Vec<bool>,
    /// Index in `input_ids` of the answer's first token; `None` for [`Purpose::Eval`].
    pub start_position: Option<usize>,
    /// Index in `input_ids` of the answer's last token (inclusive); `None` for
    /// [`Purpose::Eval`].
    pub end_position: Option<usize>,
}

/// Splits questions and contexts into windows, in the order of the questions.
///
/// A window contains the question, the separator and as much context as fits, between the special
/// tokens that the tokenizer adds around texts: `<s> question </s></s> context </s>` for XLM-R. The
/// answer's tokens are the smallest span that covers the answer's characters. A window that does
/// not contain all of these tokens is unanswerable, like all windows of a question without answers.
///
/// ```
/// use mlqa_eval::{Answer, Purpose, Question, WindowConfig, load_tokenizer, windows};
///
/// let question = Question {
///     id: "q1".into(),
///     question: "What?".into(),
///     context: "It is a red house.".into(),
///     answers: vec![Answer::at(12, "house")],
///     title: "".into(),
/// };
/// let tokenizer = load_tokenizer("../testkit/fixtures/tokenizer.json")?;
/// let all = windows(&[question], &tokenizer, &WindowConfig::default(), Purpose::Train)?;
/// let [window] = all.as_slice() else { panic!("one window") };
/// let (start, end) = (window.start_position.unwrap(), window.end_position.unwrap());
/// // `offsets` has an entry per context token; positions count from `<s>`.
/// assert_eq!(window.offsets[start - window.context_start].0, 12);
/// assert_eq!(window.offsets[end - window.context_start].1, 17);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::SpecialToken`] if the tokenizer's template is unknown, or the tokenizer has no padding
/// token; [`Error::NoRoom`] if a question leaves no more than `doc_stride` tokens for its context;
/// [`Error::Config`] if a length is 0; [`Error::AnswerMismatch`] if a training answer is not at its
/// `answer_start`; [`Error::Tokenizer`].
pub fn windows(
    questions: &[Question],
    tokenizer: &Tokenizer,
    config: &WindowConfig,
    purpose: Purpose,
) -> Result<Vec<Window>, Error> {
    WindowCutter::new(tokenizer, config)?.windows(questions, purpose)
}

/// A tokenizer with a word cache, shared by any number of [`WindowCutter`]s.
///
/// ```
/// use std::borrow::Cow;
/// use std::sync::Arc;
///
/// use mlqa_eval::{
///     Dataset, Purpose, WindowConfig, WindowCutter, WindowTokenizer, load_tokenizer, windows,
/// };
///
/// let tokenizer = load_tokenizer("../testkit/fixtures/tokenizer.json")?;
/// let shared = Arc::new(WindowTokenizer::new(Cow::Borrowed(&tokenizer))?);
/// for (language, max_length) in [("de", 384), ("en", 256)] {
///     let questions = Dataset::read(format!("../../data/xquad/xquad.{language}.json"))?.questions;
///     let config = WindowConfig { max_length, ..WindowConfig::default() };
///     let cutter = WindowCutter::with_cache(Arc::clone(&shared), &config)?;
///     let all = cutter.windows(&questions[..9], Purpose::Eval)?;
///     assert_eq!(all, windows(&questions[..9], &tokenizer, &config, Purpose::Eval)?);
/// }
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
#[derive(Debug)]
pub struct WindowTokenizer<'a> {
    tokenizer: Cow<'a, Tokenizer>,
    cache: Option<WordCache>,
    layout: Layout,
}

impl<'a> WindowTokenizer<'a> {
    /// Wraps a tokenizer with an empty cache.
    ///
    /// # Errors
    /// The errors of [`windows`] that concern the tokenizer.
    pub fn new(tokenizer: Cow<'a, Tokenizer>) -> Result<Self, Error> {
        let layout = Layout::of(&tokenizer).map_err(layout_error)?;
        let tokenizer = clear_truncation(tokenizer)?;
        Ok(Self { cache: WordCache::of(&tokenizer), tokenizer, layout })
    }
}

/// Splits batches of questions into windows like [`windows`], with a word cache across calls.
#[derive(Debug)]
pub struct WindowCutter<'a> {
    tokenizer: Arc<WindowTokenizer<'a>>,
    specials: Specials,
    pad: u32,
    config: &'a WindowConfig,
}

impl<'a> WindowCutter<'a> {
    /// Creates a cutter for a tokenizer.
    ///
    /// # Errors
    /// The errors of [`windows`] that concern the tokenizer or the lengths.
    pub fn new(tokenizer: &'a Tokenizer, config: &'a WindowConfig) -> Result<Self, Error> {
        config.check_lengths()?;
        Self::with_cache(Arc::new(WindowTokenizer::new(Cow::Borrowed(tokenizer))?), config)
    }

    /// Creates a cutter that shares a word cache with other cutters.
    ///
    /// # Errors
    /// The errors of [`WindowCutter::new`].
    pub fn with_cache(
        tokenizer: Arc<WindowTokenizer<'a>>,
        config: &'a WindowConfig,
    ) -> Result<Self, Error> {
        config.check_lengths()?;
        let layout = &tokenizer.layout;
        let between = config.separator.ids(layout)?;
        let specials = Specials { before: layout.before(), between, after: layout.after() };
        let pad = layout.pad().map_err(layout_error)?;
        Ok(Self { tokenizer, specials, pad, config })
    }

    /// Returns the id of the tokenizer's padding token.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// Returns the windows of `questions`; [`Window::question`] is an index in this slice.
    ///
    /// # Errors
    /// The errors of [`windows`].
    pub fn windows(&self, questions: &[Question], purpose: Purpose) -> Result<Vec<Window>, Error> {
        let Self { tokenizer, specials, config, .. } = self;
        let WindowTokenizer { tokenizer, cache, .. } = &**tokenizer;
        let cache = cache.as_ref();
        let is_run_qa = purpose == Purpose::Eval && config.compatible == Some(Compatible::RunQa);
        let tokenize = if is_run_qa { tokenize_as_is } else { tokenize };

        // Many questions share a context, so each distinct context is tokenised once.
        let mut index_by_context: HashMap<&str, usize, ahash::RandomState> = HashMap::default();
        let mut first_questions: Vec<&Question> = Vec::new();
        let context_indices: Vec<usize> = questions
            .iter()
            .map(|question| {
                *index_by_context.entry(&*question.context).or_insert_with(|| {
                    first_questions.push(question);
                    first_questions.len() - 1
                })
            })
            .collect();
        let contexts: Vec<Tokens> = first_questions
            .par_iter()
            .map(|q| {
                let name = || format!("the context of question `{}`", q.id);
                tokenize(tokenizer, cache, &q.context, &name)
            })
            .collect::<Result<_, _>>()?;

        let windows: Vec<Vec<Window>> = questions
            .par_iter()
            .zip(&context_indices)
            .enumerate()
            .map(|(k, (question, &context))| {
                let context = &contexts[context];
                let text = match is_run_qa {
                    true => question.question.trim_start_matches(is_space),
                    false => &question.question,
                };
                let name = &|| format!("the text of question `{}`", question.id);
                let question_ids = tokenize(tokenizer, cache, text, name)?.ids;
                let question_ids = match question_ids.get(..config.max_question_length) {
                    Some(truncated) if !is_run_qa => truncated,
                    _ => &question_ids,
                };
                QuestionCutter { question: k, config, specials, question_ids, context, is_run_qa }
                    .cut(question, purpose)
            })
            .collect::<Result<_, _>>()?;
        Ok(windows.into_iter().flatten().collect())
    }
}

/// The tokens around question and context.
#[derive(Clone, Debug)]
struct Specials {
    before: u32,
    between: Vec<u32>,
    after: u32,
}

struct QuestionCutter<'a> {
    question: usize,
    config: &'a WindowConfig,
    specials: &'a Specials,
    question_ids: &'a [u32],
    context: &'a Tokens,
    /// Whether the windows are compatible with `run_qa`; see [`Compatible::RunQa`].
    is_run_qa: bool,
}

impl QuestionCutter<'_> {
    fn cut(&self, question: &Question, purpose: Purpose) -> Result<Vec<Window>, Error> {
        let config = self.config;
        let fixed_count = self.question_ids.len() + 2 + self.specials.between.len();
        let budget = config.max_length.saturating_sub(fixed_count);
        let context_fits = fixed_count + self.context.ids.len() <= config.max_length;
        if budget <= config.doc_stride && !(self.is_run_qa && context_fits) {
            return Err(Error::NoRoom {
                id: question.id.clone(),
                question: self.question_ids.len(),
                budget,
                doc_stride: config.doc_stride,
            });
        }
        let answer = match purpose {
            Purpose::Train => {
                question.check_answers(Path::new("training data"))?;
                let text: Vec<char> = question.context.chars().collect();
                let span = question.located_answer().and_then(Answer::span);
                span.and_then(|span| find_answer_tokens(&self.context.offsets, &text, span))
            }
            Purpose::Eval => None,
        };
        let spans = split_into_spans(self.context.ids.len(), budget, config.doc_stride);
        let mut windows = Vec::with_capacity(spans.len());
        for (k, &(from, to)) in spans.iter().enumerate() {
            let mut window = self.build_window(from, to);
            window.max_context = match spans.len() == 1 || self.is_run_qa {
                true => vec![true; to - from],
                false => (from..to).map(|token| best_window(&spans, token) == k).collect(),
            };
            if purpose == Purpose::Train {
                let answer_in_window = answer.filter(|&(start, end)| from <= start && end < to);
                let (start, end) = match (answer_in_window, config.unanswerable_window) {
                    (Some((start, end)), _) => {
                        (window.context_start + start - from, window.context_start + end - from)
                    }
                    (None, UnanswerableWindow::Cls) => (0, 0),
                    (None, UnanswerableWindow::Drop) => continue,
                };
                (window.start_position, window.end_position) = (Some(start), Some(end));
            }
            windows.push(window);
        }
        Ok(windows)
    }

    fn build_window(&self, from: usize, to: usize) -> Window {
        let Specials { before, between, after } = self.specials;
        let context = &self.context.ids[from..to];
        let question_end = 1 + self.question_ids.len();
        let context_start = question_end + between.len();
        let input_ids = [&[*before], self.question_ids, between, context, &[*after]].concat();
        let segment_1_start = if self.config.segment_ids {
            context_start - usize::from(between.len() > 1)
        } else {
            input_ids.len()
        };
        Window {
            question: self.question,
            token_type_ids: (0..input_ids.len()).map(|k| u8::from(k >= segment_1_start)).collect(),
            question_end,
            context_start,
            context_end: context_start + context.len(),
            offsets: self.context.offsets[from..to].to_vec(),
            max_context: Vec::new(),
            start_position: None,
            end_position: None,
            input_ids,
        }
    }
}

/// Returns the range `[from, to)` of each window over `len` context tokens. Windows have up to
/// `budget` tokens, and adjacent windows share `overlap < budget` of them. If there are no tokens,
/// the result is one empty window.
fn split_into_spans(len: usize, budget: usize, overlap: usize) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut from = 0;
    loop {
        let to = (from + budget).min(len);
        spans.push((from, to));
        if to == len {
            return spans;
        }
        from += budget - overlap;
    }
}

/// Selects the window in which a token has its maximum context. As in BERT, this window has the
/// largest sum of min(left context, right context) and 0.01 times the window's length; ties go to
/// the first window. The sums are multiplied by 100 and computed in integers.
fn best_window(spans: &[(usize, usize)], token: usize) -> usize {
    let mut best = (0, 0);
    for (k, &(from, to)) in spans.iter().enumerate() {
        if from <= token && token < to {
            let score = 1 + 100 * (token - from).min(to - 1 - token) + (to - from);
            if score > best.0 {
                best = (score, k);
            }
        }
    }
    best.1
}

/// Returns the smallest span of tokens (inclusive) that covers the answer; ties go to the first
/// span. White space and characters that have no token are ignored at the ends of the answer. The
/// result is `None` if the answer contains no other characters.
fn find_answer_tokens(
    offsets: &[(usize, usize)],
    text: &[char],
    answer: Range<usize>,
) -> Option<(usize, usize)> {
    let token_at = |at: usize| {
        let k = offsets.partition_point(|&(_, end)| end <= at);
        offsets[k..].iter().find(|&&(start, end)| start < end).filter(|&&(s, _)| s <= at)
    };
    let is_tokenized = |&at: &usize| !is_space(text[at]) && token_at(at).is_some();
    let from = answer.clone().find(is_tokenized)?;
    let to = answer.rev().find(is_tokenized)?;
    let start = offsets.iter().rposition(|&(start, end)| start < end && start <= from)?;
    let end = offsets.iter().position(|&(start, end)| start < end && to < end)?;
    Some((start.min(end), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_by_doc_stride_and_cover_everything() {
        assert_eq!(split_into_spans(10, 4, 2), [(0, 4), (2, 6), (4, 8), (6, 10)]);
        assert_eq!(split_into_spans(9, 4, 2), [(0, 4), (2, 6), (4, 8), (6, 9)]);
        assert_eq!(split_into_spans(4, 4, 2), [(0, 4)]);
        assert_eq!(split_into_spans(0, 4, 2), [(0, 0)]);
    }

    #[test]
    fn maximum_context_equals_hand_computed_values() {
        // Tokens 2..4 are in both windows. The smaller context of token 2 is min(2, 1) = 1 in the
        // first window and min(0, 3) = 0 in the second. The smaller context of token 3 is 0 in the
        // first window and 1 in the second.
        let spans = [(0, 4), (2, 6)];
        assert_eq!((0..6).map(|t| best_window(&spans, t)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        // Token 1 is at the edge of both windows, so the longer window is selected.
        assert_eq!(best_window(&[(0, 2), (1, 4)], 1), 1);
    }

    #[test]
    fn answers_with_a_character_of_several_tokens_are_found() {
        // "6½ x": the tokenizer splits ½ into 1, ⁄, 2.
        let offsets = [(0, 1), (1, 2), (1, 2), (1, 2), (3, 4)];
        let text: Vec<char> = "6½ x".chars().collect();
        assert_eq!(find_answer_tokens(&offsets, &text, 1..2), Some((1, 1)));
        assert_eq!(find_answer_tokens(&offsets, &text, 0..2), Some((0, 1)));
        assert_eq!(find_answer_tokens(&offsets, &text, 1..4), Some((3, 4)));
        assert_eq!(find_answer_tokens(&offsets, &text, 2..3), None);
    }
}
