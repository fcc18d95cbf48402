//! `xlmr-model quantize`: writes a model folder whose matrices are stored in 8 or 4 bits.
use std::path::PathBuf;

use xlmr_model::{QuantizeOptions, QuantizeReport, Result};

/// Arguments of `quantize`.
#[derive(clap::Args)]
#[command(after_help = "\
Matrices are stored in 4 bits if this changes no bit: if each block of 32 elements consists of
multiples from -8 to 7 of a float16 number, as in models from 4-bit files that were not trained
since, or whose token embeddings were frozen. Other matrices are rounded to 8 bits, and the new
folder has about a quarter of the size; --lossless copies them. With `--precision int8`, the new
folder differs from the original model only by the rounding of embeddings that are stored in 8 bits.
Only programs of this project can load its weights, model.int8.safetensors; `xlmr-model export`
writes a folder for others. Quantize after training and calibration.

Example:
  xlmr-model quantize --model runs/reader/model --out reader-int8")]
pub struct Args {
    /// Model folder: config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder for the quantised model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Fail if the token embeddings cannot be stored in 4 bits without loss, in place of rounding
    /// them to 8 bits
    #[arg(long)]
    lossless_embeddings: bool,
    /// Copy matrices that cannot be stored in 4 bits without loss, in place of rounding them to 8
    /// bits
    #[arg(long, conflicts_with = "lossless_embeddings")]
    lossless: bool,
    /// Replace the output folder if it exists
    #[arg(long)]
    force: bool,
}

/// Quantizes the matrices and prints sizes.
pub fn quantize(args: &Args) -> Result<()> {
    let options = QuantizeOptions {
        replace: args.force,
        lossless_embeddings: args.lossless_embeddings,
        lossless: args.lossless,
    };
    let report = xlmr_model::quantize(&args.model, &args.out, options)?;
    let QuantizeReport { int4_tensors, int8_tensors, lossless_embeddings, .. } = report;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!("4-bit matrices    {int4_tensors}");
    println!("8-bit matrices    {int8_tensors}");
    println!(
        "token embeddings  {}",
        if lossless_embeddings { "stored without loss" } else { "rounded to 8 bits" }
    );
    println!("weights           {} -> {}", megabytes(report.bytes_before), megabytes(report.bytes));
    Ok(())
}
