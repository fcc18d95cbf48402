//! This project's training step, in a separate process.
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use benches::{cpu_seconds, resident_mib};
use objectives::{SpanConfig, span};
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{
    MatmulPrecision, Profile, peak_device_memory, region, resolve_device,
    set_float32_matmul_precision, tune_float32_matmul,
};
use trainer::{AdamW, TrainConfig};
use xlmr_model::{BottleneckConfig, Config, Head, Inputs, LoraConfig, Model, ModernBert};

use crate::batches::{Batches, Row};
use crate::programs::Report;
use crate::{Architecture, Options};

const LORA: &str = "lora";

/// Splits a program's name, such as `f32-lora`, into the part before the adapter (`f32`, or
/// `f32-recompute` if layers are recomputed) and the adapter. The adapter is trained instead of the
/// encoder; it is a LoRA of rank 8, or a bottleneck of a sixteenth of the width.
fn split_adapter(program: &str) -> (&str, Option<&str>) {
    let names = [LORA, "bottleneck"].into_iter();
    let split = names.filter_map(|name| Some((program.strip_suffix(name)?, name))).next();
    split.map_or((program, None), |(rest, name)| (rest.trim_end_matches('-'), Some(name)))
}

/// Trains on all batches or, with `--inference`, computes their forward passes. Prints a report for
/// each batch.
pub fn run(options: &Options, batches: &Path) -> Result<()> {
    tch::set_num_threads(options.threads);
    let device = resolve_device(options.device.parse()?)?;
    if options.on_gpu() {
        // `tune_float32_matmul` is not used here, because it could enable TF32 on a GPU.
        set_float32_matmul_precision(MatmulPrecision::Highest)?;
    } else {
        tune_float32_matmul()?;
    }
    let batches: Batches = serde_json::from_slice(&std::fs::read(batches)?)?;
    let config = config(options);
    let mut model = Model::new(&config, &[Head::Span], device, 1)?;
    let (program, adapter) = split_adapter(&options.program);
    let precision = program.trim_end_matches("-recompute");
    model.set_recompute(precision != program);
    model.set_precision(precision.parse()?)?;
    let parameters = match adapter {
        None => model.named_parameters(),
        Some(name) => {
            if name == LORA {
                model.add_lora(name, &LoraConfig::default(), 1)?;
            } else {
                model.add_bottleneck(name, &BottleneckConfig::default(), 1)?;
            }
            model.set_active_adapters(&[name])?;
            model.freeze_encoder()?
        }
    };
    let trainable: usize = parameters.iter().map(|(_, parameter)| parameter.numel()).sum();
    eprintln!("  {trainable} trainable parameters");
    let train_config =
        TrainConfig { learning_rate: 3e-5, weight_decay: 0.0, ..TrainConfig::default() };
    let mut optimizer = AdamW::new(&parameters, &train_config)?;
    tch::manual_seed(1);
    let mut run_step = |batch: &[Row]| -> Result<Tensor> {
        if options.inference {
            return no_grad(|| loss(&model, batch, false));
        }
        optimizer.clear_grads()?;
        let loss = {
            let _region = region(c"forward");
            loss(&model, batch, true)?
        };
        {
            let _region = region(c"backward");
            loss.f_backward()?;
        }
        let _region = region(c"norm and update");
        let norm = optimizer.step(1.0)?;
        ensure!(norm.is_finite(), "the gradient's norm is {norm}");
        Ok(loss)
    };
    for (step, batch) in batches.iter().enumerate() {
        let (start, before) = (Instant::now(), cpu_seconds()?);
        let loss = run_step(batch)?;
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(i64::try_from(index)?);
        }
        let seconds = start.elapsed().as_secs_f64();
        let after = cpu_seconds()?;
        let report = Report {
            step,
            seconds,
            cpu_seconds: after.0 - before.0,
            system_seconds: after.1 - before.1,
            loss: loss.f_double_value(&[])?,
            peak_mib: peak_mib(device)?,
        };
        println!("{}", serde_json::to_string(&report)?);
    }
    if let (Some(trace), Some(batch)) = (&options.trace, batches.last()) {
        let profile = Profile::start(device)?;
        let _loss = run_step(batch)?;
        profile.finish(trace)?;
        eprintln!("  {}", trace.display());
    }
    Ok(())
}

/// Returns the architecture's configuration, with one attention head per 64 dimensions.
fn config(options: &Options) -> Config {
    let (layers, hidden) = (options.layers(), options.hidden);
    let default_config = match options.architecture {
        Architecture::XlmRoberta => {
            Config { intermediate_size: 4 * hidden, max_position_embeddings: 514, ..Config::base() }
        }
        Architecture::Modernbert => Config {
            architecture: xlmr_model::Architecture::ModernBert(ModernBert::new(layers)),
            intermediate_size: hidden * 3 / 2,
            ..Config::mmbert_base()
        },
        Architecture::Eurobert => Config {
            intermediate_size: 4 * hidden,
            // The ids below are the tokenizer's ids. EuroBERT's default ids may be out of range if
            // --vocab is smaller than the default.
            pad_token_id: 0,
            bos_token_id: Some(2),
            eos_token_id: Some(1),
            ..Config::eurobert_210m()
        },
        Architecture::DebertaV2 => {
            Config { intermediate_size: 4 * hidden, ..Config::mdeberta_v3_base() }
        }
    };
    Config {
        num_hidden_layers: layers,
        hidden_size: hidden,
        num_attention_heads: hidden / 64,
        vocab_size: options.vocab(),
        ..default_config
    }
}

fn loss(model: &Model, batch: &[Row], train: bool) -> Result<Tensor> {
    let rows: Vec<&[u32]> = batch.iter().map(|row| row.ids.as_slice()).collect();
    let inputs = Inputs::from_rows(&rows, model.config().pad_token_id)?;
    let (start, end) = model.span_logits(&model.encode(&inputs, train)?, train)?;
    let positions = |position: fn(&Row) -> i64| {
        Tensor::f_from_slice(&batch.iter().map(position).collect::<Vec<_>>())
    };
    let (starts, ends) = (positions(|row| row.start)?, positions(|row| row.end)?);
    let mask = match &inputs.attention_mask {
        Some(mask) => Some(mask.f_to_kind(Kind::Bool)?),
        None => None,
    };
    let config = SpanConfig::default();
    Ok(span(&start, &end, &starts, &ends, mask.as_ref(), &config)?)
}

/// Returns the peak memory: of the tensors on a GPU, or of the process on the CPU.
fn peak_mib(device: Device) -> Result<f64> {
    if device != Device::Cpu {
        return Ok(peak_device_memory(device)? as f64 / f64::from(1 << 20));
    }
    resident_mib("VmHWM:")
}
