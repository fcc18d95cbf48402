//! `demo-data`: generates stand-ins for data that cannot be shipped, each as a prepared folder:
//! questions, inference pairs, clozes and search results, from the embedded data. The help of each
//! command describes its synthetic parts. Libraries and recipes do not depend on this program; they
//! read the prepared folders.
mod corpus;
mod facts;
mod parallel;
mod probes;
mod questions;
mod search;
mod seed;
mod split;
mod stand_in;
mod xquad;

use std::path::PathBuf;
use std::process::ExitCode;

use atomic_file::cli;
use clap::{Args, Parser, Subcommand};

use crate::corpus::CorpusConfig;
use crate::probes::cloze::Clozes;
use crate::probes::inference::Inference;
use crate::questions::fact_questions::FactQuestions;
use crate::search::Search;
use crate::stand_in::StandIn;
use crate::xquad::XquadSplit;

/// Stand-ins for data that cannot be shipped, made from the embedded data.
///
/// No number that is measured on them says anything about the data that they stand in for: they
/// show that a method runs, and what it does.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  demo-data fact-questions --kg data/demo/kg --items 40 \\
    --templates data/demo/templates.tsv --out questions
  demo-data fact-questions --parallel --languages en,de --items 40 \\
    --kg data/demo/kg --templates data/demo/templates-all.tsv --out parallel
  demo-data inference --kg data/demo/kg --premises 2 \\
    --templates data/demo/templates-all.tsv --out pairs
  demo-data clozes --kg data/demo/kg \\
    --templates data/demo/templates-all.tsv --out clozes
  demo-data xquad-split --xquad data/xquad --first 36 --out divided
  demo-data xquad-split --xquad data/xquad --first 36 --documents --out articles
  demo-data xquad-split --xquad data/xquad --fold 1/4 --out fold-1
  demo-data text --extracts data/codex --sentences data/pud \\
    --paragraphs data/xquad --out text
  demo-data search --own divided --languages de --out found

--out is a folder that appears whole or not at all, with a manifest.json of
command, counts and digests; a folder that was prepared before is replaced.
Exit code 2 and one line on stderr mean bad input or a path that cannot be used.";

/// A stand-in with its output folder.
#[derive(Args)]
struct Prepared<T: Args> {
    #[command(flatten)]
    stand_in: T,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Write questions about facts, a synthetic substitute for SQuAD and MLQA
    ///
    /// Synthetic: contexts and questions are facts put into sentences by templates. Training
    /// contexts contain randomly drawn labels, so that no fact can be learned from them; dev and
    /// test contexts contain true facts.
    FactQuestions(Prepared<FactQuestions>),
    /// Split XQuAD by article, a substitute for machine-translated questions
    ///
    /// Real questions and human translations: an upper bound for those of a machine.
    XquadSplit(Prepared<XquadSplit>),
    /// Write pairs of sentences about facts, a substitute for XNLI
    ///
    /// Synthetic: premise and hypothesis are facts put into sentences by templates; the premise
    /// alone decides the label.
    Inference(Prepared<Inference>),
    /// Write clozes about facts, a substitute for mLAMA
    ///
    /// Real facts, sentences from templates.
    Clozes(Prepared<Clozes>),
    /// Write real text in seven languages, a substitute for a pretraining corpus
    ///
    /// First paragraphs of encyclopedia pages, sentences of news, and XQuAD's paragraphs, without
    /// the articles that are held out.
    Text(Prepared<CorpusConfig>),
    /// Write training questions with their passages, a substitute for a search log, for
    /// `kg-triples phrases`
    Search(Prepared<Search>),
}

fn main() -> ExitCode {
    atomic_file::protect_inputs();
    let done = match cli::parse() {
        Ok(Cli { command }) => match command {
            Command::FactQuestions(args) => prepare(&args),
            Command::XquadSplit(args) => prepare(&args),
            Command::Inference(args) => prepare(&args),
            Command::Clozes(args) => prepare(&args),
            Command::Text(args) => prepare(&args),
            Command::Search(args) => prepare(&args),
        },
        Err(code) => return code,
    };
    cli::end(done.map_err(|error| format!("{error:#}")))
}

fn prepare<T: StandIn + Args>(args: &Prepared<T>) -> anyhow::Result<()> {
    let counts = args.stand_in.prepare(&args.out)?;
    let counts = serde_json::to_string_pretty(&counts)?;
    Ok(cli::print(&format!("{}: {counts}\n", args.out.display()))?)
}

#[cfg(test)]
mod tests;
