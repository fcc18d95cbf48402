//! The network that combines the text and structure vectors of an entity.
use ndarray::Array2;
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{seeded_randn, to_i64, upload};
use trainer::seed_for;

use crate::pooling::to_array;
use crate::{Error, Result};

/// Text and structure vectors of a graph's entities. A vector of zeros is missing.
#[derive(Debug)]
pub struct EntityVectors {
    /// `[N, T]` and `[N, S]`.
    vectors: [Tensor; 2],
    /// Whether each entity has the vector.
    is_present: [Vec<bool>; 2],
}

impl EntityVectors {
    /// Copies vectors to `device`.
    ///
    /// # Errors
    /// [`Error::Data`] if the numbers of rows differ, or a value is not finite.
    pub fn new(text: &Array2<f32>, structure: &Array2<f32>, device: Device) -> Result<Self> {
        let (texts, structures) = (text.nrows(), structure.nrows());
        if texts != structures {
            return Err(Error::data("structure vectors", format!("{texts} rows"), structures));
        }
        let tensor = |vectors: &Array2<f32>| -> Result<Tensor> {
            if vectors.iter().any(|value| !value.is_finite()) {
                return Err(Error::data("entity vectors", "finite values", "NaN or infinity"));
            }
            let (rows, width) = vectors.dim();
            let values: Vec<f32> = vectors.iter().copied().collect();
            let tensor = Tensor::f_from_slice(&values)?.f_view([to_i64(rows), to_i64(width)])?;
            Ok(upload(&tensor, device)?)
        };
        let is_present = |vectors: &Array2<f32>| {
            vectors.outer_iter().map(|row| row.iter().any(|value| *value != 0.0)).collect()
        };
        Ok(Self {
            vectors: [tensor(text)?, tensor(structure)?],
            is_present: [is_present(text), is_present(structure)],
        })
    }

    /// Returns the number of entities.
    pub fn len(&self) -> usize {
        self.is_present[0].len()
    }

    /// Returns whether there is no entity.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the vectors of text and structure.
    pub(super) fn tensors(&self) -> &[Tensor; 2] {
        &self.vectors
    }

    /// Returns whether each entity has text, and structure.
    pub(super) fn is_present(&self) -> &[Vec<bool>; 2] {
        &self.is_present
    }

    /// Selects entities.
    pub(super) fn select(&self, entities: &[usize]) -> Result<Self> {
        let indices: Vec<i64> = entities.iter().map(|&entity| to_i64(entity)).collect();
        let indices = upload(&Tensor::f_from_slice(&indices)?, self.vectors[0].device())?;
        let [text, structure] = &self.vectors;
        let select = |is_present: &Vec<bool>| entities.iter().map(|&k| is_present[k]).collect();
        Ok(Self {
            vectors: [text.f_index_select(0, &indices)?, structure.f_index_select(0, &indices)?],
            is_present: [select(&self.is_present[0]), select(&self.is_present[1])],
        })
    }
}

/// Treatment of a missing text or structure vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The entity's vector has only the other part.
    Excluded,
    /// The vector is generated from the other one.
    Generated,
}

/// Projections of text and structure to H dimensions, a weight for each of the two, and generators
/// that complete one from the other.
///
/// The joint vector is the concatenation of the projections, each scaled to length 1 and multiplied
/// by its weight (softmax of two parameters). The generators are linear, as with `--adapt mlp` of
/// the released code.
///
/// The parameters are `text.weight`, `text.bias`, `structure.weight`, `structure.bias`,
/// `generators.text.weight` and so on, `modality_weights`, and `log_variances` of
/// [`uncertainty_weighting`](objectives::uncertainty_weighting).
///
/// # Example
/// ```
/// use ndarray::array;
/// use tasks::entity_alignment::{AlignmentNetwork, EntityVectors, Missing};
/// use tch::Device;
///
/// let network = AlignmentNetwork::new([2, 3], 4, Device::Cpu, 1)?;
/// let text = array![[1.0, 0.0], [0.0, 0.0]]; // the second entity has no text
/// let structure = array![[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]];
/// let vectors = EntityVectors::new(&text, &structure, Device::Cpu)?;
/// let joint = network.joint_vectors(&vectors, Missing::Excluded)?;
/// assert_eq!(joint.dim(), (2, 8));
/// assert!(joint.row(1).iter().take(4).all(|value| *value == 0.0));
/// let completed = network.joint_vectors(&vectors, Missing::Generated)?;
/// assert!(completed.row(1).iter().take(4).any(|value| *value != 0.0));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Debug)]
pub struct AlignmentNetwork {
    projections: [Linear; 2],
    /// The generators of text and of structure.
    generators: [Linear; 2],
    modality_weights: Tensor,
    log_variances: Tensor,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Weights are drawn from a normal distribution with variance 1 / (3 · inputs), which is the
    /// variance of torch's `nn.Linear`; biases are 0.
    fn new(name: &str, inputs: i64, outputs: i64, device: Device, seed: u64) -> Result<Self> {
        let scale = (3.0 * inputs as f64).sqrt().recip();
        let weight = upload(&seeded_randn(&[outputs, inputs], seed_for(seed, name, 0))?, device)?;
        let weight = weight.f_mul_scalar(scale)?.f_set_requires_grad(true)?;
        let bias = Tensor::f_zeros([outputs], (Kind::Float, device))?.f_set_requires_grad(true)?;
        Ok(Self { weight, bias })
    }

    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        unit_rows(&rows.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Scales rows to length 1.
fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    let norms = rows.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(MIN_NORM)?;
    Ok(rows.f_div(&norms)?)
}

/// The smallest divisor of [`unit_rows`], as in torch's `normalize`.
const MIN_NORM: f64 = 1e-12;

/// The parameters that a stage trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trained {
    /// Projections, weights of modalities and log-variances.
    Projections,
    /// Generators.
    Generators,
}

/// Names of text and structure.
pub(super) const MODALITIES: [&str; 2] = ["text", "structure"];

/// Vectors of some entities.
pub(super) struct Embedded {
    /// The projections of text and structure, `[n, H]`; 0 where missing and excluded.
    pub modalities: [Tensor; 2],
    /// The vectors generated for all entities that have the other vector, and 0 for others, if they
    /// are requested.
    pub generated: Option<[Tensor; 2]>,
    /// `[n, 2H]`, rows of length 1 or 0.
    pub joint: Tensor,
    /// Whether the entity has the vector, after the completion.
    pub is_present: [Vec<bool>; 2],
}

impl AlignmentNetwork {
    /// Creates a network for text and structure vectors of the given `widths`.
    ///
    /// # Errors
    /// [`Error::Config`] for a width of 0.
    pub fn new(widths: [usize; 2], hidden: usize, device: Device, seed: u64) -> Result<Self> {
        if let Some((name, _)) = MODALITIES.iter().zip(widths).find(|(_, width)| *width == 0) {
            return Err(Error::config(format!("width of the {name} vectors"), 0, "1 or more"));
        }
        if hidden == 0 {
            return Err(Error::config("hidden_size", 0, "1 or more"));
        }
        let hidden = to_i64(hidden);
        let linear = |name: &str, inputs| Linear::new(name, inputs, hidden, device, seed);
        let options = (Kind::Float, device);
        Ok(Self {
            projections: [
                linear(MODALITIES[0], to_i64(widths[0]))?,
                linear(MODALITIES[1], to_i64(widths[1]))?,
            ],
            generators: [
                linear("generators.text", hidden)?,
                linear("generators.structure", hidden)?,
            ],
            modality_weights: Tensor::f_ones([2], options)?.f_set_requires_grad(true)?,
            log_variances: Tensor::f_zeros([2], options)?.f_set_requires_grad(true)?,
        })
    }

    /// Returns all parameters with their names.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let mut parameters = Vec::new();
        for (prefix, layers) in [("", &self.projections), ("generators.", &self.generators)] {
            for (name, layer) in MODALITIES.iter().zip(layers) {
                for (part, tensor) in [("weight", &layer.weight), ("bias", &layer.bias)] {
                    parameters.push((format!("{prefix}{name}.{part}"), tensor.shallow_clone()));
                }
            }
        }
        parameters.push(("modality_weights".to_owned(), self.modality_weights.shallow_clone()));
        parameters.push(("log_variances".to_owned(), self.log_variances.shallow_clone()));
        parameters
    }

    /// Computes the joint vectors of all entities, `[N, 2H]`, with length 1; the vector of an entity
    /// without text and structure is 0.
    ///
    /// # Errors
    /// [`Error::Torch`] if the widths differ from those of the network.
    pub fn joint_vectors(&self, vectors: &EntityVectors, missing: Missing) -> Result<Array2<f32>> {
        no_grad(|| {
            let embedded = self.embed(vectors, missing, Trained::Projections)?;
            to_array("joint vectors", &embedded.joint)
        })
    }

    pub(super) fn log_variances(&self) -> &Tensor {
        &self.log_variances
    }

    pub(super) fn device(&self) -> Device {
        self.log_variances.device()
    }

    /// Projects the vectors. The result has a gradient of the `trained` parameters only.
    pub(super) fn embed(
        &self,
        vectors: &EntityVectors,
        missing: Missing,
        trained: Trained,
    ) -> Result<Embedded> {
        let detach_unless = |tensor: Tensor, part: Trained| match trained == part {
            true => Ok(tensor),
            false => tensor.f_detach(),
        };
        let project = |k: usize| -> Result<Tensor> {
            let mask = mask(&vectors.is_present[k], self.device())?;
            let projected = self.projections[k].forward(&vectors.vectors[k])?.f_mul(&mask)?;
            Ok(detach_unless(projected, Trained::Projections)?)
        };
        let projected = [project(0)?, project(1)?];
        let (modalities, generated, is_present) = match missing {
            Missing::Excluded => (projected, None, vectors.is_present.clone()),
            Missing::Generated => {
                let complete = |k: usize| -> Result<(Tensor, Tensor)> {
                    let other = 1 - k;
                    let has_other = mask(&vectors.is_present[other], self.device())?;
                    let input = projected[other].f_detach()?;
                    let generated = self.generators[k].forward(&input)?.f_mul(&has_other)?;
                    let generated = detach_unless(generated, Trained::Generators)?;
                    let is_missing = vectors.is_present[k].iter().map(|present| !present);
                    let is_missing = mask(&is_missing.collect::<Vec<_>>(), self.device())?;
                    let completed = projected[k].f_add(&generated.f_mul(&is_missing)?)?;
                    Ok((completed, generated))
                };
                let ((text, for_text), (structure, for_structure)) = (complete(0)?, complete(1)?);
                let [has_text, has_structure] = &vectors.is_present;
                let any: Vec<bool> =
                    has_text.iter().zip(has_structure).map(|(a, b)| *a || *b).collect();
                ([text, structure], Some([for_text, for_structure]), [any.clone(), any])
            }
        };
        let weights = self.modality_weights.f_softmax(0, None::<Kind>)?;
        let weights = detach_unless(weights, Trained::Projections)?;
        let weighted = |k: usize| -> Result<Tensor> {
            Ok(modalities[k].f_mul(&weights.f_select(0, to_i64(k))?)?)
        };
        let joint = unit_rows(&Tensor::f_cat(&[weighted(0)?, weighted(1)?], 1)?)?;
        Ok(Embedded { modalities, generated, joint, is_present })
    }
}

/// A column of 1 for true and 0 for false, `[n, 1]`.
fn mask(values: &[bool], device: Device) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| f32::from(u8::from(value))).collect();
    Ok(upload(&Tensor::f_from_slice(&values)?.f_unsqueeze(1)?, device)?)
}
