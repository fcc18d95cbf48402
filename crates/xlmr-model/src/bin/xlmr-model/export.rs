//! `xlmr-model export`: writes a model folder for transformers and other programs.
use std::path::PathBuf;

use xlmr_model::{ExportDtype, Result};

/// Arguments of `export`.
#[derive(clap::Args)]
#[command(after_help = "\
Matrices that `xlmr-model quantize` stored in 8 or 4 bits become floating-point tensors. The new
folder has model.safetensors, which transformers and other programs can load, and copies of all
other files, such as the tokenizer's and calibration.json. config.json names float32, so that
transformers computes in float32.

Example:
  xlmr-model export --model reader-int8 --out reader-transformers")]
pub struct Args {
    /// Model folder, quantised or not
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder for the exported model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Dtype of the weights: f16 has half the size and rounds to 11 bits, f32 is exact
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = Dtype::F16)]
    dtype: Dtype,
    /// Replace the output folder if it exists
    #[arg(long)]
    force: bool,
}

/// The values of `--dtype`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Dtype {
    F16,
    F32,
}

/// Exports the model and prints sizes.
pub fn export(args: &Args) -> Result<()> {
    let dtype = match args.dtype {
        Dtype::F16 => ExportDtype::F16,
        Dtype::F32 => ExportDtype::F32,
    };
    let report = xlmr_model::export(&args.model, &args.out, dtype, args.force)?;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!("quantised matrices  {}", report.quantized_tensors);
    println!(
        "weights             {} -> {}",
        megabytes(report.bytes_before),
        megabytes(report.bytes)
    );
    Ok(())
}
