//! The three losses of XLM-K on a batch: in one graph, or cut into micro-batches.
use kg_triples::knowledge::EntailmentExample;
use objectives::masking::Masked;
use objectives::{
    ContrastRows, LinearCrossEntropyConfig, MaskedLmConfig, MaskedLmReduction, Term, cached_step,
    combine, masked_entity_prediction, object_entailment, relation_classification,
};
use tch::{Kind, Tensor};
use torch_ext::{MicroBatch, MicroBatchSeeds, upload};
use trainer::{Share, StepLosses, accumulate};
use xlmr_model::Inputs;

use super::batch::{Batch, MentionPair, mention_states, object_states, one_domain, target_count};
use super::{KnowledgeTask, ObjectEntailment};
use crate::{Error, Result, masked_lm};

/// Rows of a masked-LM loss.
#[derive(Clone, Copy)]
struct MaskedRows<'b> {
    name: &'static str,
    weight: f64,
    rows: &'b [Masked],
    /// Of the whole batch.
    targets: f64,
}

/// The number of each loss's first row among all the rows of a batch, by which dropout is drawn.
struct FirstRows {
    descriptions: usize,
    mentions: usize,
    triples: usize,
}

impl FirstRows {
    fn of(batch: &Batch) -> Self {
        let descriptions = batch.mlm.len();
        let mentions = descriptions + batch.description_mlm.len();
        Self { descriptions, mentions, triples: mentions + batch.mentions.len() }
    }
}

/// Parts of `size` of rows that come after `first` others.
fn parts_from<T>(first: usize, rows: &[T], size: usize) -> Vec<MicroBatch<&[T]>> {
    let parts = MicroBatch::cut(rows, size).into_iter();
    parts.map(|part| MicroBatch { first: first + part.first, ..part }).collect()
}

impl KnowledgeTask<'_> {
    /// All losses in one graph.
    pub(super) fn losses_at_once(&mut self, batch: &Batch) -> Result<StepLosses> {
        let (weights, pooling) = (self.config.weights.clone(), self.config.losses.pooling);
        let mut terms: Vec<(&'static str, f64, Tensor)> = Vec::new();
        let (firsts, seeds) = (FirstRows::of(batch), MicroBatchSeeds::new()?);
        for MicroBatch { first, rows } in self.masked_rows(batch) {
            seeds.enter(first)?;
            let loss = self.mlm_share(&rows)?;
            terms.extend(loss.map(|loss| (rows.name, rows.weight, loss)));
        }
        if !batch.mentions.is_empty() {
            seeds.enter(firsts.mentions)?;
            let states = mention_states(self.model, &batch.mentions, pooling)?;
            terms.push(("mep", weights.mep, self.mep_loss(&states, batch)?));
        }
        if !batch.triples.is_empty() {
            seeds.enter(firsts.triples)?;
            let states = object_states(self.model, &batch.triples, pooling)?;
            terms.push(("oe", weights.oe, self.oe_loss(&states, batch)?));
        }
        if terms.is_empty() {
            // No token was masked, and nothing else is trained: a step that changes nothing.
            return accumulate(&[] as &[MicroBatch<()>], |()| Ok(Vec::new())).map_err(Error::from);
        }
        let terms: Vec<Term<'_>> =
            terms.iter().map(|(name, weight, loss)| Term { name, weight: *weight, loss }).collect();
        let sum = combine(&terms)?;
        Ok(StepLosses { total: sum.total, parts: sum.parts, tokens: None, accumulated: false })
    }

    /// A batch that does not fit memory: masked LM as shares of the whole batch, each contrast in
    /// two passes.
    pub(super) fn losses_in_micro_batches(
        &mut self,
        batch: &Batch,
        size: usize,
    ) -> Result<StepLosses> {
        let (weights, pooling) = (self.config.weights.clone(), self.config.losses.pooling);
        let (model, device) = (self.model, self.model.device());
        let firsts = FirstRows::of(batch);
        let mut parts: Vec<MicroBatch<MaskedRows<'_>>> = Vec::new();
        for whole in self.masked_rows(batch) {
            let cut = parts_from(whole.first, whole.rows.rows, size).into_iter();
            parts.extend(cut.map(|MicroBatch { first, rows }| MicroBatch {
                first,
                rows: MaskedRows { rows, ..whole.rows },
            }));
        }
        let mut losses = accumulate(&parts, |rows| {
            let loss = self.mlm_share(rows)?;
            let share = |loss| Share { name: rows.name, weight: rows.weight, loss };
            Ok(loss.map(share).into_iter().collect())
        })?;
        let mut add = |name: &'static str, weight: f64, loss: Tensor| -> Result<()> {
            let loss = loss.f_to_kind(Kind::Double)?;
            losses.total = losses.total.f_add(&loss)?;
            losses.parts.push((name, loss.f_div_scalar(weight)?));
            Ok(())
        };
        if !batch.mentions.is_empty() {
            let micro_batches = parts_from(firsts.mentions, &batch.mentions, size);
            let embed = |rows: &&[MentionPair]| mention_states(model, rows, pooling);
            let loss = cached_step(&micro_batches, device, embed, |states| -> Result<Tensor> {
                Ok(self.mep_loss(states, batch)?.f_mul_scalar(weights.mep)?)
            })?;
            add("mep", weights.mep, loss)?;
        }
        if !batch.triples.is_empty() {
            let micro_batches = parts_from(firsts.triples, &batch.triples, size);
            let embed = |rows: &&[EntailmentExample]| object_states(model, rows, pooling);
            let loss = cached_step(&micro_batches, device, embed, |states| -> Result<Tensor> {
                Ok(self.oe_loss(states, batch)?.f_mul_scalar(weights.oe)?)
            })?;
            add("oe", weights.oe, loss)?;
        }
        Ok(losses)
    }

    /// The rows of the masked-LM losses that are trained.
    fn masked_rows<'b>(&self, batch: &'b Batch) -> Vec<MicroBatch<MaskedRows<'b>>> {
        let (weights, firsts) = (&self.config.weights, FirstRows::of(batch));
        let part = |name, first, weight, rows: &'b [Masked]| MicroBatch {
            first,
            rows: MaskedRows { name, weight, rows, targets: target_count(rows) },
        };
        let descriptions = &batch.description_mlm;
        let mut all = vec![
            part("mlm", 0, weights.mlm, &batch.mlm),
            part("description_mlm", firsts.descriptions, weights.description_mlm, descriptions),
        ];
        all.retain(|part| !part.rows.rows.is_empty());
        all
    }

    /// The sum of the rows' masked-LM losses over the targets of the whole batch; `None` without a
    /// target.
    fn mlm_share(&self, masked: &MaskedRows<'_>) -> Result<Option<Tensor>> {
        let MaskedRows { rows, targets, .. } = *masked;
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let inputs = Inputs::from_rows(&ids, self.model.pad_token_id())?;
        let config = MaskedLmConfig { reduction: MaskedLmReduction::Sum, ..Default::default() };
        let loss = masked_lm::loss(self.model, &inputs, &labels, &config)?;
        loss.map(|loss| Ok(loss.f_div_scalar(targets)?)).transpose()
    }

    /// The contrast of mentions with descriptions over the whole batch, from their hidden states:
    /// the mean over mentions, each contrasted within its group.
    fn mep_loss(&mut self, states: &[Tensor], batch: &Batch) -> Result<Tensor> {
        let (query, key) = pair(states)?;
        let query = self.heads.mep_query(query, &batch.mention_domains, true)?; // [b, H]
        let key = self.heads.mep_key(key, &batch.description_domains, true)?; // [b, H]
        let entities = self.ids(&batch.entities)?;
        let mut losses = Vec::new();
        for (group, queue) in self.mep_queues.iter_mut().enumerate() {
            let in_group = (0i64..).zip(&batch.groups).filter(|(_, other)| **other == group);
            let rows: Vec<i64> = in_group.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            let fraction = rows.len() as f64 / batch.groups.len() as f64;
            let rows = upload(&Tensor::f_from_slice(&rows)?, query.device())?;
            let select = |tensor: &Tensor| tensor.f_index_select(0, &rows);
            let entities = select(&entities)?;
            let loss = masked_entity_prediction(
                &select(&query)?,
                &select(&key)?,
                queue,
                &ContrastRows { ids: Some(&entities), valid: None },
                &self.config.losses.mep,
            )?;
            losses.push(loss.f_mul_scalar(fraction)?);
        }
        Ok(Tensor::f_stack(&losses, 0)?.f_sum(None::<Kind>)?)
    }

    /// The same for subjects and relations with objects, or the relation read off both.
    fn oe_loss(&mut self, states: &[Tensor], batch: &Batch) -> Result<Tensor> {
        let (subject, object) = pair(states)?;
        let relations: Vec<i64> =
            batch.triples.iter().map(|example| i64::from(example.relation)).collect();
        let relations = Tensor::f_from_slice(&relations)?; // looked at here, then uploaded
        if self.config.object_entailment == ObjectEntailment::Classification {
            let (weight, bias) = self.heads.relation_classifier();
            let config = LinearCrossEntropyConfig::default();
            return Ok(relation_classification(
                subject,
                object,
                weight,
                Some(bias),
                &relations,
                &config,
            )?);
        }
        let losses = &self.config.losses;
        let domains = one_domain(losses.norm_by_language, batch.triples.len());
        let query = self.heads.oe_query(subject, &relations, &domains, true)?; // [b, H]
        let key = self.heads.oe_key(object, &domains, true)?; // [b, H]
        let objects = self.ids(&batch.objects)?;
        let rows = ContrastRows { ids: Some(&objects), valid: None };
        Ok(object_entailment(&query, &key, &mut self.oe_queue, &rows, &losses.oe)?)
    }

    /// Numbers as an i64 tensor beside the model.
    fn ids(&self, values: &[i64]) -> Result<Tensor> {
        Ok(upload(&Tensor::f_from_slice(values)?, self.model.device())?)
    }
}

fn pair(states: &[Tensor]) -> Result<(&Tensor, &Tensor)> {
    match states {
        [first, second] => Ok((first, second)),
        _ => Err(Error::data("hidden states", "two kinds", states.len())),
    }
}
