//! Benchmarks `extract` against programs that only decompress the dump, and `sample` against
//! DuckDB.
//!
//! Each row is the median of several alternating runs, as wall time and as CPU time of all threads.
//! CPU time is less affected by other load on the machine than wall time.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

mod generate;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use testkit::Peers;
use testkit::process::{ResourceUse, median, run};

const LANGUAGES: &str = "en,de,es,ar,hi,vi,zh";
/// Number of facts in the sample.
const SAMPLE_COUNT: &str = "20000";

/// Compares `kg-triples extract` and `sample` with other programs.
#[derive(Parser)]
struct Options {
    /// Uncompressed size of the JSON dump in MB
    #[arg(long, default_value_t = 200)]
    megabytes: u64,
    /// Triples to sample from
    #[arg(long, default_value_t = 5_000_000)]
    triples: u32,
    /// Number of alternating runs of each program
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Set by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Filters passed on by cargo, not used
    #[arg(hide = true)]
    names: Vec<String>,
}

/// Input files, which are generated once and stored below `target`.
struct Inputs {
    folder: PathBuf,
    json: PathBuf,
    half: PathBuf,
    gzip: PathBuf,
    tables: PathBuf,
}

/// Creates a file unless it exists.
fn make(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
    write(&mut file)?;
    file.into_inner()?.sync_all()?;
    fs::rename(unfinished, path)
}

impl Inputs {
    fn create(options: &Options) -> io::Result<Self> {
        let name = format!("extract-{}-{}", options.megabytes, options.triples);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let tables = folder.join("tables");
        fs::create_dir_all(&tables)?;
        eprintln!("creating the dump in {}", folder.display());
        let file = |name: &str| folder.join(name);
        let inputs = Self {
            json: file("dump.json"),
            half: file("half.json"),
            gzip: file("dump.json.gz"),
            tables,
            folder,
        };
        let bytes_of_1000 = generate::dump(1000, &mut io::sink())?;
        let items = u32::try_from(options.megabytes * 1_000_000 * 1000 / bytes_of_1000).unwrap();
        let dump = |items| move |out: &mut BufWriter<File>| generate::dump(items, out).map(|_| ());
        make(&inputs.json, dump(items))?;
        make(&inputs.half, dump(items / 2))?;
        make(&inputs.gzip, |out| {
            let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            io::copy(&mut File::open(&inputs.json)?, &mut gzip)?;
            gzip.finish().map(|_| ())
        })?;
        make(&inputs.tables.join("triples.tsv"), |triples| {
            let mut labels = BufWriter::new(File::create(inputs.tables.join("labels.tsv"))?);
            generate::tables(options.triples / 5, triples, &mut labels)?;
            labels.flush()
        })?;
        Ok(inputs)
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Runs the programs alternately and returns the median of each.
    fn alternate<const N: usize>(
        &self,
        rounds: usize,
        mut programs: [Command; N],
    ) -> io::Result<[ResourceUse; N]> {
        let mut costs: [Vec<ResourceUse>; N] = std::array::from_fn(|_| Vec::new());
        for _ in 0..rounds {
            for (program, costs) in programs.iter_mut().zip(&mut costs) {
                let out = self.folder.join("out");
                let _ = fs::remove_dir_all(&out);
                fs::create_dir_all(&out)?;
                costs.push(run(program, &self.output())?);
            }
        }
        Ok(costs.map(|costs| median(&costs)))
    }

    fn kg_triples(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
        command.args(arguments).args(["--languages", LANGUAGES, "--out"]);
        command.arg(self.folder.join("out"));
        command
    }

    fn extract(&self, dump: &Path) -> Command {
        let mut command = self.kg_triples(&["extract", "--threads", "2"]);
        command.arg("--dump").arg(dump);
        command
    }
}

fn program(words: &[&str], file: &Path) -> Command {
    let (name, arguments) = words.split_first().unwrap();
    let mut command = Command::new(name);
    command.args(arguments).arg(file);
    command
}

fn row(name: &str, [ours, peer]: [ResourceUse; 2], peer_name: &str, bytes: u64) {
    let rate = |cost: ResourceUse| bytes as f64 / 1e6 / cost.wall;
    println!(
        "| {name} | {:.2} s, {:.0} MB/s | {:.2} s, {:.0} MB/s, {peer_name} | {:.2} | {:.2} | {:.2} | {:.0} MiB |",
        ours.wall,
        rate(ours),
        peer.wall,
        rate(peer),
        ours.wall / peer.wall,
        ours.cpu,
        peer.cpu,
        ours.peak_mib
    );
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let rounds = options.rounds;
    let inputs = Inputs::create(&options)?;
    let size = |path: &Path| fs::metadata(path).map(|file| file.len());
    let bytes = size(&inputs.json)?;
    println!("| case | ours | peer | ours / peer | CPU s ours | peer | peak of ours |");
    println!("|---|---|---|---|---|---|---|");

    let zcat = program(&["zcat"], &inputs.gzip);
    let costs = inputs.alternate(rounds, [inputs.extract(&inputs.gzip), zcat])?;
    row("JSON, gzip", costs, "`zcat`", bytes);

    let [json] = inputs.alternate(rounds, [inputs.extract(&inputs.json)])?;
    row("JSON, plain", [json, json], "the same", bytes);

    let memory_mib = (bytes / 10) >> 20;
    let mib = memory_mib.to_string();
    let bounded = |dump: &Path| {
        let mut command = inputs.extract(dump);
        command.args(["--memory", &mib]);
        command
    };
    let [whole, half] = inputs.alternate(rounds, [bounded(&inputs.json), bounded(&inputs.half)])?;
    println!(
        "| `--memory {memory_mib}`, a dump of {} MB; of half of it | {:.2} s | {:.2} s | | {:.2} | {:.2} | {:.0} MiB; {:.0} MiB |",
        bytes / 1_000_000,
        whole.wall,
        half.wall,
        whole.cpu,
        half.cpu,
        whole.peak_mib,
        half.peak_mib
    );

    let mut ours = inputs.kg_triples(&["sample", "--count", SAMPLE_COUNT]);
    ours.arg("--kg").arg(&inputs.tables);
    let sampled =
        size(&inputs.tables.join("triples.tsv"))? + size(&inputs.tables.join("labels.tsv"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/extract/sample.py");
    let duckdb = testkit::peers_python(Peers::Light).filter(|python| {
        let check = Command::new(python).args(["-c", "import duckdb"]).status();
        check.is_ok_and(|status| status.success())
    });
    let name = format!("`sample` of {SAMPLE_COUNT} from {} triples", options.triples);
    match duckdb {
        Some(python) => {
            let mut peer = program(&[python.to_str().unwrap()], &script);
            peer.arg(&inputs.tables).args([LANGUAGES, SAMPLE_COUNT]).arg(inputs.folder.join("out"));
            row(&name, inputs.alternate(rounds, [ours, peer])?, "DuckDB", sampled);
        }
        None => {
            let [ours] = inputs.alternate(rounds, [ours])?;
            row(&name, [ours, ours], "none: no DuckDB in .peers", sampled);
        }
    }
    fs::remove_dir_all(inputs.folder.join("out"))
}
