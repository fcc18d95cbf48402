use std::path::{Path, PathBuf};

use kg_triples::dump::ExtractConfig;
use kg_triples::{Coverage, Error, Language, MissingRelation, SampleConfig, sample_folder};
use tempfile::TempDir;

use crate::extract::with_progress;
use crate::table::Table;
use crate::{Done, choice, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples sample --kg data/demo/kg --languages en,de --count 100 \\
    --stratified --out sampled
  kg-triples sample --dump crates/testkit/fixtures/dump.json \\
    --languages en,de --out sampled
With an extract or a dump of Wikidata:
  kg-triples sample --kg kg --languages en,de,es,ar,hi,vi,zh --count 20000 \\
    --seed 1 --out sampled
  kg-triples sample --dump latest-all.json.gz --languages en,de,zh \\
    --out sampled")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv; tails that redirects.tsv names are replaced
    #[arg(long, value_name = "DIR", required_unless_present = "dump")]
    kg: Option<PathBuf>,
    /// Wikidata's dump in place of --kg, see `kg-triples extract`
    #[arg(long, value_name = "FILE", conflicts_with = "kg")]
    dump: Option<PathBuf>,
    /// Head, relation and tail need labels in all of these, or as --coverage says
    #[arg(long, value_delimiter = ',', required = true, value_name = "LANG,…")]
    languages: Vec<String>,
    /// Labels in all languages; or pairs: the head in one, the tail in another, and the relation in
    /// both of these
    #[arg(long, default_value = "all", value_name = "all|pairs", value_parser = choice::<Coverage>)]
    coverage: Coverage,
    /// Facts to take
    #[arg(long, default_value_t = SampleConfig::default().count)]
    count: usize,
    /// Seed of the sample
    #[arg(long, default_value_t = SampleConfig::default().seed)]
    seed: u64,
    /// Relations without a label in a language: drop their triples, or use the English label
    #[arg(long, default_value = "drop", value_name = "drop|english", value_parser = choice::<MissingRelation>)]
    missing_relation: MissingRelation,
    /// Fewer facts than --count are an error
    #[arg(long)]
    strict: bool,
    /// Only facts of these relations
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    relations: Vec<String>,
    /// Only facts whose head is an instance (P31) of one of these
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    types: Vec<String>,
    /// Shortest label of head and tail, in code points
    #[arg(long, default_value_t = SampleConfig::default().min_label_chars, value_name = "N")]
    min_label_chars: usize,
    /// As many facts of each relation, as far as it has them
    #[arg(long)]
    stratified: bool,
    /// Folder for the sampled triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Reads the dump into a folder beside the output, which goes when it is dropped.
fn extract_beside(dump: &Path, args: &Args) -> Result<TempDir, Error> {
    let refuse =
        || |source| Error::Io { path: args.out.clone(), action: "write to the folder", source };
    std::fs::create_dir_all(&args.out).map_err(refuse())?;
    let folder = tempfile::Builder::new().prefix(".dump-").tempdir_in(&args.out);
    let folder = folder.map_err(refuse())?;
    let mut languages: Vec<Language> =
        args.languages.iter().map(|code| Language::new(code)).collect::<Result<_, _>>()?;
    let english = |code: &Language| code.as_str().eq_ignore_ascii_case("en");
    // Relations may take the English label.
    if args.missing_relation == MissingRelation::English && !languages.iter().any(english) {
        languages.push(Language::EN);
    }
    let config = ExtractConfig { languages, ..ExtractConfig::default() };
    with_progress(dump, &config, folder.path(), 0)?;
    Ok(folder)
}

pub fn run(args: Args) -> Done {
    let extracted = args.dump.as_deref().map(|dump| extract_beside(dump, &args)).transpose()?;
    let folder = extracted.as_ref().map(|folder| folder.path().to_owned());
    let folder = folder.or(args.kg.clone()).unwrap_or_default();
    let bar = spinner("sampling");
    let config = SampleConfig {
        languages: args.languages,
        coverage: args.coverage,
        count: args.count,
        seed: args.seed,
        missing_relation: args.missing_relation,
        strict: args.strict,
        relations: args.relations,
        types: args.types,
        min_label_chars: args.min_label_chars,
        stratified: args.stratified,
    };
    let (sampled, report) = sample_folder(&folder, &config)?;
    drop(extracted);
    bar.set_message("writing");
    sampled.write_dir(&args.out)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.count("triples read", report.read);
    table.count("of an entity with itself", report.self_loops);
    table.count("of other relations or types", report.filtered);
    table.count("without a label of the head", report.without_head_label);
    table.count("without a label of the tail", report.without_tail_label);
    table.count("without a label of the relation", report.without_relation_label);
    table.count("with a label that is too short", report.short_labels);
    table.count("available", report.available);
    table.count("requested", report.requested);
    table.count("sampled", report.kept);
    table.count("relation labels taken from English", report.english_relation_labels);
    table.print();
    if report.kept < report.requested {
        eprintln!(
            "note: {} facts were requested and only {} are available; all were taken",
            report.requested, report.available
        );
    }
    Ok(())
}
