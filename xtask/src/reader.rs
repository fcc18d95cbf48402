//! `cargo xtask reader`: trains a reader for real questions from the pretrained encoder and the
//! embedded training questions.
use crate::pretrained;
use crate::process::{cargo, command, run_checked, target_folder};
use crate::setup::{Options, ensure_libtorch};
use anyhow::Result;
use std::path::Path;

/// The run folder; its folder `model` contains the reader.
const OUT: &str = "runs/reader";

/// Output folder of `demo-data xquad-split`: XQuAD's first articles for training, and the last 12
/// articles as the test set.
const QUESTIONS: &str = "runs/reader-questions";
/// Number of XQuAD's articles for training.
const ARTICLES: &str = "36";
/// Languages of the test set's questions and texts.
const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Options of `polyqa train` that are added unless the command line contains them.
const DEFAULTS: [(&str, &str); 4] =
    [("--batch-size", "16"), ("--learning-rate", "1.5e-4"), ("--epochs", "1"), ("--out", OUT)];

/// Trains the reader, or resumes an interrupted training. `arguments` are passed to `polyqa train`.
pub fn train_reader(root: &Path, arguments: &[String]) -> Result<()> {
    ensure_libtorch(root, Options::default())?;
    pretrained::create_encoders(root, false)?;
    let mut build = cargo(root);
    build.args(["build", "--release"]);
    for program in ["polyqa", "demo-data"] {
        build.args(["-p", program, "--bin", program]);
    }
    run_checked(&mut build)?;
    let programs = target_folder()?.join("release");
    split_questions(root, &programs)?;
    let mut train = command(programs.join("polyqa"), root);
    train.args(["train", "--model", pretrained::TRIMMED, "--train", "data/nq-qed/train.json.gz"]);
    // The file is listed twice, so that its questions have a higher weight. They are few, but
    // resemble the test questions.
    train.args([&format!("{QUESTIONS}/train-context-en-question-en.json"); 2]).arg("--dev");
    train.args(test_files());
    train.args(["--calibration", "data/nq-qed/dev.json.gz"]);
    train.args(missing_defaults(arguments).flat_map(|(option, value)| [option, value]));
    train.args(PRECISION);
    run_checked(train.args(arguments))?;
    if missing_defaults(arguments).any(|(option, _)| option == "--out") {
        println!("\nTo answer: polyqa answer --model {OUT}/model -q 'Wo liegt Lima?' TEXT");
    }
    Ok(())
}

/// Divides XQuAD's articles into training and test questions.
pub fn split_questions(root: &Path, programs: &Path) -> Result<()> {
    let mut split = command(programs.join("demo-data"), root);
    split.args(["xquad-split", "--xquad", "data/xquad", "--first", ARTICLES, "--out", QUESTIONS]);
    run_checked(&mut split)
}

/// Returns the files of test questions that [`split_questions`] writes.
pub fn test_files() -> [String; 7] {
    LANGUAGES.map(|language| format!("{QUESTIONS}/xquad.{language}.json"))
}

/// The arguments of `polyqa train` that select the fastest precision of the processor.
pub const PRECISION: [&str; 2] = ["--set", "run.precision=\"auto\""];

/// Returns the defaults that `arguments` do not contain.
fn missing_defaults(arguments: &[String]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_set =
        |option: &str| arguments.iter().any(|argument| argument.split('=').next() == Some(option));
    DEFAULTS.into_iter().filter(move |(option, _)| !is_set(option))
}
