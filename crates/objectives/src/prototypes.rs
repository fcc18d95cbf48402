//! Class prototypes: mean hidden states by class, their alignment across languages, and class
//! probabilities from distances.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::upload;

use crate::checks::{
    check_device, check_float, check_ids, check_int64, check_kind, check_matrix, check_shape,
    check_temperature,
};
use crate::info_nce::{ContrastRowInfo, Direction, InfoNceConfig, Negatives, info_nce};
use crate::span_checks::reduction_kind;
use crate::{Error, IGNORE_INDEX};

/// The mean vector of each of C classes.
#[derive(Debug)]
pub struct ClassPrototypes {
    /// `[C, D]`: the means; zeros for a class without a vector.
    pub vectors: Tensor,
    /// `[C]` bool: whether a class has a vector.
    pub seen: Tensor,
}

/// Computes the mean vector of each class.
///
/// # Shapes
/// - `hidden`: `[N, D]` Float, BFloat16, Half or Double; receives gradient
/// - `labels`: `[N]` i64 in `0..classes`, or -100 for a vector without a class; may be on the CPU
/// - returns `[C, D]`: f64 for f64 `hidden`, f32 for all others
///
/// # Errors
/// [`Error::Range`] for a label outside `0..classes`; [`Error::Domain`] if `classes` is below 1;
/// [`Error::Empty`] without a vector; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::class_prototypes;
/// use objectives::tch::Tensor;
///
/// let hidden = Tensor::from_slice(&[1.0, 5.0, 3.0, 5.0, 9.0, 9.0]).view([3, 2]);
/// let prototypes = class_prototypes(&hidden, &Tensor::from_slice(&[1_i64, 1, -100]), 3)?;
/// assert_eq!(Vec::<f64>::try_from(prototypes.vectors.get(1))?, [2.0, 5.0]);
/// assert_eq!(Vec::<bool>::try_from(prototypes.seen)?, [false, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn class_prototypes(
    hidden: &Tensor,
    labels: &Tensor,
    classes: i64,
) -> Result<ClassPrototypes, Error> {
    let (rows, width) = check_matrix("hidden", hidden, "[N, D]")?;
    check_float("hidden", hidden)?;
    let (kind, device) = (reduction_kind(hidden)?, hidden.device());
    check_int64("labels", labels, &[rows], "[N]", "hidden", device)?;
    if classes < 1 {
        let value = classes as f64;
        return Err(Error::Domain { option: "classes", value, rule: "at least 1" });
    }
    if rows == 0 {
        return Err(Error::Empty { tensor: "hidden", reason: "no vectors" });
    }
    let labels = upload(labels, device)?;
    let labelled = labels.f_ne(IGNORE_INDEX)?.f_nonzero()?.f_squeeze_dim(1)?;
    let labels = labels.f_index_select(0, &labelled)?;
    let sums = Tensor::f_zeros([classes, width], (kind, device))?;
    let counts = Tensor::f_zeros([classes], (kind, device))?;
    if labels.size()[0] == 0 {
        return Ok(ClassPrototypes { vectors: sums, seen: counts.f_gt(0.0)? });
    }
    check_ids("labels", &labels, classes, ", or -100")?;
    let vectors = hidden.f_to_kind(kind)?.f_index_select(0, &labelled)?;
    let sums = sums.f_index_add(0, &labels, &vectors)?;
    let counts = counts.f_index_add(0, &labels, &labels.f_ones_like()?.f_to_kind(kind)?)?;
    let divisors = counts.f_clamp_min(1.0)?.f_unsqueeze(1)?;
    Ok(ClassPrototypes { vectors: sums.f_div(&divisors)?, seen: counts.f_gt(0.0)? })
}

/// Options of [`prototype_alignment`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrototypeConfig {
    /// τ, by which cosines are divided: above 0, at most
    /// [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE). Interpretation: 0.1; the value of the paper is
    /// not known.
    pub temperature: f64,
    /// Whether class 0, the tag `O` of named entities, has a prototype. Interpretation: it has none,
    /// because words outside of entities have no common meaning.
    pub with_class_0: bool,
}

impl Default for PrototypeConfig {
    fn default() -> Self {
        Self { temperature: 0.1, with_class_0: false }
    }
}

/// Computes the contrastive alignment of the prototypes of two languages of *ProKD* (Ge et al. 2023).
///
/// Each source prototype is classified among the target prototypes by cosine, and each target
/// prototype among the source prototypes: InfoNCE in both directions, over the classes that both
/// languages have. The loss is 0 without such a class, and with one.
///
/// Interpretation: the paper's equations were not available. Prototypes are those of one batch, with
/// gold labels in the source language and predicted labels in the target language.
///
/// # Shapes
/// - `source`, `target`: `[C, D]` each, of one dtype; receive gradient
/// - returns `[]`, in nats: f64 for f64 prototypes, else f32
///
/// # Errors
/// The errors of [`info_nce`].
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ClassPrototypes, PrototypeConfig, prototype_alignment};
///
/// let prototypes = || ClassPrototypes {
///     vectors: Tensor::eye(3, (Kind::Double, Device::Cpu)),
///     seen: Tensor::from_slice(&[true, true, true]),
/// };
/// let config = PrototypeConfig { temperature: 1.0, with_class_0: true };
/// let loss = prototype_alignment(&prototypes(), &prototypes(), &config)?;
/// let expected = (1.0 + 2.0 * (-1.0_f64).exp()).ln(); // orthogonal classes
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn prototype_alignment(
    source: &ClassPrototypes,
    target: &ClassPrototypes,
    config: &PrototypeConfig,
) -> Result<Tensor, Error> {
    let classes = check_prototypes("source", source)?;
    check_shape("target", &target.vectors, &source.vectors.size(), "[C, D] of source")?;
    check_prototypes("target", target)?;
    let mut valid = source.seen.f_logical_and(&target.seen)?;
    if !config.with_class_0 {
        let first = Tensor::f_arange(classes, (Kind::Int64, valid.device()))?.f_gt(0)?;
        valid = valid.f_logical_and(&first)?;
    }
    let info_nce_config = InfoNceConfig {
        temperature: config.temperature,
        l2_norm: true,
        direction: Direction::Bidirectional,
        negatives: Negatives::KeysAndQueue,
        ..InfoNceConfig::default()
    };
    let rows = ContrastRowInfo { ids: None, valid: Some(&valid) };
    info_nce(&source.vectors, &target.vectors, None, 0, &rows, &info_nce_config)
}

/// Computes class probabilities from squared distances: `softmax_c(−‖h − p_c‖² / (τ m))` over the
/// classes that have a prototype.
///
/// *ProKD* corrects a teacher's probabilities by the distance of a word from the prototypes of its
/// language. Interpretation: m is the mean of all squared distances, so that τ does not depend on the
/// scale of the hidden states.
///
/// # Shapes
/// - `hidden`: `[N, D]` Float, BFloat16, Half or Double
/// - `prototypes`: `[C, D]`
/// - returns `[N, C]`: f64 for f64 `hidden`, f32 for all others; exactly 0 for a class without a
///   prototype; without gradient
///
/// # Errors
/// [`Error::Empty`] without a vector or without a class that has a prototype; [`Error::Domain`]
/// unless `temperature` is above 0 and at most [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE);
/// [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::Tensor;
/// use objectives::{ClassPrototypes, prototype_probabilities};
///
/// let prototypes = ClassPrototypes {
///     vectors: Tensor::from_slice(&[0.0, 4.0]).view([2, 1]),
///     seen: Tensor::from_slice(&[true, true]),
/// };
/// // Squared distances 1 and 9, with the mean 5.
/// let hidden = Tensor::from_slice(&[1.0]).view([1, 1]);
/// let probabilities = prototype_probabilities(&hidden, &prototypes, 1.0)?;
/// let expected = 1.0 / (1.0 + (-8.0_f64 / 5.0).exp());
/// assert!((probabilities.double_value(&[0, 0]) - expected).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn prototype_probabilities(
    hidden: &Tensor,
    prototypes: &ClassPrototypes,
    temperature: f64,
) -> Result<Tensor, Error> {
    check_temperature(temperature)?;
    let (rows, width) = check_matrix("hidden", hidden, "[N, D]")?;
    check_float("hidden", hidden)?;
    let (kind, device) = (reduction_kind(hidden)?, hidden.device());
    let classes = check_prototypes("prototypes", prototypes)?;
    check_shape("prototypes", &prototypes.vectors, &[classes, width], "[C, D]")?;
    check_device("prototypes", &prototypes.vectors, "hidden", device)?;
    if rows == 0 {
        return Err(Error::Empty { tensor: "hidden", reason: "no vectors" });
    }
    let seen = upload(&prototypes.seen, device)?;
    if seen.f_any()?.f_int64_value(&[])? == 0 {
        return Err(Error::Empty { tensor: "prototypes", reason: "no class has a prototype" });
    }
    let hidden = hidden.f_detach()?.f_to_kind(kind)?;
    let vectors = prototypes.vectors.f_detach()?.f_to_kind(kind)?;
    // ‖h − p‖² by differences of each class, which have no cancellation.
    let distances = (0..classes)
        .map(|class| {
            let differences = hidden.f_sub(&vectors.f_select(0, class)?)?;
            Ok(differences.f_square()?.f_sum_dim_intlist([1_i64].as_slice(), false, kind)?)
        })
        .collect::<Result<Vec<Tensor>, Error>>()?;
    let distances = Tensor::f_stack(&distances, 1)?; // [N, C]
    let is_unseen = seen.f_logical_not()?;
    let mean = distances.f_masked_select(&seen.f_expand_as(&distances)?)?.f_mean(None::<Kind>)?;
    // If all distances are 0, every class has the same probability.
    let scale = mean.f_mul_scalar(temperature)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
    let scores = distances.f_div(&scale)?.f_neg()?.f_masked_fill(&is_unseen, f64::NEG_INFINITY)?;
    Ok(scores.f_softmax(1, kind)?)
}

/// Checks prototypes and returns the number of classes.
fn check_prototypes(name: &'static str, prototypes: &ClassPrototypes) -> Result<i64, Error> {
    let (classes, _) = check_matrix(name, &prototypes.vectors, "[C, D]")?;
    check_float(name, &prototypes.vectors)?;
    check_shape("seen", &prototypes.seen, &[classes], "[C]")?;
    check_kind("seen", &prototypes.seen, Kind::Bool, "Bool")?;
    Ok(classes)
}
