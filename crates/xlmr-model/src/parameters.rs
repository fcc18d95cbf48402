//! Names, shapes and fresh values of every parameter, as transformers lays them out.
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};

use crate::{Config, Head, Result};

pub(crate) const WORDS: &str = "roberta.embeddings.word_embeddings.weight";
pub(crate) const TYPES: &str = "roberta.embeddings.token_type_embeddings.weight";
pub(crate) const DECODER: &str = "lm_head.decoder.weight";
pub(crate) const DECODER_BIAS: &str = "lm_head.decoder.bias";
pub(crate) const LM_BIAS: &str = "lm_head.bias";

/// How a parameter starts where no checkpoint holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// N(0, initializer_range).
    Normal,
    /// The same with one row at zero: that of `<pad>`.
    NormalButRow(i64),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) init: Init,
}

fn linear(specs: &mut Vec<Spec>, name: &str, outputs: i64, inputs: i64) {
    let weight = format!("{name}.weight");
    specs.push(Spec { name: weight, shape: vec![outputs, inputs], init: Init::Normal });
    specs.push(Spec { name: format!("{name}.bias"), shape: vec![outputs], init: Init::Zeros });
}

fn norm(specs: &mut Vec<Spec>, name: &str, width: i64) {
    specs.push(Spec { name: format!("{name}.weight"), shape: vec![width], init: Init::Ones });
    specs.push(Spec { name: format!("{name}.bias"), shape: vec![width], init: Init::Zeros });
}

/// The encoder's parameters, under `roberta.`.
pub(crate) fn encoder_specs(config: &Config) -> Vec<Spec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let mut specs = Vec::new();
    let pad = Init::NormalButRow(config.pad_token_id);
    for (name, rows, init) in [
        ("word_embeddings", config.vocab_size, pad),
        ("position_embeddings", config.max_position_embeddings, pad),
        ("token_type_embeddings", config.type_vocab_size, Init::Normal),
    ] {
        let name = format!("roberta.embeddings.{name}.weight");
        specs.push(Spec { name, shape: vec![rows, hidden], init });
    }
    norm(&mut specs, "roberta.embeddings.LayerNorm", hidden);
    for index in 0..config.num_hidden_layers {
        let layer = layer_name(index);
        for part in ["query", "key", "value"] {
            linear(&mut specs, &format!("{layer}.attention.self.{part}"), hidden, hidden);
        }
        linear(&mut specs, &format!("{layer}.attention.output.dense"), hidden, hidden);
        norm(&mut specs, &format!("{layer}.attention.output.LayerNorm"), hidden);
        linear(&mut specs, &format!("{layer}.intermediate.dense"), intermediate, hidden);
        linear(&mut specs, &format!("{layer}.output.dense"), hidden, intermediate);
        norm(&mut specs, &format!("{layer}.output.LayerNorm"), hidden);
    }
    specs
}

pub(crate) fn layer_name(index: i64) -> String {
    format!("roberta.encoder.layer.{index}")
}

/// The parameters of one head.
pub(crate) fn head_specs(config: &Config, head: Head) -> Vec<Spec> {
    let hidden = config.hidden_size;
    let mut specs = Vec::new();
    match head {
        Head::None => {}
        Head::MaskedLm => {
            linear(&mut specs, "lm_head.dense", hidden, hidden);
            norm(&mut specs, "lm_head.layer_norm", hidden);
            let shape = vec![config.vocab_size];
            specs.push(Spec { name: LM_BIAS.into(), shape, init: Init::Zeros });
            if !config.tie_word_embeddings {
                let shape = vec![config.vocab_size, hidden];
                specs.push(Spec { name: DECODER.into(), shape, init: Init::Normal });
            }
        }
        Head::Span => linear(&mut specs, "qa_outputs", 2, hidden),
        Head::TokenClassification { labels } => linear(&mut specs, "classifier", labels, hidden),
        Head::SequenceClassification { labels } => {
            linear(&mut specs, "classifier.dense", hidden, hidden);
            linear(&mut specs, "classifier.out_proj", labels, hidden);
        }
    }
    specs
}

impl Spec {
    /// Fresh values, f32; they depend on seed, name, shape and standard deviation alone.
    pub(crate) fn fresh(&self, std: f64, seed: u64, device: Device) -> Result<Tensor> {
        let options = (Kind::Float, device);
        let tensor = match self.init {
            Init::Zeros => Tensor::f_zeros(&self.shape, options)?,
            Init::Ones => Tensor::f_ones(&self.shape, options)?,
            Init::Normal | Init::NormalButRow(_) => {
                let count: i64 = self.shape.iter().product();
                let values = normals(usize::try_from(count).unwrap_or(0), std, seed, &self.name);
                Tensor::f_from_slice(&values)?.f_view(&self.shape[..])?.f_to_device(device)?
            }
        };
        if let Init::NormalButRow(row) = self.init {
            let _ = tensor.f_select(0, row)?.f_zero_()?;
        }
        Ok(tensor)
    }
}

/// `count` draws of N(0, std) by Box and Muller's transform, from a separate stream for each name.
fn normals(count: usize, std: f64, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(fnv1a(name));
    let step = 1.0 / (f64::from(u32::MAX) + 1.0);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * ((f64::from(rng.next_u32()) + 1.0) * step).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(rng.next_u32()) * step;
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// The 64-bit FNV-1a hash.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
