//! Evidence sentences of questions, found by a token tagger.
//!
//! The tagger labels the tokens of a passage given a question; the sentence with the most confident
//! tokens is the evidence.
use mlqa_eval::{Candidate, NBest, Purpose, Question, Window, WindowConfig, windows};
use objectives::IGNORE_INDEX;
use qa_translate::sentences;
use tch::{Kind, no_grad};
use tokenizers::Tokenizer;
use transfer_eval::ner::Labels;

use crate::fusion::lists;
use crate::question_answering::{Predictor, WindowBatch, check_window_length, window_lengths};
use crate::token_classification::TokenClassificationTask;
use crate::{Encoder, Error, Result, batch};

/// Returns the labels of the tagger: `O`, `B-EVIDENCE` and `I-EVIDENCE`.
///
/// # Example
/// ```
/// use tasks::{evidence, token_classification::head};
/// use xlmr_model::Head;
///
/// let labels = evidence::labels();
/// assert_eq!(labels.tags(), ["O", "B-EVIDENCE", "I-EVIDENCE"]);
/// assert!(matches!(head(&labels), Head::TokenClassification { labels: 3 }));
/// ```
pub fn labels() -> Labels {
    Labels::iob2(&["EVIDENCE"])
}

/// Creates a training task from questions whose first answers are their evidence, for a head with
/// [`labels`].
///
/// An input is a question and a window of its passage, with a label per token of the passage.
/// Questions without answers have label `O` everywhere.
///
/// # Errors
/// [`Error::Eval`] if a question leaves no space for its passage; [`Error::Config`] if windows may
/// be longer than the model's rows; [`Error::Empty`] without questions.
///
/// # Example
/// ```
/// use mlqa_eval::{Answer, Question, WindowConfig};
/// use tasks::{evidence, token_classification::head};
/// use trainer::Task;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let head = head(&evidence::labels());
/// let model = Model::new(&Config::tiny(4000), &[head], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "There is a house. It is red.".into(),
///     answers: vec![Answer { text: "It is red.".into(), answer_start: 18 }],
///     title: "".into(),
/// };
/// let windows = WindowConfig { max_length: 40, doc_stride: 8, ..WindowConfig::default() };
/// let mut task = evidence::task(&model, &tokenizer, &[question], &windows)?;
/// assert_eq!(task.examples().lengths().map(<[usize]>::len), Some(1));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn task<'a>(
    model: &'a dyn Encoder,
    tokenizer: &Tokenizer,
    questions: &[Question],
    config: &WindowConfig,
) -> Result<TokenClassificationTask<'a>> {
    check_window_length(model, config)?;
    let all = windows(questions, tokenizer, config, Purpose::Eval)?;
    let labels: Vec<Vec<i64>> = all
        .iter()
        .map(|window| {
            let evidence = questions.get(window.question).and_then(|one| one.answers.first());
            let span = evidence.map_or(0..0, |evidence| {
                evidence.answer_start..evidence.answer_start + evidence.text.chars().count()
            });
            let mut labels = vec![IGNORE_INDEX; window.input_ids.len()];
            let places = labels.iter_mut().skip(window.context_start);
            for (label, &(start, end)) in places.zip(&window.offsets) {
                if start < end {
                    let within = span.start <= start && end <= span.end;
                    *label = i64::from(within) + i64::from(within && start > span.start);
                }
            }
            labels
        })
        .collect();
    TokenClassificationTask::of_windows(model, &all, labels)
}

/// A trained tagger that returns sentences of the passage (UAX 29), best first.
///
/// A sentence's probability is the mean over its tokens of the probability that a token is not `O`,
/// class 0 of the head. A token is scored in the window with its maximum context. The sentence's
/// score is the logit of this probability, and the null score is 0.
///
/// # Example
/// ```
/// use mlqa_eval::{Question, WindowConfig};
/// use tasks::evidence::{self, EvidencePredictor};
/// use tasks::question_answering::Predictor;
/// use tasks::token_classification::head;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// // A trained tagger comes from `xlmr_model::Pretrained::load`.
/// let head = head(&evidence::labels());
/// let model = Model::new(&Config::tiny(4000), &[head], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "There is a house. It is red.".into(),
///     answers: Vec::new(),
///     title: "".into(),
/// };
/// let found = EvidencePredictor::new(&model, &tokenizer, &windows).predict(&[question])?;
/// let mut texts: Vec<&str> = found[0].candidates.iter().map(|one| one.text.as_str()).collect();
/// texts.sort();
/// assert_eq!(texts, ["It is red.", "There is a house."]);
/// # Ok::<(), tasks::Error>(())
/// ```
pub struct EvidencePredictor<'a> {
    model: &'a dyn Encoder,
    tokenizer: &'a Tokenizer,
    windows: WindowConfig,
    batch_size: usize,
}

impl<'a> EvidencePredictor<'a> {
    /// Creates a predictor with 64 windows per batch. `windows` must be the options used in
    /// training.
    pub fn new(model: &'a dyn Encoder, tokenizer: &'a Tokenizer, windows: &WindowConfig) -> Self {
        Self { model, tokenizer, windows: windows.clone(), batch_size: 64 }
    }

    /// Sets the number of windows per batch.
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// The probability of each token of each window that it is evidence.
    fn probabilities(&self, all: &[Window]) -> Result<Vec<Vec<f32>>> {
        batch::by_length(&window_lengths(all), self.batch_size, |rows| {
            let windows: Vec<&Window> = rows.iter().filter_map(|&row| all.get(row)).collect();
            let batch = WindowBatch::new(&windows, true, self.model)?;
            let evidence = no_grad(|| -> Result<_> {
                let hidden = self.model.encode(&batch.inputs, false)?;
                let logits = self.model.token_logits(&hidden, false)?; // [B, L, C]
                let none = logits.f_softmax(-1, Kind::Float)?.f_select(-1, 0)?;
                Ok(none.f_neg()?.f_add_scalar(1.0)?) // [B, L]
            })?;
            lists(&evidence, &window_lengths(windows.iter().copied()))
        })
    }
}

impl Predictor for EvidencePredictor<'_> {
    fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        check_window_length(self.model, &self.windows)?;
        let all = windows(questions, self.tokenizer, &self.windows, Purpose::Eval)?;
        let mut tokens: Vec<Vec<(usize, f32)>> = vec![Vec::new(); questions.len()];
        for (window, row) in all.iter().zip(self.probabilities(&all)?) {
            let of_context = row.into_iter().skip(window.context_start);
            let places = window.offsets.iter().zip(&window.max_context).zip(of_context);
            let kept = places.filter(|((offset, most), _)| **most && offset.0 < offset.1);
            if let Some(own) = tokens.get_mut(window.question) {
                own.extend(kept.map(|((offset, _), probability)| (offset.0, probability)));
            }
        }
        questions.iter().zip(&tokens).map(|(question, tokens)| ranked(question, tokens)).collect()
    }
}

/// Keeps logits finite.
const LEAST: f64 = 1e-12;

/// The sentences of a question's passage by the probabilities of their tokens, which are given with
/// their places.
fn ranked(question: &Question, tokens: &[(usize, f32)]) -> Result<NBest> {
    if tokens.iter().any(|(_, probability)| !probability.is_finite()) {
        return Err(Error::data("token logits", "finite", format!("NaN in {}", question.id)));
    }
    let candidate = |span: std::ops::Range<usize>| {
        let own = tokens.iter().filter(|(start, _)| span.contains(start));
        let (sum, count) =
            own.fold((0.0, 0_u32), |(sum, count), (_, one)| (sum + f64::from(*one), count + 1));
        let probability = sum / f64::from(count.max(1));
        let odds = probability.max(LEAST) / (1.0 - probability).max(LEAST);
        Candidate {
            text: question.context.chars().skip(span.start).take(span.len()).collect(),
            score: odds.ln() as f32,
            probability,
            answer_start: span.start,
            ..Candidate::default()
        }
    };
    let mut candidates: Vec<Candidate> =
        sentences(&question.context).into_iter().map(candidate).collect();
    // Of equal ones the first.
    candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    Ok(NBest { id: question.id.clone(), candidates, null_score: Some(0.0), null: false })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mlqa_eval::Answer;
    use trainer::{Step, Task};
    use xlmr_model::{Config, Model, read_tokenizer};

    use super::*;
    use crate::token_classification::head;

    fn tokenizer() -> Tokenizer {
        read_tokenizer(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base")).unwrap()
    }

    fn tagger() -> Model {
        let config = Config {
            hidden_size: 32,
            num_attention_heads: 2,
            num_hidden_layers: 2,
            intermediate_size: 64,
            max_position_embeddings: 60,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..Config::tiny(4000)
        };
        Model::new(&config, &[head(&labels())], tch::Device::Cpu, 1).unwrap()
    }

    fn question(id: &str, context: &str, evidence: &str) -> Question {
        let byte = context.find(evidence).unwrap();
        let answer_start = context[..byte].chars().count();
        Question {
            id: id.into(),
            question: "What is red?".into(),
            context: context.into(),
            answers: vec![Answer { text: evidence.into(), answer_start }],
            title: "".into(),
        }
    }

    fn config() -> WindowConfig {
        WindowConfig { max_length: 26, doc_stride: 8, ..WindowConfig::default() }
    }

    fn questions() -> Vec<Question> {
        vec![
            question("short", "Es regnet. Das Haus ist rot.", "Das Haus ist rot."),
            question(
                "long",
                "The sea is blue. The sky is blue, too, on most days of the year. The house is red. \
                 The grass is green. There are many trees in the park near the river.",
                "The house is red.",
            ),
            question("zh", "天气很好。房子是红色的。树很高。", "房子是红色的。"),
        ]
    }

    #[test]
    fn tokens_of_the_evidence_carry_its_labels_in_every_window() {
        let (model, tokenizer, questions) = (tagger(), tokenizer(), questions());
        let all = windows(&questions, &tokenizer, &config(), Purpose::Eval).unwrap();
        assert!(all.iter().filter(|window| window.question == 1).count() > 2);
        let mut task = task(&model, &tokenizer, &questions, &config()).unwrap();
        assert_eq!(task.examples().lengths().unwrap(), window_lengths(&all));
        let labels = task.labels();
        for (window, labels) in all.iter().zip(labels) {
            let answer = &questions[window.question].answers[0];
            let end = answer.answer_start + answer.text.chars().count();
            for (k, &label) in labels.iter().enumerate() {
                let offset = k.checked_sub(window.context_start).map(|at| window.offsets.get(at));
                let Some(Some(&(from, to))) = offset else {
                    assert_eq!(label, IGNORE_INDEX);
                    continue;
                };
                let want = match from >= answer.answer_start && to <= end {
                    _ if from == to => IGNORE_INDEX,
                    true if from == answer.answer_start => 1,
                    true => 2,
                    false => 0,
                };
                assert_eq!(label, want, "{}, token {k}", questions[window.question].id);
            }
        }
        // Some window of the long passage shows no evidence.
        let none = |labels: &&[i64]| labels.iter().all(|&label| label <= 0);
        assert!(task.labels().any(|labels| none(&labels)));
        assert!(super::task(&model, &tokenizer, &[], &config()).is_err());
        let error = super::task(&model, &tokenizer, &questions, &WindowConfig::default());
        assert!(error.err().unwrap().to_string().starts_with("windows.max_length"));
    }

    #[test]
    fn a_tagger_that_learned_the_sentences_finds_them() {
        let (model, tokenizer, questions) = (tagger(), tokenizer(), questions());
        let mut task = task(&model, &tokenizer, &questions, &config()).unwrap();
        let batch: Vec<usize> = (0..task.examples().lengths().unwrap().len()).collect();
        let mut variables: Vec<tch::Tensor> =
            model.named_parameters().into_iter().map(|(_, parameter)| parameter).collect();
        for number in 0..60 {
            let rng = trainer::rng_for(0, "test", number);
            let mut step = Step { batch: &batch, number, total: 60, micro_batch: None, rng };
            task.losses(&mut step).unwrap().total.backward();
            no_grad(|| {
                for variable in variables.iter_mut().filter(|one| one.grad().defined()) {
                    let _ = variable.g_sub_(&(variable.grad() * 0.5));
                    variable.zero_grad();
                }
            });
        }
        let found = |batch_size, questions: &[Question]| {
            let predictor = EvidencePredictor::new(&model, &tokenizer, &config());
            predictor.with_batch_size(batch_size).predict(questions).unwrap()
        };
        let together = found(8, &questions);
        for (question, found) in questions.iter().zip(&together) {
            assert_eq!(found.answer(), question.answers[0].text, "{}", question.id);
            assert_eq!(found.candidates.len(), sentences(&question.context).len());
            let best = &found.candidates[0];
            assert_eq!(best.answer_start, question.answers[0].answer_start);
            assert!(best.probability > 0.5 && found.candidates[1].probability < 0.5);
        }
        // Alone and in another order, the same up to rounding.
        for (question, together) in questions.iter().zip(&together).rev() {
            let alone = &found(1, std::slice::from_ref(question))[0];
            for (one, other) in alone.candidates.iter().zip(&together.candidates) {
                assert_eq!(one.text, other.text);
                assert!((one.probability - other.probability).abs() < 1e-5);
            }
        }
        assert!(found(1, &[]).is_empty());
        let predictor = EvidencePredictor::new(&model, &tokenizer, &config()).with_batch_size(0);
        assert!(predictor.predict(&questions).is_err());
    }

    #[test]
    fn a_sentence_scores_the_mean_of_its_tokens() {
        let question = question("q", "Ja. Nein. Doch.", "Ja.");
        let tokens = [(0, 0.25), (2, 0.5), (4, 0.75), (10, 0.375), (14, 0.375)];
        let found = ranked(&question, &tokens).unwrap();
        let scores: Vec<(&str, f64)> =
            found.candidates.iter().map(|one| (one.text.as_str(), one.probability)).collect();
        // Of equal ones the first.
        assert_eq!(scores, [("Nein.", 0.75), ("Ja.", 0.375), ("Doch.", 0.375)]);
        let logits: Vec<f32> = found.candidates.iter().map(|one| one.score).collect();
        assert!((logits[0] - 3.0f32.ln()).abs() < 1e-6 && found.null_score == Some(0.0));
        let sure = ranked(&question, &[(0, 1.0)]).unwrap();
        assert!(sure.candidates.iter().all(|one| one.score.is_finite()));
        let error = ranked(&question, &[(0, f32::NAN)]).unwrap_err().to_string();
        assert!(error.contains("NaN in q"), "{error}");
    }
}
