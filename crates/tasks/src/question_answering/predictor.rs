//! Prediction of answers by a trained model.
use mlqa_eval::{DecodeConfig, NBest, Purpose, Question, Window, WindowConfig};
use mlqa_eval::{decode_candidates, windows};
use ndarray::Array1;
use tch::{Tensor, no_grad};
use tokenizers::Tokenizer;
use torch_ext::to_i64;
use xlmr_model::Model;

use super::WindowBatch;
use super::window_batch::window_lengths;
use crate::inference::to_lists;
use crate::{Error, Result, batch};

/// A model with a span head, its tokenizer and decoding options.
///
/// Answers depend neither on the batch size, except for rounding in padded batches, nor on the
/// other questions of a call.
///
/// # Example
/// ```
/// use mlqa_eval::{DecodeConfig, Question, WindowConfig};
/// use tasks::question_answering::QaPredictor;
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// // `xlmr_model::Pretrained::load` loads a trained model.
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let predictor = QaPredictor::new(&model, &tokenizer, &windows)
///     .with_decoding(&DecodeConfig { n_best: 3, ..DecodeConfig::default() })
///     .with_batch_size(8);
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "It is a red house.".into(),
///     answers: Vec::new(),
///     title: "".into(),
/// };
/// let answers = predictor.predict(&[question])?;
/// assert_eq!((answers[0].id.as_str(), answers[0].candidates.len()), ("q1", 3));
/// assert!("It is a red house.".contains(answers[0].answer()));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone)]
pub struct QaPredictor<'a> {
    pub(crate) model: &'a Model,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) windows: WindowConfig,
    decoding: DecodeConfig,
    /// Maximum number of answers per question; `None` for `n_best` of the decoding options.
    max_candidates: Option<usize>,
    pub(crate) batch_size: usize,
    show_progress: bool,
}

/// Windows with their start and end logits, one pair of lists per window.
pub(crate) struct WindowLogits {
    pub(crate) windows: Vec<Window>,
    pub(crate) logits: Vec<(Vec<f32>, Vec<f32>)>,
}

impl<'a> QaPredictor<'a> {
    /// Creates a predictor with default decoding and 64 windows per batch. `windows` must be the
    /// options used in training.
    pub fn new(model: &'a Model, tokenizer: &'a Tokenizer, windows: &WindowConfig) -> Self {
        let (windows, decoding) = (windows.clone(), DecodeConfig::default());
        Self {
            model,
            tokenizer,
            windows,
            decoding,
            max_candidates: None,
            batch_size: 64,
            show_progress: true,
        }
    }

    /// Sets the decoding options.
    #[must_use]
    pub fn with_decoding(self, decoding: &DecodeConfig) -> Self {
        Self { decoding: decoding.clone(), ..self }
    }

    /// Sets the maximum number of answers per question, see
    /// [`decode_candidates`](mlqa_eval::decode_candidates()). By default, it is `n_best` of the
    /// decoding options.
    #[must_use]
    pub fn with_max_candidates(self, max_candidates: usize) -> Self {
        Self { max_candidates: Some(max_candidates), ..self }
    }

    /// Sets the number of windows per batch.
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets whether long predictions print progress to standard error (default: true).
    #[must_use]
    pub fn with_progress(self, show_progress: bool) -> Self {
        Self { show_progress, ..self }
    }

    /// Predicts the best answers to each question, in the order of the questions.
    ///
    /// # Errors
    /// [`Error::Config`] if the batch size is 0 or windows may be longer than the model's rows;
    /// [`Error::Eval`] if a question leaves no space for its context or a logit is not finite;
    /// [`Error::Model`] if the model has no span head or rejects an input.
    pub fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        check_window_length(self.model, &self.windows)?;
        let WindowLogits { windows, logits } = self.logits(questions)?;
        self.best_answers(questions, &windows, logits)
    }

    /// Decodes the best answers to each question from the logits of its windows; see
    /// [`window_logits`](Self::window_logits).
    ///
    /// # Errors
    /// The errors of [`decode`](mlqa_eval::decode()).
    pub fn best_answers(
        &self,
        questions: &[Question],
        windows: &[Window],
        logits: Vec<(Vec<f32>, Vec<f32>)>,
    ) -> Result<Vec<NBest>> {
        let (starts, ends): (Vec<_>, Vec<_>) =
            logits.into_iter().map(|(start, end)| (Array1::from(start), Array1::from(end))).unzip();
        let max_candidates = self.max_candidates.unwrap_or(self.decoding.n_best);
        Ok(decode_candidates(questions, windows, &starts, &ends, &self.decoding, max_candidates)?)
    }

    /// Computes the windows of questions, and the start and end logits of each window.
    fn logits(&self, questions: &[Question]) -> Result<WindowLogits> {
        let eval_windows = windows(questions, self.tokenizer, &self.windows, Purpose::Eval)?;
        let logits = batch::compute_by_length_with_progress(
            self.show_progress,
            &window_lengths(&eval_windows),
            self.batch_size,
            |rows| {
                let windows: Vec<&Window> = rows.iter().map(|&row| &eval_windows[row]).collect();
                self.window_logits(&windows)
            },
        )?;
        Ok(WindowLogits { windows: eval_windows, logits })
    }

    /// Computes start and end logits of windows in one batch. Both lists of a window have the
    /// window's length.
    ///
    /// # Errors
    /// [`Error::Model`] if the model has no span head or rejects an input.
    pub fn window_logits(&self, windows: &[&Window]) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let batch = WindowBatch::new(windows, true, self.model)?;
        let (starts, ends) = no_grad(|| -> Result<(Tensor, Tensor)> {
            let hidden = self.model.encode(&batch.inputs, false)?;
            Ok(self.model.span_logits(&hidden, false)?)
        })?;
        let lengths = window_lengths(windows.iter().copied());
        Ok(to_lists(&starts, &lengths)?.into_iter().zip(to_lists(&ends, &lengths)?).collect())
    }
}

/// Checks that windows fit the model.
pub(crate) fn check_window_length(model: &Model, windows: &WindowConfig) -> Result<()> {
    let (length, limit) = (to_i64(windows.max_length), model.config().max_length());
    match length <= limit {
        true => Ok(()),
        false => {
            let rule = format!("at most {limit}, the maximum length of the model");
            Err(Error::config("windows.max_length", length, rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xlmr_model::Model;

    use super::*;
    use crate::testing::{model, tokenizer};

    /// Questions whose contexts have one or several windows. The first and the last contexts are
    /// long.
    fn questions() -> Vec<Question> {
        let sentence =
            |name: &str, count: usize| format!("The capital of {name} is a city . ").repeat(count);
        let contexts =
            [("Peru", 9), ("Asia", 1), ("Japan", 4), ("Egypt", 2), ("Spain", 1), ("Ghana", 7)];
        let question = |(name, count): (&str, usize)| Question {
            id: name.into(),
            question: format!("What is the capital of {name} ?"),
            context: Arc::from(sentence(name, count)),
            answers: Vec::new(),
            title: "".into(),
        };
        contexts.map(question).into()
    }

    fn windows() -> WindowConfig {
        WindowConfig { max_length: 40, doc_stride: 10, ..WindowConfig::default() }
    }

    fn predict(model: &Model, questions: &[Question], batch_size: usize) -> Vec<NBest> {
        let tokenizer = tokenizer();
        let predictor = QaPredictor::new(model, &tokenizer, &windows()).with_batch_size(batch_size);
        predictor.predict(questions).unwrap()
    }

    #[test]
    fn results_are_in_question_order_for_any_batch_size() {
        let (model, questions) = (model(4000), questions());
        let single_results: Vec<NBest> = questions
            .iter()
            .flat_map(|question| predict(&model, std::slice::from_ref(question), 1))
            .collect();
        for batch_size in [1, 2, 3, 64] {
            let predictions = predict(&model, &questions, batch_size);
            assert_eq!(predictions.len(), questions.len());
            for ((question, batched), single) in
                questions.iter().zip(&predictions).zip(&single_results)
            {
                assert_eq!(batched.id, question.id);
                assert!(
                    batched
                        .candidates
                        .iter()
                        .all(|candidate| question.context.contains(&candidate.text))
                );
                assert_eq!(batched.answer(), single.answer(), "{} in {batch_size}", question.id);
                let scores = |list: &NBest| {
                    list.candidates.iter().map(|candidate| candidate.score).collect::<Vec<_>>()
                };
                for (score, expected) in scores(batched).iter().zip(scores(single)) {
                    assert!((score - expected).abs() < 1e-4, "{} in {batch_size}", question.id);
                }
            }
        }
        // Some contexts need several windows.
        let windows =
            mlqa_eval::windows(&questions, &tokenizer(), &windows(), Purpose::Eval).unwrap();
        assert!(windows.iter().filter(|window| window.question == 0).count() > 2);
    }

    #[test]
    fn empty_batches_and_too_long_windows_are_errors() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let predictor = QaPredictor::new(&model, &tokenizer, &windows()).with_batch_size(0);
        assert!(predictor.predict(&questions()).is_err());
        let predictor = QaPredictor::new(&model, &tokenizer, &WindowConfig::default());
        let error = predictor.predict(&questions()).err().unwrap().to_string();
        assert!(error.starts_with("windows.max_length = 384: must be at most"), "{error}");
    }
}
