//! Extraction of tables from a dump.
use std::path::Path;

use super::config::{ExtractConfig, ExtractReport};
use super::pass::DumpPass;
use super::source::{ExtractProgress, ExtractStart, Source, is_stream};
use super::state::{DumpShape, ExtractIdentity, StateFolder};
use super::table_files::Tables;
use crate::Error;

/// Extracts tables from a Wikidata dump to a folder, which [`KnowledgeGraph::read_dir`] can read.
///
/// The dump is a JSON array with one entity per line, as published by Wikidata, or JSON lines. It
/// is uncompressed or compressed with gzip, bzip2 or zstd, as detected from its first bytes. The
/// path `-` is standard input. Blank lines, CRLF, byte-order marks before lines and spaces between
/// tokens are accepted. If a JSON object has a duplicate key, the last value is used. Dumps in
/// N-Triples are not supported.
///
/// Each table of `config` is sorted by id as text and written atomically to `folder`. The file
/// `extract.json` contains an [`ExtractReport`] with counts of written and skipped data. The tables
/// are:
///
/// - triples: the truthy statements of items (preferred statements, or normal statements if none is
///   preferred) whose value is an item, without duplicates;
/// - labels, descriptions and aliases of items (`entity`) and properties (`relation`) in the
///   requested languages, with normalised white space and without control characters. A label or
///   description that a language lacks is taken from other codes by [`TermLookup`];
/// - sitelinks: titles of pages in the Wikipedias of the requested languages (both `yue` and
///   `zh-yue` are the site `zh_yuewiki`);
/// - redirects.
///
/// A table is stored as `NAME.tsv`, with a header line and tab-separated cells without quotes.
/// Variants are not converted to another script: a label of `zh-hant` is used for `zh` as it is.
///
/// Memory use does not depend on the size of the dump. The tables depend neither on the number of
/// threads nor on the compression of the dump.
///
/// # Resuming
/// After every 64 MiB of the compressed dump, and whenever the sorted data exceeds `config.memory`,
/// the progress is stored in `folder/.extract`, which is removed at the end of the extract. A later
/// call with the same dump and configuration resumes an interrupted extract, and writes the same
/// bytes as an uninterrupted call. Only `bad_lines`, `memory` and the number of threads may differ
/// from the interrupted call. The dump is decompressed again up to the stored position, but not
/// parsed. The compressed bytes before this position are hashed again; a different hash is an
/// error. [`ExtractProgress::start`] returns whether an extract was resumed.
///
/// [`KnowledgeGraph::read_dir`]: crate::KnowledgeGraph::read_dir
/// [`TermLookup`]: super::TermLookup
///
/// # Errors
/// [`Error::Config`] if `config` has no language, no table, a duplicate language, or a fallback of a
/// language that is not requested; [`Error::Io`]
/// with the file, and with the position in the dump if a compressed dump is damaged, does not match
/// its extension or has an unsupported compression; [`Error::Dump`] if the dump is N-Triples, an
/// array has no end, no line is an entity, there are more than `bad_lines` invalid lines or more
/// invalid lines than entities, another process writes to the folder, or the folder has an
/// unfinished extract of another dump or with other options. An error leaves existing tables
/// unchanged unless it occurs during the final renames.
///
/// ```
/// use kg_triples::dump::{ExtractConfig, ExtractProgress, extract};
/// use kg_triples::{KnowledgeGraph, Language};
///
/// let folder = tempfile::tempdir().unwrap();
/// let dump = folder.path().join("dump.json");
/// let labels = r#""labels":{"en":{"language":"en","value":"Switzerland"}}"#;
/// let value = r#"{"entity-type":"item","id":"Q70"}"#;
/// let snak = format!("{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":{value}}}}}");
/// let claims = format!("\"claims\":{{\"P36\":[{{\"rank\":\"normal\",\"mainsnak\":{snak}}}]}}");
/// let line = format!("{{\"id\":\"Q39\",\"type\":\"item\",{labels},{claims}}}");
/// std::fs::write(&dump, format!("[\n{line}\n]\n")).unwrap();
/// let config = ExtractConfig { languages: vec![Language::EN], ..ExtractConfig::default() };
/// let report = extract(&dump, &config, folder.path(), &ExtractProgress::default())?;
/// assert_eq!((report.items, report.counts.triples, report.bad_lines), (1, 1, 0));
/// let graph = KnowledgeGraph::read_dir(folder.path())?;
/// assert_eq!(graph.label("Q39", "en"), Some("Switzerland"));
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn extract(
    dump: &Path,
    config: &ExtractConfig,
    folder: &Path,
    progress: &ExtractProgress,
) -> Result<ExtractReport, Error> {
    config.check()?;
    let identity = ExtractIdentity::new(dump, config)?;
    let (state, stored) = StateFolder::open(folder, &identity, config.restart)?;
    progress.set_start(match &stored {
        Some(stored) => ExtractStart::Resumed(stored.offset),
        None if state.existed() => ExtractStart::Restarted,
        None => ExtractStart::New,
    });
    let mut pass = DumpPass::new(dump, config, folder, (state, identity));
    match stored {
        None => {
            let source = Source::open(dump, progress)?;
            pass.tally.report.compression = source.compression;
            pass.read(source, 0)?;
        }
        Some(stored) if stored.read => {
            if is_stream(dump) {
                Source::check_prefix(dump, &stored.passed, progress)?;
            }
            pass.resume(stored);
        }
        Some(stored) => {
            let offset = stored.offset;
            let source = Source::reopen(dump, stored.passed.clone(), progress)?;
            pass.resume(stored);
            pass.read(source, offset)?;
        }
    }
    pass.finish()
}

impl DumpPass<'_> {
    /// Writes the tables after the dump has been read.
    fn finish(self) -> Result<ExtractReport, Error> {
        let invalid_reason = self.invalid_reason();
        let mut report = self.tally.report;
        if self.tally.shape == DumpShape::Array {
            let reason = format!(
                "the array has no end after {} bytes: the dump is truncated; copy it again",
                report.bytes
            );
            return Err(Error::Dump { path: self.dump.to_owned(), reason });
        }
        if let Some(reason) = invalid_reason {
            // The state is removed, because a later run cannot resume the extract of an invalid
            // dump.
            self.state.remove()?;
            return Err(Error::Dump { path: self.dump.to_owned(), reason });
        }
        let entities = self.entities.into_sorted()?;
        let mut tables = Tables::create(self.folder, &report.tables, &self.requested)?;
        tables.write_entities(entities, &mut report)?;
        let redirects = self.redirects.into_sorted()?;
        tables.write_redirects(redirects, &mut report)?;
        tables.publish(&report)?;
        self.state.remove()?;
        Ok(report)
    }
}
