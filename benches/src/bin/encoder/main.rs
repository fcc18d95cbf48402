//! Compares the fine-tuning step of a span model of the size of XLM-R base or mmBERT base with
//! `transformers`: forward, backward and update on the same windows of XQuAD. Programs alternate,
//! each in separate processes, also on a GPU.
mod batches;
mod programs;
mod step;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// The geometry and the lengths of a run.
#[derive(Clone, Debug, Deserialize, Parser, Serialize)]
pub struct Options {
    /// Two layers of 256 and two windows a batch: the program, not a measurement
    #[arg(long)]
    quick: bool,
    /// xlm-roberta, modernbert with mmBERT's proportions, eurobert, or deberta-v2 as mDeBERTa
    #[arg(long, value_enum, default_value_t = Architecture::XlmRoberta)]
    architecture: Architecture,
    /// Encoder layers; absent: 12, or 22 of modernbert
    #[arg(long)]
    layers: Option<i64>,
    /// Hidden size; one attention head per 64 units
    #[arg(long, default_value_t = 768)]
    hidden: i64,
    /// Rows of the word embeddings; absent: as the published model has
    #[arg(long)]
    vocab: Option<i64>,
    /// Time a forward pass to the span logits, without gradients, instead of a training step
    #[arg(long)]
    inference: bool,
    /// Tokens of the longest window, to which the peer pads
    #[arg(long, default_value_t = 384)]
    length: usize,
    /// Windows in a batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Steps measured in each process, after one that is not
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Times that each program is started
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Threads of libtorch
    #[arg(long, default_value_t = 2)]
    threads: i32,
    /// cpu, cuda or cuda:N; on a GPU the programs are others, and model FLOP utilisation is shown
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What the GPU's bfloat16 products reach at most without sparsity, in TFLOP/s; 989 is H100's
    /// and H200's
    #[arg(long, default_value_t = 989.0)]
    peak_tflops: f64,
    /// Languages of XQuAD, alternating
    #[arg(long, default_value = "en,de,es,vi,hi,ar,zh")]
    languages: String,
    /// The folder of XQuAD's files
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/xquad"))]
    data: PathBuf,
    /// The peer's program, and the Python that has torch and transformers; absent: this checkout's
    #[arg(long, requires = "python")]
    peer: Option<PathBuf>,
    /// See --peer
    #[arg(long, requires = "peer")]
    python: Option<PathBuf>,
    /// Gets the batches and the figures; absent: bench/ in the target folder
    #[arg(long)]
    out: Option<PathBuf>,
    /// A tokenizer.json; its ids must lie below --vocab
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/base"))]
    tokenizer: PathBuf,
    /// Only programs whose name contains this; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// No programs whose name contains this; may be given several times
    #[arg(long)]
    except: Vec<String>,
    /// Each of our programs also records a further step: encoder_*.md says where its time went,
    /// encoder_*.trace.json opens in Perfetto
    #[arg(long)]
    profile: bool,
    /// Internal: run one program here on the batches of this file
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
    /// Internal: which one
    #[arg(long, hide = true, default_value = "f32")]
    program: String,
    /// Internal: where the recorded step goes
    #[arg(long, hide = true)]
    trace: Option<PathBuf>,
}

/// Whose layers they are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Architecture {
    /// 12 layers, feed-forward layers four times as wide
    XlmRoberta,
    /// 22 layers, two of three local, gated feed-forward layers one and a half times as wide
    Modernbert,
    /// 12 layers, gated feed-forward layers four times as wide; beside it transformers' layers with
    /// two labels a token, as it has no class for answer spans
    Eurobert,
    /// 12 layers, feed-forward layers four times as wide, 256 buckets of distances to either side
    DebertaV2,
}

impl Architecture {
    /// Returns the name in `--architecture`.
    fn name(self) -> &'static str {
        match self {
            Self::XlmRoberta => "xlm-roberta",
            Self::Modernbert => "modernbert",
            Self::Eurobert => "eurobert",
            Self::DebertaV2 => "deberta-v2",
        }
    }
}

impl Options {
    /// Returns whether the programs run on a GPU.
    fn on_gpu(&self) -> bool {
        self.device != "cpu"
    }

    /// Returns the number of encoder layers.
    fn layers(&self) -> i64 {
        let usual = if self.architecture == Architecture::Modernbert { 22 } else { 12 };
        self.layers.unwrap_or(usual)
    }

    /// Returns the number of rows of the token embeddings.
    fn vocab(&self) -> i64 {
        self.vocab.unwrap_or(match self.architecture {
            Architecture::XlmRoberta => 250_002,
            Architecture::Modernbert => 256_000,
            Architecture::Eurobert => 128_256,
            Architecture::DebertaV2 => 251_000,
        })
    }
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    torch_ext::passive_omp_wait();
    if options.quick {
        (options.layers, options.hidden, options.vocab) = (Some(2), 256, Some(8000));
        (options.batch, options.steps, options.rounds) = (2, 1, 1);
    }
    benches::exit(match &options.child {
        Some(file) => step::run(&options, file),
        None => compare(&options),
    })
}

fn compare(options: &Options) -> Result<()> {
    ensure!(options.steps > 0 && options.rounds > 0, "--steps and --rounds must be at least 1");
    let folder = options.out.clone().unwrap_or_else(benches::folder);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("encoder_batches.json");
    let batches = batches::make(options)?;
    atomic_file::write(&file, serde_json::to_vec(&batches)?)?;
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for program in programs::all(options) {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, program.name);
            let measured = program.run(options, &file, &folder)?;
            // Intermediate results are printed, because a run of many minutes may be interrupted.
            for line in table::lines(&measured, &batches, options) {
                eprintln!("  {:.0} real tokens/s", line.real_tokens_per_second);
            }
            runs.extend(measured);
        }
    }
    let lines = table::lines(&runs, &batches, options);
    print!("{}", table::markdown(&lines, &batches, options));
    let name = match options.architecture {
        Architecture::XlmRoberta => "encoder",
        Architecture::Modernbert => "encoder_modernbert",
        Architecture::Eurobert => "encoder_eurobert",
        Architecture::DebertaV2 => "encoder_deberta",
    };
    let device = if options.on_gpu() { "_gpu" } else { "" };
    let pass = if options.inference { "_inference" } else { "" };
    let out = folder.join(format!("{name}{pass}{device}.json"));
    atomic_file::write(&out, serde_json::to_vec_pretty(&lines)?)?;
    println!("\n{}", out.display());
    Ok(())
}
