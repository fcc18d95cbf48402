//! Knowledge injection: entity completion on masked triples (*Bridging the Language Gap*, section III-B).
use kg_triples::Sequence;
use objectives::tch::Tensor;
use objectives::{EntityCompletionConfig, entity_completion, masked_positions};
use trainer::{Step, StepLosses, Task, pad_mask, pad_rows};
use xlmr_model::{Inputs, Model};

/// Masked triples as a training task for a masked language model.
pub struct InjectionTask<'a> {
    model: &'a Model,
    config: EntityCompletionConfig,
    rows: Vec<Row>,
    lengths: Vec<usize>,
    fingerprint: String,
    pad: i64,
}

struct Row {
    input_ids: Vec<i64>,
    labels: Vec<i64>,
    /// For each masked position in order, the number of its entity within the row.
    entities: Vec<i64>,
}

impl<'a> InjectionTask<'a> {
    /// `fingerprint` names everything that decided the sequences.
    pub fn new(
        model: &'a Model,
        sequences: &[Sequence],
        config: &EntityCompletionConfig,
        fingerprint: String,
    ) -> Self {
        let rows: Vec<Row> = sequences
            .iter()
            .map(|sequence| Row {
                input_ids: sequence.input_ids.iter().map(|&id| i64::from(id)).collect(),
                labels: sequence.labels.clone(),
                entities: sequence
                    .labels
                    .iter()
                    .enumerate()
                    .filter(|(_, label)| **label != objectives::IGNORE_INDEX)
                    .map(|(position, _)| {
                        let own = |entity: &kg_triples::MaskedEntity| {
                            (entity.start..entity.end).contains(&position)
                        };
                        let number = sequence.entities.iter().position(own);
                        number.and_then(|number| i64::try_from(number).ok()).unwrap_or(0)
                    })
                    .collect(),
            })
            .collect();
        let lengths = rows.iter().map(|row| row.input_ids.len()).collect();
        let pad = model.config().pad_token_id;
        Self { model, config: config.clone(), rows, lengths, fingerprint, pad }
    }
}

impl Task for InjectionTask<'_> {
    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn losses(
        &mut self,
        step: &mut Step<'_>,
    ) -> Result<StepLosses, Box<dyn std::error::Error + Send + Sync>> {
        let device = self.model.device();
        let rows: Vec<&Row> = step.batch.iter().filter_map(|&k| self.rows.get(k)).collect();
        let ids: Vec<&[i64]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let mut entities: Vec<i64> = Vec::new();
        let mut first = 0;
        for row in &rows {
            entities.extend(row.entities.iter().map(|entity| first + entity));
            first += row.entities.iter().max().map_or(0, |last| last + 1);
        }
        let inputs = Inputs {
            attention_mask: pad_mask(&ids, tch::Device::Cpu)?,
            ..Inputs::new(pad_rows(&ids, self.pad, tch::Device::Cpu)?)
        };
        let labels = pad_rows(&labels, objectives::IGNORE_INDEX, device)?;
        let masked = masked_positions(&labels)?;
        let hidden = masked.gather(&self.model.encode(&inputs, true)?)?; // [N, H]
        let logits = self.model.mlm_logits(&hidden)?; // [N, V]
        let entities = Tensor::f_from_slice(&entities)?.f_to_device(device)?;
        let loss = entity_completion(&logits, &masked.targets, &entities, &self.config)?;
        Ok(StepLosses::single("entity_completion", loss))
    }
}
