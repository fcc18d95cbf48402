//! Times the same training steps from files and from memory, by turns in one process: what reading
//! ahead leaves of the cost of reading.
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use benches::{cpu_seconds, median};
use clap::Parser;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::Int64Type;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use trainer::{
    Environment, ExampleStream, Examples, Fingerprint, ShardedJsonl, Shards, ShuffleConfig, Stage,
    Step, StepLosses, Task, TaskError, TrainConfig, fit,
};
use xlmr_model::Model;

/// The size of the model, of a step and of the data.
#[derive(Parser)]
struct Options {
    /// One layer of 64 and few steps: the program, not a measurement
    #[arg(long)]
    quick: bool,
    /// Encoder layers
    #[arg(long, default_value_t = 2)]
    layers: i64,
    /// Hidden size; a head for each 64
    #[arg(long, default_value_t = 256)]
    hidden: i64,
    /// Rows of the word embeddings
    #[arg(long, default_value_t = 8_000)]
    vocab: i64,
    /// Rows in a batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Tokens in a row
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// Steps measured in each run, after one that is not
    #[arg(long, default_value_t = 40)]
    steps: u64,
    /// Lines of a block, of which one is trained on and one read
    #[arg(long, default_value_t = 128)]
    lines: usize,
    /// Times that each source is run
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads that compute
    #[arg(long, default_value_t = 1)]
    threads: i32,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    torch_ext::passive_omp_wait();
    if options.quick {
        (options.layers, options.hidden, options.vocab, options.lines) = (1, 64, 500, 8);
        (options.batch, options.length, options.steps, options.rounds) = (4, 16, 3, 1);
    }
    benches::exit(compare(&options))
}

/// Where the rows of a run come from.
#[derive(Clone, Copy)]
enum Source {
    Memory,
    /// A folder of files.
    Files(&'static str),
}

const SOURCES: [(Source, &str); 4] = [
    (Source::Memory, "tensors in memory"),
    (Source::Files("plain"), "JSONL shards"),
    (Source::Files("packed"), "JSONL shards, gzip"),
    (Source::Files("parquet"), "Parquet shards, zstd"),
];

/// Time of a step: on the clock, and of all threads of the process.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    processor: f64,
}

fn compare(options: &Options) -> Result<()> {
    ensure!(options.steps > 1 && options.rounds > 0, "--steps must be 2 or more, --rounds 1");
    tch::set_num_threads(options.threads);
    torch_ext::tune_float32_matmul()?;
    let folder = tempfile::tempdir_in(parent()?)?;
    let rows = write_rows(options, folder.path())?;
    let mut costs = SOURCES.map(|_| Vec::new());
    for _ in 0..options.rounds {
        for ((source, _), costs) in SOURCES.into_iter().zip(&mut costs) {
            costs.push(train(options, source, &rows, folder.path())?);
        }
    }
    println!(
        "{} layers of {}, vocabulary {}, {} rows of {} tokens a step, {} threads, medians of {}\n",
        options.layers,
        options.hidden,
        options.vocab,
        options.batch,
        options.length,
        options.threads,
        options.rounds
    );
    println!("| rows from | seconds a step | to memory | processor seconds | to memory |");
    println!("|---|---:|---:|---:|---:|");
    let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
    let [memory, ..] = &costs;
    for ((_, name), own) in SOURCES.into_iter().zip(&costs) {
        let [clock, processor]: [fn(&Cost) -> f64; 2] =
            [|cost| cost.seconds, |cost| cost.processor];
        println!(
            "| {name} | {:.4} | {:.3} | {:.4} | {:.3} |",
            middle(own, clock),
            middle(own, clock) / middle(memory, clock),
            middle(own, processor),
            middle(own, processor) / middle(memory, processor)
        );
    }
    Ok(())
}

fn parent() -> Result<PathBuf> {
    let folder = benches::folder();
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// As many rows as a run trains on, `[N, L]`; the same as lines of eight files, plain and packed,
/// and as rows of eight Parquet files.
fn write_rows(options: &Options, folder: &Path) -> Result<Tensor> {
    let count = options.batch * usize::try_from(options.steps + 1)?;
    let vocab = usize::try_from(options.vocab)?;
    let token = |number: usize| i64::try_from(5 + number * 7919 % (vocab - 5));
    let numbers = 0..count * options.length;
    let flat: Vec<i64> = numbers.map(token).collect::<Result<_, _>>()?;
    let rows: Vec<&[i64]> = flat.chunks(options.length).collect();
    for name in ["plain", "packed", "parquet"] {
        std::fs::create_dir(folder.join(name))?;
    }
    for (number, rows) in rows.chunks(count.div_ceil(8)).enumerate() {
        let plain = File::create(folder.join(format!("plain/{number}.jsonl")))?;
        let packed = File::create(folder.join(format!("packed/{number}.jsonl.gz")))?;
        let mut plain = BufWriter::new(plain);
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        for row in rows {
            let line = serde_json::to_string(&Row { input_ids: row.to_vec() })?;
            writeln!(plain, "{line}")?;
            writeln!(packed, "{line}")?;
        }
        plain.flush()?;
        packed.finish()?;
        write_parquet(&folder.join(format!("parquet/{number}.parquet")), rows)?;
    }
    let shape = [i64::try_from(count)?, i64::try_from(options.length)?];
    Ok(Tensor::f_from_slice(&flat)?.f_view(shape)?)
}

/// The rows as lists in a column `input_ids`.
fn write_parquet(path: &Path, rows: &[&[i64]]) -> Result<()> {
    let schema = "message rows {
        required group input_ids (LIST) { repeated group list { required int64 element; } }
    }";
    let schema = Arc::new(parse_message_type(schema)?);
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = Arc::new(WriterProperties::builder().set_compression(zstd).build());
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, properties)?;
    let mut group = writer.next_row_group()?;
    let mut column = group.next_column()?.context("no column")?;
    let within = |row: &&[i64]| (0..row.len()).map(|k| i16::from(k > 0)).collect::<Vec<_>>();
    let repetition: Vec<i16> = rows.iter().flat_map(within).collect();
    let definition = vec![1; repetition.len()];
    let typed = column.typed::<Int64Type>();
    typed.write_batch(&rows.concat(), Some(&definition), Some(&repetition))?;
    column.close()?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// A row of token ids, as a line or as a row of Parquet.
#[derive(Deserialize, Serialize)]
struct Row {
    input_ids: Vec<i64>,
}

/// Predicts every seventh token.
struct MaskedRows<'a> {
    model: &'a Model,
    rows: &'a Tensor,
    lengths: Vec<usize>,
    /// In place of `rows`.
    stream: Option<ExampleStream<ShardedJsonl<Row>>>,
    /// When each step began.
    begun: Vec<Cost>,
    start: Instant,
}

impl Task for MaskedRows<'_> {
    fn examples(&mut self) -> Examples<'_> {
        match &mut self.stream {
            Some(stream) => Examples::Streamed(stream),
            None => Examples::Indexed(&self.lengths),
        }
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "masked rows");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let seconds = self.start.elapsed().as_secs_f64();
        self.begun.push(Cost { seconds, processor: cpu_seconds()?.0 });
        let ids = match &self.stream {
            Some(stream) => {
                let rows: Vec<&[i64]> =
                    stream.batch().iter().map(|row| &row.input_ids[..]).collect();
                let flat = rows.concat();
                let width = flat.len() / stream.batch().len().max(1);
                Tensor::f_from_slice(&flat)?.f_view([-1, i64::try_from(width)?])?
            }
            None => {
                let batch: Vec<i64> =
                    step.batch.iter().map(|&k| i64::try_from(k)).collect::<Result<_, _>>()?;
                self.rows.f_index_select(0, &Tensor::f_from_slice(&batch)?)?
            }
        };
        let tokens = ids.numel() as f64;
        Ok(StepLosses::single("mlm", benches::every_seventh(self.model, &ids)? / tokens))
    }
}

/// What a step costs from `source`. The first one, which waits for the first block, is left out.
fn train(options: &Options, source: Source, rows: &Tensor, folder: &Path) -> Result<Cost> {
    let model = benches::small_model(options.layers, options.hidden, options.vocab)?;
    let stream = match source {
        Source::Memory => None,
        Source::Files(name) => {
            let shuffle = ShuffleConfig { lines: options.lines, ..ShuffleConfig::default() };
            let source = ShardedJsonl::new(Shards::open([folder.join(name)])?, shuffle)?;
            Some(ExampleStream::new(source, |row: &Row| row.input_ids.len()))
        }
    };
    let count = usize::try_from(options.steps + 1)? * options.batch;
    let lengths = vec![options.length; count];
    let start = Instant::now();
    let mut task = MaskedRows { model: &model, rows, lengths, stream, begun: Vec::new(), start };
    let train = TrainConfig {
        learning_rate: 1e-4,
        batch_size: options.batch,
        steps: Some(options.steps + 1),
        ..TrainConfig::default()
    };
    let threads = options.threads;
    let environment = Environment { threads, device: "Cpu".into(), float32_matmul: "auto".into() };
    let out = tempfile::tempdir_in(parent()?)?;
    let stage = Stage::new("streams", out.path(), environment);
    fit(&stage, &train, &model.named_parameters(), &mut task)?;
    let (first, last) = task.begun.get(1).zip(task.begun.last()).context("no steps")?;
    let steps = (options.steps - 1) as f64;
    Ok(Cost {
        seconds: (last.seconds - first.seconds) / steps,
        processor: (last.processor - first.processor) / steps,
    })
}
