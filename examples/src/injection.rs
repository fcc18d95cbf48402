//! Knowledge injection: entity completion on masked triples (*Bridging the Language Gap*, section III-B).
use kg_triples::Sequence;
use objectives::tch::Tensor;
use objectives::{EntityCompletionConfig, TokenScores, entity_completion, masked_positions};
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, pad_mask, pad_rows};
use xlmr_model::{Inputs, Model};

// The labels of sequences are those that the losses leave out.
const _: () = assert!(kg_triples::IGNORE_INDEX == objectives::IGNORE_INDEX);

/// Masked triples as a training task for a masked language model.
pub struct InjectionTask<'a> {
    model: &'a Model,
    config: EntityCompletionConfig,
    rows: Vec<Row>,
    lengths: Vec<usize>,
    pad: i64,
}

struct Row {
    input_ids: Vec<i64>,
    labels: Vec<i64>,
    /// For each masked position in order, the number of its entity within the row.
    entities: Vec<i64>,
}

impl<'a> InjectionTask<'a> {
    /// `sequences` as they are built for the model's tokenizer.
    pub fn new(model: &'a Model, sequences: &[Sequence], config: &EntityCompletionConfig) -> Self {
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
        Self { model, config: config.clone(), rows, lengths, pad }
    }
}

impl Task for InjectionTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        for Row { input_ids, labels, entities } in &self.rows {
            fingerprint.ids("input_ids", input_ids).ids("labels", labels).ids("entities", entities);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
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
        let rows = self.model.mlm_transform(&hidden)?;
        let (weight, bias) = self.model.decoder()?;
        let scores = TokenScores::linear(&rows, weight, Some(bias));
        let entities = Tensor::f_from_slice(&entities)?.f_to_device(device)?;
        let loss = entity_completion(scores, &masked.targets, &entities, &self.config)?;
        Ok(StepLosses::single("entity_completion", loss))
    }
}

#[cfg(test)]
mod tests {
    use kg_triples::questions::EntitySplit;
    use kg_triples::{KnowledgeGraph, SequenceConfig, build_sequences};
    use objectives::EntityNormalization;

    use super::*;
    use crate::testing::model;

    #[test]
    fn the_loss_is_that_of_a_loop_over_entities() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let graph = KnowledgeGraph::read_dir(root.join("data/demo/kg")).unwrap();
        let few = EntitySplit { train: 0.02, dev: 0.49, test: 0.49, seed: 1 };
        let heads = few.divide(&graph).unwrap().train;
        let graph = graph.filter(|fact| heads.contains(fact.head));
        let tokenizer = crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap();
        let (sequences, _) =
            build_sequences(&graph, ("en", "de"), &SequenceConfig::default(), &tokenizer).unwrap();
        let model = model(4000);
        let config = EntityCompletionConfig {
            normalization: EntityNormalization::Entity,
            ..Default::default()
        };
        let mut task = InjectionTask::new(&model, &sequences, &config);
        let batch: Vec<usize> = (0..sequences.len().min(12)).collect();
        let rng = trainer::rng_for(0, "test", 0);
        let mut step = Step { batch: &batch, number: 0, total: 1, rng };
        let got = task.losses(&mut step).unwrap().total.double_value(&[]);

        // Each row by itself, unpadded; each entity by itself.
        let mut per_entity = Vec::new();
        for sequence in batch.iter().map(|&k| &sequences[k]) {
            let ids: Vec<i64> = sequence.input_ids.iter().map(|&id| i64::from(id)).collect();
            let inputs = Inputs::new(Tensor::from_slice(&ids).unsqueeze(0));
            let hidden = model.encode(&inputs, false).unwrap();
            let log_p = model.mlm_logits(&hidden).unwrap().log_softmax(-1, None::<tch::Kind>);
            for entity in &sequence.entities {
                let places = entity.start..entity.end;
                let count = places.len() as f64;
                let loss: f64 =
                    places.map(|k| -log_p.double_value(&[0, k as i64, sequence.labels[k]])).sum();
                per_entity.push(loss / count);
            }
        }
        let want = per_entity.iter().sum::<f64>() / per_entity.len() as f64;
        assert!(per_entity.len() > batch.len(), "no pair of entities in the batch");
        assert!((got - want).abs() < 1e-4, "got {got}, want {want}");
    }
}
