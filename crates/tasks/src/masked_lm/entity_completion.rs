//! Entity completion on masked triples.
use std::collections::BTreeSet;

use kg_triples::Sequence;
use objectives::{EntityCompletionConfig, EntityNormalization, IGNORE_INDEX, entity_completion};
use tch::{Device, Tensor};
use torch_ext::to_i64;
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Inputs, Model};

use super::{SelectedSequences, target_positions, with_scores};
use crate::micro_batches::{Reduction, losses};
use crate::shard_examples::ShardExamples;
use crate::{Error, Result};

// Stored sequences and losses use the same label for positions without loss.
const _: () = assert!(kg_triples::IGNORE_INDEX == IGNORE_INDEX);

/// Training task of knowledge injection: completion of masked entities in triples.
///
/// See *Bridging the Language Gap* (Duan et al. 2021), section III-B, Eq. 2. The model needs a
/// masked-LM head.
///
/// The loss is [`entity_completion`](objectives::entity_completion()), in nats, logged as
/// `entity_completion`.
///
/// # Example
/// ```
/// use kg_triples::sequence::Role;
/// use kg_triples::{Language, MaskedEntity, Sequence, SequenceKind};
/// use objectives::EntityCompletionConfig;
/// use tasks::masked_lm::EntityCompletionTask;
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let en = Language::new("en")?;
/// // <s> Paris capital of <mask> </s>
/// let sequence = Sequence {
///     fact: 0,
///     kind: SequenceKind::Monolingual,
///     languages: (en, en),
///     input_ids: vec![0, 11, 12, 13, 4, 2],
///     labels: vec![-100, -100, -100, -100, 14, -100],
///     entities: vec![
///         MaskedEntity { start: 4, end: 5, pieces: 1, role: Role::Tail, language: en },
///     ],
/// };
/// let mut task =
///     EntityCompletionTask::new(&model, &[sequence], &EntityCompletionConfig::default())?;
/// let rng = trainer::rng_for(0, "inject", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert_eq!(losses.parts[0].0, "entity_completion");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct EntityCompletionTask<'a> {
    model: &'a Model,
    config: EntityCompletionConfig,
    rows: ShardExamples<Row>,
}

struct Row {
    /// Token ids, `[L]`.
    input_ids: Vec<u32>,
    /// `[L]`: the original token at masked positions, [`IGNORE_INDEX`] elsewhere.
    labels: Vec<i64>,
    /// For each masked position in order, the index of its entity within the row.
    entities: Vec<i64>,
}

impl<'a> EntityCompletionTask<'a> {
    /// Creates a task from `sequences` built with the model's tokenizer.
    ///
    /// # Errors
    /// [`Error::Empty`] without a sequence; [`Error::Data`] naming the sequence with a label
    /// outside its masked entities.
    pub fn new(
        model: &'a Model,
        sequences: &[Sequence],
        config: &EntityCompletionConfig,
    ) -> Result<Self> {
        if sequences.is_empty() {
            return Err(Error::empty("triple to train on"));
        }
        let rows = sequences.iter().enumerate().map(|(number, sequence)| {
            Row::of(sequence).map_err(|position| {
                let what = format!("sequence {number}, label at position {position}");
                Error::data(what, "a masked entity that covers it", "none")
            })
        });
        let rows = ShardExamples::in_memory(rows.collect::<Result<_>>()?, Row::token_count);
        Ok(Self { model, config: config.clone(), rows })
    }

    /// Creates a task from sequences in files. The sequences are in memory if they fit the shuffle
    /// buffer, otherwise streamed.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new); [`Error::Data`] if a sequence is longer than the model's
    /// rows.
    pub fn from_files(
        model: &'a Model,
        sequences: &SelectedSequences,
        config: &EntityCompletionConfig,
    ) -> Result<Self> {
        let (max_tokens, max_length) = (sequences.max_tokens(), model.config().max_length());
        if to_i64(max_tokens) > max_length {
            let expected = format!("at most {max_length} tokens");
            return Err(Error::data("longest sequence", expected, max_tokens));
        }
        let row = |sequence: &Sequence| {
            Row::of(sequence).map_err(|position| format!("no entity covers position {position}"))
        };
        let rows = sequences.examples(row, Row::token_count)?;
        Ok(Self { model, config: config.clone(), rows })
    }
}

impl Task for EntityCompletionTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        self.rows.examples()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config);
        self.rows.fingerprint(fingerprint, |fingerprint, row| {
            fingerprint.add_ids("input_ids", &row.input_ids).add_ids("labels", &row.labels);
            fingerprint.add_ids("entities", &row.entities);
        });
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&Row> = step.batch.iter().map(|&k| self.rows.get(k)).collect();
        let targets = |row: &&Row| row.target_count(self.config.normalization);
        losses(step, "entity_completion", &rows, Reduction::Mean, targets, |rows| self.loss(rows))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows.get(index).input_ids.clone() }
    }
}

impl Row {
    /// Creates a row from a sequence; the error is a masked position outside all entities.
    fn of(sequence: &Sequence) -> std::result::Result<Self, usize> {
        let labels = sequence.labels.iter().enumerate();
        let masked =
            labels.filter(|(_, label)| **label != IGNORE_INDEX).map(|(position, _)| position);
        let entity_at = |position: usize| {
            let mut entities = (0i64..).zip(&sequence.entities);
            let entity =
                entities.find(|(_, entity)| (entity.start..entity.end).contains(&position));
            entity.map(|(number, _)| number).ok_or(position)
        };
        Ok(Self {
            input_ids: sequence.input_ids.clone(),
            labels: sequence.labels.clone(),
            entities: masked.map(entity_at).collect::<std::result::Result<_, _>>()?,
        })
    }

    fn token_count(&self) -> usize {
        self.input_ids.len()
    }

    /// Returns the number of targets over which the loss is averaged: masked positions or masked
    /// entities.
    fn target_count(&self, normalization: EntityNormalization) -> usize {
        match normalization {
            EntityNormalization::Token => self.entities.len(),
            EntityNormalization::Entity => self.entities.iter().collect::<BTreeSet<_>>().len(),
        }
    }
}

impl EntityCompletionTask<'_> {
    /// Computes the loss of some rows.
    fn loss(&self, rows: &[&Row]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        // Entity ids continue from row to row, so that they are unique in the batch.
        let mut entities: Vec<i64> = Vec::new();
        let mut first_id = 0;
        for row in rows {
            entities.extend(row.entities.iter().map(|entity| first_id + entity));
            first_id += row.entities.iter().max().map_or(0, |last| last + 1);
        }
        let inputs = Inputs::from_rows(&ids, self.model.config().pad_token_id)?;
        let positions = target_positions(&labels, Device::Cpu)?;
        let hidden = self.model.encode(&inputs, true)?;
        let entities = Tensor::f_from_slice(&entities)?;
        with_scores(self.model, &hidden, &positions, |scores| {
            entity_completion(scores, &positions.targets, &entities, &self.config)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kg_triples::{KnowledgeGraph, SequenceConfig, build_sequences};

    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_micro_batches_match, first_loss, model, tokenizer,
    };

    fn sequences() -> Vec<Sequence> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let graph = KnowledgeGraph::read_dir(root.join("data/demo/kg")).unwrap();
        let heads: BTreeSet<&str> = graph.triples().map(|fact| fact.head).collect();
        let selected_heads: Vec<&str> = heads.into_iter().step_by(50).collect();
        let graph = graph.filter(|fact| selected_heads.contains(&fact.head));
        build_sequences(&graph, ("en", "de"), &SequenceConfig::default(), &tokenizer()).unwrap().0
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let (model, sequences) = (model(4000), sequences());
        let (parameters, batch) = (model.named_parameters(), (0..32).collect::<Vec<usize>>());
        for normalization in [EntityNormalization::Token, EntityNormalization::Entity] {
            let config = EntityCompletionConfig { normalization };
            let task = || EntityCompletionTask::new(&model, &sequences, &config).unwrap();
            assert_bf16_is_near_f32(&parameters, task, &batch);
            assert_micro_batches_match(&parameters, task, &batch);
        }
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let (model, sequences) = (model(4000), sequences());
        let config = EntityCompletionConfig { normalization: EntityNormalization::Entity };
        let mut task = EntityCompletionTask::new(&model, &sequences, &config).unwrap();
        let batch: Vec<usize> = (0..sequences.len().min(12)).collect();
        let actual = first_loss(&mut task, &batch).double_value(&[]);

        // Reference: each row is encoded separately, without padding, and each entity has a
        // separate loss.
        let mut entity_losses = Vec::new();
        for sequence in batch.iter().map(|&k| &sequences[k]) {
            let inputs = Inputs::from_rows(&[&sequence.input_ids], 1).unwrap();
            let hidden = model.encode(&inputs, false).unwrap();
            let log_p = model.mlm_logits(&hidden).unwrap().log_softmax(-1, None::<tch::Kind>);
            for entity in &sequence.entities {
                let positions = entity.start..entity.end;
                let count = positions.len() as f64;
                let loss: f64 = positions
                    .map(|k| -log_p.double_value(&[0, k as i64, sequence.labels[k]]))
                    .sum();
                entity_losses.push(loss / count);
            }
        }
        let expected_loss = entity_losses.iter().sum::<f64>() / entity_losses.len() as f64;
        assert!(entity_losses.len() > batch.len(), "no pair of entities in the batch");
        assert!((actual - expected_loss).abs() < 1e-4, "got {actual}, expected {expected_loss}");
    }

    #[test]
    fn labels_without_entity_and_empty_data_are_errors() {
        let model = model(80);
        let config = EntityCompletionConfig::default();
        assert!(EntityCompletionTask::new(&model, &[], &config).is_err());
        let language = kg_triples::Language::new("en").unwrap();
        let sequence = Sequence {
            fact: 0,
            kind: kg_triples::SequenceKind::Monolingual,
            languages: (language, language),
            input_ids: vec![0, 5, 4, 2],
            labels: vec![IGNORE_INDEX, IGNORE_INDEX, 7, IGNORE_INDEX],
            entities: vec![],
        };
        let error = EntityCompletionTask::new(&model, &[sequence], &config).err().unwrap();
        assert_eq!(
            error.to_string(),
            "sequence 0, label at position 2: expected a masked entity that covers it, got none"
        );
    }
}
