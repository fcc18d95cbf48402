//! Extractive question answering as a training task (*Bridging the Language Gap*, section III-C).
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mlqa_eval::{Purpose, Question, Window, WindowConfig, squad, windows};
use objectives::tch::{Device, Kind, Tensor};
use objectives::{SpanConfig, span};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, pad_mask, pad_rows};
use xlmr_model::{Inputs, Model};

/// How a reader is trained to bear questions that are close to, but not, what it has seen. All off by default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadingConfig {
    /// Gaussian noise on the word embeddings before the context's separator: the ratio of its norm to the embedding's is
    /// drawn from 0 to this for each question (in the manner of NEFTune, Jain et al. 2024).
    pub embedding_noise: f64,
    /// Share of the question's tokens replaced by random ones, drawn from 0 to this for each question. Where the data
    /// marks the asked entity, its tokens stay, and it moves to a random place as often as tokens are replaced.
    pub question_replacement: f64,
    /// Only context tokens may start or end an answer, and `<s>` in a window labelled as having none; off: every token
    /// but padding.
    pub context_only: bool,
    /// Centres the word vectors and gives all of them their earlier mean norm before reading is learned.
    pub recentre_embeddings: bool,
}

/// Questions cut to windows, as a training task for a span head.
pub struct ReadingTask<'a> {
    model: &'a Model,
    config: ReadingConfig,
    span: SpanConfig,
    rows: Vec<Row>,
    lengths: Vec<usize>,
    /// Ids that may stand for a replaced token.
    ordinary: Vec<i64>,
}

struct Row {
    window: Window,
    /// Token range of the asked entity within the question's tokens.
    entity: Option<(usize, usize)>,
}

/// Where the data says the asked entity stands in the question: (start, length) in code points, by question id.
pub type EntityMarks = BTreeMap<String, (usize, usize)>;

/// Reads `head_start` and `head_length` beside the questions of a SQuAD-style file, where it has them.
///
/// # Errors
/// Naming the file if it is not SQuAD-style JSON, and the question if a value is no number.
pub fn read_entity_marks(path: &std::path::Path) -> Result<EntityMarks> {
    let mut marks = EntityMarks::new();
    for question in squad::File::read(path)?.questions() {
        let start = question.field("head_start", path)?;
        let length = question.field("head_length", path)?;
        marks.extend(start.zip(length).map(|mark| (question.id.clone(), mark)));
    }
    Ok(marks)
}

/// A reader's training data and options.
pub struct ReadingData<'a> {
    /// Questions with their gold answers.
    pub questions: &'a [Question],
    /// Asked entities, where the data marks them.
    pub marks: &'a EntityMarks,
    /// Cuts the contexts.
    pub windows: &'a WindowConfig,
}

impl<'a> ReadingTask<'a> {
    /// Tokenises the questions.
    ///
    /// # Errors
    /// If an answer is not where the data says, or a question leaves no room for its context.
    pub fn new(
        model: &'a Model,
        tokenizer: &Tokenizer,
        data: &ReadingData<'_>,
        config: &ReadingConfig,
        span: &SpanConfig,
    ) -> Result<Self> {
        let all = windows(data.questions, tokenizer, data.windows, Purpose::Train)?;
        let rows: Vec<Row> = all
            .into_iter()
            .map(|window| {
                let question = data.questions.get(window.question);
                let entity = question
                    .and_then(|question| Some((question, *data.marks.get(&question.id)?)))
                    .map(|(question, mark)| entity_tokens(tokenizer, &question.question, mark))
                    .transpose()?
                    .flatten();
                Ok(Row { window, entity })
            })
            .collect::<Result<_>>()?;
        let lengths = rows.iter().map(|row| row.window.input_ids.len()).collect();
        for (key, value) in [
            ("embedding_noise", config.embedding_noise),
            ("question_replacement", config.question_replacement),
        ] {
            anyhow::ensure!(
                value.is_finite() && value >= 0.0,
                "reading.{key} = {value}: must be 0 or more"
            );
        }
        let added = tokenizer.get_added_tokens_decoder();
        let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        let size = u32::try_from(tokenizer.get_vocab_size(true))?;
        let ordinary: Vec<i64> = (0..size).filter(|id| !special(id)).map(i64::from).collect();
        anyhow::ensure!(!ordinary.is_empty(), "the vocabulary holds special tokens alone");
        Ok(Self { model, config: config.clone(), span: span.clone(), rows, lengths, ordinary })
    }

    /// Replaces question tokens outside the asked entity, and sometimes moves the entity.
    fn disturb(&self, question: &[i64], entity: (usize, usize), rng: &mut ChaCha8Rng) -> Vec<i64> {
        let rate = rng.random::<f64>() * self.config.question_replacement;
        let kept = question.get(entity.0..entity.1).unwrap_or_default();
        let mut before: Vec<i64> = question.get(..entity.0).unwrap_or_default().to_vec();
        let mut after: Vec<i64> = question.get(entity.1..).unwrap_or_default().to_vec();
        for token in before.iter_mut().chain(&mut after) {
            if rng.random::<f64>() < rate {
                let drawn = rng.random_range(0..self.ordinary.len() as i64);
                let drawn = usize::try_from(drawn).ok().and_then(|k| self.ordinary.get(k));
                *token = drawn.copied().unwrap_or(*token);
            }
        }
        if rng.random::<f64>() < rate {
            before.append(&mut after);
            let cut = rng.random_range(0..=before.len());
            after = before.split_off(cut);
        }
        [&before, kept, &after].concat()
    }
}

/// The question's tokens that cover the code points of its entity.
fn entity_tokens(
    tokenizer: &Tokenizer,
    question: &str,
    (start, length): (usize, usize),
) -> Result<Option<(usize, usize)>> {
    let encoding = tokenizer
        .encode_char_offsets(question, false)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("question")?;
    let covers = |&(from, to): &(usize, usize)| from < start + length && to > start;
    let offsets = encoding.get_offsets();
    let first = offsets.iter().position(covers);
    let last = offsets.iter().rposition(covers);
    Ok(first.zip(last).map(|(first, last)| (first, last + 1)))
}

impl Task for ReadingTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config).serialize("span", &self.span);
        fingerprint.ids("ordinary", &self.ordinary);
        for Row { window, entity } in &self.rows {
            let positions = (window.context_start, window.start_position, window.end_position);
            fingerprint.ids("input_ids", &window.input_ids);
            fingerprint.serialize("positions", &(positions, entity));
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let device = self.model.device();
        let rows: Vec<&Row> = step.batch.iter().filter_map(|&k| self.rows.get(k)).collect();
        let mut ids: Vec<Vec<i64>> = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut own: Vec<i64> = row.window.input_ids.iter().map(|&id| i64::from(id)).collect();
            if self.config.question_replacement > 0.0 {
                // Without a mark nothing is spared.
                let entity = row.entity.unwrap_or((0, 0));
                // The question stands between <s> and the separator before the context.
                let end = question_end(&row.window);
                let whole = |question: &&mut [i64]| entity.1 <= question.len();
                if let Some(question) = own.get_mut(1..end).filter(whole) {
                    let disturbed = self.disturb(question, entity, &mut step.rng);
                    question.copy_from_slice(&disturbed);
                }
            }
            ids.push(own);
        }
        let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
        let all: Vec<&Window> = rows.iter().map(|row| &row.window).collect();
        let batch = Batch::new(&ids, &all, self.config.context_only, self.model)?;
        let inputs = if self.config.embedding_noise > 0.0 {
            let noisy = self.noisy_embeddings(&batch, &mut step.rng)?;
            Inputs { inputs_embeds: Some(noisy), ..batch.inputs() }
        } else {
            batch.inputs()
        };
        let hidden = self.model.encode(&inputs, true)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden)?;
        let position = |of: fn(&Window) -> Option<usize>| -> Result<Tensor, tch::TchError> {
            // A window without the answer carries no loss; one labelled <s> has 0.
            let label = |window: &&Window| of(window).and_then(|k| i64::try_from(k).ok());
            let positions: Vec<i64> = all.iter().map(|w| label(w).unwrap_or(-1)).collect();
            Tensor::f_from_slice(&positions)?.f_to_device(device)
        };
        let loss = span(
            &start_logits,
            &end_logits,
            &position(|window| window.start_position)?,
            &position(|window| window.end_position)?,
            Some(&batch.answerable.f_to_device(device)?),
            &self.span,
        )?;
        Ok(StepLosses::single("span", loss))
    }
}

impl ReadingTask<'_> {
    fn noisy_embeddings(&self, batch: &Batch, rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let device = self.model.device();
        let words = self.model.word_embeddings();
        let ids = batch.input_ids.f_to_device(device)?;
        let embedded = Tensor::f_embedding(words, &ids, -1, false, false)?; // [B, L, H]
        let rows = batch.question.size().first().copied().unwrap_or(0);
        let ratios: Vec<f64> =
            (0..rows).map(|_| rng.random::<f64>() * self.config.embedding_noise).collect();
        let ratio = Tensor::f_from_slice(&ratios)?
            .f_to_kind(Kind::Float)?
            .f_view([rows, 1, 1])?
            .f_to_device(device)?;
        let width = self.model.config().hidden_size as f64;
        let norms = embedded.f_detach()?.f_norm_scalaropt_dim(2.0, [-1i64], true)?; // [B, L, 1]
        let question = batch.question.f_unsqueeze(-1)?.f_to_device(device)?;
        let scale = norms.f_mul_scalar(1.0 / width.sqrt())?.f_mul(&ratio)?.f_mul(&question)?;
        let noise = embedded.f_detach()?.f_randn_like()?.f_mul(&scale)?;
        Ok(embedded.f_add(&noise)?)
    }
}

/// One past the question's last token.
pub(crate) fn question_end(window: &Window) -> usize {
    let separators = window
        .input_ids
        .get(..window.context_start)
        .map_or(0, |head| head.iter().rev().take_while(|id| Some(*id) == head.last()).count());
    window.context_start.saturating_sub(separators)
}

/// Windows padded to one tensor.
pub struct Batch {
    input_ids: Tensor,
    attention_mask: Option<Tensor>,
    token_type_ids: Option<Tensor>,
    /// `[B, L]` bool: where an answer may start or end.
    pub answerable: Tensor,
    /// `[B, L]` float: 1 up to the question's first separator.
    question: Tensor,
}

impl Batch {
    /// Pads `ids` (the windows' own, or changed ones of the same lengths).
    ///
    /// # Errors
    /// If a tensor cannot be made.
    pub fn new(
        ids: &[&[i64]],
        windows: &[&Window],
        context_only: bool,
        model: &Model,
    ) -> Result<Self> {
        let segments: Vec<Vec<i64>> = windows
            .iter()
            .map(|window| window.token_type_ids.iter().map(|&kind| i64::from(kind)).collect())
            .collect();
        let flags = |of: &dyn Fn(&Window, usize) -> bool| -> Result<Tensor> {
            let rows: Vec<Vec<i64>> = windows
                .iter()
                .map(|window| {
                    (0..window.input_ids.len()).map(|k| i64::from(of(window, k))).collect()
                })
                .collect();
            let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
            Ok(pad_rows(&rows, 0, Device::Cpu)?)
        };
        let answerable = flags(&|window, k| {
            let none_here = k == 0 && window.start_position == Some(0);
            !context_only || none_here || (window.context_start..window.context_end).contains(&k)
        })?;
        let question = flags(&|window, k| k + 1 < window.context_start)?;
        let segments: Vec<&[i64]> = segments.iter().map(Vec::as_slice).collect();
        let two = model.config().type_vocab_size > 1;
        Ok(Self {
            input_ids: pad_rows(ids, model.config().pad_token_id, Device::Cpu)?,
            attention_mask: pad_mask(ids, Device::Cpu)?,
            token_type_ids: two.then(|| pad_rows(&segments, 0, Device::Cpu)).transpose()?,
            answerable: answerable.f_to_kind(Kind::Bool)?,
            question: question.f_to_kind(Kind::Float)?,
        })
    }

    /// The model's inputs.
    pub fn inputs(&self) -> Inputs {
        let share = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        Inputs {
            attention_mask: share(&self.attention_mask),
            token_type_ids: share(&self.token_type_ids),
            ..Inputs::new(self.input_ids.shallow_clone())
        }
    }
}

/// Centres the word vectors and gives each of them the norm `norm`, padding left at zero. Injection at a high rate makes
/// them long, which drowns position and segment vectors.
///
/// # Errors
/// If libtorch refuses.
pub fn recentre(model: &Model, norm: f64) -> Result<()> {
    tch::no_grad(|| -> Result<()> {
        let mut words = model.word_embeddings().shallow_clone();
        let centred = words.f_sub(&words.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)?;
        let norms = centred.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?;
        words.f_copy_(&centred.f_div(&norms)?.f_mul_scalar(norm)?)?;
        let mut pad = words.f_select(0, model.config().pad_token_id)?;
        let _ = pad.f_zero_()?;
        Ok(())
    })
}

/// The mean norm of the word vectors.
///
/// # Errors
/// If libtorch refuses.
pub fn mean_norm(model: &Model) -> Result<f64> {
    let norms = model.word_embeddings().f_detach()?.f_norm_scalaropt_dim(2.0, [-1i64], false)?;
    Ok(norms.f_mean(Kind::Float)?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlqa_eval::Answer;

    use super::*;
    use crate::testing::model;

    const CONTEXT: &str = "The official language of Peru is Spanish . A region is Asia .";

    fn tokenizer() -> Tokenizer {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap()
    }

    fn question() -> Question {
        Question {
            id: "q".into(),
            question: "What is the official language of Peru ?".into(),
            context: Arc::from(CONTEXT),
            answers: vec![Answer { text: "Spanish".into(), answer_start: 33 }],
            title: "".into(),
        }
    }

    fn task<'a>(model: &'a Model, tokenizer: &Tokenizer, config: ReadingConfig) -> ReadingTask<'a> {
        let (questions, windows) = ([question()], WindowConfig::default());
        let windows = WindowConfig { max_length: 90, doc_stride: 10, segment_ids: true, ..windows };
        let marks = EntityMarks::from([("q".to_owned(), (33, 4))]);
        let data = ReadingData { questions: &questions, marks: &marks, windows: &windows };
        ReadingTask::new(model, tokenizer, &data, &config, &SpanConfig::default()).unwrap()
    }

    #[test]
    fn the_asked_entity_is_found_and_survives_disturbance() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let config = ReadingConfig { question_replacement: 1.0, ..Default::default() };
        let task = task(&model, &tokenizer, config);
        let entity = task.rows[0].entity.unwrap();
        let end = question_end(&task.rows[0].window);
        let ids: Vec<i64> = task.rows[0].window.input_ids.iter().map(|&id| i64::from(id)).collect();
        let question = &ids[1..end];
        let peru = tokenizer.encode_fast("Peru", false).unwrap();
        let peru: Vec<i64> = peru.get_ids().iter().map(|&id| i64::from(id)).collect();
        assert_eq!(question[entity.0..entity.1], peru);
        let mut rng = trainer::rng_for(1, "test", 0);
        let (mut changed, mut moved) = (0, 0);
        for _ in 0..100 {
            let disturbed = task.disturb(question, entity, &mut rng);
            assert_eq!(disturbed.len(), question.len());
            assert!(disturbed.windows(peru.len()).any(|part| part == peru), "{disturbed:?}");
            assert!(disturbed.iter().all(|&id| id >= 5 || question.contains(&id)));
            changed += usize::from(disturbed != question);
            moved += usize::from(disturbed[entity.0..entity.1] != peru);
        }
        assert!(changed > 70 && (20..80).contains(&moved), "{changed} changed, {moved} moved");
    }

    #[test]
    fn noise_touches_the_question_alone_and_is_as_large_as_asked() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let config = ReadingConfig { embedding_noise: 1.2, ..Default::default() };
        let task = task(&model, &tokenizer, config);
        let window = &task.rows[0].window;
        let ids: Vec<i64> = window.input_ids.iter().map(|&id| i64::from(id)).collect();
        let batch = Batch::new(&[&ids], &[window], true, &model).unwrap();
        let plain = Tensor::f_embedding(
            model.word_embeddings(),
            &Tensor::from_slice(&ids).unsqueeze(0),
            -1,
            false,
            false,
        )
        .unwrap();
        let split = window.context_start as i64 - 1;
        let mut largest: f64 = 0.0;
        for k in 0..50 {
            tch::manual_seed(k);
            let mut rng = trainer::rng_for(1, "noise", k as u64);
            let noise = task.noisy_embeddings(&batch, &mut rng).unwrap() - &plain;
            let after = noise.slice(1, split, None, 1).abs().max().double_value(&[]);
            assert_eq!(after, 0.0);
            let ratio = noise.slice(1, 0, split, 1).norm() / plain.slice(1, 0, split, 1).norm();
            largest = largest.max(ratio.double_value(&[]));
        }
        assert!((0.8..1.5).contains(&largest), "{largest}");
    }

    #[test]
    fn a_window_without_its_answer_trains_towards_the_first_token() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let mut long = question();
        long.context =
            Arc::from(format!("{CONTEXT} {}", "The region of Peru is Asia . ".repeat(20)));
        let (questions, windows) = ([long], WindowConfig::default());
        let windows = WindowConfig { max_length: 60, doc_stride: 10, segment_ids: true, ..windows };
        let data =
            ReadingData { questions: &questions, marks: &EntityMarks::new(), windows: &windows };
        let config =
            ReadingConfig { context_only: true, question_replacement: 0.5, ..Default::default() };
        let mut task =
            ReadingTask::new(&model, &tokenizer, &data, &config, &SpanConfig::default()).unwrap();
        assert!(task.rows.iter().any(|row| row.window.start_position == Some(0)));
        let batch: Vec<usize> = (0..task.rows.len()).collect();
        let rng = trainer::rng_for(0, "test", 0);
        let mut step = Step { batch: &batch, number: 0, total: 1, rng };
        let loss = task.losses(&mut step).unwrap().total.double_value(&[]);
        assert!(loss.is_finite() && loss > 0.0);
    }

    #[test]
    fn recentred_vectors_have_the_norm_asked_for_and_a_zero_pad() {
        let model = model(50);
        recentre(&model, 3.0).unwrap();
        let words = model.word_embeddings().detach();
        let norms = Vec::<f32>::try_from(words.norm_scalaropt_dim(2.0, [-1i64], false)).unwrap();
        assert_eq!(norms[1], 0.0);
        assert!(norms.iter().enumerate().all(|(k, n)| k == 1 || (n - 3.0).abs() < 1e-4));
        assert!((mean_norm(&model).unwrap() - 3.0 * 49.0 / 50.0).abs() < 1e-4);
    }
}
