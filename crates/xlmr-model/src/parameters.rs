//! Names, shapes and initial values of all parameters, as in transformers.
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};

use crate::architecture::Names;
use crate::heads::SequenceHead;
use crate::{Architecture, Config, DebertaV2, EuroBert, Head, LoraTarget, ModernBert, Result};

/// Initialisation of a parameter that no checkpoint contains.
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
    /// Uniform between minus the bound and the bound.
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
    /// Name in the model; unique across its heads.
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) init: Init,
    /// Name in the folder of the head's class, if different; several heads of a model may share it.
    pub(crate) stored: Option<String>,
}

impl Spec {
    pub(crate) fn new(name: impl Into<String>, shape: &[i64], init: Init) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), init, stored: None }
    }

    /// Returns the name in the folder of the head's class.
    pub(crate) fn stored(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.name)
    }
}

/// Collects parameters of one head or of the encoder.
#[derive(Default)]
struct Specs {
    list: Vec<Spec>,
    /// Prefix of names in the model, and the corresponding prefix in a folder; absent: equal names.
    prefixes: Option<(&'static str, &'static str)>,
}

impl Specs {
    /// Creates a collection whose names start with `model_prefix` in the model and with `stored` in
    /// a folder.
    fn with_prefixes(model_prefix: &'static str, stored: &'static str) -> Self {
        Self { prefixes: Some((model_prefix, stored)), ..Self::default() }
    }

    fn add(&mut self, name: &str, shape: &[i64], init: Init) {
        let stored = self.prefixes.and_then(|(model_prefix, stored)| {
            name.strip_prefix(model_prefix).map(|suffix| format!("{stored}{suffix}"))
        });
        self.list.push(Spec { stored, ..Spec::new(name, shape, init) });
    }

    fn linear(&mut self, name: &str, outputs: i64, inputs: i64) {
        self.dense(name, [outputs, inputs], Init::Normal, true);
    }

    fn dense(&mut self, name: &str, shape: [i64; 2], init: Init, bias: bool) {
        self.add(&format!("{name}.weight"), &shape, init);
        if bias {
            self.add(&format!("{name}.bias"), &shape[..1], Init::Zeros);
        }
    }

    fn norm(&mut self, name: &str, width: i64, bias: bool) {
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

/// Returns the parameters of XLM-R, BERT and encoders with the same layers.
fn post_norm_specs(config: &Config, names: Names) -> Specs {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let width = config.embedding_size();
    let embeddings = format!("{}embeddings", names.prefix);
    let mut specs = Specs::default();
    let pad = Init::NormalWithZeroRow(config.pad_token_id);
    let positions = match &config.architecture {
        Architecture::DistilBert(distil) if distil.sinusoidal_pos_embds => Init::Sinusoids,
        architecture if architecture.is_roberta() => pad,
        _ => Init::Normal,
    };
    specs.add(names.word_embeddings, &[config.vocab_size, width], pad);
    let position_embeddings = format!("{embeddings}.position_embeddings.weight");
    specs.add(&position_embeddings, &[config.max_position_embeddings, width], positions);
    if let Some(types) = names.types {
        specs.add(types, &[config.type_vocab_size, width], Init::Normal);
    }
    specs.norm(&format!("{embeddings}.LayerNorm"), width, true);
    if width != hidden {
        specs.linear(&format!("{embeddings}_project"), hidden, width);
    }
    for index in 0..config.num_hidden_layers {
        let layer = names.layer(index);
        for (linear_name, targets) in names.linear_layers {
            let (outputs, inputs) = match targets {
                [LoraTarget::Intermediate] => (intermediate, hidden),
                [LoraTarget::Output] => (hidden, intermediate),
                _ => (hidden, hidden),
            };
            specs.linear(&format!("{layer}.{linear_name}"), outputs, inputs);
        }
        for norm in names.norms {
            specs.norm(&format!("{layer}.{norm}"), hidden, true);
        }
    }
    specs
}

fn modern_specs(config: &Config, modern: &ModernBert, names: Names) -> Vec<Spec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let (into, out) = (modern.input_init(config), modern.residual_init(config));
    let mut specs = Specs::default();
    specs.add(names.word_embeddings, &[config.vocab_size, hidden], into);
    specs.norm("model.embeddings.norm", hidden, modern.norm_bias);
    for index in 0..config.num_hidden_layers {
        let layer = names.layer(index);
        // The embeddings are already normalised.
        if index > 0 {
            specs.norm(&format!("{layer}.attn_norm"), hidden, modern.norm_bias);
        }
        let bias = modern.attention_bias;
        specs.dense(&format!("{layer}.attn.Wqkv"), [3 * hidden, hidden], into, bias);
        specs.dense(&format!("{layer}.attn.Wo"), [hidden, hidden], out, bias);
        specs.norm(&format!("{layer}.mlp_norm"), hidden, modern.norm_bias);
        let bias = modern.mlp_bias;
        specs.dense(&format!("{layer}.mlp.Wi"), [2 * intermediate, hidden], into, bias);
        specs.dense(&format!("{layer}.mlp.Wo"), [hidden, intermediate], out, bias);
    }
    specs.norm("model.final_norm", hidden, modern.norm_bias);
    specs.list
}

fn euro_specs(config: &Config, euro: &EuroBert, names: Names) -> Vec<Spec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let heads = config.num_attention_heads.max(1);
    let shared = hidden / heads * euro.key_value_heads(heads);
    let mut specs = Specs::default();
    specs.add(
        names.word_embeddings,
        &[config.vocab_size, hidden],
        Init::NormalWithZeroRow(config.pad_token_id),
    );
    for index in 0..config.num_hidden_layers {
        let layer = names.layer(index);
        specs.norm(&format!("{layer}.input_layernorm"), hidden, false);
        for (part, outputs) in [("q", hidden), ("k", shared), ("v", shared), ("o", hidden)] {
            let name = format!("{layer}.self_attn.{part}_proj");
            specs.dense(&name, [outputs, hidden], Init::Normal, euro.attention_bias);
        }
        specs.norm(&format!("{layer}.post_attention_layernorm"), hidden, false);
        let wide = [intermediate, hidden];
        for (part, shape) in [("gate", wide), ("up", wide), ("down", [hidden, intermediate])] {
            specs.dense(&format!("{layer}.mlp.{part}_proj"), shape, Init::Normal, euro.mlp_bias);
        }
    }
    specs.norm("model.norm", hidden, false);
    specs.list
}

/// Returns BERT's parameters, and embeddings of distances if positions are relative.
fn deberta_specs(config: &Config, deberta: &DebertaV2, names: Names) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let mut specs = post_norm_specs(config, names);
    let is_absolute = |spec: &Spec| spec.name.contains("embeddings.position_embeddings.");
    specs.list.retain(|spec| deberta.position_biased_input || !is_absolute(spec));
    if deberta.relative_attention {
        let rows = 2 * deberta.span(config.max_position_embeddings);
        specs.add("deberta.encoder.rel_embeddings.weight", &[rows, hidden], Init::Normal);
    }
    if deberta.norm_rel_ebd {
        specs.norm("deberta.encoder.LayerNorm", hidden, true);
    }
    let is_separate = deberta.relative_attention && !deberta.share_att_key;
    for (part, enabled) in [
        ("pos_key_proj", deberta.content_to_position),
        ("pos_query_proj", deberta.position_to_content),
    ] {
        for index in (0..config.num_hidden_layers).filter(|_| is_separate && enabled) {
            let layer = names.layer(index);
            specs.linear(&format!("{layer}.attention.self.{part}"), hidden, hidden);
        }
    }
    specs.list
}

/// Returns the parameters of one head.
pub(crate) fn head_specs(config: &Config, head: Head) -> Vec<Spec> {
    match &config.architecture {
        Architecture::ModernBert(modern) => modern_head(config, modern, head),
        Architecture::EuroBert(euro) => euro_head(config, euro, head),
        _ => post_norm_head(config, head),
    }
}

/// Returns the head's parameters of XLM-R, BERT and encoders with the same layers.
fn post_norm_head(config: &Config, head: Head) -> Vec<Spec> {
    let (hidden, width) = (config.hidden_size, config.embedding_size());
    let Names { prefix, lm_head: [dense, norm], .. } = config.architecture.names();
    let mut specs = Specs::default();
    match (head, SequenceHead::layer_names(&config.architecture)) {
        (Head::None, _) => {}
        (Head::MaskedLm, _) => {
            specs.linear(dense, width, hidden);
            specs.norm(norm, width, true);
            decoder(&mut specs, config, true, Init::Normal);
        }
        (Head::Span, _) => specs.linear("qa_outputs", 2, hidden),
        // In these classes the names of the two heads do not collide.
        (Head::TokenClassification { labels }, ["classifier.dense", _]) => {
            specs.linear("classifier", labels, hidden);
        }
        (Head::TokenClassification { labels }, _) => {
            specs = Specs::with_prefixes("token_head.", "");
            specs.linear("token_head.classifier", labels, hidden);
        }
        (Head::SequenceClassification { labels }, [dense, output]) => {
            specs = Specs::with_prefixes("sequence_head.", "");
            specs.linear(output, labels, hidden);
            specs.linear(dense, hidden, hidden);
            // In BERT's folders the pooler is part of the encoder.
            if config.architecture == Architecture::Bert {
                for spec in specs.list.iter_mut().filter(|spec| spec.name.starts_with(dense)) {
                    spec.stored = spec.stored.take().map(|stored| format!("{prefix}{stored}"));
                }
            }
        }
    }
    specs.list
}

/// Returns a head's parameters of ModernBERT; each head has its own dense layer and norm.
fn modern_head(config: &Config, modern: &ModernBert, head: Head) -> Vec<Spec> {
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
    specs.dense(&format!("{model_prefix}dense"), [hidden, hidden], init, bias);
    specs.norm(&format!("{model_prefix}norm"), hidden, modern.norm_bias);
    match labels {
        None => decoder(&mut specs, config, modern.decoder_bias, init),
        Some(labels) => {
            let mut classifier = Specs::with_prefixes(model_prefix, "");
            let std = (hidden as f64).sqrt().recip();
            let init = Init::Truncated { std, cutoff: modern.initializer_cutoff_factor };
            classifier.dense(&format!("{model_prefix}classifier"), [labels, hidden], init, true);
            specs.list.extend(classifier.list);
        }
    }
    specs.list
}

/// Returns a head's parameters of EuroBERT as in transformers; the span head, which transformers
/// lacks, has ModernBERT's form.
fn euro_head(config: &Config, euro: &EuroBert, head: Head) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let mut specs = Specs::default();
    match head {
        Head::MaskedLm => decoder(&mut specs, config, euro.mlp_bias, Init::Normal),
        Head::Span => {
            let mut inner = Specs::with_prefixes("qa_head.", "head.");
            inner.dense("qa_head.dense", [hidden, hidden], Init::Normal, false);
            inner.norm("qa_head.norm", hidden, false);
            specs = Specs::with_prefixes("qa_head.", "");
            specs.linear("qa_head.classifier", 2, hidden);
            specs.list.extend(inner.list);
        }
        _ => return post_norm_head(config, head),
    }
    specs.list
}

/// Adds the decoder of a masked-LM head, without its weight if it is tied to the token embeddings.
fn decoder(specs: &mut Specs, config: &Config, bias: bool, init: Init) {
    let names = config.architecture.names();
    if bias {
        specs.add(names.lm_bias, &[config.vocab_size], Init::Zeros);
    }
    if !config.tie_word_embeddings {
        specs.add(names.decoder, &[config.vocab_size, config.embedding_size()], init);
    }
}

impl ModernBert {
    /// Initialisation of embeddings and of layers that read the hidden states.
    fn input_init(&self, config: &Config) -> Init {
        Init::Truncated { std: config.initializer_range, cutoff: self.initializer_cutoff_factor }
    }

    /// Initialisation of layers that are added to the hidden states: smaller for more layers.
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
                self.draw_normal(std, f64::INFINITY, seed, device)?
            }
            Init::Truncated { std, cutoff } => self.draw_normal(std, cutoff * std, seed, device)?,
            Init::Uniform(bound) => {
                self.to_tensor(&uniform(self.element_count(), bound, seed, &self.name), device)?
            }
            Init::Sinusoids => self.to_tensor(&sinusoids(&self.shape), device)?,
            Init::Identity { off_diagonal } => {
                Tensor::f_full(&self.shape, off_diagonal, options)?.f_fill_diagonal_(1.0, false)?
            }
        };
        if let Init::NormalWithZeroRow(row) = self.init {
            let _ = tensor.f_select(0, row)?.f_zero_()?;
        }
        Ok(tensor)
    }

    fn draw_normal(&self, std: f64, limit: f64, seed: u64, device: Device) -> Result<Tensor> {
        self.to_tensor(&normals(self.element_count(), std, limit, seed, &self.name), device)
    }

    fn element_count(&self) -> usize {
        usize::try_from(self.shape.iter().product::<i64>()).unwrap_or(0)
    }

    fn to_tensor(&self, values: &[f32], device: Device) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_view(&self.shape[..])?.f_to_device(device)?)
    }
}

/// Creates a separate random stream for each name.
fn random_stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(fnv1a(name));
    rng
}

/// Draws `count` values between `-bound` and `bound`.
fn uniform(count: usize, bound: f64, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = random_stream(seed, name);
    let mut draw = || f64::from(rng.next_u32()) / f64::from(u32::MAX);
    std::iter::repeat_with(|| ((2.0 * draw() - 1.0) * bound) as f32).take(count).collect()
}

/// Computes sine and cosine of the row index times 10000^(-2i / width), in columns 2i and 2i + 1.
fn sinusoids(shape: &[i64]) -> Vec<f32> {
    let &[rows, width] = shape else { return Vec::new() };
    let value = |row: i64, column: i64| {
        let angle = row as f64 / 10_000f64.powf((column / 2 * 2) as f64 / width as f64);
        (if column % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    };
    (0..rows).flat_map(|row| (0..width).map(move |column| value(row, column))).collect()
}

/// Draws `count` values of N(0, std) between `-limit` and `limit` by the Box-Muller transform.
fn normals(count: usize, std: f64, limit: f64, seed: u64, name: &str) -> Vec<f32> {
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
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
