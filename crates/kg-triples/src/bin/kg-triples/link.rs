use std::collections::BTreeMap;
use std::path::PathBuf;

use kg_triples::jsonl::JsonlWriter;
use kg_triples::{Error, Language};

use crate::out::Out;
use crate::sources::{self, SourceArgs};
use crate::table::print_texts;
use crate::{CommandResult, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples link --entities data/codex --languages de,en --out linked.jsonl.gz
With pages of Wikipedia and the sitelinks of an extract:
  kg-triples link --wiki en=enwiki.jsonl.gz,de=dewiki.jsonl.gz \\
    --sitelinks kg/sitelinks.tsv --out linked.jsonl.gz

With --entities, labels of entities are linked in the pages. With --wiki, the links of Wikipedia
pages are used (WikiExtractor --links --json). `kg-triples mentions` and `switch` read the output
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
            hint: "check --wiki with --sitelinks, or --entities, and --languages".into(),
        });
    }
    writer.finish()?;
    out.finish("kg-triples link", None, serde_json::json!({ "texts and mentions": counts }))?;
    bar.finish_and_clear();

    print_texts(&counts);
    Ok(())
}
