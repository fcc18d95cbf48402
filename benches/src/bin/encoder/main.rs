//! Compares this project with `transformers` in the fine-tuning step of a span model, such as XLM-R
//! base or mmBERT base: forward pass, backward pass and update on the same windows of XQuAD. The
//! compared programs run alternately, each run in a new process.
mod batches;
mod programs;
mod step;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// Options of a comparison: model size, batches and number of steps.
#[derive(Clone, Debug, Deserialize, Parser, Serialize)]
pub struct Options {
    /// Use two layers of width 256 and two windows per batch, to test the program
    #[arg(long)]
    quick: bool,
    /// xlm-roberta, modernbert (the size of mmBERT), eurobert, or deberta-v2 (the size of mDeBERTa)
    #[arg(long, value_enum, default_value_t = Architecture::XlmRoberta)]
    architecture: Architecture,
    /// Encoder layers [default: 12; 22 for modernbert]
    #[arg(long)]
    layers: Option<i64>,
    /// Hidden size; one attention head per 64 units
    #[arg(long, default_value_t = 768)]
    hidden: i64,
    /// Vocabulary size [default: vocabulary size of the published model]
    #[arg(long)]
    vocab: Option<i64>,
    /// Measure the forward pass without gradients, instead of a training step
    #[arg(long)]
    inference: bool,
    /// Maximum window length in tokens; the baseline pads all windows to this length
    #[arg(long, default_value_t = 384)]
    length: usize,
    /// Windows per batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Measured steps per process, after one warm-up step
    #[arg(long, default_value_t = 2)]
    steps: usize,
    /// Number of processes per program
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Number of libtorch threads
    #[arg(long, default_value_t = 2)]
    threads: i32,
    /// Device: cpu, cuda or cuda:N; the device determines the compared programs; on a GPU, model
    /// FLOP utilisation is also reported
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Peak bfloat16 matmul throughput of the GPU without sparsity, in TFLOP/s; the default is for
    /// H100 and H200
    #[arg(long, default_value_t = 989.0)]
    peak_tflops: f64,
    /// Languages of XQuAD; successive windows rotate through them
    #[arg(long, default_value = "en,de,es,vi,hi,ar,zh")]
    languages: String,
    /// Folder with XQuAD's files
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/xquad"))]
    data: PathBuf,
    /// Path of the baseline program [default: the program in this checkout]
    #[arg(long, requires = "python")]
    peer: Option<PathBuf>,
    /// Python interpreter with torch and transformers [default: the interpreter in this checkout]
    #[arg(long, requires = "peer")]
    python: Option<PathBuf>,
    /// Folder for batches and results [default: bench/ in the target folder]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Path of a tokenizer.json; its ids must be below --vocab
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/base"))]
    tokenizer: PathBuf,
    /// Run only programs whose name contains this text; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Skip programs whose name contains this text; may be repeated
    #[arg(long)]
    except: Vec<String>,
    /// Profile an additional step of each program of this project; the files encoder_*.trace.json
    /// open in Perfetto (ui.perfetto.dev)
    #[arg(long)]
    profile: bool,
    /// Internal: run one program in this process on the batches of this file
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
    /// Internal: name of the program
    #[arg(long, hide = true, default_value = "f32")]
    program: String,
    /// Internal: output file of the profiled step
    #[arg(long, hide = true)]
    trace: Option<PathBuf>,
}

/// Architecture of the encoder.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Architecture {
    /// 12 layers, feed-forward layers four times as wide
    XlmRoberta,
    /// 22 layers, two thirds of them with local attention, gated feed-forward layers 1.5 times as
    /// wide
    Modernbert,
    /// 12 layers, gated feed-forward layers four times as wide; compared with a token classifier
    /// with two labels, because transformers has no EuroBERT class for answer spans
    Eurobert,
    /// 12 layers, feed-forward layers four times as wide, 256 buckets of relative distances in
    /// either direction
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
        let default_layers = if self.architecture == Architecture::Modernbert { 22 } else { 12 };
        self.layers.unwrap_or(default_layers)
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
    torch_ext::configure_process();
    if options.quick {
        (options.layers, options.hidden, options.vocab) = (Some(2), 256, Some(8000));
        (options.batch, options.steps, options.rounds) = (2, 1, 1);
    }
    benches::exit_code(match &options.child {
        Some(file) => step::run(&options, file),
        None => compare(&options),
    })
}

fn compare(options: &Options) -> Result<()> {
    ensure!(options.steps > 0 && options.rounds > 0, "--steps and --rounds must be at least 1");
    let folder = options.out.clone().unwrap_or_else(benches::results_folder);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("encoder_batches.json");
    let batches = batches::create(options)?;
    atomic_file::write(&file, serde_json::to_vec(&batches)?)?;
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for program in programs::select(options) {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, program.name);
            let program_runs = program.run(options, &file, &folder)?;
            // The run takes many minutes and may be interrupted, so intermediate results are
            // printed.
            for line in table::create_lines(&program_runs, &batches, options) {
                eprintln!("  {:.0} real tokens/s", line.real_tokens_per_second);
            }
            runs.extend(program_runs);
        }
    }
    let lines = table::create_lines(&runs, &batches, options);
    print!("{}", table::markdown(&lines, &batches, options));
    let name = match options.architecture {
        Architecture::XlmRoberta => "encoder",
        Architecture::Modernbert => "encoder_modernbert",
        Architecture::Eurobert => "encoder_eurobert",
        Architecture::DebertaV2 => "encoder_deberta",
    };
    let device = if options.on_gpu() { "_gpu" } else { "" };
    let suffix = if options.inference { "_inference" } else { "" };
    let out = folder.join(format!("{name}{suffix}{device}.json"));
    atomic_file::write(&out, serde_json::to_vec_pretty(&lines)?)?;
    println!("\n{}", out.display());
    Ok(())
}
