//! `xlmr-model quantize`: writes a model folder whose matrices are stored in 8 bits.
use std::path::PathBuf;

use xlmr_model::Result;

/// Arguments of `quantize`.
#[derive(clap::Args)]
#[command(after_help = "\
The new folder has about a quarter of the size. Only programs of this project can load its weights,
model.int8.safetensors. With `--precision int8`, it differs from the original model only by the
rounding of the embeddings. Quantize after training and calibration.

Example:
  xlmr-model quantize --model runs/reader/model --out reader-int8")]
pub struct Args {
    /// Model folder: config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder for the quantised model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the output folder if it exists
    #[arg(long)]
    force: bool,
}

/// Quantizes the matrices and prints sizes.
pub fn quantize(args: &Args) -> Result<()> {
    let report = xlmr_model::quantize(&args.model, &args.out, args.force)?;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!("8-bit matrices  {}", report.quantized_tensors);
    println!("weights         {} -> {}", megabytes(report.bytes_before), megabytes(report.bytes));
    Ok(())
}
