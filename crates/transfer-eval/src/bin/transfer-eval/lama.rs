//! `transfer-eval lama`: builds clozes and scores a model's predictions.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use results::Measured;
use serde::Deserialize;
use transfer_eval::lama::{
    Cloze, ClozeConfig, CommonVocabulary, Corpus, Relation, build_clozes, read_corpus, score_lama,
};

use crate::{CommandResult, print_json_next_to, print_stderr};

/// Build clozes from LAMA's data, and score a model's predictions.
#[derive(clap::Subcommand)]
pub enum Command {
    Clozes(ClozeArgs),
    Score(ScoreArgs),
}

/// Convert facts to inputs with one mask, one JSON object per line.
///
/// Keys: id, relation, input_ids, mask (the index of the mask in input_ids), gold (the piece id of
/// the object; null if the object is not a single piece), and spaced (whether the mask represents a
/// word after a space).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval lama clozes --data crates/testkit/fixtures/transfer/lama \\
    --corpus t-rex --tokenizer data/base/tokenizer.json --out clozes.jsonl
With LAMA:
  transfer-eval lama clozes --data data --corpus google-re \\
    --tokenizer xlmr/tokenizer.json --out clozes.jsonl")]
pub struct ClozeArgs {
    /// Folder `data` of the unpacked LAMA archive
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Corpus of LAMA
    #[arg(long, value_enum)]
    corpus: Corpus,
    /// tokenizer.json of an XLM-R model
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Vocabulary shared by all compared models, one word per line; facts whose object is not in
    /// this vocabulary are skipped
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Print P@1 and P@10 as JSON, in percent: mean over relations (macro), over facts (micro), and by
/// relation.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval lama clozes --data crates/testkit/fixtures/transfer/lama \\
    --corpus t-rex --tokenizer data/base/tokenizer.json --out clozes.jsonl
  transfer-eval lama score clozes.jsonl \\
    crates/testkit/fixtures/transfer/best.jsonl
With LAMA's relations, and results for a table:
  transfer-eval lama score clozes.jsonl best.jsonl --corpus t-rex \\
    --relations data/relations.jsonl --model ours --measured run.jsonl")]
pub struct ScoreArgs {
    /// Output file of `lama clozes`
    clozes: PathBuf,
    /// One line per cloze, in the order of the clozes: {"id": "…", "best": [id, …]} with the ids of
    /// the ten best pieces, best first, or {"id": "…", "rank": 3} with the gold piece's rank (null
    /// if the gold piece is not ranked)
    best: PathBuf,
    /// relations.jsonl of LAMA, which contains the types of T-REx's relations (1-1, N-1, N-M)
    #[arg(long, value_name = "FILE")]
    relations: Option<PathBuf>,
    /// Also write the results for `transfer-eval table 001-5` to this file
    #[arg(long, value_name = "FILE", requires_all = ["corpus", "model"])]
    measured: Option<PathBuf>,
    /// Corpus of the clozes, for --measured
    #[arg(long, value_enum)]
    corpus: Option<Corpus>,
    /// Model name, for --measured
    #[arg(long)]
    model: Option<String>,
}

pub fn run(command: &Command) -> CommandResult {
    match command {
        Command::Clozes(args) => write_clozes(args),
        Command::Score(args) => score(args),
    }
}

fn write_clozes(args: &ClozeArgs) -> CommandResult {
    let tokenizer = tokenizer_file::read(&args.tokenizer)?;
    let vocabulary = args.vocabulary.as_ref().map(CommonVocabulary::read).transpose()?;
    let config = ClozeConfig::default();
    let mut rows = Vec::new();
    let [mut facts, mut outside_vocabulary, mut too_long] = [0usize; 3];
    for (_, relation_facts) in read_corpus(&args.data, args.corpus)? {
        let built = build_clozes(&relation_facts.facts, &tokenizer, vocabulary.as_ref(), &config)?;
        facts += relation_facts.facts.len();
        outside_vocabulary += built.outside_vocabulary;
        too_long += built.too_long;
        rows.extend(built.clozes);
    }
    let multi_piece = rows.iter().filter(|cloze| cloze.gold.is_none()).count();
    let counts = format!(
        "{} clozes of {facts} facts; skipped: {outside_vocabulary} outside the vocabulary, {too_long} too long",
        rows.len()
    );
    if rows.is_empty() {
        let out = args.out.display();
        return Err(format!("no cloze to write; {out} is unchanged: {counts}").into());
    }
    Cloze::write(&args.out, &rows)?;
    print_stderr(&format!("{counts}; {multi_piece} objects with several pieces count as wrong"));
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RankedAnswer {
    id: String,
    #[serde(default)]
    best: Option<Vec<u32>>,
    #[serde(default)]
    rank: Option<usize>,
}

fn score(args: &ScoreArgs) -> CommandResult {
    let clozes = Cloze::read(&args.clozes)?;
    let relations = match &args.relations {
        Some(path) => Relation::read(path)?,
        None => {
            let ids: BTreeSet<&str> = clozes.iter().map(|cloze| cloze.relation.as_str()).collect();
            let relation = |id: &str| Relation { id: id.to_owned(), ..Relation::default() };
            ids.into_iter().map(relation).collect()
        }
    };
    let ranks = read_ranks(&args.best, &clozes)?;
    let score = score_lama(&relations, &clozes, &ranks)?;
    if let (Some(path), Some(corpus), Some(model)) = (&args.measured, args.corpus, &args.model) {
        Measured::write(path, &score.measured(model, corpus))?;
    }
    print_json_next_to(&args.measured, &score)
}

fn read_ranks(path: &Path, clozes: &[Cloze]) -> CommandResult<Vec<Option<usize>>> {
    let file = path.display();
    let text = atomic_file::read_to_string(path)?;
    let mut ranks = Vec::with_capacity(clozes.len());
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (k, line) in lines {
        let line_error = |message: String| format!("{file}:{}: {message}", k + 1);
        let answer: RankedAnswer =
            serde_json::from_str(line).map_err(|error| line_error(error.to_string()))?;
        let Some(cloze) = clozes.get(ranks.len()) else {
            return Err(line_error(format!("more lines than the {} clozes", clozes.len())).into());
        };
        if answer.id != cloze.id {
            let number = ranks.len() + 1;
            return Err(line_error(format!(
                "id `{}`, but cloze {number} is `{}`",
                answer.id, cloze.id
            ))
            .into());
        }
        ranks.push(match (answer.best, answer.rank) {
            (Some(_), Some(_)) => {
                return Err(line_error("both best and rank; expected one of them".into()).into());
            }
            (None, Some(0)) => return Err(line_error("rank 0; ranks count from 1".into()).into()),
            (None, rank) => rank,
            (Some(best), None) => cloze.rank_among(&best),
        });
    }
    Ok(ranks)
}
