//! Training on pairs of texts, with a contrastive loss or a regression of their similarity.
//!
//! The contrastive loss is from *Adapters for Enhanced Modeling of Multilingual Knowledge and Text*
//! (Hou et al. 2022); *IndicSBERT* (Deode et al. 2023) uses both losses.
use std::collections::BTreeSet;
use std::path::Path;

use kg_triples::jsonl::JsonlReader;
use kg_triples::knowledge::{PairKind, TextPair};
use ndarray::Array2;
use objectives::{ContrastRowInfo, InfoNceConfig, cosine_regression, info_nce};
use serde::{Deserialize, Serialize};
use shards::Manifest;
use tch::Tensor;
use tokenizer_file::Layout;
use tokenizers::Tokenizer;
use torch_ext::{to_usize, upload};
use trainer::{
    ExampleRecord, Examples, Fingerprint, Shards, SkippedData, Step, StepLosses, Task, TaskError,
};
use xlmr_model::Model;

use crate::contrast::{entity_id, id_tensor, step_losses};
use crate::knowledge::parse_record;
use crate::pooling::{Pooling, pool, pool_rows, to_array};
use crate::{Error, Result, inference};

/// Options of [`TextPairTask`]. The defaults are the paper's; other values of `pooling` and
/// `mask_same_entity` reproduce the released code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextPairConfig {
    /// Pooling of each text. The default is the mean over tokens; the released code uses
    /// [`Pooling::AllPositions`].
    pub pooling: Pooling,
    /// The loss.
    pub loss: PairLoss,
    /// τ of InfoNCE (default: 0.1).
    pub temperature: f64,
    /// Whether to exclude other rows of a batch with the same entity from the negatives. The
    /// released code does not exclude these rows.
    pub mask_same_entity: bool,
    /// Maximum tokens of a label, or of the labels of subject and relation, including special
    /// tokens: 32.
    pub phrase_length: usize,
    /// Maximum tokens of a description or sentence, and of the label paired with it, including
    /// special tokens: 128.
    pub sentence_length: usize,
}

impl Default for TextPairConfig {
    fn default() -> Self {
        Self {
            pooling: Pooling::Mean,
            loss: PairLoss::Contrastive,
            temperature: 0.1,
            mask_same_entity: true,
            phrase_length: 32,
            sentence_length: 128,
        }
    }
}

/// The loss of [`TextPairTask`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLoss {
    /// [`info_nce`], which contrasts the key of a row with the other keys of its batch.
    #[default]
    Contrastive,
    /// [`cosine_regression`] on the pairs' [`similarity`](TextPair::similarity).
    CosineRegression,
}

impl TextPairConfig {
    /// Validates the numeric options.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first option that is out of range.
    ///
    /// ```
    /// use tasks::text_pairs::TextPairConfig;
    ///
    /// let short = TextPairConfig { phrase_length: 2, ..TextPairConfig::default() };
    /// let error = short.validate().unwrap_err().to_string();
    /// assert_eq!(error, "phrase_length = 2: must be 3 or more");
    /// ```
    pub fn validate(&self) -> Result<()> {
        let lengths =
            [("phrase_length", self.phrase_length), ("sentence_length", self.sentence_length)];
        if let Some((key, value)) = lengths.into_iter().find(|(_, length)| *length < 3) {
            return Err(Error::config(key, value, "3 or more"));
        }
        Ok(self.info_nce().validate()?)
    }

    /// Returns the maximum number of tokens of a text in this kind of pair.
    pub fn max_length(&self, kind: PairKind) -> usize {
        match kind {
            PairKind::Ep | PairKind::Tp => self.phrase_length,
            PairKind::Es | PairKind::Ts => self.sentence_length,
        }
    }

    /// Options of InfoNCE over cosines, from queries to keys only.
    fn info_nce(&self) -> InfoNceConfig {
        InfoNceConfig {
            temperature: self.temperature,
            l2_norm: true,
            mask_same_entity: self.mask_same_entity,
            ..InfoNceConfig::default()
        }
    }
}

/// Output of `kg-triples pairs`, in memory.
#[derive(Clone, Debug, Default)]
pub struct PairData {
    /// Training pairs of all kinds.
    pub train: Vec<TextPair>,
    /// Entities without training pairs.
    pub held_out: BTreeSet<String>,
}

impl PairData {
    /// Reads a prepared folder, or a file of training lines.
    ///
    /// # Errors
    /// The errors of [`Shards::open_with`]; the error names the line of a JSON object that is not a
    /// pair, or a file that changed since it was prepared.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        const PROBE: &str = "probe/held-out.jsonl.gz";
        let path = path.as_ref();
        let mut data = Self::default();
        Shards::open_with([path], |line| {
            data.train.push(parse_record(line)?);
            Ok(())
        })?;
        let manifest = Manifest::read(path)?;
        if let Some(digest) = manifest.as_ref().and_then(|manifest| manifest.files.get(PROBE)) {
            digest.check(&path.join(PROBE))?;
            for pair in JsonlReader::<TextPair>::open(path.join(PROBE))? {
                data.held_out.insert(pair?.entity);
            }
        }
        Ok(data)
    }
}

/// Training task of text pairs of one kind, logged under the kind's name.
///
/// By default the loss is InfoNCE over the cosines of each query with all keys of its batch, `ℓᵢ =
/// -ln( e^{cos(qᵢ,kᵢ)/τ} / Σⱼ e^{cos(qᵢ,kⱼ)/τ} )`, the mean over rows in nats; the alternative is
/// [`PairLoss::CosineRegression`]. Both texts are encoded by the same encoder and pooled by
/// [`Pooling`].
///
/// A text with more tokens than its kind allows is truncated and counted. With the contrastive loss,
/// batches are not sorted by length by default
/// ([`TrainConfig::bucket_batches`](trainer::TrainConfig::bucket_batches)), because the other keys of
/// a batch are the negatives.
///
/// # Example
/// ```
/// use kg_triples::Language;
/// use kg_triples::knowledge::{PairKind, TextPair};
/// use tasks::text_pairs::{TextPairConfig, TextPairTask};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let pair = |query: &str, key: &str, entity: &str| TextPair {
///     kind: PairKind::Ep,
///     query: query.into(),
///     query_language: Language::EN,
///     key: key.into(),
///     key_language: Language::DE,
///     entity: entity.into(),
///     similarity: None,
/// };
/// let pairs = [pair("Germany", "Deutschland", "Q183"), pair("Japan", "Japan", "Q17")];
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let config = TextPairConfig::default();
/// let mut task = TextPairTask::new(&model, &tokenizer, PairKind::Ep, &pairs, &config)?;
/// let rng = trainer::rng_for(0, "ep", 0);
/// let mut step = Step::new(&[0, 1], rng);
/// assert_eq!(task.losses(&mut step)?.parts[0].0, "ep");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct TextPairTask<'a> {
    model: &'a Model,
    kind: PairKind,
    config: TextPairConfig,
    examples: Vec<Example>,
    /// Number of tokens of each example: the sum over its two texts.
    lengths: Vec<usize>,
    truncated_count: usize,
}

struct Example {
    query: Vec<u32>,
    key: Vec<u32>,
    entity: String,
    similarity: Option<f64>,
}

impl<'a> TextPairTask<'a> {
    /// Creates a task from the `pairs` of this kind.
    ///
    /// # Errors
    /// The errors of [`TextPairConfig::validate`]; [`Error::Config`] if texts may be longer than
    /// the model's rows; [`Error::Empty`] without a pair; [`Error::Data`] for a pair without the
    /// similarity that the loss requires; [`Error::Tokenizer`].
    pub fn new(
        model: &'a Model,
        tokenizer: &Tokenizer,
        kind: PairKind,
        pairs: &[TextPair],
        config: &TextPairConfig,
    ) -> Result<Self> {
        config.validate()?;
        let encoder = RowEncoder::new(model, tokenizer, config.max_length(kind))?;
        let (mut examples, mut truncated_count) = (Vec::new(), 0);
        for pair in pairs.iter().filter(|pair| pair.kind == kind) {
            let [(query, query_truncated), (key, key_truncated)] =
                [encoder.encode(&pair.query)?, encoder.encode(&pair.key)?];
            truncated_count += usize::from(query_truncated || key_truncated);
            let (entity, similarity) = (pair.entity.clone(), pair.similarity);
            if config.loss == PairLoss::CosineRegression && similarity.is_none() {
                return Err(Error::data(
                    format!("pair {:?}, {:?}", pair.query, pair.key),
                    "a similarity for the loss cosine_regression",
                    "none",
                ));
            }
            examples.push(Example { query, key, entity, similarity });
        }
        if examples.is_empty() {
            return Err(Error::empty(format!("pairs of kind {} to train on", kind.name())));
        }
        let lengths =
            examples.iter().map(|example| example.query.len() + example.key.len()).collect();
        Ok(Self { model, kind, config: config.clone(), examples, lengths, truncated_count })
    }

    /// Computes the loss from hidden states, `[b, H]` each.
    fn loss(&self, rows: &[&Example], query: &Tensor, key: &Tensor) -> Result<Tensor> {
        if self.config.loss == PairLoss::CosineRegression {
            let similarity = |example: &&Example| {
                example.similarity.expect("a regression's pairs have a similarity")
            };
            let similarities: Vec<f64> = rows.iter().map(similarity).collect();
            let similarities = upload(&Tensor::f_from_slice(&similarities)?, query.device())?;
            return Ok(cosine_regression(query, key, &similarities)?);
        }
        let entities: Vec<i64> = rows.iter().map(|example| entity_id(&example.entity)).collect();
        let entities = id_tensor(&entities, query.device())?;
        let entity_rows = ContrastRowInfo { ids: Some(&entities), valid: None };
        Ok(info_nce(query, key, None, 0, &entity_rows, &self.config.info_nce())?)
    }
}

impl Task for TextPairTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("kind", &self.kind).add_json("config", &self.config);
        for Example { query, key, entity, similarity } in &self.examples {
            fingerprint.add_ids("query", query).add_ids("key", key).add("entity", entity);
            if let Some(similarity) = similarity {
                fingerprint.add_json("similarity", similarity);
            }
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&Example> = step.batch.iter().map(|&index| &self.examples[index]).collect();
        let (model, pooling) = (self.model, self.config.pooling);
        let embed = |rows: &[&Example]| {
            let queries: Vec<&[u32]> =
                rows.iter().map(|example| example.query.as_slice()).collect();
            let keys: Vec<&[u32]> = rows.iter().map(|example| example.key.as_slice()).collect();
            let pool = |rows: &[&[u32]]| pool_rows(model, rows, pooling, true);
            Ok([pool(&queries)?, pool(&keys)?])
        };
        let loss = |query: &Tensor, key: &Tensor| self.loss(&rows, query, key);
        Ok(step_losses(step, self.kind.name(), &rows, model.device(), embed, loss)?)
    }

    fn supports_micro_batches(&self) -> bool {
        // With `Pooling::AllPositions`, vectors depend on the padding, which differs between
        // micro-batches.
        self.config.pooling != Pooling::AllPositions
    }

    fn min_batch_size(&self) -> usize {
        match self.config.loss {
            PairLoss::Contrastive => 2,
            PairLoss::CosineRegression => 1,
        }
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let Example { query, entity, .. } = &self.examples[index];
        ExampleRecord { id: Some(entity.clone()), input_ids: query.clone() }
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let max_length = self.config.max_length(self.kind);
        let description = format!("pairs with a text truncated to {max_length} tokens");
        vec![SkippedData::new(description, self.truncated_count, self.examples.len())]
    }
}

/// Computes one vector per text, `[texts, H]`, in batches of similar length.
///
/// A text with more than `max_length` tokens, including special tokens, is truncated.
///
/// # Errors
/// [`Error::Config`] if `batch_size` is 0 or the model has fewer than `max_length` positions;
/// [`Error::Tokenizer`].
///
/// # Example
/// ```
/// use tasks::pooling::Pooling;
/// use tasks::text_pairs::text_vectors;
/// use xlmr_model::{Config, Model, read_tokenizer};
///
/// let model = Model::new(&Config::tiny(4000), &[], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let texts = ["Which river is in Bern?", "Bern"];
/// let vectors = text_vectors(&model, &tokenizer, &texts, Pooling::Mean, 32, 8)?;
/// assert_eq!(vectors.dim(), (2, 128));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn text_vectors(
    model: &Model,
    tokenizer: &Tokenizer,
    texts: &[impl AsRef<str>],
    pooling: Pooling,
    max_length: usize,
    batch_size: usize,
) -> Result<Array2<f32>> {
    let encoder = RowEncoder::new(model, tokenizer, max_length)?;
    let rows = texts.iter().map(|text| Ok(encoder.encode(text.as_ref())?.0));
    let rows = rows.collect::<Result<Vec<Vec<u32>>>>()?;
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let vectors = inference::map_rows(model, &rows, batch_size, |_, inputs, hidden| {
        let pooled = to_array("text vectors", &pool(hidden, inputs, pooling)?)?;
        Ok(pooled.outer_iter().map(|vector| vector.to_vec()).collect())
    })?;
    let shape = (vectors.len(), to_usize(model.config().hidden_size));
    Array2::from_shape_vec(shape, vectors.concat())
        .map_err(|error| Error::data("text vectors", "a full array", error))
}

/// Converter of texts to rows of token ids.
struct RowEncoder<'a> {
    tokenizer: &'a Tokenizer,
    layout: Layout,
    max_length: usize,
}

impl<'a> RowEncoder<'a> {
    /// Creates a converter to rows of at most `max_length` tokens.
    ///
    /// # Errors
    /// [`Error::Config`] if the model supports only shorter rows; [`Error::Tokenizer`] if the
    /// tokenizer adds no special tokens to texts.
    fn new(model: &Model, tokenizer: &'a Tokenizer, max_length: usize) -> Result<Self> {
        let positions = to_usize(model.config().max_length());
        if max_length > positions {
            return Err(Error::config("length", max_length, format!("at most {positions} tokens")));
        }
        let layout = Layout::of(tokenizer).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(Self { tokenizer, layout, max_length })
    }

    /// Returns the token ids of a text with special tokens, and whether the text was truncated.
    fn encode(&self, text: &str) -> Result<(Vec<u32>, bool)> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| Error::Tokenizer(format!("{text:?}: {error}")))?;
        let ids = encoding.get_ids();
        let max_tokens = self.max_length.saturating_sub(self.layout.single(&[]).len());
        let truncated_ids = ids.get(..max_tokens).unwrap_or(ids);
        Ok((self.layout.single(truncated_ids), truncated_ids.len() < ids.len()))
    }
}

#[cfg(test)]
mod tests {
    use kg_triples::Language;
    use tch::Kind;
    use xlmr_model::{BottleneckConfig, Model};

    use super::*;
    use crate::testing::{
        assert_bf16_is_near_f32, assert_micro_batches_match, fingerprint_of, first_loss, model,
        tokenizer,
    };

    /// Nine pairs of five entities, and a pair of another kind.
    fn pairs() -> Vec<TextPair> {
        let pair = |kind, query: &str, key: &str| TextPair {
            kind,
            query: query.into(),
            query_language: Language::EN,
            key: key.into(),
            key_language: Language::DE,
            entity: format!("Q{}", key.chars().next().unwrap()),
            similarity: None,
        };
        let texts = [
            ("Germany", "Deutschland"),
            ("the Federal Republic of Germany in Europe", "Deutschland"),
            ("Japan", "Japan"),
            ("the islands of Japan", "Japan"),
            ("Peru", "Peru"),
            ("a republic of South America", "Peru"),
            ("Egypt", "Ägypten"),
            ("Switzerland", "Schweiz"),
            ("a country in the mountains", "Schweiz"),
        ];
        let ep_pairs = texts.map(|(query, key)| pair(PairKind::Ep, query, key));
        let mut pairs: Vec<_> =
            ep_pairs.into_iter().chain([pair(PairKind::Tp, "Peru capital", "Lima")]).collect();
        let similarities = [1.0, 0.9, 1.0, 0.7, 1.0, 0.4, 0.0, 0.25, 0.5];
        for (pair, similarity) in pairs.iter_mut().zip(similarities) {
            pair.similarity = Some(similarity);
        }
        pairs
    }

    fn task<'a>(model: &'a Model, config: &TextPairConfig) -> TextPairTask<'a> {
        TextPairTask::new(model, &tokenizer(), PairKind::Ep, &pairs(), config).unwrap()
    }

    fn loss(model: &Model, config: &TextPairConfig, batch: &[usize]) -> Tensor {
        first_loss(&mut task(model, config), batch)
    }

    /// Reference implementation in float64: each text is encoded separately, without padding.
    fn reference_loss(model: &Model, config: &TextPairConfig, batch: &[usize]) -> f64 {
        let (pairs, tokenizer) = (pairs(), tokenizer());
        let encoder = RowEncoder::new(model, &tokenizer, 32).unwrap();
        let vector = |text: &str| -> Vec<f64> {
            let (row, _) = encoder.encode(text).unwrap();
            let vector = pool_rows(model, &[&row], Pooling::Mean, false).unwrap().get(0);
            let vector = Vec::<f64>::try_from(vector.to_kind(Kind::Double)).unwrap();
            let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector.iter().map(|x| x / norm).collect()
        };
        let row_losses = batch.iter().map(|&i| {
            let query = vector(&pairs[i].query);
            let cosine = |j: usize| {
                let key = vector(&pairs[j].key);
                query.iter().zip(&key).map(|(a, b)| a * b).sum::<f64>()
            };
            if config.loss == PairLoss::CosineRegression {
                return (cosine(i) - pairs[i].similarity.unwrap()).powi(2);
            }
            let score = |j: usize| cosine(j) / config.temperature;
            let is_negative =
                |j: &usize| !config.mask_same_entity || pairs[*j].entity != pairs[i].entity;
            let candidates = batch.iter().copied().filter(|j| *j == i || is_negative(j));
            candidates.map(|j| (score(j) - score(i)).exp()).sum::<f64>().ln()
        });
        row_losses.sum::<f64>() / batch.len() as f64
    }

    #[test]
    fn the_loss_equals_the_reference_in_float64() {
        let model = model(4000);
        let config = TextPairConfig::default();
        let unmasked =
            TextPairConfig { mask_same_entity: false, temperature: 0.5, ..config.clone() };
        let regression = TextPairConfig { loss: PairLoss::CosineRegression, ..config.clone() };
        for config in [&config, &unmasked, &regression] {
            for batch in [&[0, 1, 2, 3, 4, 5, 6, 7, 8][..], &[8, 2, 0], &[0, 1], &[3]] {
                let (actual, expected) =
                    (loss(&model, config, batch), reference_loss(&model, config, batch));
                let actual = actual.double_value(&[]);
                assert!(
                    (actual - expected).abs() < 1e-4,
                    "{batch:?}: got {actual}, expected {expected}"
                );
            }
        }
        // Rows 0 and 1 have the same entity and equal keys. If they are not negatives of each
        // other, the loss is 0; otherwise it is ln 2.
        assert!(loss(&model, &config, &[0, 1]).double_value(&[]).abs() < 1e-6);
        assert!((loss(&model, &unmasked, &[0, 1]).double_value(&[]) - 2f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn training_changes_only_the_adapter() {
        let mut model = model(4000);
        for (name, seed) in [("ep", 1), ("tp", 2)] {
            model.add_bottleneck(name, &BottleneckConfig::default(), seed).unwrap();
        }
        let copy_parameters = |model: &Model| -> Vec<(String, Tensor)> {
            let parameters = model.named_parameters().into_iter();
            parameters.map(|(name, tensor)| (name, tensor.detach().copy())).collect()
        };
        let states = |model: &Model| pool_rows(model, &[&[0, 7, 2]], Pooling::Mean, false).unwrap();
        let (before, states_without_adapter) = (copy_parameters(&model), states(&model));
        model.set_active_adapters(&["ep"]).unwrap();
        let mut parameters = model.freeze_encoder().unwrap();
        parameters.retain(|(name, _)| name.starts_with("adapters.ep."));
        let config = trainer::TrainConfig { steps: Some(3), ..trainer::TrainConfig::default() };
        let folder = tempfile::tempdir().unwrap();
        let (device, float32_matmul) = ("cpu".into(), "highest".into());
        let environment = trainer::Environment { threads: 1, device, float32_matmul };
        let stage = trainer::Stage::new("ep", folder.path(), environment);
        let mut task = task(&model, &TextPairConfig::default());
        trainer::fit(&stage, &config, &parameters, &mut task).unwrap();
        for ((name, before_value), (_, after_value)) in before.iter().zip(copy_parameters(&model)) {
            assert_eq!(*before_value != after_value, name.starts_with("adapters.ep."), "{name}");
        }
        assert_ne!(states(&model), states_without_adapter);
        model.set_active_adapters(&[]).unwrap();
        assert_eq!(states(&model), states_without_adapter);
    }

    #[test]
    fn long_texts_are_truncated_and_counted() {
        let model = model(4000);
        let config = TextPairConfig { phrase_length: 5, ..TextPairConfig::default() };
        let task = task(&model, &config);
        assert!(
            task.examples
                .iter()
                .all(|example| example.query.len() <= 5 && example.query.ends_with(&[2]))
        );
        let [truncated] = &task.skipped_data()[..] else { panic!("one count") };
        assert!((1..9).contains(&truncated.count) && truncated.of == 9, "{truncated}");
        let long_config = TextPairConfig { phrase_length: 4000, ..config };
        let error = TextPairTask::new(&model, &tokenizer(), PairKind::Ep, &pairs(), &long_config);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("length = 4000: must be at most "), "{error}");
        let short = TextPairConfig { sentence_length: 32, ..TextPairConfig::default() };
        let empty_task = TextPairTask::new(&model, &tokenizer(), PairKind::Ts, &pairs(), &short);
        assert_eq!(empty_task.err().unwrap().to_string(), "no pairs of kind ts to train on");
    }

    #[test]
    fn a_pair_without_similarity_is_reported() {
        let config =
            TextPairConfig { loss: PairLoss::CosineRegression, ..TextPairConfig::default() };
        let mut pairs = pairs();
        pairs[2].similarity = None;
        let model = model(4000);
        let error = TextPairTask::new(&model, &tokenizer(), PairKind::Ep, &pairs, &config);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("pair \"Japan\", \"Japan\""), "{error}");
    }

    #[test]
    fn the_fingerprint_depends_on_pairs_and_options() {
        let model = model(4000);
        let hash = |config: &TextPairConfig, pairs: &[TextPair]| {
            let task = TextPairTask::new(&model, &tokenizer(), PairKind::Ep, pairs, config);
            fingerprint_of(&task.unwrap())
        };
        let (config, mut changed) = (TextPairConfig::default(), pairs());
        let first = hash(&config, &pairs());
        assert_eq!(first, hash(&config, &pairs()));
        assert_ne!(first, hash(&TextPairConfig { temperature: 0.2, ..config.clone() }, &pairs()));
        changed[3].entity = "Q1".into();
        assert_ne!(first, hash(&config, &changed));
        let mut changed = pairs();
        changed[3].similarity = Some(0.5);
        assert_ne!(first, hash(&config, &changed));
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let model = model(4000);
        let config = TextPairConfig { temperature: 1.0, ..TextPairConfig::default() };
        let (parameters, batch) = (model.named_parameters(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_bf16_is_near_f32(&parameters, || task(&model, &config), &batch);
        assert_micro_batches_match(&parameters, || task(&model, &config), &batch);
        let regression = TextPairConfig { loss: PairLoss::CosineRegression, ..config.clone() };
        assert_micro_batches_match(&parameters, || task(&model, &regression), &batch);
        let all_positions = TextPairConfig { pooling: Pooling::AllPositions, ..config };
        assert!(!task(&model, &all_positions).supports_micro_batches());
    }
}
