//! Names, shapes and initial values of all parameters, as in transformers.
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};

use crate::family::Names;
use crate::heads::SequenceHead;
use crate::{Architecture, Config, DebertaV2, EuroBert, Head, LoraTarget, ModernBert, Result};

/// Initialisation of a new parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// N(0, initializer_range).
    Normal,
    /// N(0, initializer_range), with zeros in the row of `<pad>`.
    NormalWithZeroRow(i64),
    /// N(0, std), truncated at `cutoff` standard deviations.
    Truncated {
        std: f64,
        cutoff: f64,
    },
    /// Uniform distribution between `-bound` and `bound`, where the field is `bound`.
    Uniform(f64),
    /// Sinusoids of the row index (Vaswani et al. 2017, section 3.5).
    Sinusoids,
    /// One on the diagonal, and `off_diagonal` elsewhere.
    Identity {
        off_diagonal: f64,
    },
}

/// Name, shape and initialisation of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    /// Name in the model. Parameters of different heads have different names.
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) init: Init,
    /// Name in the files of an adapter, or of a model whose main head contains this parameter;
    /// absent if it equals `name`. Parameters of several heads may have equal stored names.
    pub(crate) stored_name: Option<String>,
}

impl Spec {
    pub(crate) fn new(name: impl Into<String>, shape: &[i64], init: Init) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), init, stored_name: None }
    }

    /// Returns the name in the files of an adapter, or of a model whose main head contains this
    /// parameter.
    pub(crate) fn stored_name(&self) -> &str {
        self.stored_name.as_deref().unwrap_or(&self.name)
    }
}

/// Collects parameters of one head or of the encoder.
#[derive(Default)]
struct Specs {
    list: Vec<Spec>,
    /// Prefix of names in the model, and the prefix that replaces it in a model folder. If absent,
    /// names are not changed in a model folder.
    prefixes: Option<(&'static str, &'static str)>,
}

impl Specs {
    /// Creates a collection of parameters whose names start with `model_prefix` in the model, and
    /// with `stored_prefix` in a model folder.
    fn with_prefixes(model_prefix: &'static str, stored_prefix: &'static str) -> Self {
        Self { prefixes: Some((model_prefix, stored_prefix)), ..Self::default() }
    }

    fn add(&mut self, name: &str, shape: &[i64], init: Init) {
        let stored_name = self.prefixes.and_then(|(model_prefix, stored_prefix)| {
            name.strip_prefix(model_prefix).map(|suffix| format!("{stored_prefix}{suffix}"))
        });
        self.list.push(Spec { stored_name, ..Spec::new(name, shape, init) });
    }

    fn add_linear(&mut self, name: &str, outputs: i64, inputs: i64) {
        self.add_dense(name, [outputs, inputs], Init::Normal, true);
    }

    fn add_dense(&mut self, name: &str, shape: [i64; 2], init: Init, bias: bool) {
        self.add(&format!("{name}.weight"), &shape, init);
        if bias {
            self.add(&format!("{name}.bias"), &shape[..1], Init::Zeros);
        }
    }

    fn add_norm(&mut self, name: &str, width: i64, bias: bool) {
        self.add(&format!("{name}.weight"), &[width], Init::Ones);
        if bias {
            self.add(&format!("{name}.bias"), &[width], Init::Zeros);
        }
    }
}

/// Returns the encoder's parameters.
pub(crate) fn encoder_specs(config: &Config) -> Vec<Spec> {
    let names = config.architecture.names();
    match &config.architecture {
        Architecture::ModernBert(modern) => modern_specs(config, modern, names),
        Architecture::EuroBert(euro) => euro_specs(config, euro, names),
        Architecture::DebertaV2(deberta) => deberta_specs(config, deberta, names),
        _ => post_norm_specs(config, names).list,
    }
}

/// Returns the encoder parameters of XLM-R, BERT and other architectures with BERT's layers.
fn post_norm_specs(config: &Config, names: Names) -> Specs {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let width = config.embedding_size();
    let embeddings = format!("{}embeddings", names.prefix);
    let mut specs = Specs::default();
    let pad_init = Init::NormalWithZeroRow(config.pad_token_id);
    let position_init = match &config.architecture {
        Architecture::DistilBert(distil) if distil.sinusoidal_pos_embds => Init::Sinusoids,
        architecture if architecture.is_roberta() => pad_init,
        _ => Init::Normal,
    };
    specs.add(names.word_embeddings, &[config.vocab_size, width], pad_init);
    let position_embeddings = format!("{embeddings}.position_embeddings.weight");
    specs.add(&position_embeddings, &[config.max_position_embeddings, width], position_init);
    if let Some(types) = names.token_type_embeddings {
        specs.add(types, &[config.type_vocab_size, width], Init::Normal);
    }
    specs.add_norm(&format!("{embeddings}.LayerNorm"), width, true);
    if width != hidden {
        specs.add_linear(&format!("{embeddings}_project"), hidden, width);
    }
    for index in 0..config.num_hidden_layers {
        let layer = names.layer_name(index);
        for (linear_name, targets) in names.linear_layers {
            let (outputs, inputs) = match targets {
                [LoraTarget::Intermediate] => (intermediate, hidden),
                [LoraTarget::Output] => (hidden, intermediate),
                _ => (hidden, hidden),
            };
            specs.add_linear(&format!("{layer}.{linear_name}"), outputs, inputs);
        }
        for norm in names.norms {
            specs.add_norm(&format!("{layer}.{norm}"), hidden, true);
        }
    }
    specs
}

fn modern_specs(config: &Config, modern: &ModernBert, names: Names) -> Vec<Spec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let (input_init, residual_init) = (modern.input_init(config), modern.residual_init(config));
    let mut specs = Specs::default();
    specs.add(names.word_embeddings, &[config.vocab_size, hidden], input_init);
    specs.add_norm("model.embeddings.norm", hidden, modern.norm_bias);
    for index in 0..config.num_hidden_layers {
        let layer = names.layer_name(index);
        // The first layer has no norm before attention, because the embeddings are already
        // normalised.
        if index > 0 {
            specs.add_norm(&format!("{layer}.attn_norm"), hidden, modern.norm_bias);
        }
        let bias = modern.attention_bias;
        specs.add_dense(&format!("{layer}.attn.Wqkv"), [3 * hidden, hidden], input_init, bias);
        specs.add_dense(&format!("{layer}.attn.Wo"), [hidden, hidden], residual_init, bias);
        specs.add_norm(&format!("{layer}.mlp_norm"), hidden, modern.norm_bias);
        let bias = modern.mlp_bias;
        specs.add_dense(&format!("{layer}.mlp.Wi"), [2 * intermediate, hidden], input_init, bias);
        specs.add_dense(&format!("{layer}.mlp.Wo"), [hidden, intermediate], residual_init, bias);
    }
    specs.add_norm("model.final_norm", hidden, modern.norm_bias);
    specs.list
}

fn euro_specs(config: &Config, euro: &EuroBert, names: Names) -> Vec<Spec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let heads = config.num_attention_heads.max(1);
    let kv_size = hidden / heads * euro.key_value_heads(heads);
    let mut specs = Specs::default();
    let pad_init = Init::NormalWithZeroRow(config.pad_token_id);
    specs.add(names.word_embeddings, &[config.vocab_size, hidden], pad_init);
    for index in 0..config.num_hidden_layers {
        let layer = names.layer_name(index);
        specs.add_norm(&format!("{layer}.input_layernorm"), hidden, false);
        for (part, outputs) in [("q", hidden), ("k", kv_size), ("v", kv_size), ("o", hidden)] {
            let name = format!("{layer}.self_attn.{part}_proj");
            specs.add_dense(&name, [outputs, hidden], Init::Normal, euro.attention_bias);
        }
        specs.add_norm(&format!("{layer}.post_attention_layernorm"), hidden, false);
        let wide = [intermediate, hidden];
        for (part, shape) in [("gate", wide), ("up", wide), ("down", [hidden, intermediate])] {
            let name = format!("{layer}.mlp.{part}_proj");
            specs.add_dense(&name, shape, Init::Normal, euro.mlp_bias);
        }
    }
    specs.add_norm("model.norm", hidden, false);
    specs.list
}

/// Returns DeBERTa's encoder parameters: BERT's parameters and, if positions are relative, distance
/// embeddings.
fn deberta_specs(config: &Config, deberta: &DebertaV2, names: Names) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let mut specs = post_norm_specs(config, names);
    let is_absolute = |spec: &Spec| spec.name.contains("embeddings.position_embeddings.");
    specs.list.retain(|spec| deberta.position_biased_input || !is_absolute(spec));
    if deberta.relative_attention {
        let rows = 2 * deberta.distances_per_side(config.max_position_embeddings);
        specs.add("deberta.encoder.rel_embeddings.weight", &[rows, hidden], Init::Normal);
    }
    if deberta.norm_rel_ebd {
        specs.add_norm("deberta.encoder.LayerNorm", hidden, true);
    }
    let is_separate = deberta.relative_attention && !deberta.share_att_key;
    for (part, enabled) in [
        ("pos_key_proj", deberta.content_to_position),
        ("pos_query_proj", deberta.position_to_content),
    ] {
        for index in (0..config.num_hidden_layers).filter(|_| is_separate && enabled) {
            let layer = names.layer_name(index);
            specs.add_linear(&format!("{layer}.attention.self.{part}"), hidden, hidden);
        }
    }
    specs.list
}

/// Returns the parameters of one head.
pub(crate) fn head_specs(config: &Config, head: Head) -> Vec<Spec> {
    match &config.architecture {
        Architecture::ModernBert(modern) => modern_head_specs(config, modern, head),
        Architecture::EuroBert(euro) => euro_head_specs(config, euro, head),
        _ => post_norm_head_specs(config, head),
    }
}

/// Returns the parameters of one head of XLM-R, BERT or another architecture with BERT's layers.
fn post_norm_head_specs(config: &Config, head: Head) -> Vec<Spec> {
    let (hidden, width) = (config.hidden_size, config.embedding_size());
    let Names { prefix, lm_head: [dense, norm], .. } = config.architecture.names();
    let mut specs = Specs::default();
    match (head, SequenceHead::layer_names(&config.architecture)) {
        (Head::None, _) => {}
        (Head::MaskedLm, _) => {
            specs.add_linear(dense, width, hidden);
            specs.add_norm(norm, width, true);
            add_decoder(&mut specs, config, true, Init::Normal);
        }
        (Head::Span, _) => specs.add_linear("qa_outputs", 2, hidden),
        // If the sequence classification head has `classifier.dense`, its names differ from the
        // token classification head's names, so no prefix is needed.
        (Head::TokenClassification { labels }, ["classifier.dense", _]) => {
            specs.add_linear("classifier", labels, hidden);
        }
        (Head::TokenClassification { labels }, _) => {
            specs = Specs::with_prefixes("token_head.", "");
            specs.add_linear("token_head.classifier", labels, hidden);
        }
        (Head::SequenceClassification { labels }, [dense, output]) => {
            specs = Specs::with_prefixes("sequence_head.", "");
            specs.add_linear(output, labels, hidden);
            specs.add_linear(dense, hidden, hidden);
            // In BERT's folders, the names of the pooler start with the encoder's prefix.
            if config.architecture == Architecture::Bert {
                for spec in specs.list.iter_mut().filter(|spec| spec.name.starts_with(dense)) {
                    spec.stored_name.iter_mut().for_each(|name| name.insert_str(0, prefix));
                }
            }
        }
    }
    specs.list
}

/// Returns the parameters of one head of ModernBERT. Each head has its own dense layer and norm.
fn modern_head_specs(config: &Config, modern: &ModernBert, head: Head) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let (model_prefix, labels) = match head {
        Head::None => return Vec::new(),
        Head::MaskedLm => ("lm_head.", None),
        Head::Span => ("qa_head.", Some(2)),
        Head::TokenClassification { labels } => ("token_head.", Some(labels)),
        Head::SequenceClassification { labels } => ("sequence_head.", Some(labels)),
    };
    let mut specs = Specs::with_prefixes(model_prefix, "head.");
    let (init, bias) = (modern.residual_init(config), modern.classifier_bias);
    specs.add_dense(&format!("{model_prefix}dense"), [hidden, hidden], init, bias);
    specs.add_norm(&format!("{model_prefix}norm"), hidden, modern.norm_bias);
    match labels {
        None => add_decoder(&mut specs, config, modern.decoder_bias, init),
        Some(labels) => {
            let mut classifier = Specs::with_prefixes(model_prefix, "");
            let std = (hidden as f64).sqrt().recip();
            let init = Init::Truncated { std, cutoff: modern.initializer_cutoff_factor };
            let name = format!("{model_prefix}classifier");
            classifier.add_dense(&name, [labels, hidden], init, true);
            specs.list.extend(classifier.list);
        }
    }
    specs.list
}

/// Returns the parameters of one head of EuroBERT, as in transformers. The span head, which does
/// not exist in transformers, has the layers of ModernBERT's span head.
fn euro_head_specs(config: &Config, euro: &EuroBert, head: Head) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let mut specs = Specs::default();
    match head {
        Head::MaskedLm => add_decoder(&mut specs, config, euro.mlp_bias, Init::Normal),
        Head::Span => {
            let mut dense_and_norm = Specs::with_prefixes("qa_head.", "head.");
            dense_and_norm.add_dense("qa_head.dense", [hidden, hidden], Init::Normal, false);
            dense_and_norm.add_norm("qa_head.norm", hidden, false);
            specs = Specs::with_prefixes("qa_head.", "");
            specs.add_linear("qa_head.classifier", 2, hidden);
            specs.list.extend(dense_and_norm.list);
        }
        _ => return post_norm_head_specs(config, head),
    }
    specs.list
}

/// Adds the decoder of a masked-LM head: the bias if `bias`, and the weight unless it is tied to
/// the token embeddings.
fn add_decoder(specs: &mut Specs, config: &Config, bias: bool, init: Init) {
    let names = config.architecture.names();
    if bias {
        specs.add(names.lm_bias, &[config.vocab_size], Init::Zeros);
    }
    if !config.tie_word_embeddings {
        specs.add(names.decoder, &[config.vocab_size, config.embedding_size()], init);
    }
}

impl ModernBert {
    /// Returns the initialisation of embeddings and of layers whose input is the hidden states.
    fn input_init(&self, config: &Config) -> Init {
        Init::Truncated { std: config.initializer_range, cutoff: self.initializer_cutoff_factor }
    }

    /// Returns the initialisation of layers whose output is added to the hidden states. The more
    /// layers the model has, the smaller are these weights.
    fn residual_init(&self, config: &Config) -> Init {
        let std = config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt();
        Init::Truncated { std, cutoff: self.initializer_cutoff_factor }
    }
}

impl Spec {
    /// Draws initial values, f32, which depend only on seed, name, shape and standard deviation.
    pub(crate) fn initial_tensor(&self, std: f64, seed: u64, device: Device) -> Result<Tensor> {
        let options = (Kind::Float, device);
        let tensor = match self.init {
            Init::Zeros => Tensor::f_zeros(&self.shape, options)?,
            Init::Ones => Tensor::f_ones(&self.shape, options)?,
            Init::Normal | Init::NormalWithZeroRow(_) => {
                self.normal_tensor(std, f64::INFINITY, seed, device)?
            }
            Init::Truncated { std, cutoff } => {
                self.normal_tensor(std, cutoff * std, seed, device)?
            }
            Init::Uniform(bound) => self
                .to_tensor(&draw_uniform(self.element_count(), bound, seed, &self.name), device)?,
            Init::Sinusoids => self.to_tensor(&compute_sinusoids(&self.shape), device)?,
            Init::Identity { off_diagonal } => {
                Tensor::f_full(&self.shape, off_diagonal, options)?.f_fill_diagonal_(1.0, false)?
            }
        };
        if let Init::NormalWithZeroRow(row) = self.init {
            let _ = tensor.f_select(0, row)?.f_zero_()?;
        }
        Ok(tensor)
    }

    fn normal_tensor(&self, std: f64, limit: f64, seed: u64, device: Device) -> Result<Tensor> {
        self.to_tensor(&draw_normals(self.element_count(), std, limit, seed, &self.name), device)
    }

    fn element_count(&self) -> usize {
        usize::try_from(self.shape.iter().product::<i64>()).unwrap_or(0)
    }

    fn to_tensor(&self, values: &[f32], device: Device) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_view(&self.shape[..])?.f_to_device(device)?)
    }
}

/// Creates a random generator, with a separate stream for each name.
fn random_stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(hash_fnv1a(name));
    rng
}

/// Draws `count` values between `-bound` and `bound`.
fn draw_uniform(count: usize, bound: f64, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = random_stream(seed, name);
    let mut draw = || f64::from(rng.next_u32()) / f64::from(u32::MAX);
    std::iter::repeat_with(|| ((2.0 * draw() - 1.0) * bound) as f32).take(count).collect()
}

/// Computes a table `[rows, width]`. Column 2i has the sine of the angle `row * 10000^(-2i /
/// width)`, and column 2i + 1 has the cosine of this angle.
fn compute_sinusoids(shape: &[i64]) -> Vec<f32> {
    let &[rows, width] = shape else { return Vec::new() };
    let value = |row: i64, column: i64| {
        let angle = row as f64 / 10_000f64.powf((column / 2 * 2) as f64 / width as f64);
        (if column % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    };
    (0..rows).flat_map(|row| (0..width).map(move |column| value(row, column))).collect()
}

/// Draws `count` values of N(0, std) between `-limit` and `limit` by the Box-Muller transform.
fn draw_normals(count: usize, std: f64, limit: f64, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = random_stream(seed, name);
    let step = 1.0 / (f64::from(u32::MAX) + 1.0);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * ((f64::from(rng.next_u32()) + 1.0) * step).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(rng.next_u32()) * step;
        let pair = [radius * angle.cos(), radius * angle.sin()];
        values.extend(pair.iter().filter(|x| x.abs() <= limit).map(|&x| x as f32));
    }
    values.truncate(count);
    values
}

/// Computes the 64-bit FNV-1a hash.
fn hash_fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
