//! `xlmr-model run`: computes hidden states and logits for token ids.
use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::Tensor;
use torch_ext::{DeviceChoice, TensorFile, resolve_device, write_tensors};
use xlmr_model::{Config, Error, Head, Inputs, LoadOptions, Model, Result};

/// Arguments of `run`.
#[derive(clap::Args)]
#[command(after_help = "\
The input file contains input_ids [B, L] and optionally attention_mask, token_type_ids and
position_ids of the same shape, all integers. Defaults: attention_mask is 1 everywhere, including
<pad>; position_ids are computed from input_ids as in transformers; token_type_ids are 0.

The output file contains last_hidden_state [B, L, H] and, depending on the class in config.json,
logits or start_logits and end_logits, all float32.

Example:
  xlmr-model run --model models/qa --inputs ids.safetensors --out logits.safetensors")]
pub struct Args {
    /// Model folder: config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Safetensors file with input_ids
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// Output file (safetensors)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Rows per batch
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Language of all rows, if the model has an active mixture of LoRA modules with a gate for each
    /// language
    #[arg(long, value_name = "LANG")]
    language: Option<String>,
}

/// Runs the model over all rows.
pub fn run(args: &Args) -> Result<()> {
    let head = Config::of_folder(&args.model)?.head()?;
    let (inputs, windows_program) = read_inputs(args)?;
    let device = resolve_device(args.device)?;
    let (model, report) = Model::load(&args.model, &[head], device, LoadOptions::default())?;
    if let Some(name) = report.missing.first() {
        let reason = format!(
            "config.json names {}, but {} of its tensors are missing (first: {name}); \
             logits would be random",
            head.class(&model.config().architecture),
            report.missing.len()
        );
        return Err(Error::Damaged { path: args.model.clone(), reason });
    }

    inputs.check(model.config())?;
    let rows = inputs.input_ids.size()[0];
    let batch_size = i64::from(args.batch_size);
    let progress = cli::progress(torch_ext::to_usize(rows), "rows");
    let mut batches: BTreeMap<&'static str, Vec<Tensor>> = BTreeMap::new();
    let _no_grad = tch::no_grad_guard();
    let mut first_row = 0;
    while first_row < rows {
        let n_rows = batch_size.min(rows - first_row);
        let mut batch = select_rows(&inputs, first_row, n_rows)?;
        if let Some(language) = &args.language {
            batch = batch.with_languages((0..n_rows).map(|_| language));
        }
        for (name, tensor) in forward(&model, head, &batch)? {
            batches.entry(name).or_default().push(tensor.f_to_device(tch::Device::Cpu)?);
        }
        progress.inc(n_rows.unsigned_abs());
        first_row += batch_size;
    }
    progress.finish_and_clear();
    let mut results = BTreeMap::new();
    for (name, batches) in batches {
        results.insert(name, Tensor::f_cat(&batches, 0)?);
    }
    let named = results.iter().map(|(&name, tensor)| (name, tensor));
    let mut metadata = vec![("format", "pt")];
    // The name of the program that wrote the input file's windows is copied, because `mlqa-eval
    // decode` checks it.
    metadata.extend(windows_program.as_deref().map(|program| (WINDOWS_KEY, program)));
    Ok(write_tensors(&args.out, named, &metadata)?)
}

/// Metadata key with the name of the program that split the texts into the windows of the input
/// file.
const WINDOWS_KEY: &str = "windows";

fn read_inputs(args: &Args) -> Result<(Inputs, Option<String>)> {
    let file = TensorFile::open(&args.inputs)?;
    let read_optional = |name: &str| file.contains(name).then(|| file.read(name)).transpose();
    let inputs = Inputs {
        input_ids: file.read("input_ids")?,
        attention_mask: read_optional("attention_mask")?,
        token_type_ids: read_optional("token_type_ids")?,
        position_ids: read_optional("position_ids")?,
        inputs_embeds: None,
        languages: None,
    };
    Ok((inputs, file.metadata(WINDOWS_KEY)))
}

/// Returns the rows `first_row..first_row + n_rows` of a batch.
fn select_rows(inputs: &Inputs, first_row: i64, n_rows: i64) -> Result<Inputs> {
    let select = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.f_narrow(0, first_row, n_rows)?) };
    let select_optional = |tensor: &Option<Tensor>| tensor.as_ref().map(select).transpose();
    Ok(Inputs {
        input_ids: select(&inputs.input_ids)?,
        attention_mask: select_optional(&inputs.attention_mask)?,
        token_type_ids: select_optional(&inputs.token_type_ids)?,
        position_ids: select_optional(&inputs.position_ids)?,
        inputs_embeds: None,
        languages: None,
    })
}

fn forward(model: &Model, head: Head, inputs: &Inputs) -> Result<Vec<(&'static str, Tensor)>> {
    let hidden = model.encode(inputs, false)?;
    let mut results = match head {
        Head::None => Vec::new(),
        Head::MaskedLm => vec![("logits", model.mlm_logits(&hidden)?)],
        Head::Span => {
            let (start, end) = model.span_logits(&hidden, false)?;
            vec![("start_logits", start), ("end_logits", end)]
        }
        Head::TokenClassification { .. } => vec![("logits", model.token_logits(&hidden, false)?)],
        Head::SequenceClassification { .. } => {
            let mask = inputs.attention_mask.as_ref();
            vec![("logits", model.sequence_logits(&hidden, mask, false)?)]
        }
    };
    results.push(("last_hidden_state", hidden));
    Ok(results)
}
