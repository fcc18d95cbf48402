//! `xlmr-model init`: writes a model folder with random weights.
use std::path::PathBuf;

use tch::Device;
use xlmr_model::{Config, Error, Head, Model, Result, TokenizerFiles};

/// Arguments of `init`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  xlmr-model init --config data/base/config.json \\\n      \
                        --tokenizer data/base/tokenizer.json --heads mlm,qa --out runs/new")]
pub struct Args {
    /// Configuration in the format of transformers (config.json)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The matching tokenizer.json, which is copied unchanged
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Output folder for config.json, model.safetensors, tokenizer.json, tokenizer_config.json
    /// and special_tokens_map.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Random seed of the weights, drawn from N(0, initializer_range); biases and <pad> are 0
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Heads; config.json names the class of the first head, all other heads are written to
    /// heads.safetensors
    #[arg(long, value_enum, value_delimiter = ',', default_value = "mlm", value_name = "HEADS")]
    heads: Vec<HeadName>,
    /// Overwrite model files in the output folder
    #[arg(long)]
    force: bool,
}

/// Name of a head without labels.
#[derive(Clone, Copy, clap::ValueEnum)]
enum HeadName {
    /// Masked language model
    Mlm,
    /// Start and end of an answer
    Qa,
}

impl From<HeadName> for Head {
    fn from(name: HeadName) -> Self {
        match name {
            HeadName::Mlm => Self::MaskedLm,
            HeadName::Qa => Self::Span,
        }
    }
}

/// Files that `init` and other programs write to a model folder.
const MODEL_FILES: [&str; 12] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "heads.safetensors",
    "knowledge.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spm.model",
];

/// Validates all inputs, then writes the folder.
pub fn init(args: &Args) -> Result<()> {
    let mut config = Config::from_file(&args.config)?;
    let (tokenizer, files) = TokenizerFiles::of_file(&args.tokenizer)?;
    for note in config.apply_token_ids(&tokenizer)? {
        eprintln!("note: {note}");
    }
    let existing_files: Vec<PathBuf> =
        MODEL_FILES.map(|name| args.out.join(name)).into_iter().filter(|p| p.exists()).collect();
    if let (Some(path), false) = (existing_files.first(), args.force) {
        let source = std::io::ErrorKind::AlreadyExists.into();
        let hint = "; give another --out, or replace it with --force";
        return Err(Error::Io { path: path.clone(), hint, source });
    }
    let heads: Vec<Head> = args.heads.iter().map(|&name| name.into()).collect();
    let model = Model::new(&config, &heads, Device::Cpu, args.seed)?;
    for path in existing_files {
        atomic_file::fs::remove_file(&path)?;
    }
    model.save(&args.out, heads.first().copied().unwrap_or(Head::None))?;
    files.write(&args.out, &tokenizer, &config)
}
