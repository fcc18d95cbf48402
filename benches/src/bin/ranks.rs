//! Times training by two processes of one thread each beside one process of two threads, by turns:
//! what the exchange of gradients costs where nothing else is gained; and the exchange alone.
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::median;
use clap::Parser;
use tch::{Device, Tensor};
use torch_ext::{ProcessGroup, Rendezvous};
use trainer::{
    Environment, Examples, Fingerprint, MicroBatch, Share, Stage, Step, StepLosses, Task,
    TaskError, TrainConfig, accumulate, fit,
};
use xlmr_model::Model;

/// The size of the model and of a step.
#[derive(Parser)]
struct Options {
    /// Two layers of 128 and two steps: the program, not a measurement
    #[arg(long)]
    quick: bool,
    /// Encoder layers
    #[arg(long, default_value_t = 6)]
    layers: i64,
    /// Hidden size; a head for each 64
    #[arg(long, default_value_t = 384)]
    hidden: i64,
    /// Rows of the word embeddings
    #[arg(long, default_value_t = 50_000)]
    vocab: i64,
    /// Rows in a batch, half of which each of two processes takes
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Tokens in a row
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// Steps in each run after one that is not measured; their median counts
    #[arg(long, default_value_t = 5)]
    steps: u64,
    /// Times that each side is run
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Internal: train here, with this many threads
    #[arg(long, hide = true)]
    child: Option<i32>,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    torch_ext::passive_omp_wait();
    if options.quick {
        (options.layers, options.hidden, options.vocab) = (2, 128, 1000);
        (options.batch, options.length, options.steps, options.rounds) = (4, 16, 2, 1);
    }
    benches::exit(match options.child {
        Some(threads) => train(&options, threads),
        None => compare(&options),
    })
}

fn compare(options: &Options) -> Result<()> {
    ensure!(options.steps > 1 && options.rounds > 0, "--steps must be at least 2, --rounds 1");
    let (mut alone, mut together, mut exchange) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        alone.push(seconds(start(options, 2, None)?)?.0);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let second = start(options, 1, Some((1, port)))?;
        let (step, sum) = seconds(start(options, 1, Some((0, port)))?)?;
        together.push(step);
        exchange.push(sum);
        seconds(second)?;
    }
    let (alone, together, exchange) = (median(alone), median(together), median(exchange));
    println!(
        "{} layers of {}, vocabulary {}, {} rows of {} tokens a step, {} threads in all\n",
        options.layers, options.hidden, options.vocab, options.batch, options.length, 2
    );
    println!("| | seconds a step | throughput |");
    println!("|---|---:|---:|");
    println!("| one process, two threads | {alone:.3} | 1 |");
    println!("| two processes, one thread each | {together:.3} | {:.2} |", alone / together);
    println!("| of which the exchange, by itself | {exchange:.3} | |");
    Ok(())
}

/// Starts this program as one process of `threads` threads, alone or as a rank of two.
fn start(options: &Options, threads: i32, rank: Option<(usize, u16)>) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    for (name, value) in [
        ("--child", threads.to_string()),
        ("--layers", options.layers.to_string()),
        ("--hidden", options.hidden.to_string()),
        ("--vocab", options.vocab.to_string()),
        ("--batch", options.batch.to_string()),
        ("--length", options.length.to_string()),
        ("--steps", options.steps.to_string()),
    ] {
        command.args([name, &value]);
    }
    if let Some((rank, port)) = rank {
        command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    }
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// What a process printed: its seconds a step, and those of the exchange.
fn seconds(child: Child) -> Result<(f64, f64)> {
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a process ended with {}: {errors}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let (step, sum) = text.trim().split_once(' ').with_context(|| text.clone())?;
    Ok((step.parse()?, sum.parse()?))
}

/// Predicts every seventh token of rows that are the same in each epoch.
struct MaskedRows<'a> {
    model: &'a Model,
    rows: Vec<Vec<i64>>,
    lengths: Vec<usize>,
    begun: Vec<Instant>,
}

impl Task for MaskedRows<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "masked rows");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        self.begun.push(Instant::now());
        let rows: Vec<&[i64]> =
            step.batch.iter().filter_map(|&k| self.rows.get(k)).map(Vec::as_slice).collect();
        let targets: usize = rows.iter().map(|row| row.len().div_ceil(7)).sum();
        let parts = MicroBatch::cut(&rows, step.micro_batch.unwrap_or(rows.len()));
        accumulate(&parts, |rows| {
            let loss = self.loss(rows)? / targets as f64;
            Ok(vec![Share { name: "mlm", weight: 1.0, loss }])
        })
    }

    fn takes_micro_batches(&self) -> bool {
        true
    }
}

impl MaskedRows<'_> {
    fn loss(&self, rows: &[&[i64]]) -> Result<Tensor, TaskError> {
        let width = i64::try_from(rows.first().map_or(0, |row| row.len()))?;
        let ids = Tensor::f_from_slice(&rows.concat())?.f_view([-1, width])?;
        Ok(benches::every_seventh(self.model, &ids)?)
    }
}

fn train(options: &Options, threads: i32) -> Result<()> {
    tch::set_num_threads(threads);
    torch_ext::tune_float32_matmul()?;
    let minute = Duration::from_secs(60);
    let group = match Rendezvous::from_env()? {
        Some(place) => Some(Rc::new(ProcessGroup::connect(&place, minute, 10 * minute)?)),
        None => None,
    };
    let model = benches::small_model(options.layers, options.hidden, options.vocab)?;
    let count = options.batch * usize::try_from(options.steps + 1)?;
    let row = |number: usize| -> Vec<i64> {
        // Spread over the vocabulary, as words are.
        let token = |k: usize| ((number * options.length + k) as i64 * 7919) % (options.vocab - 5);
        (0..options.length).map(|k| 5 + token(k)).collect()
    };
    let rows: Vec<Vec<i64>> = (0..count).map(row).collect();
    let lengths = rows.iter().map(Vec::len).collect();
    let mut task = MaskedRows { model: &model, rows, lengths, begun: Vec::new() };
    let train = TrainConfig {
        learning_rate: 1e-4,
        batch_size: options.batch,
        micro_batch: Some(options.batch / 2),
        steps: Some(options.steps + 1),
        ..TrainConfig::default()
    };
    let environment = Environment { threads, device: "Cpu".into(), float32_matmul: "auto".into() };
    let rank = group.as_ref().map_or(0, |group| group.rank());
    let folder = benches::folder().join(format!("ranks-{threads}-{rank}"));
    fresh(&folder)?;
    let stage = Stage::new("ranks", folder.clone(), environment).with_group(group.clone());
    // The last checkpoint is no part of a step: the last step's begin is the end.
    fit(&stage, &train, &model.named_parameters(), &mut task)?;
    fresh(&folder)?;
    let steps = task.begun.windows(2).skip(1).map(|pair| match pair {
        [begun, next] => next.duration_since(*begun).as_secs_f64(),
        _ => f64::NAN,
    });
    let step = median(steps.collect());
    let numbers = model.named_parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    let exchange = group.map_or(Ok(0.0), |group| exchange(&group, numbers))?;
    println!("{step} {exchange}");
    Ok(())
}

/// Seconds of exchanging so many numbers in parts of 25 MB, as a step does, and no more: gradients
/// to those who sum them, and parameters back.
fn exchange(group: &ProcessGroup, numbers: usize) -> Result<f64> {
    const PART: usize = 25 * 1024 * 1024 / 4;
    const ROUNDS: u32 = 5;
    let shape = [i64::try_from(group.size())?, i64::try_from(PART.min(numbers) / group.size())?];
    let [sent, came] = [(); 2].map(|()| Tensor::f_zeros(shape, (tch::Kind::Float, Device::Cpu)));
    let (sent, came) = (sent?.f_unbind(0)?, came?.f_unbind(0)?);
    let swap = |width: i64| -> Result<()> {
        let rows = |of: &[Tensor]| of.iter().map(|row| row.f_narrow(0, 0, width)).collect();
        let [sent, came]: [std::result::Result<Vec<Tensor>, _>; 2] = [rows(&sent), rows(&came)];
        let (sent, came) = (sent?, came?);
        let (sent, came): (Vec<_>, Vec<_>) = (sent.iter().collect(), came.iter().collect());
        group.exchange(&sent, &came)?;
        let mut sum = sent.first().context("no rows")?.shallow_clone();
        for came in &came {
            let _ = sum.f_add_(came)?;
        }
        Ok(group.exchange(&sent, &came)?)
    };
    // The first one waits for the other process.
    swap(1)?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for first in (0..numbers).step_by(PART) {
            swap(i64::try_from(PART.min(numbers - first) / group.size())?)?;
        }
    }
    Ok((start.elapsed() / ROUNDS).as_secs_f64())
}

fn fresh(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
