use std::path::PathBuf;

use clap::ValueEnum;
use kg_triples::questions::{EntitySplit, QuestionConfig, TemplateSet, build_questions};
use kg_triples::{KgError, KnowledgeGraph};

use crate::table::Table;
use crate::{Done, spinner};

#[derive(Clone, Copy, ValueEnum)]
enum Split {
    Train,
    Dev,
    Test,
    All,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples questions --kg data/demo/kg --templates data/demo/templates.tsv \\
    --split train --counterfactual --count 100 --question-languages en \\
    --out qa
  kg-triples questions --kg data/demo/kg --templates data/demo/templates.tsv \\
    --split test --out qa")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// TSV file: relation_id, lang, kind (statement or question), template
    #[arg(long, value_name = "FILE")]
    templates: PathBuf,
    /// Which heads to ask about
    #[arg(long)]
    split: Split,
    /// Shares of heads for train, dev and test
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 3,
        default_value = "0.4,0.3,0.3",
        value_name = "S,S,S"
    )]
    shares: Vec<f64>,
    /// Seed of the division of heads
    #[arg(long, default_value_t = EntitySplit::default().seed)]
    split_seed: u64,
    /// Sentences in a context
    #[arg(long, default_value_t = QuestionConfig::default().facts_per_context)]
    facts_per_context: usize,
    /// Other facts with the asked relation
    #[arg(long, default_value_t = QuestionConfig::default().same_relation)]
    same_relation: usize,
    /// Draw all labels of a context at random (training data from which no fact can be learned)
    #[arg(long)]
    counterfactual: bool,
    /// Items to make [default: each fact once]
    #[arg(long)]
    count: Option<usize>,
    /// Language of contexts and answers
    #[arg(long, default_value_t = QuestionConfig::default().context_language)]
    context_language: String,
    /// Languages of the questions [default: all of the folder]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    question_languages: Option<Vec<String>>,
    /// Seed of all draws
    #[arg(long, default_value_t = QuestionConfig::default().seed)]
    seed: u64,
    /// Folder for {split}-context-{c}-question-{q}.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    let bar = spinner("reading");
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    let templates = TemplateSet::read(&args.templates)?;
    let [train, dev, test] = args.shares[..] else {
        let value = format!("{:?}", args.shares);
        return Err(KgError::Config { key: "shares", value, rule: "three numbers" });
    };
    let division = EntitySplit { train, dev, test, seed: args.split_seed };
    let split = division.divide(&graph)?;
    let (name, heads) = match args.split {
        Split::Train => ("train", split.train),
        Split::Dev => ("dev", split.dev),
        Split::Test => ("test", split.test),
        Split::All => ("all", graph.triples().map(|triple| triple.head.to_owned()).collect()),
    };
    let all_languages =
        || graph.languages().iter().map(|language| language.as_str().to_owned()).collect();
    let config = QuestionConfig {
        facts_per_context: args.facts_per_context,
        same_relation: args.same_relation,
        counterfactual: args.counterfactual,
        count: args.count,
        context_language: args.context_language,
        question_languages: args.question_languages.unwrap_or_else(all_languages),
        seed: args.seed,
    };
    bar.set_message("building");
    let set = build_questions(&graph, &templates, name, &heads, &config)?;
    let paths = set.write_dir(&args.out)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.count("heads of the split", heads.len());
    table.count("facts of these heads", set.report.facts);
    table.count("without labels or templates", set.report.without_words);
    table.count("without facts to stand beside", set.report.without_context);
    table.count("items", set.report.items);
    for path in paths {
        table.row([path.display()]);
    }
    table.print();
    Ok(())
}
