//! `cargo xtask demo`: answers from the embedded reader, then the recipe of a paper.
use crate::embedded_reader::READER;
use crate::process::{command, run_checked, target_folder};
use crate::recipes;
use crate::setup::{Options, ensure_libtorch};
use anyhow::Result;
use std::path::Path;

/// Texts in English, German and Chinese.
const DOCUMENTS: &str = "examples/documents";

/// Questions in other languages than the text with their answer.
const QUESTIONS: [&str; 3] = [
    "¿De qué están hechas las islas flotantes de los uros?",
    "How many capitals are on the Danube?",
    "Seit wann ist Dujiangyan Welterbe?",
];

/// Sets up libtorch, builds the programs, answers the questions, and runs the recipe with
/// `arguments`.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    println!("1. Set up libtorch, and build the programs.");
    ensure_libtorch(root, Options::default())?;
    let program = recipes::program_name(root, Path::new(recipes::DEMO))?;
    let selection = ["--example", &program, "-p", "polyqa", "--bin", "polyqa"];
    recipes::build(root, &recipes::DEMO_BUILD, &selection)?;

    println!(
        "\n2. Answer questions over texts in other languages ({DOCUMENTS}), with the reader in {READER}:\n"
    );
    let polyqa = target_folder()?.join("debug/polyqa");
    let mut answer = command(&polyqa, root);
    answer.args(["answer", "--model", READER, "-n", "1"]);
    answer.args(QUESTIONS.iter().flat_map(|question| ["-q", question]));
    let texts = ["titicaca.txt", "donau.txt", "dujiangyan.txt"];
    run_checked(answer.args(texts.map(|name| format!("{DOCUMENTS}/{name}"))))?;

    println!(
        "\n3. Train and evaluate the small recipe of the paper \"Bridging the Language Gap\" on embedded data:\n"
    );
    // The models are small and use one thread each.
    let has_jobs = arguments.iter().any(|argument| argument.starts_with("--jobs"));
    let jobs = if has_jobs { &[][..] } else { &["--jobs".to_owned(), "3".to_owned()] };
    let arguments = [jobs, arguments].concat();
    // A build of the recipe alone would select other features, and compile most crates again.
    recipes::run_built(root, Path::new(recipes::DEMO), &recipes::DEMO_BUILD, &arguments)?;
    println!(
        "\nNext: ask your own texts, such as\n  \
         {} answer -q 'Wo liegt Lima?' my-text.txt my-paper.pdf\n\
         or install the program, which then is optimised and has a web page (`polyqa serve`), with\n  \
         cargo install --path crates/polyqa",
        polyqa.strip_prefix(root).unwrap_or(&polyqa).display()
    );
    Ok(())
}
