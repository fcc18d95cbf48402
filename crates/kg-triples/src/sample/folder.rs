//! Memory-efficient sampling from a folder of tables.
//!
//! Sorted tables, such as the tables of `extract` and [`KnowledgeGraph::write_dir`], are read in
//! three passes. The first pass reads the labels and stores a few bits per id. The second pass
//! reads the facts, filters them by these bits, and draws facts by rank. The third pass reads the
//! labels of the drawn facts. Facts with redirected entities are held in memory, because they may
//! become duplicates.
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::blocks::{BlockReadError, Boundary, scan, split_cells, split_rows};
use super::draw::{Bound, FactFilter, Ranks, SelectedFacts, draw};
use super::ids::{IdMap, Redirects};
use super::rules::{LabelRules, SourcedLabel};
use super::{SampleConfig, SampleReport, build_sample, check_available, known_languages};
use crate::folder::{LABEL_COLUMNS, REDIRECT_COLUMNS, SOURCED_LABEL_COLUMNS, TRIPLE_COLUMNS};
use crate::{Error, GraphBuilder, KnowledgeGraph, LabelKind, LabelSource, Language, sample};

/// Samples facts of a folder without reading all facts into memory.
///
/// The result is the same as reading the graph by [`KnowledgeGraph::read_dir`], applying
/// `redirects.tsv`, if present, by [`KnowledgeGraph::with_redirects`], and calling
/// [`sample`](crate::sample()).
///
/// If `triples.tsv` and `labels.tsv` are sorted by id and have no duplicate rows, and `labels.tsv`
/// has a column `kind`, memory holds only a few bits per id, the redirects, the redirected facts
/// and the drawn facts. Tables of `extract` and [`KnowledgeGraph::write_dir`] meet these
/// conditions. Any other folder is read into memory.
///
/// # Errors
/// As [`sample`](crate::sample()) and [`KnowledgeGraph::read_dir`].
///
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, SampleConfig, sample, sample_folder};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?;
/// for (id, kind) in
///     [("Q183", LabelKind::Entity), ("P36", LabelKind::Relation), ("Q64", LabelKind::Entity)]
/// {
///     builder.add_label(id, "en", &format!("label of {id}"), kind)?;
/// }
/// let graph = builder.build();
/// let folder = tempfile::tempdir().unwrap();
/// graph.write_dir(folder.path())?;
/// let config = SampleConfig { languages: vec!["en".into()], ..SampleConfig::default() };
/// assert_eq!(sample_folder(folder.path(), &config)?, sample(&graph, &config)?);
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn sample_folder(
    dir: impl AsRef<Path>,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), Error> {
    let dir = dir.as_ref();
    config.validate()?;
    match sample_streaming(dir, config) {
        Ok(result) => result,
        Err(BlockReadError) => {
            let graph = KnowledgeGraph::read_dir(dir)?;
            sample(&graph.with_redirects(&dir.join("redirects.tsv"))?, config)
        }
    }
}

type SampleResult = Result<(KnowledgeGraph, SampleReport), Error>;

fn sample_streaming(dir: &Path, config: &SampleConfig) -> Result<SampleResult, BlockReadError> {
    let redirects = read_redirects(dir)?;
    let codes = config.languages.iter().map(|code| Language::new(code).map_err(|_| BlockReadError));
    let requested = codes.collect::<Result<Vec<_>, _>>()?;
    let rules = LabelRules::new(config, &requested);
    let table = LabelTable::open(dir)?;
    if let Err(error) = config.check_sources(table.has_sources) {
        return Ok(Err(error));
    }
    let (labels, available) = read_labels(&table, &rules)?;
    let languages = match known_languages(config, &available) {
        Ok(languages) => languages,
        Err(error) => return Ok(Err(error)),
    };
    drop(available);
    let filter = FactFilter { rules, labels, ranks: Ranks::new(config.seed) };
    let mut facts = FactTable { dir, filter, redirects, redirected_rows: HashSet::new() };
    let rows = facts.resolve_redirects()?;
    let (mut report, drawn) = draw(config, |bound, collect| facts.select_all(bound, collect))?;
    report.repeated = rows.map_or(0, |rows| rows.saturating_sub(report.read));
    if let Err(error) = check_available(&report, config, &languages) {
        return Ok(Err(error));
    }
    let graph = build_labelled_graph(&table, &drawn, &languages)?;
    Ok(Ok(build_sample(&graph, &graph.triples, &languages, config, report)))
}

/// Reads the redirects, which are empty if the table does not exist.
fn read_redirects(dir: &Path) -> Result<Redirects, BlockReadError> {
    let path = dir.join("redirects.tsv");
    let mut redirects = Redirects::default();
    if path.exists() {
        let read = |block: &[u8]| -> Result<Vec<[String; 2]>, BlockReadError> {
            let pair = |row| split_cells::<2>(row).map(|pair| pair.map(str::to_owned));
            split_rows(block)?.map(pair).collect()
        };
        scan(&path, &REDIRECT_COLUMNS.join("\t"), Boundary::Row, read, |pairs| {
            pairs.iter().for_each(|[id, target]| redirects.add(id, target));
            Ok(())
        })?;
    }
    Ok(redirects)
}

/// A table `labels.tsv` with or without the column `source`.
struct LabelTable {
    path: PathBuf,
    has_sources: bool,
}

impl LabelTable {
    /// Reads the header of the table in the folder `dir`.
    fn open(dir: &Path) -> Result<Self, BlockReadError> {
        let path = dir.join("labels.tsv");
        let header = SOURCED_LABEL_COLUMNS.join("\t") + "\n";
        let mut first_bytes = Vec::new();
        let file = File::open(&path).map_err(|_| BlockReadError)?;
        let mut start = file.take(header.len() as u64);
        start.read_to_end(&mut first_bytes).map_err(|_| BlockReadError)?;
        Ok(Self { path, has_sources: first_bytes == header.as_bytes() })
    }

    /// Reads the rows in blocks, as [`scan`].
    fn scan<T: Send>(
        &self,
        read: impl Fn(&[u8]) -> Result<T, BlockReadError> + Sync,
        visit: impl FnMut(T) -> Result<(), BlockReadError>,
    ) -> Result<(), BlockReadError> {
        let columns = if self.has_sources { SOURCED_LABEL_COLUMNS } else { LABEL_COLUMNS };
        scan(&self.path, &columns.join("\t"), Boundary::Id, read, visit)
    }

    /// Splits a row into id, code, label and kind, and its source.
    fn split_row<'a>(&self, row: &'a str) -> Result<([&'a str; 4], LabelSource), BlockReadError> {
        if !self.has_sources {
            return Ok((split_cells(row)?, LabelSource::Language));
        }
        let [id, code, label, kind, source] = split_cells(row)?;
        let source = LabelSource::by_name(source).ok_or(BlockReadError)?;
        Ok(([id, code, label, kind], source))
    }
}

/// The labels of one id, in distinct languages.
type IdLabels<'a> = Vec<SourcedLabel<'a>>;

/// Calls `visit` with every id of a block and the labels of this id; ids must be sorted. Languages
/// that are not in `languages` are appended to it. Returns the first and the last id of the block.
fn visit_ids<'a>(
    table: &LabelTable,
    block: &'a [u8],
    languages: &mut Vec<Language>,
    mut visit: impl FnMut(&'a str, &IdLabels<'a>),
) -> Result<Option<[&'a str; 2]>, BlockReadError> {
    let (mut group, mut last, mut first) = (IdLabels::new(), None, None);
    for row in split_rows(block)? {
        let ([id, code, label, kind], source) = table.split_row(row)?;
        if kind != "entity" && kind != "relation" {
            return Err(BlockReadError);
        }
        if last != Some(id) {
            if let Some(last) = last.replace(id) {
                if last > id {
                    return Err(BlockReadError);
                }
                visit(last, &group);
            }
            first = first.or(last);
            group.clear();
        }
        let previous = languages.iter().find(|language| **language == *code).copied();
        let language = match previous {
            Some(language) => language,
            None => {
                let language = Language::new(code).map_err(|_| BlockReadError)?;
                languages.push(language);
                language
            }
        };
        match group.iter().find(|(previous, ..)| *previous == language) {
            None => group.push((language, label, source)),
            // An id that is both an entity and a relation has the label twice.
            Some((_, previous, _)) if *previous == label => (),
            Some(_) => return Err(BlockReadError),
        }
    }
    if let Some(last) = last {
        visit(last, &group);
    }
    Ok(first.zip(last).map(|(first, last)| [first, last]))
}

/// Checks that keys are sorted across blocks. It contains the last key of the previous block.
#[derive(Default)]
struct OrderCheck(Option<String>);

impl OrderCheck {
    /// Checks that the first key of a block is greater than the last key of the previous block.
    /// `key_range` contains the first and the last key of the block.
    fn check(&mut self, key_range: Option<[String; 2]>) -> Result<(), BlockReadError> {
        let Some([first, last]) = key_range else { return Ok(()) };
        if self.0.as_ref().is_some_and(|before| *before >= first) {
            return Err(BlockReadError);
        }
        self.0 = Some(last);
        Ok(())
    }
}

/// Reads the labels. Returns the label bits of every id ([`LabelRules::label_bits`]) and the
/// languages of all labels.
fn read_labels(
    table: &LabelTable,
    rules: &LabelRules,
) -> Result<(IdMap, Vec<Language>), BlockReadError> {
    let (mut bits, mut order) = (IdMap::new(rules.bit_count()), OrderCheck::default());
    let mut all_languages: Vec<Language> = Vec::new();
    let read = |block: &[u8]| {
        let (mut id_bits, mut languages) = (Vec::new(), Vec::new());
        let key_range = visit_ids(table, block, &mut languages, |id, group| {
            match rules.label_bits(group) {
                0 => (),
                bits => id_bits.push((Box::<str>::from(id), bits)),
            };
        })?;
        Ok((id_bits, languages, key_range.map(|key_range| key_range.map(str::to_owned))))
    };
    table.scan(read, |block| {
        let (id_bits, languages, key_range) = block;
        order.check(key_range)?;
        id_bits.iter().for_each(|(id, label_bits)| bits.set_bits(id, *label_bits));
        all_languages.extend(languages);
        all_languages.sort_unstable();
        all_languages.dedup();
        Ok(())
    })?;
    Ok((bits, all_languages))
}

struct FactTable<'a> {
    dir: &'a Path,
    filter: FactFilter,
    redirects: Redirects,
    /// Rows in which a redirected entity was replaced by its final target.
    redirected_rows: HashSet<String>,
}

impl FactTable<'_> {
    /// Reads all facts; rows must be sorted.
    fn scan<T: Send>(
        &self,
        read: impl Fn(&[u8]) -> Result<T, BlockReadError> + Sync,
        mut visit: impl FnMut(T),
    ) -> Result<(), BlockReadError> {
        let read = |block: &[u8]| -> Result<_, BlockReadError> {
            let mut key_range: Option<[&str; 2]> = None;
            for row in split_rows(block)? {
                let [first, last] = key_range.unwrap_or([row; 2]);
                if key_range.is_some() && last >= row {
                    return Err(BlockReadError);
                }
                key_range = Some([first, row]);
            }
            Ok((key_range.map(|key_range| key_range.map(str::to_owned)), read(block)?))
        };
        let mut order = OrderCheck::default();
        let path = self.dir.join("triples.tsv");
        scan(&path, &TRIPLE_COLUMNS.join("\t"), Boundary::Row, read, |(key_range, result)| {
            order.check(key_range)?;
            visit(result);
            Ok(())
        })
    }

    /// Fills `redirected_rows`. Returns the number of rows of the table, or `None` if there are no
    /// redirects.
    fn resolve_redirects(&mut self) -> Result<Option<usize>, BlockReadError> {
        if self.redirects.is_empty() {
            return Ok(None);
        }
        let read = |block: &[u8]| {
            let (mut redirected_rows, mut count) = (Vec::new(), 0);
            for row in split_rows(block)? {
                let [head, relation, tail] = split_cells(row)?;
                count += 1;
                let (new_head, new_tail) =
                    (self.redirects.resolve(head), self.redirects.resolve(tail));
                if new_head != head || new_tail != tail {
                    redirected_rows.push(format!("{new_head}\t{relation}\t{new_tail}"));
                }
            }
            Ok((redirected_rows, count))
        };
        let (mut redirected_rows, mut total) = (HashSet::new(), 0);
        self.scan(read, |(block, count)| {
            redirected_rows.extend(block);
            total += count;
        })?;
        self.redirected_rows = redirected_rows;
        Ok(Some(total))
    }

    /// Reads all facts once, and passes the facts selected within `bound` to `collect`.
    fn select_all(
        &self,
        bound: &Bound,
        collect: &mut dyn FnMut(SelectedFacts),
    ) -> Result<(), BlockReadError> {
        self.scan(|block| self.select(block, bound, false), &mut *collect)?;
        let redirected_rows: Vec<&str> = self.redirected_rows.iter().map(String::as_str).collect();
        collect(self.select(redirected_rows.join("\n").as_bytes(), bound, true)?);
        Ok(())
    }

    /// Selects facts of a block. If `is_redirected` is set, the block consists of
    /// `redirected_rows`; otherwise rows that `redirected_rows` replaces are skipped.
    fn select(
        &self,
        block: &[u8],
        bound: &Bound,
        is_redirected: bool,
    ) -> Result<SelectedFacts, BlockReadError> {
        let facts = split_rows(block)?.filter_map(|row| match split_cells(row) {
            Ok([head, _, tail]) if !is_redirected && self.is_replaced(row, [head, tail]) => None,
            fact => Some(fact),
        });
        self.filter.select(facts, bound)
    }

    /// Whether this row of the table is skipped, because `redirected_rows` contains it or contains
    /// the row with its redirects resolved.
    fn is_replaced(&self, row: &str, entities: [&str; 2]) -> bool {
        !self.redirects.is_empty()
            && (entities.iter().any(|id| self.redirects.resolve(id) != **id)
                || self.redirected_rows.contains(row))
    }
}

/// Builds a graph of `facts` and their labels in `languages`.
fn build_labelled_graph(
    table: &LabelTable,
    facts: &[[Box<str>; 3]],
    languages: &[Language],
) -> Result<KnowledgeGraph, BlockReadError> {
    let mut builder = GraphBuilder::default();
    let mut kinds: HashMap<&str, LabelKind> = HashMap::new();
    for [head, relation, tail] in facts {
        builder.add_triple(head, relation, tail).map_err(|_| BlockReadError)?;
        kinds.insert(head, LabelKind::Entity);
        kinds.insert(tail, LabelKind::Entity);
    }
    // `kinds` has one kind per id, even if the id is both an entity and a relation. One kind is
    // enough for `add_label`, because `add_triple` has already recorded both kinds.
    kinds.extend(facts.iter().map(|[_, relation, _]| (&**relation, LabelKind::Relation)));
    let read = |block: &[u8]| {
        let mut block_labels: Vec<(String, Language, String, LabelSource)> = Vec::new();
        visit_ids(table, block, &mut Vec::new(), |id, group| {
            if kinds.contains_key(id) {
                let labels = group.iter().filter(|(language, ..)| languages.contains(language));
                block_labels.extend(labels.map(|(code, label, source)| {
                    (id.to_owned(), *code, (*label).to_owned(), *source)
                }));
            }
        })?;
        Ok(block_labels)
    };
    table.scan(read, |block_labels| {
        for (id, language, label, source) in block_labels {
            let kind = kinds[&*id];
            let added = builder.add_label_from(&id, language.as_str(), &label, kind, source);
            added.map_err(|_| BlockReadError)?;
        }
        Ok(())
    })?;
    builder.set_has_label_sources(table.has_sources);
    Ok(builder.build())
}

#[cfg(test)]
mod tests;
