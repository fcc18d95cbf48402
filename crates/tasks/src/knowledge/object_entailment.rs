//! Object entailment (XLM-K, §3.3).
use kg_triples::knowledge::EntailmentExample;
use objectives::{
    ContrastRowInfo, NegativeQueue, QueueConfig, object_entailment, relation_classification,
};
use tch::{Kind, Tensor};
use trainer::{
    Endless, ExampleRecord, ExampleStream, Examples, Fingerprint, ShardedJsonl, Step, StepLosses,
    Task, TaskError, TensorMap,
};
use xlmr_model::{KnowledgeHeads, Model};

use super::domains::shared_domain;
use super::{KnowledgeData, KnowledgeLossConfig, ObjectEntailment};
use crate::Result;
use crate::contrast::{entity_id, id_tensor, step_losses};
use crate::pooling::pool_rows;

/// Training task of object entailment (XLM-K, Jiang et al. 2022, §3.3, Eq. 3 to 5), logged as `oe`.
///
/// The description of a subject, combined with a relation, is contrasted with the description of
/// the object, among the descriptions of the batch and of a queue. Alternatively, the relation is
/// classified from both descriptions.
///
/// A batch is always full, as in [`EntityPredictionTask`](super::EntityPredictionTask).
pub struct ObjectEntailmentTask<'a> {
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    objective: ObjectEntailment,
    losses: KnowledgeLossConfig,
    stream: ExampleStream<Endless<ShardedJsonl<EntailmentExample>>>,
    queue: NegativeQueue,
}

impl<'a> ObjectEntailmentTask<'a> {
    /// Creates the task on the triples of `data`.
    ///
    /// # Errors
    /// The errors of [`EntityPredictionTask::new`](super::EntityPredictionTask::new).
    pub fn new(
        model: &'a Model,
        heads: &'a KnowledgeHeads,
        objective: ObjectEntailment,
        losses: &KnowledgeLossConfig,
        data: &KnowledgeData,
    ) -> Result<Self> {
        losses.validate()?;
        data.triples.check_limits(model)?;
        let seed = losses.queue.seed.wrapping_add(1);
        let queue = QueueConfig { seed, ..losses.queue.clone() };
        let options = (Kind::Float, model.device());
        let count_tokens =
            |example: &EntailmentExample| example.subject_ids.len() + example.object_ids.len();
        Ok(Self {
            model,
            heads,
            objective,
            losses: losses.clone(),
            stream: ExampleStream::new(Endless::new(data.triple_lines()?), count_tokens),
            queue: NegativeQueue::new(model.config().hidden_size, options, &queue)?,
        })
    }

    /// Computes the mean loss over triples; `subjects` and `objects` are hidden states, `[b, H]`
    /// each.
    fn loss(&mut self, subjects: &Tensor, objects: &Tensor) -> Result<Tensor> {
        let examples = self.stream.batch();
        let relations: Vec<i64> =
            examples.iter().map(|example| i64::from(example.relation)).collect();
        let relations = Tensor::f_from_slice(&relations)?; // checked on the CPU, then uploaded
        if self.objective == ObjectEntailment::Classification {
            let (weight, bias) = self.heads.relation_classifier();
            return Ok(relation_classification(subjects, objects, weight, Some(bias), &relations)?);
        }
        let domains = shared_domain(self.losses.norm_by_language, examples.len());
        let query = self.heads.oe_query(subjects, &relations, &domains, true)?; // [b, H]
        let key = self.heads.oe_key(objects, &domains, true)?; // [b, H]
        let objects: Vec<i64> = examples.iter().map(|example| entity_id(&example.object)).collect();
        let objects = id_tensor(&objects, query.device())?;
        let row_info = ContrastRowInfo { ids: Some(&objects), valid: None };
        Ok(object_entailment(&query, &key, &mut self.queue, &row_info, &self.losses.oe)?)
    }
}

impl Task for ObjectEntailmentTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Streamed(&mut self.stream)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("by", &self.objective).add_json("losses", &self.losses);
        self.stream.fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows = self.stream.batch().to_vec();
        let (model, pooling) = (self.model, self.losses.pooling);
        let embed = |rows: &[EntailmentExample]| {
            let subjects: Vec<&[u32]> = rows.iter().map(|row| row.subject_ids.as_slice()).collect();
            let objects: Vec<&[u32]> = rows.iter().map(|row| row.object_ids.as_slice()).collect();
            let pool = |rows: &[&[u32]]| pool_rows(model, rows, pooling, true);
            Ok([pool(&subjects)?, pool(&objects)?])
        };
        let loss = |subjects: &Tensor, objects: &Tensor| self.loss(subjects, objects);
        Ok(step_losses(step, "oe", &rows, model.device(), embed, loss)?)
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let example = &self.stream.batch()[index];
        ExampleRecord {
            id: Some(format!("{} {} {}", example.subject, example.relation_id, example.object)),
            input_ids: example.subject_ids.clone(),
        }
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.heads.named_buffers();
        let tensors = self.queue.tensors()?.into_iter();
        state.extend(tensors.map(|(name, tensor)| (format!("queue.{name}"), tensor)));
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.heads.restore_buffers(state)?;
        self.queue.restore(|name| state.get(&format!("queue.{name}")))?;
        Ok(())
    }
}
