//! Span prediction with a second text: each window is encoded together with its translation or a
//! copy of itself.
use std::collections::BTreeMap;

use mlqa_eval::{Purpose, Question, Window, WindowConfig};
use tch::no_grad;
use tokenizers::Tokenizer;
use xlmr_model::{FusionConfig, Model};

use super::halves::{Half, logits};
use super::teacher::to_lists;
use super::{PairedText, WindowPairing, WindowPairs};
use crate::{Error, Result, batch};

/// Options of inference with a second text.
///
/// If a window of the question is in several pairs, the best answer over all pairs is used.
#[derive(Clone, Copy, Debug)]
pub struct SecondTextConfig<'a> {
    /// Layers that encode both texts together, as in training.
    pub fusion: FusionConfig,
    /// Pairing of windows.
    pub pairing: WindowPairing,
    /// The second text.
    pub text: PairedText,
    /// Translations by question id, for [`PairedText::Translation`], see [`questions_by_id`].
    pub translations: &'a BTreeMap<String, Question>,
}

/// Maps questions by id. A translation has the id of the original question.
pub fn questions_by_id(
    questions: impl IntoIterator<Item = Question>,
) -> BTreeMap<String, Question> {
    questions.into_iter().map(|question| (question.id.clone(), question)).collect()
}

/// Returns the translation of each question, in the order of `questions`.
pub(super) fn translations_of(
    questions: &[Question],
    translations: &BTreeMap<String, Question>,
) -> Result<Vec<Question>> {
    let translation = |question: &Question| {
        translations.get(&question.id).cloned().ok_or_else(|| {
            let what = format!("translation of question {}", question.id);
            Error::data(what, "a question of this id", "none")
        })
    };
    questions.iter().map(translation).collect()
}

/// Windows with their start and end logits, one row per window.
pub(crate) type WindowLogits = (Vec<Window>, Vec<(Vec<f32>, Vec<f32>)>);

impl SecondTextConfig<'_> {
    /// Computes the windows of `questions` with start and end logits. A window occurs once for each
    /// pair of windows that contains it. Returns `None` if there is no second text.
    pub(crate) fn logits(
        &self,
        model: &Model,
        tokenizer: &Tokenizer,
        questions: &[Question],
        windows: &WindowConfig,
        batch_size: usize,
    ) -> Result<Option<WindowLogits>> {
        let second_questions = match self.text {
            PairedText::None => return Ok(None),
            PairedText::SameText => questions.to_vec(),
            PairedText::Translation => translations_of(questions, self.translations)?,
        };
        let (pairing, purpose) = (self.pairing, Purpose::Eval);
        let pairs =
            WindowPairs::new(questions, &second_questions, tokenizer, windows, pairing, purpose)?;
        let window_logits = batch::compute_by_length(&pairs.lengths(), batch_size, |rows| {
            let halves: Vec<_> = rows.iter().map(|&row| pairs.get(row)).collect();
            let (target, source): (Vec<&Window>, Vec<&Window>) = halves.into_iter().unzip();
            let lengths: Vec<usize> = target.iter().map(|window| window.input_ids.len()).collect();
            let (target, source) =
                (Half::new(target, true, model)?, Half::new(source, true, model)?);
            let [(starts, ends), _] =
                no_grad(|| logits(model, &target, &source, &self.fusion, false))?;
            Ok(to_lists(&starts, &lengths)?.into_iter().zip(to_lists(&ends, &lengths)?).collect())
        })?;
        let windows = pairs.iter().map(|(target, _)| target.clone()).collect();
        Ok(Some((windows, window_logits)))
    }
}
