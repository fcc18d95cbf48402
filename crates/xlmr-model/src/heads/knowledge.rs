//! XLM-K's projection heads, relation embeddings and relation classifier.
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::{TensorFile, TensorMap, to_i64, write_tensors};

use crate::config::json_file::parse_json;
use crate::heads::projection::copy_into;
use crate::parameters::{Init, Spec};
use crate::{Config, Error, Projection, ProjectionKind, Result};

/// File name in a checkpoint's folder; transformers ignores the file.
const FILE_NAME: &str = "knowledge.safetensors";
const RELATIONS_WEIGHT: &str = "relations.weight";
const CLASSIFIER_NAMES: [&str; 2] = ["relation_classifier.weight", "relation_classifier.bias"];
const HEAD_NAMES: [&str; 4] = ["mep_query", "mep_key", "oe_query", "oe_key"];

/// Sizes and layers of [`KnowledgeHeads`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// The layers of the four heads.
    pub projection: ProjectionKind,
    /// d_p, the inner size of the heads. If absent, it is H, as in the released code; the paper
    /// does not specify it.
    pub inner_size: Option<i64>,
    /// S, the number of domains of domain-specific batch norm. Each domain has separate running
    /// statistics; scale and shift are shared. With one domain per language, as in an option of the
    /// released code, batch norm subtracts each language's mean. With one domain for all languages,
    /// the languages' different means would remain in the output and separate the rows by language.
    /// If absent, all rows have one domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm_domains: Option<i64>,
}

/// Heads and relation embeddings of *XLM-K* (Jiang et al. 2022).
///
/// Two heads are for masked entity prediction, MEP (Eq. 1 and 2), two for object entailment, OE
/// (Eq. 3 and 4). The four heads share no parameters, but use the same encoder.
#[derive(Debug)]
pub struct KnowledgeHeads {
    config: KnowledgeConfig,
    relations: Vec<String>,
    hidden_size: i64,
    /// Tensors by name, without the prefix `knowledge.`. The flag is true for a parameter and false
    /// for a buffer.
    tensors: BTreeMap<String, (Tensor, bool)>,
    heads: [Projection; 4],
    relation_embeddings: Tensor,
    classifier: [Tensor; 2],
}

/// Metadata of `knowledge.safetensors`.
#[derive(Deserialize, Serialize)]
struct Metadata {
    #[serde(with = "StoredConfig")]
    config: KnowledgeConfig,
    relations: Vec<String>,
}

/// The fields of [`KnowledgeConfig`] under their keys in files, which must not change.
#[derive(Deserialize, Serialize)]
#[serde(remote = "KnowledgeConfig", deny_unknown_fields)]
struct StoredConfig {
    #[serde(default)]
    projection: ProjectionKind,
    inner_size: Option<i64>,
    #[serde(rename = "norm_sets", skip_serializing_if = "Option::is_none")]
    batch_norm_domains: Option<i64>,
}

impl KnowledgeHeads {
    /// Creates new heads for an encoder, and an embedding for each relation in `relations`. Weights
    /// are drawn from N(0, `initializer_range`).
    ///
    /// The values depend only on `seed` and each tensor's name.
    ///
    /// # Errors
    /// [`Error::Input`] if a relation is listed twice, or `inner_size` or `batch_norm_domains` is
    /// below 1; [`Error::Torch`].
    pub fn new(
        encoder_config: &Config,
        config: &KnowledgeConfig,
        relations: &[String],
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        let specs = checked_specs(config, encoder_config.hidden_size, relations)?;
        let mut tensors = BTreeMap::new();
        for (spec, is_trainable) in specs {
            let tensor = spec.initial_tensor(encoder_config.initializer_range, seed, device)?;
            tensors.insert(spec.name, (tensor.f_set_requires_grad(is_trainable)?, is_trainable));
        }
        Self::assemble(config.clone(), relations.to_vec(), encoder_config.hidden_size, tensors)
    }

    fn assemble(
        config: KnowledgeConfig,
        relations: Vec<String>,
        hidden_size: i64,
        tensors: BTreeMap<String, (Tensor, bool)>,
    ) -> Result<Self> {
        let get = |name: &str| match tensors.get(name) {
            Some((tensor, _)) => Ok(tensor.shallow_clone()),
            None => Err(Error::input("tensors", name, "no tensor of that name")),
        };
        let head = |name: &str| Projection::new(name, config.projection, &get);
        let [first, second, third, fourth] = HEAD_NAMES;
        let heads = [head(first)?, head(second)?, head(third)?, head(fourth)?];
        let relation_embeddings = get(RELATIONS_WEIGHT)?;
        let [weight, bias] = CLASSIFIER_NAMES;
        let classifier = [get(weight)?, get(bias)?];
        Ok(Self { config, relations, hidden_size, tensors, heads, relation_embeddings, classifier })
    }

    /// Computes `z_q` of Eq. 1: the projected hidden states of the mentions' first tokens.
    ///
    /// # Shapes
    /// - `states`: `[B, H]` float; the result has the same shape
    /// - `domain_ids`: B integers, as in [`Projection::apply`]; empty without
    ///   [`batch_norm_domains`](KnowledgeConfig::batch_norm_domains)
    ///
    /// # Errors
    /// As [`Projection::apply`].
    pub fn mep_query(&self, states: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        self.heads[0].apply(states, domain_ids, train)
    }

    /// Computes `z_k` of Eq. 2: the projected `<s>` hidden states of the descriptions.
    ///
    /// # Shapes
    /// As [`mep_query`](Self::mep_query).
    ///
    /// # Errors
    /// As [`Projection::apply`].
    pub fn mep_key(&self, states: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        self.heads[1].apply(states, domain_ids, train)
    }

    /// Computes `z_q` of Eq. 3: the projected sums of the subjects' `<s>` hidden states and their
    /// relations' embeddings.
    ///
    /// # Shapes
    /// - `subjects`: `[B, H]` float; the result has the same shape
    /// - `relations`: `[B]` i64, indices into [`relations`](Self::relations); tensors on the CPU
    ///   are checked without waiting for a GPU
    /// - `domain_ids`: as in [`mep_query`](Self::mep_query)
    ///
    /// # Errors
    /// [`Error::Input`] for an index out of range; as [`Projection::apply`].
    pub fn oe_query(
        &self,
        subjects: &Tensor,
        relations: &Tensor,
        domain_ids: &[usize],
        train: bool,
    ) -> Result<Tensor> {
        let n_relations = to_i64(self.relations.len());
        let out_of_range = relations.f_lt(0)?.f_logical_or(&relations.f_ge(n_relations)?)?;
        if relations.dim() != 1
            || relations.size().first() != subjects.size().first()
            || relations.kind() != Kind::Int64
            || out_of_range.f_any()?.f_int64_value(&[])? != 0
        {
            let got =
                format!("{:?} {:?}, or an index out of range", relations.kind(), relations.size());
            return Err(Error::input("relations", format!("[B] Int64 in 0..{n_relations}"), got));
        }
        let relations = torch_ext::upload(relations, self.relation_embeddings.device())?;
        let sums = subjects.f_add(&self.relation_embeddings.f_index_select(0, &relations)?)?;
        self.heads[2].apply(&sums, domain_ids, train)
    }

    /// Computes `z_k` of Eq. 4: the projected `<s>` hidden states of the objects' descriptions.
    ///
    /// # Shapes
    /// As [`mep_query`](Self::mep_query).
    ///
    /// # Errors
    /// As [`Projection::apply`].
    pub fn oe_key(&self, states: &Tensor, domain_ids: &[usize], train: bool) -> Result<Tensor> {
        self.heads[3].apply(states, domain_ids, train)
    }

    /// Returns weight `[R, 2H]` and bias `[R]` of the relation classifier, for object entailment by
    /// classification of relations instead of contrast (§4.3).
    pub fn relation_classifier(&self) -> (&Tensor, &Tensor) {
        let [weight, bias] = &self.classifier;
        (weight, bias)
    }

    /// Returns the names of the relations, in the order of their indices.
    pub fn relations(&self) -> &[String] {
        &self.relations
    }

    /// Returns shallow clones of the trainable parameters, sorted by name (`knowledge.…`).
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.named_tensors(true)
    }

    /// Returns shallow clones of batch norm's running statistics by name (`knowledge.…`); none for
    /// plain heads.
    pub fn named_buffers(&self) -> Vec<(String, Tensor)> {
        self.named_tensors(false)
    }

    fn named_tensors(&self, is_trainable: bool) -> Vec<(String, Tensor)> {
        self.tensors
            .iter()
            .filter(|(_, (_, requires_grad))| *requires_grad == is_trainable)
            .map(|(name, (tensor, _))| (format!("knowledge.{name}"), tensor.shallow_clone()))
            .collect()
    }

    /// Restores running statistics returned by [`named_buffers`](Self::named_buffers).
    ///
    /// # Errors
    /// [`Error::Input`] if a buffer is missing or has another shape.
    pub fn restore_buffers(&self, state: &TensorMap) -> Result<()> {
        for (name, buffer) in self.named_buffers() {
            let refuse = |got| Error::input("state", format!("{name} {:?}", buffer.size()), got);
            let Some(tensor) = state.get(&name) else {
                return Err(refuse("no tensor of that name".to_owned()));
            };
            if tensor.size() != buffer.size() {
                return Err(refuse(format!("{:?}", tensor.size())));
            }
            copy_into(&buffer, tensor)?;
        }
        Ok(())
    }

    /// Writes `knowledge.safetensors` to a model's folder, atomically.
    ///
    /// # Errors
    /// [`Error::TorchExt`] naming the file.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let path = folder.as_ref().join(FILE_NAME);
        let json = Metadata { config: self.config.clone(), relations: self.relations.clone() };
        let json = atomic_file::json::to_string(&path, &json)?;
        let named = self.tensors.iter().map(|(name, (tensor, _))| (name.as_str(), tensor));
        // All metadata is a single entry, because several entries would be written in varying
        // order.
        let metadata = [("knowledge", json.as_str())];
        Ok(write_tensors(&path, named, &metadata)?)
    }

    /// Loads a file written by [`save`](Self::save), for an encoder with the configuration
    /// `encoder_config`.
    ///
    /// # Errors
    /// [`Error::TorchExt`] or [`Error::Json`] naming the file if it cannot be read,
    /// [`Error::Stored`] naming a tensor that does not match the encoder.
    pub fn load(folder: impl AsRef<Path>, encoder_config: &Config, device: Device) -> Result<Self> {
        let path = folder.as_ref().join(FILE_NAME);
        let file = TensorFile::open(&path)?;
        let Some(json) = file.metadata("knowledge") else {
            let reason = "has no metadata `knowledge`; expected a file written by \
                          `KnowledgeHeads::save`";
            return Err(Error::damaged(&path, reason));
        };
        let Metadata { config, relations } = parse_json(&path, json.as_bytes())?;
        let mut tensors = BTreeMap::new();
        for (spec, is_trainable) in checked_specs(&config, encoder_config.hidden_size, &relations)?
        {
            let tensor = file.read(&spec.name)?;
            if tensor.size() != spec.shape || tensor.kind() != Kind::Float {
                return Err(Error::Stored {
                    path,
                    tensor: spec.name,
                    expected: format!("Float {:?}", spec.shape),
                    got: format!("{:?} {:?}", tensor.kind(), tensor.size()),
                });
            }
            let tensor = tensor.f_to_device(device)?.f_set_requires_grad(is_trainable)?;
            tensors.insert(spec.name, (tensor, is_trainable));
        }
        Self::assemble(config, relations, encoder_config.hidden_size, tensors)
    }

    /// Returns H, the input size of the heads.
    pub fn hidden_size(&self) -> i64 {
        self.hidden_size
    }
}

/// Checks the sizes and relations. Returns the specification of each tensor, and whether the tensor
/// is a trainable parameter.
fn checked_specs(
    config: &KnowledgeConfig,
    hidden: i64,
    relations: &[String],
) -> Result<Vec<(Spec, bool)>> {
    let inner = config.inner_size.unwrap_or(hidden);
    if inner < 1 {
        return Err(Error::input("inner_size", "1 or more", inner.to_string()));
    }
    if let Some(domains) = config.batch_norm_domains.filter(|&domains| domains < 1) {
        return Err(Error::input("batch_norm_domains", "1 or more", domains.to_string()));
    }
    let mut names: Vec<&String> = relations.iter().collect();
    names.sort_unstable();
    if let Some([duplicate, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(Error::input("relations", "each relation once", format!("{duplicate} twice")));
    }
    let mut specs: Vec<(Spec, bool)> = HEAD_NAMES
        .iter()
        .flat_map(|name| {
            Projection::specs(name, hidden, inner, config.projection, config.batch_norm_domains)
        })
        .collect();
    let n_relations = to_i64(relations.len());
    let [weight, bias] = CLASSIFIER_NAMES;
    for (name, shape, init) in [
        (RELATIONS_WEIGHT, vec![n_relations, hidden], Init::Normal),
        (weight, vec![n_relations, 2 * hidden], Init::Normal),
        (bias, vec![n_relations], Init::Zeros),
    ] {
        specs.push((Spec::new(name, &shape, init), true));
    }
    Ok(specs)
}
