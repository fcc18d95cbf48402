//! Names, shapes and initial values of all parameters, as in transformers.
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};
use torch_ext::to_usize;

use crate::{Config, Head, Result};

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
pub(crate) struct Specs {
    pub(crate) list: Vec<Spec>,
    /// Prefix of names in the model, and the prefix that replaces it in a model folder. If absent,
    /// names are not changed in a model folder.
    prefixes: Option<(&'static str, &'static str)>,
}

impl Specs {
    /// Creates a collection of parameters whose names start with `model_prefix` in the model, and
    /// with `stored_prefix` in a model folder.
    pub(crate) fn with_prefixes(model_prefix: &'static str, stored_prefix: &'static str) -> Self {
        Self { prefixes: Some((model_prefix, stored_prefix)), ..Self::default() }
    }

    pub(crate) fn add(&mut self, name: &str, shape: &[i64], init: Init) {
        let stored_name = self.prefixes.and_then(|(model_prefix, stored_prefix)| {
            name.strip_prefix(model_prefix).map(|suffix| format!("{stored_prefix}{suffix}"))
        });
        self.list.push(Spec { stored_name, ..Spec::new(name, shape, init) });
    }

    pub(crate) fn add_linear(&mut self, name: &str, outputs: i64, inputs: i64) {
        self.add_dense(name, [outputs, inputs], Init::Normal, true);
    }

    pub(crate) fn add_dense(&mut self, name: &str, shape: [i64; 2], init: Init, bias: bool) {
        self.add(&format!("{name}.weight"), &shape, init);
        if bias {
            self.add(&format!("{name}.bias"), &shape[..1], Init::Zeros);
        }
    }

    pub(crate) fn add_norm(&mut self, name: &str, width: i64, bias: bool) {
        self.add(&format!("{name}.weight"), &[width], Init::Ones);
        if bias {
            self.add(&format!("{name}.bias"), &[width], Init::Zeros);
        }
    }
    /// Adds the decoder of a masked-LM head: the bias if `bias`, and the weight unless it is tied
    /// to the token embeddings. The rows of the weight have `width` elements.
    pub(crate) fn add_decoder(&mut self, config: &Config, width: i64, bias: bool, init: Init) {
        let names = config.architecture.names();
        if bias {
            self.add(names.lm_bias, &[config.vocab_size], Init::Zeros);
        }
        if !config.tie_word_embeddings {
            self.add(names.decoder, &[config.vocab_size, width], init);
        }
    }
}

/// Returns the encoder's parameters.
pub(crate) fn encoder_specs(config: &Config) -> Vec<Spec> {
    config.layout().encoder_specs()
}

/// Returns the parameters of one head.
pub(crate) fn head_specs(config: &Config, head: Head) -> Vec<Spec> {
    config.layout().head_specs(head)
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
        to_usize(self.shape.iter().product())
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
    let &[rows, width] = shape else { unreachable!("position embeddings are a matrix") };
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
