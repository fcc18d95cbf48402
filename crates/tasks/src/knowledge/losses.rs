//! The three losses of XLM-K on a batch: in one graph, or cut into micro-batches.
use kg_triples::knowledge::EntailmentExample;
use objectives::masking::Masked;
use objectives::{
    ContrastRows, LinearCrossEntropyConfig, MaskedLmConfig, MaskedLmReduction, Term, cached_step,
    combine, masked_entity_prediction, object_entailment, relation_classification,
};
use tch::{Kind, Tensor};
use torch_ext::upload;
use trainer::{Share, StepLosses, accumulate};
use xlmr_model::Inputs;

use super::batch::{Batch, MentionPair, mention_states, object_states, one_domain, target_count};
use super::{KnowledgeTask, ObjectEntailment};
use crate::{Error, Result, masked_lm};

/// Rows to mask, with the name and the weight of their loss.
type MaskedRows<'b> = (&'static str, f64, &'b [Masked]);

impl KnowledgeTask<'_> {
    /// All losses in one graph.
    pub(super) fn losses_at_once(&mut self, batch: &Batch) -> Result<StepLosses> {
        let (weights, pooling) = (self.config.weights.clone(), self.config.losses.pooling);
        let mut terms: Vec<(&'static str, f64, Tensor)> = Vec::new();
        for (name, weight, rows) in self.masked_rows(batch) {
            let loss = self.mlm_share(rows, target_count(rows))?;
            terms.extend(loss.map(|loss| (name, weight, loss)));
        }
        if !batch.mentions.is_empty() {
            let states = mention_states(self.model, &batch.mentions, pooling)?;
            terms.push(("mep", weights.mep, self.mep_loss(&states, batch)?));
        }
        if !batch.triples.is_empty() {
            let states = object_states(self.model, &batch.triples, pooling)?;
            terms.push(("oe", weights.oe, self.oe_loss(&states, batch)?));
        }
        if terms.is_empty() {
            // No token was masked, and nothing else is trained: a step that changes nothing.
            return accumulate(&[] as &[()], |()| Ok(Vec::new())).map_err(Error::from);
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
        let mut chunks: Vec<(MaskedRows<'_>, f64)> = Vec::new();
        for (name, weight, rows) in self.masked_rows(batch) {
            let targets = target_count(rows);
            chunks.extend(rows.chunks(size).map(|rows| ((name, weight, rows), targets)));
        }
        let mut losses = accumulate(&chunks, |&((name, weight, rows), targets)| {
            let loss = self.mlm_share(rows, targets)?;
            Ok(loss.map(|loss| Share { name, weight, loss }).into_iter().collect())
        })?;
        let mut add = |name: &'static str, weight: f64, loss: Tensor| -> Result<()> {
            let loss = loss.f_to_kind(Kind::Double)?;
            losses.total = losses.total.f_add(&loss)?;
            losses.parts.push((name, loss.f_div_scalar(weight)?));
            Ok(())
        };
        if !batch.mentions.is_empty() {
            let micro_batches: Vec<&[MentionPair]> = batch.mentions.chunks(size).collect();
            let embed = |rows: &&[MentionPair]| mention_states(model, rows, pooling);
            let loss = cached_step(&micro_batches, device, embed, |states| -> Result<Tensor> {
                Ok(self.mep_loss(states, batch)?.f_mul_scalar(weights.mep)?)
            })?;
            add("mep", weights.mep, loss)?;
        }
        if !batch.triples.is_empty() {
            let micro_batches: Vec<&[EntailmentExample]> = batch.triples.chunks(size).collect();
            let embed = |rows: &&[EntailmentExample]| object_states(model, rows, pooling);
            let loss = cached_step(&micro_batches, device, embed, |states| -> Result<Tensor> {
                Ok(self.oe_loss(states, batch)?.f_mul_scalar(weights.oe)?)
            })?;
            add("oe", weights.oe, loss)?;
        }
        Ok(losses)
    }

    /// The rows of the masked-LM losses that are trained.
    fn masked_rows<'b>(&self, batch: &'b Batch) -> Vec<MaskedRows<'b>> {
        let weights = &self.config.weights;
        let mut all: Vec<MaskedRows<'b>> = vec![
            ("mlm", weights.mlm, &batch.mlm),
            ("description_mlm", weights.description_mlm, &batch.description_mlm),
        ];
        all.retain(|(_, _, rows)| !rows.is_empty());
        all
    }

    /// The sum of the rows' masked-LM losses over `targets`, the number of targets of the whole
    /// batch; `None` without a target.
    fn mlm_share(&self, rows: &[Masked], targets: f64) -> Result<Option<Tensor>> {
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
        let relations = self.ids(&relations)?;
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
        let queue = self.oe_queue.as_mut().ok_or_else(|| Error::empty("queue of objects"))?;
        Ok(object_entailment(&query, &key, queue, &rows, &losses.oe)?)
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
