//! Classification of texts fused with their translations (FILTER, section 3).
use std::collections::BTreeMap;

use objectives::IGNORE_INDEX;
use tch::{Reduction, Tensor, no_grad};
use torch_ext::{to_usize, upload};
use trainer::{ExampleRecord, Fingerprint};
use transfer_eval::xnli::NliInput;
use xlmr_model::{FusionConfig, Inputs, Model, encode_fused};

use super::task::{FusedForward, FusedHead};
use super::{FusedTask, PairedText, SoftTeaching};
use crate::{Error, Result, batch, inference};

/// A text, its translation and their class; both texts include special tokens and no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPair {
    /// Token ids of the text.
    pub target: Vec<u32>,
    /// Token ids of its translation.
    pub source: Vec<u32>,
    /// The class of both texts, in `0..C` of the model's head.
    pub class: i64,
}

impl ClassPair {
    /// Pairs texts with their translations, row by row; the numbers of rows and the classes must be
    /// equal.
    ///
    /// # Errors
    /// [`Error::Data`] naming `file` and the first row whose classes differ, or the numbers of rows
    /// if they differ.
    ///
    /// # Example
    /// ```
    /// use tasks::fusion::ClassPair;
    /// use transfer_eval::xnli::NliInput;
    ///
    /// let row = |id, label| NliInput { input_ids: vec![0, id, 2], label };
    /// let pairs = ClassPair::from_rows(&[row(11, 1)], &[row(21, 1)], "train.de.tsv")?;
    /// assert_eq!((pairs[0].source[1], pairs[0].class), (21, 1));
    /// let error = ClassPair::from_rows(&[row(11, 1)], &[row(21, 0)], "train.de.tsv").unwrap_err();
    /// assert!(error.to_string().starts_with("train.de.tsv, row 1: expected the class of its"));
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn from_rows(target: &[NliInput], source: &[NliInput], file: &str) -> Result<Vec<Self>> {
        if target.len() != source.len() {
            let expected = format!("{} rows, as its translation", source.len());
            return Err(Error::data(file, expected, target.len()));
        }
        let pair = |(number, (target, source)): (usize, (&NliInput, &NliInput))| {
            if target.label != source.label {
                let expected = format!("the class of its translation, {}", source.label);
                return Err(Error::data(
                    format!("{file}, row {}", number + 1),
                    expected,
                    target.label,
                ));
            }
            Ok(Self {
                target: target.input_ids.clone(),
                source: source.input_ids.clone(),
                class: target.label,
            })
        };
        target.iter().zip(source).enumerate().map(pair).collect()
    }

    /// Pairs each text with the translation of another text of its class.
    ///
    /// The search for the other text goes through the texts of the class cyclically. It starts half
    /// of the class size after the text itself. The first translation that differs from the text's
    /// translation is used.
    ///
    /// # Errors
    /// [`Error::Data`] naming a row without such a translation.
    ///
    /// # Example
    /// ```
    /// use tasks::fusion::ClassPair;
    ///
    /// let pair = |id, source, class| {
    ///     ClassPair { target: vec![0, id, 2], source: vec![0, source, 2], class }
    /// };
    /// let pairs = [pair(11, 21, 0), pair(12, 22, 0), pair(31, 21, 0), pair(32, 22, 0)];
    /// let unrelated = ClassPair::with_unrelated_sources(&pairs)?;
    /// assert_eq!(unrelated[0], pair(11, 22, 0)); // pair 2 has the same translation
    /// assert_eq!(unrelated[3].source[1], 21);
    /// assert!(ClassPair::with_unrelated_sources(&[pair(11, 21, 0), pair(12, 22, 1)]).is_err());
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn with_unrelated_sources(pairs: &[Self]) -> Result<Vec<Self>> {
        let mut by_class: BTreeMap<i64, Vec<&Self>> = BTreeMap::new();
        let mut positions = Vec::new();
        for pair in pairs {
            let same_class = by_class.entry(pair.class).or_default();
            positions.push(same_class.len());
            same_class.push(pair);
        }
        let replace_source = |(number, (pair, position)): (usize, (&Self, usize))| {
            let same_class = &by_class[&pair.class];
            let mut candidates = same_class
                .iter()
                .cycle()
                .skip(position + same_class.len() / 2)
                .take(same_class.len());
            let partner =
                candidates.find(|other| other.source != pair.source).ok_or_else(|| {
                    let expected = "another text of its class";
                    Error::data(format!("row {}", number + 1), expected, "none")
                })?;
            Ok(Self { source: partner.source.clone(), ..pair.clone() })
        };
        pairs.iter().zip(positions).enumerate().map(replace_source).collect()
    }
}

/// Training task of fused sequence classification.
///
/// The loss of each half is cross-entropy; see [`FusedTask`].
///
/// # Example
/// ```
/// use tasks::fusion::{ClassPair, FusedClassificationTask, SoftTeaching};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, FusionConfig, Head, Model};
///
/// let head = Head::SequenceClassification { labels: 3 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let pair = ClassPair { target: vec![0, 11, 12, 2], source: vec![0, 21, 2], class: 1 };
/// let fusion = FusionConfig { local: 1, cross: 1 };
/// let mut task =
///     FusedClassificationTask::new(&model, vec![pair], fusion, &SoftTeaching::default())?;
/// let rng = trainer::rng_for(0, "xnli", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert!((losses.total.double_value(&[]) - 2.0 * 3f64.ln()).abs() < 2.0);
/// # Ok::<(), tasks::Error>(())
/// ```
pub type FusedClassificationTask<'a> = FusedTask<'a, ClassPairs>;

/// Pairs of texts for a sequence classification head.
pub struct ClassPairs {
    rows: Vec<ClassPair>,
    fusion: FusionConfig,
    soft: SoftTeaching,
}

impl<'a> FusedTask<'a, ClassPairs> {
    /// Creates a task from training pairs.
    ///
    /// # Errors
    /// [`Error::Empty`] without a row; [`Error::Data`] naming a row whose class is negative;
    /// [`Error::Config`] or [`Error::Model`] naming the key of a value that is out of range.
    pub fn new(
        model: &'a Model,
        rows: Vec<ClassPair>,
        fusion: FusionConfig,
        soft: &SoftTeaching,
    ) -> Result<Self> {
        soft.validate()?;
        fusion.validate(to_usize(model.config().num_hidden_layers))?;
        if rows.is_empty() {
            return Err(Error::empty("pairs to train on"));
        }
        if let Some((number, row)) = rows.iter().enumerate().find(|(_, row)| row.class < 0) {
            return Err(Error::data(format!("class of row {number}"), "0 or more", row.class));
        }
        let lengths = rows.iter().map(|row| row.target.len() + row.source.len()).collect();
        let soft = soft.clone();
        let head = ClassPairs { rows, fusion, soft: soft.clone() };
        Ok(Self { model, head, fusion, soft, lengths, teacher: None })
    }
}

impl FusedHead for ClassPairs {
    const OUTPUTS: &'static [&'static str] = &["classes"];

    fn forward(
        &self,
        model: &Model,
        fusion: &FusionConfig,
        examples: &[usize],
        train: bool,
    ) -> Result<FusedForward> {
        let rows = || examples.iter().map(|&example| &self.rows[example]);
        let target: Vec<&[u32]> = rows().map(|row| &*row.target).collect();
        let source: Vec<&[u32]> = rows().map(|row| &*row.source).collect();
        let target = batch::pair_inputs(model, &target)?;
        let source = batch::pair_inputs(model, &source)?;
        let (target_states, source_states) = encode_fused(model, &target, &source, fusion, train)?;
        let logits = |hidden, inputs: &Inputs| {
            model.sequence_logits(hidden, inputs.attention_mask.as_ref(), train)
        };
        let target_logits = logits(&target_states, &target)?;
        let source_logits = logits(&source_states, &source)?;
        let classes: Vec<i64> = rows().map(|row| row.class).collect();
        let loss = |logits| cross_entropy(logits, &classes).map(Some);
        let losses = match train {
            true => [loss(&source_logits)?, loss(&target_logits)?],
            false => [None, None],
        };
        Ok(FusedForward { scores: vec![target_logits], soft_mask: None, losses })
    }

    fn fingerprint_options(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("fusion", &self.fusion).add_json("soft", &self.soft);
    }

    fn fingerprint_pairs(&self, fingerprint: &mut Fingerprint) {
        for ClassPair { target, source, class } in &self.rows {
            fingerprint
                .add_ids("target", target)
                .add_ids("source", source)
                .add_ids("class", &[*class]);
        }
    }

    fn example(&self, index: usize) -> ExampleRecord {
        ExampleRecord { id: None, input_ids: self.rows[index].target.clone() }
    }
}

/// Computes the mean cross-entropy over the texts, for logits `[B, C]`.
fn cross_entropy(logits: &Tensor, classes: &[i64]) -> Result<Tensor> {
    let (_, count) = logits.size2()?;
    if let Some(class) = classes.iter().find(|&&class| class >= count) {
        return Err(Error::data("class", format!("below {count}, the number of labels"), class));
    }
    let classes = upload(&Tensor::f_from_slice(classes)?, logits.device())?;
    let no_weights = None::<&Tensor>;
    Ok(logits.f_cross_entropy_loss(&classes, no_weights, Reduction::Mean, IGNORE_INDEX, 0.0)?)
}

/// Predicts the class of each text, in `0..C`, in the order of `rows`.
///
/// `rows` are texts with their translations; `second_text` selects the second text.
///
/// # Errors
/// If the model has no sequence classification head or rejects an input; [`Error::Data`] if a logit
/// is not finite; [`Error::Config`] if `batch_size` is 0.
///
/// # Example
/// ```
/// use tasks::fusion::{PairedText, best_fused_classes};
/// use xlmr_model::{Config, FusionConfig, Head, Model};
///
/// let head = Head::SequenceClassification { labels: 5 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let fusion = FusionConfig { local: 1, cross: 1 };
/// let rows: [(&[u32], &[u32]); 1] = [(&[0, 11, 2], &[0, 21, 22, 2])];
/// for second in [PairedText::Translation, PairedText::SameText, PairedText::None] {
///     assert!(best_fused_classes(&model, &rows, &fusion, second, 32)?[0] < 5);
/// }
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn best_fused_classes(
    model: &Model,
    rows: &[(&[u32], &[u32])],
    fusion: &FusionConfig,
    second_text: PairedText,
    batch_size: usize,
) -> Result<Vec<usize>> {
    let lengths: Vec<usize> =
        rows.iter().map(|(target, source)| target.len() + source.len()).collect();
    batch::compute_by_length(&lengths, batch_size, |indices| {
        let pairs = indices.iter().map(|&k| rows[k]);
        let (targets, sources): (Vec<&[u32]>, Vec<&[u32]>) = pairs.unzip();
        let inputs = |ids: &[&[u32]]| batch::pair_inputs(model, ids);
        let target = inputs(&targets)?;
        let source = match second_text {
            PairedText::Translation => Some(inputs(&sources)?),
            PairedText::SameText => Some(inputs(&targets)?),
            PairedText::None => None,
        };
        no_grad(|| {
            let hidden = match &source {
                Some(source) => encode_fused(model, &target, source, fusion, false)?.0,
                None => model.encode(&target, false)?,
            };
            let mask = target.attention_mask.as_ref();
            inference::argmax_rows(model.sequence_logits(&hidden, mask, false)?)
        })
    })
}
