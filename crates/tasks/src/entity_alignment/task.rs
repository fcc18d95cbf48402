//! Training on aligned entities.
use objectives::{
    ContrastRowInfo, Direction, InfoNceConfig, Negatives, SoftLabelConfig, info_nce, soft_labels,
    uncertainty_weighting,
};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::upload;
use trainer::{
    ExampleRecord, Examples, Fingerprint, FingerprintExt, Step, StepLosses, Task, TaskError,
};

use super::network::{AlignmentNetwork, Embedded, EntityVectors, Missing, Trained};
use crate::{Error, Result};

/// Options of [`AlignmentTask`]. The defaults are those of UMAEA's released code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignmentConfig {
    /// τ of the contrastive losses (default: 0.1).
    pub temperature: f64,
    /// Weight of the distance between generated and actual vectors (default: 6000).
    pub reconstruction_weight: f64,
}

impl Default for AlignmentConfig {
    fn default() -> Self {
        Self { temperature: 0.1, reconstruction_weight: 6000.0 }
    }
}

impl AlignmentConfig {
    /// Validates the options.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let weight = self.reconstruction_weight;
        if !(weight.is_finite() && weight >= 0.0) {
            let rule = "finite, not negative";
            return Err(Error::config("alignment.reconstruction_weight", weight, rule));
        }
        self.info_nce().validate().map_err(|error| Error::from_loss("alignment", error))
    }

    /// The contrast of the released code (`icl_loss`): both directions, with the rows of both graphs
    /// as negatives.
    fn info_nce(&self) -> InfoNceConfig {
        InfoNceConfig {
            temperature: self.temperature,
            l2_norm: true,
            direction: Direction::Bidirectional,
            negatives: Negatives::QueriesKeysAndQueue,
            ..InfoNceConfig::default()
        }
    }
}

/// A stage of the training with missing modalities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlignmentStage {
    /// Projections and weights are trained on the vectors that are present (stage 1 of UMAEA).
    Align,
    /// Generators are trained; train their parameters only (stage 2-1).
    Generate,
    /// Projections and weights are trained with generated vectors in place of missing ones; do not
    /// train the generators (stage 2-2).
    Complete,
}

/// Training task on pairs of aligned entities, logged as `joint`, `text`, `structure` and, in
/// [`AlignmentStage::Generate`], `generated` and `reconstruction`.
///
/// All contrasts are InfoNCE over cosines in both directions, with the other rows of both graphs as
/// negatives. A pair without a vector in one of its entities is not part of the contrast of this
/// modality.
///
/// - `Align` and `Complete`: contrast of the joint vectors, plus the contrasts of text and structure
///   with learned weights ([`uncertainty_weighting`]).
/// - `Generate`: contrast of the joint vectors with generated vectors in place of missing ones, plus
///   the contrasts of the generated vectors, plus [`reconstruction_weight`] times the
///   Kullback-Leibler divergence between the softmax of the actual and of the generated vector, mean
///   over entities that have both text and structure.
///
/// [`reconstruction_weight`]: AlignmentConfig::reconstruction_weight
///
/// # Example
/// ```
/// use ndarray::array;
/// use tasks::entity_alignment::{
///     AlignmentConfig, AlignmentNetwork, AlignmentStage, AlignmentTask, EntityVectors,
/// };
/// use tch::Device;
/// use trainer::{Step, Task};
///
/// let network = AlignmentNetwork::new([2, 2], 4, Device::Cpu, 1)?;
/// let vectors = array![[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]];
/// let graph = EntityVectors::new(&vectors, &vectors, Device::Cpu)?;
/// let pairs = vec![(0, 0), (1, 1), (2, 2)];
/// let (stage, config) = (AlignmentStage::Align, AlignmentConfig::default());
/// let mut task = AlignmentTask::new(&network, [&graph, &graph], pairs, stage, &config)?;
/// let losses = task.losses(&mut Step::new(&[0, 1, 2], trainer::rng_for(0, "align", 0)))?;
/// let names: Vec<_> = losses.parts.iter().map(|part| part.0).collect();
/// assert_eq!(names, ["joint", "text", "structure"]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct AlignmentTask<'a> {
    network: &'a AlignmentNetwork,
    graphs: [&'a EntityVectors; 2],
    pairs: Vec<(usize, usize)>,
    /// The length of each pair, 1.
    lengths: Vec<usize>,
    stage: AlignmentStage,
    config: AlignmentConfig,
}

/// The smallest number of rows with a contrast.
const MIN_ROWS: usize = 2;

impl<'a> AlignmentTask<'a> {
    /// Creates a task from pairs of an entity of the first and an entity of the second graph.
    ///
    /// # Errors
    /// The errors of [`AlignmentConfig::validate`]; [`Error::Empty`] for fewer than two pairs;
    /// [`Error::Data`] for an entity that is not in its graph.
    pub fn new(
        network: &'a AlignmentNetwork,
        graphs: [&'a EntityVectors; 2],
        pairs: Vec<(usize, usize)>,
        stage: AlignmentStage,
        config: &AlignmentConfig,
    ) -> Result<Self> {
        config.validate()?;
        if pairs.len() < MIN_ROWS {
            return Err(Error::empty(format!("{MIN_ROWS} pairs of entities to train on")));
        }
        for &(first, second) in &pairs {
            if first >= graphs[0].len() || second >= graphs[1].len() {
                let counts = format!("{} and {} entities", graphs[0].len(), graphs[1].len());
                return Err(Error::data("a pair", counts, format!("({first}, {second})")));
            }
        }
        let lengths = vec![1; pairs.len()];
        Ok(Self { network, graphs, pairs, lengths, stage, config: config.clone() })
    }

    /// The contrast of two sets of vectors, `[n, H]`, over the rows where both `is_present`; `None`
    /// for fewer than two such rows.
    fn contrast(
        &self,
        [first, second]: [&Tensor; 2],
        is_present: [&[bool]; 2],
    ) -> Result<Option<Tensor>> {
        let valid: Vec<bool> = is_present[0].iter().zip(is_present[1]).map(both).collect();
        if valid.iter().filter(|valid| **valid).count() < MIN_ROWS {
            return Ok(None);
        }
        let valid = upload(&Tensor::f_from_slice(&valid)?, self.network.device())?;
        let rows = ContrastRowInfo { ids: None, valid: Some(&valid) };
        Ok(Some(info_nce(first, second, None, 0, &rows, &self.config.info_nce())?))
    }

    /// The contrast of a modality.
    fn modality_contrast(
        &self,
        [first, second]: [&Embedded; 2],
        k: usize,
    ) -> Result<Option<Tensor>> {
        let vectors = [&first.modalities[k], &second.modalities[k]];
        self.contrast(vectors, [&first.is_present[k], &second.is_present[k]])
    }

    /// The contrast of the joint vectors, over entities that have text or structure.
    fn joint_contrast(&self, [first, second]: [&Embedded; 2]) -> Result<Option<Tensor>> {
        let any = |embedded: &Embedded| -> Vec<bool> {
            let [text, structure] = &embedded.is_present;
            text.iter().zip(structure).map(|(text, structure)| *text || *structure).collect()
        };
        self.contrast([&first.joint, &second.joint], [&any(first), &any(second)])
    }

    /// The loss of generators, and its parts.
    fn generation(
        &self,
        rows: [&EntityVectors; 2],
        embedded: [&Embedded; 2],
    ) -> Result<Vec<(&'static str, Option<Tensor>)>> {
        let [first, second] = embedded;
        let (mut contrasts, mut distances) = (Vec::new(), Vec::new());
        for k in [0, 1] {
            let other = 1 - k;
            let [x, y] = [first, second].map(|embedded| &generated(embedded)[k]);
            let has_input = rows.map(|rows| rows.is_present()[other].as_slice());
            contrasts.extend(self.contrast([x, y], has_input)?);
            for (rows, embedded) in rows.into_iter().zip(embedded) {
                let [text, structure] = rows.is_present();
                let has_both: Vec<bool> = text.iter().zip(structure).map(both).collect();
                distances.extend(reconstruction(embedded, k, &has_both)?);
            }
        }
        Ok(vec![
            ("joint", self.joint_contrast(embedded)?),
            ("generated", sum(contrasts)?),
            ("reconstruction", sum(distances)?),
        ])
    }
}

fn both((first, second): (&bool, &bool)) -> bool {
    *first && *second
}

fn generated(embedded: &Embedded) -> &[Tensor; 2] {
    embedded.generated.as_ref().expect("stages with generators request generated vectors")
}

/// The divergence of a generated modality from the actual one, over the given rows; `None` without
/// a row.
fn reconstruction(embedded: &Embedded, k: usize, rows: &[bool]) -> Result<Option<Tensor>> {
    let indices: Vec<i64> = (0..).zip(rows).filter(|(_, row)| **row).map(|(k, _)| k).collect();
    if indices.is_empty() {
        return Ok(None);
    }
    let (student, teacher) = (&generated(embedded)[k], &embedded.modalities[k]);
    let indices = upload(&Tensor::f_from_slice(&indices)?, student.device())?;
    let config = SoftLabelConfig { temperature: 1.0, ..SoftLabelConfig::default() };
    let select = |rows: &Tensor| rows.f_index_select(0, &indices);
    Ok(Some(soft_labels(&select(student)?, &select(teacher)?, None, &config)?))
}

/// The sum; `None` without a loss.
fn sum(losses: Vec<Tensor>) -> Result<Option<Tensor>> {
    let mut losses = losses.into_iter();
    let Some(mut total) = losses.next() else { return Ok(None) };
    for loss in losses {
        total = total.f_add(&loss)?;
    }
    Ok(Some(total))
}

impl Task for AlignmentTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("stage", &self.stage).add_json("config", &self.config);
        fingerprint.add_json("pairs", &self.pairs);
        for tensor in self.graphs.iter().flat_map(|graph| graph.tensors()) {
            fingerprint.add_tensor("vectors", tensor);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let pairs: Vec<(usize, usize)> = step.batch.iter().map(|&k| self.pairs[k]).collect();
        let (first, second): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
        let rows = [self.graphs[0].select(&first)?, self.graphs[1].select(&second)?];
        let (missing, trained) = match self.stage {
            AlignmentStage::Align => (Missing::Excluded, Trained::Projections),
            AlignmentStage::Generate => (Missing::Generated, Trained::Generators),
            AlignmentStage::Complete => (Missing::Generated, Trained::Projections),
        };
        let embed = |rows: &EntityVectors| self.network.embed(rows, missing, trained);
        let embedded = [embed(&rows[0])?, embed(&rows[1])?];
        let (rows, embedded) = ([&rows[0], &rows[1]], [&embedded[0], &embedded[1]]);
        let (parts, total) = if self.stage == AlignmentStage::Generate {
            let parts = self.generation(rows, embedded)?;
            let mut weighted = Vec::new();
            for (name, loss) in &parts {
                let Some(loss) = loss else { continue };
                weighted.push(match *name {
                    "reconstruction" => loss.f_mul_scalar(self.config.reconstruction_weight)?,
                    _ => loss.shallow_clone(),
                });
            }
            (parts, sum(weighted)?)
        } else {
            let [text, structure] =
                [self.modality_contrast(embedded, 0)?, self.modality_contrast(embedded, 1)?];
            let joint = self.joint_contrast(embedded)?;
            let losses = [text.as_ref(), structure.as_ref()];
            let mut terms: Vec<Tensor> = joint.iter().map(Tensor::shallow_clone).collect();
            if losses.iter().any(Option::is_some) {
                terms.push(uncertainty_weighting(&losses, self.network.log_variances())?);
            }
            (vec![("joint", joint), ("text", text), ("structure", structure)], sum(terms)?)
        };
        // A batch without two pairs of any vectors has the loss 0, with a graph.
        let total = match total {
            Some(total) => total,
            None => embedded[0].joint.f_sum(Kind::Float)?.f_mul_scalar(0.0)?,
        };
        let zero = || Tensor::f_scalar_tensor(0.0, (Kind::Float, self.network.device()));
        let mut logged = Vec::new();
        for (name, loss) in parts {
            logged.push((name, loss.map_or_else(zero, |loss| loss.f_detach())?));
        }
        Ok(StepLosses { total, parts: logged, tokens: None, is_accumulated: false })
    }

    fn min_batch_size(&self) -> usize {
        MIN_ROWS
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let (first, second) = self.pairs[index];
        ExampleRecord { id: Some(format!("({first}, {second})")), input_ids: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
