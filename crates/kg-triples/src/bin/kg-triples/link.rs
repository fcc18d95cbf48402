use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::entity_linking::WikiReport;
use kg_triples::jsonl::JsonlWriter;
use kg_triples::{Error, Language};
use serde_json::json;

use crate::CommandResult;
use crate::out::Out;
use crate::sources::{self, SourceArgs};
use crate::table::{Table, print_texts};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples link --entities data/codex --languages de,en --out linked.jsonl.gz
With the aliases of an extract:
  kg-triples link --entities pages --aliases kg/aliases.tsv --out linked.jsonl
With pages of Wikipedia and the sitelinks of an extract:
  kg-triples link --wiki en=enwiki.jsonl.gz,de=dewiki.jsonl.gz \\
    --sitelinks kg/sitelinks.tsv --out linked.jsonl.gz

With --entities, labels of entities are linked in the pages. With --wiki, the links of Wikipedia
pages are used (WikiExtractor --links --json); links and pages whose title is not in --sitelinks are
counted. `kg-triples mentions` and `switch` read the output
as --texts.")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// JSONL file to write (one text per line: id, lang, text, mentions), compressed if it ends in
    /// .gz; or a prepared folder, in which train/linked.jsonl.gz is written
    #[arg(long, value_name = "FILE.jsonl[.gz]|DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let bar = spinner("reading");
    let out = Out::start(&args.out, None)?;
    let output = TextOutput::next_to([&args.out]);
    let (sources, ..) = sources::read(&args.source)?;
    bar.set_message("writing");
    let mut writer = JsonlWriter::create(out.file("train/linked.jsonl.gz")?)?;
    let mut counts: BTreeMap<Language, (usize, usize)> = BTreeMap::new();
    for text in sources.texts(None) {
        let text = text?;
        let (texts, mentions) = counts.entry(text.language).or_default();
        *texts += 1;
        *mentions += text.mentions.len();
        writer.write(&text)?;
    }
    if counts.values().all(|(_, mentions)| *mentions == 0) {
        return Err(Error::Empty {
            what: "mentions in the texts".into(),
            hint: match sources.wiki_reports.borrow().values().map(|report| report.links).sum() {
                0 => "check --wiki with --sitelinks, or --entities, and --languages".into(),
                links => {
                    format!("none of {links} links leads to a title of --sitelinks; check --wiki")
                }
            },
        });
    }
    writer.finish()?;
    let wiki_reports = sources.wiki_reports.take();
    let mut manifest = serde_json::json!({ "texts and mentions": counts });
    if !wiki_reports.is_empty() {
        let unlinked = |report: &WikiReport| {
            json!({
                "pages": report.pages_without_entity,
                "links": report.links_without_entity,
            })
        };
        let by_language = wiki_reports.iter();
        let by_language = by_language.map(|(code, report)| (code.to_string(), unlinked(report)));
        manifest["without an entity"] = by_language.collect();
    }
    out.finish("kg-triples link", None, manifest)?;
    bar.finish_and_clear();

    match wiki_reports.is_empty() {
        true => print_texts(&counts, output),
        false => print_pages(&counts, &wiki_reports, output),
    }
    Ok(())
}

/// Prints the counts of pages of Wikipedia.
fn print_pages(
    counts: &BTreeMap<Language, (usize, usize)>,
    reports: &BTreeMap<Language, WikiReport>,
    output: TextOutput,
) {
    let mut table = Table::default();
    table.add_row([
        "language",
        "texts",
        "mentions",
        "pages without an entity",
        "links without an entity",
    ]);
    for (language, report) in reports {
        let (texts, mentions) = counts.get(language).copied().unwrap_or((0, 0));
        table.add_row([
            language.to_string(),
            texts.to_string(),
            mentions.to_string(),
            report.pages_without_entity.to_string(),
            report.links_without_entity.to_string(),
        ]);
    }
    table.print(output);
}
