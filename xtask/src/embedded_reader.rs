//! `cargo xtask embedded-reader`: trains the reader of `data/reader` again.
use crate::process::{cargo, command, run_checked, target_folder};
use crate::setup::{Options, ensure_libtorch};
use crate::{files, pretrained, reader};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The reader that comes with the project.
pub const READER: &str = "data/reader";

/// Folder of everything that the training writes.
const OUT: &str = "runs/embedded-reader";

/// Files of questions in one language each, of people who saw the paragraph or searched the web.
const QUESTIONS: [&str; 5] = [
    "data/nq-qed/train.json.gz",
    "data/multilingual-qa/drcd.dev.json.gz",
    "data/multilingual-qa/drcd.test.json.gz",
    "data/multilingual-qa/jaquad.train.json.gz",
    "data/multilingual-qa/arcd.train.json.gz",
];

/// Trains the reader, or resumes an interrupted training, and quantises it. `arguments` are passed
/// to `polyqa train`.
pub fn train(root: &Path, arguments: &[String]) -> Result<()> {
    ensure_libtorch(root, Options::default())?;
    pretrained::create_full_encoder(root, false)?;
    let mut build = cargo(root);
    build.args(["build", "--release"]);
    for program in ["polyqa", "demo-data", "xlmr-model"] {
        build.args(["-p", program, "--bin", program]);
    }
    run_checked(&mut build)?;
    let programs = target_folder()?.join("release");
    let program = |name: &str| command(programs.join(name), root);

    let base = format!("{OUT}/encoder");
    if !root.join(&base).is_dir() {
        let pieces = format!("{OUT}/pieces.txt");
        files::create_folder(&root.join(OUT))?;
        let tokenizer = root.join(READER).join("tokenizer.json");
        write_pieces(&tokenizer, &root.join(&pieces))?;
        let mut trim = program("xlmr-model");
        trim.args(["trim", "--model", pretrained::ENCODER, "--keep", &pieces, "--out", &base]);
        run_checked(&mut trim)?;
    }
    let [new, embedded] = [&base, READER].map(|folder| root.join(folder).join("tokenizer.json"));
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    ensure!(
        read(&new)? == read(&embedded)?,
        "{}: not the tokenizer of {READER}; remove {base}, and start again",
        new.display()
    );
    let mixture = format!("{OUT}/mixture");
    let mut mix = program("demo-data");
    mix.args(["mixture", "--xquad", "data/xquad", "--pairs", "5", "--unanswerable", "0.06"]);
    run_checked(mix.arg("--questions").args(QUESTIONS).args(["--out", &mixture]))?;

    let run = format!("{OUT}/run");
    reader::split_questions(root, &programs)?;
    let mut train = program("polyqa");
    train.args(["train", "--model", &base, "--train", &format!("{mixture}/train.json")]);
    train.arg("--dev").args(reader::test_files());
    train.args(["--calibration", "data/nq-qed/dev.json.gz"]);
    train.args(["--batch-size", "16", "--learning-rate", "1.5e-4", "--epochs", "1"]);
    // Frozen word embeddings keep their 4 bits, and languages without training questions keep
    // theirs.
    train.args(["--set", "training.groups=[{roles=[\"word_embeddings\"],frozen=true}]"]);
    train.args(["--set", "training.warmup_ratio=0.03", "--set", "windows.segment_ids=false"]);
    train.args(reader::PRECISION);
    run_checked(train.args(["--out", &run]).args(arguments))?;

    let quantised = format!("{OUT}/reader");
    let mut quantize = program("xlmr-model");
    quantize.args([
        "quantize",
        "--model",
        &format!("{run}/model"),
        "--out",
        &quantised,
        "--force",
        "--lossless-embeddings",
    ]);
    run_checked(&mut quantize)?;
    println!("\nThe reader is in {quantised}; {READER} is unchanged.");
    Ok(())
}

/// Writes the vocabulary of a Unigram tokenizer, a piece per line.
fn write_pieces(tokenizer: &Path, out: &Path) -> Result<()> {
    let name = tokenizer.display();
    let text = fs::read(tokenizer).with_context(|| name.to_string())?;
    let tokenizer: Value = serde_json::from_slice(&text).with_context(|| name.to_string())?;
    let pieces = tokenizer["model"]["vocab"].as_array();
    let pieces = pieces.with_context(|| format!("{name}: expected a list in model.vocab"))?;
    let mut lines = String::new();
    for piece in pieces {
        let piece = piece[0].as_str();
        let piece = piece.with_context(|| format!("{name}: expected a text in each entry"))?;
        // Trimming keeps single characters; white space would be a blank line.
        if !piece.trim().is_empty() {
            lines.push_str(piece);
            lines.push('\n');
        }
    }
    fs::write(out, lines).with_context(|| out.display().to_string())
}
