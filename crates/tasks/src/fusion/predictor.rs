//! Span prediction with a second text: each window is encoded together with its translation or a
//! copy of itself.
use std::collections::BTreeMap;

use mlqa_eval::{NBest, Purpose, Question, Window};
use tch::no_grad;
use xlmr_model::FusionConfig;

use super::halves::{Half, logits};
use super::{PairedText, WindowPairing, WindowPairs};
use crate::inference::to_lists;
use crate::question_answering::{QaPredictor, WindowLogits, check_window_length};
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

/// Predictor of answers with a second text, for models trained with
/// [`FusedQaTask`](super::FusedQaTask).
///
/// # Example
/// ```
/// use mlqa_eval::{Question, WindowConfig};
/// use tasks::fusion::{FusedPredictor, PairedText, SecondTextConfig, WindowPairing};
/// use tasks::question_answering::QaPredictor;
/// use xlmr_model::{Config, FusionConfig, Head, Model, read_tokenizer};
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let second_text = SecondTextConfig {
///     fusion: FusionConfig { local: 1, cross: 1 },
///     pairing: WindowPairing::ByNumber,
///     text: PairedText::SameText,
///     translations: &Default::default(),
/// };
/// let reader = QaPredictor::new(&model, &tokenizer, &windows);
/// let predictor = FusedPredictor::new(reader, second_text);
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "It is a red house.".into(),
///     answers: Vec::new(),
///     title: "".into(),
/// };
/// assert_eq!(predictor.predict(&[question])?[0].id, "q1");
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone)]
pub struct FusedPredictor<'a> {
    reader: QaPredictor<'a>,
    second_text: SecondTextConfig<'a>,
}

impl<'a> FusedPredictor<'a> {
    /// Creates a predictor with the model and options of `reader`.
    pub fn new(reader: QaPredictor<'a>, second_text: SecondTextConfig<'a>) -> Self {
        Self { reader, second_text }
    }

    /// Predicts the best answers to each question, in the order of the questions.
    ///
    /// # Errors
    /// The errors of [`QaPredictor::predict`]; [`Error::Data`] naming a question with a missing
    /// translation.
    pub fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        let second_questions = match self.second_text.text {
            PairedText::None => return self.reader.predict(questions),
            PairedText::SameText => questions.to_vec(),
            PairedText::Translation => translations_of(questions, self.second_text.translations)?,
        };
        let QaPredictor { model, windows, .. } = &self.reader;
        check_window_length(model, windows)?;
        let WindowLogits { windows, logits } = self.logits(questions, &second_questions)?;
        self.reader.best_answers(questions, &windows, logits)
    }

    /// Computes the windows of `questions` with start and end logits. A window occurs once for each
    /// pair of windows that contains it.
    fn logits(&self, questions: &[Question], second: &[Question]) -> Result<WindowLogits> {
        let QaPredictor { model, tokenizer, windows, batch_size, .. } = &self.reader;
        let SecondTextConfig { fusion, pairing, .. } = &self.second_text;
        let pairs =
            WindowPairs::new(questions, second, tokenizer, windows, *pairing, Purpose::Eval)?;
        let logits = batch::compute_by_length(&pairs.lengths(), *batch_size, |rows| {
            let halves: Vec<_> = rows.iter().map(|&row| pairs.get(row)).collect();
            let (target, source): (Vec<&Window>, Vec<&Window>) = halves.into_iter().unzip();
            let lengths: Vec<usize> = target.iter().map(|window| window.input_ids.len()).collect();
            let (target, source) =
                (Half::new(target, true, model)?, Half::new(source, true, model)?);
            let [(starts, ends), _] = no_grad(|| logits(model, &target, &source, fusion, false))?;
            Ok(to_lists(&starts, &lengths)?.into_iter().zip(to_lists(&ends, &lengths)?).collect())
        })?;
        let windows = pairs.iter().map(|(target, _)| target.clone()).collect();
        Ok(WindowLogits { windows, logits })
    }
}
