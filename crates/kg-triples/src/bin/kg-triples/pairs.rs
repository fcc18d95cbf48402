use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::entity_linking::{LabelMatcher, PageText, page_files};
use kg_triples::jsonl::JsonlWriter;
use kg_triples::knowledge::{
    Descriptions, PairConfig, PairCounts, PairKind, RemoveObject, TextPairs,
};
use kg_triples::{Error, KnowledgeGraph, Language};
use serde_json::json;

use crate::out::{Out, write_lines};
use crate::sources::{Links, Sources};
use crate::table::Table;
use crate::{CommandResult, check_positive, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples pairs --kg data/demo/kg --languages en,de,zh --count 1000 \\
    --out pairs.jsonl
  kg-triples pairs --kg data/demo/kg --entities data/codex \\
    --kinds ep,tp,es,ts --hold-out 0.2 --seed 1 --out pairs
With an extract of Wikidata and linked texts:
  kg-triples pairs --kg wikidata --entities pages --texts linked.jsonl.gz \\
    --kinds ep,tp,es,ts --count 1000000 --hold-out 0.01 --out pairs

Kinds: ep (labels of an entity in two languages), tp (subject and relation, object), es (description
of an entity, its label), ts (sentence with linked subject and object of a triple, without the
object; object). es needs --entities. ts uses the sentences of --texts, or links labels of --kg in
the pages of --entities. A relation without a label is omitted from the query of tp and counted.

A folder contains train/pairs.jsonl.gz and, with --hold-out, probe/held-out.jsonl.gz: all pairs
about held-out entities, which are not the entity of any training pair.")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Folder with entities.<lang>.jsonl[.gz], which provides descriptions, and labels that are
    /// missing in --kg
    #[arg(long, value_name = "DIR")]
    entities: Option<PathBuf>,
    /// JSONL files of linked texts: id, lang, text, mentions
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    texts: Vec<PathBuf>,
    /// Text of --entities used as description: extract, description or either
    #[arg(long, default_value = "extract", value_parser = parse_choice::<PageText>)]
    page_text: PageText,
    /// Kinds of pairs: ep (labels of an entity), tp (triple and label of its object), es
    /// (description and label of an entity), ts (sentence and label of an object)
    #[arg(long, default_value = "ep,tp", value_delimiter = ',', value_parser = parse_choice::<PairKind>)]
    kinds: Vec<PairKind>,
    /// Languages of all texts [default: all languages with labels]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Option<Vec<Language>>,
    /// Number of training pairs of each kind, sampled with replacement [default: one pair per
    /// entity of a triple (ep), triple (tp), description (es) or object of a sentence (ts)]
    #[arg(long)]
    count: Option<u64>,
    /// Words of the object that are removed from the sentences of the kind ts: whole (all words) or
    /// released (all except the last word, as in the paper's released code)
    #[arg(long, default_value = "whole", value_parser = parse_choice::<RemoveObject>)]
    remove_object: RemoveObject,
    /// Fraction of the entities that are held out of training
    #[arg(long, default_value_t = PairConfig::default().hold_out, value_name = "FRACTION")]
    hold_out: f64,
    /// Random seed
    #[arg(long, default_value_t = PairConfig::default().seed)]
    seed: u64,
    /// Prepared folder to write, or FILE.jsonl[.gz] to write only the training pairs
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    check_positive(args.count)?;
    let kinds: BTreeSet<PairKind> = args.kinds.iter().copied().collect();
    let config = PairConfig {
        // An empty list means all languages.
        languages: args.languages.as_ref().map_or_else(Vec::new, Clone::clone),
        remove_object: args.remove_object,
        hold_out: args.hold_out,
        seed: args.seed,
    };
    config.validate()?;
    args.check_sources(&kinds)?;
    let holds_out = args.hold_out > 0.0;
    let rule = "a folder if data is held out";
    let out = Out::start(&args.out, holds_out.then_some(rule))?;
    let output = TextOutput::next_to([&args.out]);
    let bar = spinner("reading");
    let mut graph = KnowledgeGraph::read_dir(&args.kg)?;
    // Mentions are linked by the labels of --kg only, before the labels of pages are added. A page
    // may have another id for an entity of --kg, and its label would then be ambiguous.
    let sources = kinds.contains(&PairKind::Ts).then(|| args.sources(&graph)).transpose()?;
    let is_requested =
        |language: Language| args.languages.as_ref().is_none_or(|l| l.contains(&language));
    let mut descriptions = Descriptions::default();
    if let Some(folder) = args.entities.as_ref().filter(|_| kinds.contains(&PairKind::Es)) {
        descriptions = Descriptions::from_pages(folder, args.page_text, is_requested)?;
    }
    if let Some(folder) = &args.entities {
        graph = graph.with_page_labels(folder, is_requested)?;
    }

    let mut train_writer = JsonlWriter::create(out.file("train/pairs.jsonl.gz")?)?;
    let probe_path = holds_out.then(|| out.file("probe/held-out.jsonl.gz")).transpose()?;
    let mut probe_writer = probe_path.map(JsonlWriter::create).transpose()?;
    let mut table = Table::default();
    table.add_row([
        "kind",
        "sources",
        "without a label",
        "without a triple",
        "object only",
        "train",
        "held out",
        "without a relation",
        "written",
    ]);
    let mut counts_by_kind = BTreeMap::new();
    let mut written = BTreeMap::new();
    for kind in kinds {
        bar.set_message(format!("writing {}", kind.name()));
        let pairs = match (kind, &sources) {
            (PairKind::Ep, _) => TextPairs::from_labels(&graph, &config)?,
            (PairKind::Tp, _) => TextPairs::from_triples(&graph, &config)?,
            (PairKind::Es, _) => TextPairs::from_descriptions(&graph, &descriptions, &config)?,
            (PairKind::Ts, Some(sources)) => {
                TextPairs::from_sentences(&graph, sources.texts(None), &config)?
            }
            (PairKind::Ts, None) => continue,
        };
        let counts = pairs.counts();
        if counts.train == 0 || (holds_out && counts.held_out == 0) {
            return Err(no_pairs_error(kind, &counts));
        }
        let lines = match args.count {
            Some(count) => write_lines(&mut train_writer, pairs.draw(count))?,
            None => write_lines(&mut train_writer, pairs.train_pairs())?,
        };
        if let Some(probe_writer) = &mut probe_writer {
            write_lines(probe_writer, pairs.held_out())?;
        }
        let PairCounts { sources, without_label, without_triple, bare, .. } = counts;
        let PairCounts { train, held_out, without_relation, .. } = counts;
        let cells = [sources, without_label, without_triple, bare, train, held_out];
        let cells = cells.into_iter().chain([without_relation, lines]).map(|n| n.to_string());
        table.add_row(std::iter::once(kind.name().to_owned()).chain(cells));
        counts_by_kind.insert(kind, counts);
        written.insert(kind, lines);
    }
    JsonlWriter::finish_all(std::iter::once(train_writer).chain(probe_writer))?;
    let counts = json!({ "train": written, "pairs": counts_by_kind });
    out.finish("kg-triples pairs", Some(args.seed), counts)?;
    bar.finish_and_clear();
    table.print(output);
    Ok(())
}

impl Args {
    /// Returns an error if the texts that a kind requires are missing.
    fn check_sources(&self, kinds: &BTreeSet<PairKind>) -> CommandResult {
        let has_pages = self.entities.is_some();
        let es = (
            PairKind::Es,
            has_pages,
            "another kind without --entities, which provides descriptions",
        );
        let ts = has_pages || !self.texts.is_empty();
        let ts = (PairKind::Ts, ts, "another kind without --texts or --entities");
        match [es, ts]
            .into_iter()
            .find(|(kind, is_available, _)| kinds.contains(kind) && !is_available)
        {
            Some((kind, _, rule)) => {
                Err(Error::Config { key: "kinds", value: kind.name().to_owned(), rule })
            }
            None => Ok(()),
        }
    }

    /// Opens the texts of the kind `ts`, in which mentions are linked to entities of `graph`.
    fn sources(&self, graph: &KnowledgeGraph) -> Result<Sources, Error> {
        let languages = self.languages.clone();
        let Some(folder) = self.entities.as_ref().filter(|_| self.texts.is_empty()) else {
            let files = self.texts.iter().map(|path| (None, path.clone())).collect();
            return Ok(Sources::new(files, languages, Links::InText));
        };
        let labels = graph.entities().flat_map(|id| {
            let label = move |code: &Language| Some((*code, graph.label(id, code.as_str())?, id));
            graph.languages().iter().filter_map(label)
        });
        // Mentions of the page's own entity are linked as well, because this entity can be the
        // subject or object of a triple.
        let matcher = LabelMatcher::new(labels)?.0.with_self_links();
        let files = page_files(folder)?.into_iter().map(|(code, path)| (Some(code), path));
        Ok(Sources::new(files.collect(), languages, Links::Labels(matcher, self.page_text)))
    }
}

/// Creates the error for a kind without training pairs. Its hint contains the counts of skipped
/// sources.
fn no_pairs_error(kind: PairKind, counts: &PairCounts) -> Error {
    Error::Empty {
        what: format!("{} pairs of {} sources", kind.name(), counts.sources),
        hint: format!(
            "{} sources have no label in the languages, {} mention no triple, {} have no word \
             besides the object, {} are for training and {} are held out; add data, or change \
             --languages or --hold-out",
            counts.without_label, counts.without_triple, counts.bare, counts.train, counts.held_out
        ),
    }
}
