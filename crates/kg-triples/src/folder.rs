//! Reading and writing graphs as folders with `triples.tsv` and `labels.tsv`.
use std::path::Path;

use atomic_file::{SyncedFile, publish_all};

use crate::entity_linking::{page_files, read_pages};
use crate::graph::Label;
use crate::sample::Redirects;
use crate::table::for_each_row;
use crate::{
    Error, GraphBuilder, KnowledgeGraph, LabelKind, LabelSource, Language, Triple, output,
};

pub(crate) const TRIPLE_COLUMNS: &[&str] = &["head_id", "relation_id", "tail_id"];
pub(crate) const LABEL_COLUMNS: &[&str] = &["id", "lang", "label", "kind"];
pub(crate) const SOURCED_LABEL_COLUMNS: &[&str] = &["id", "lang", "label", "kind", "source"];
pub(crate) const ENTITY_LABEL_COLUMNS: &[&str] = &["id", "lang", "label"];
/// The headers of a table of labels.
pub(crate) const LABEL_HEADERS: [&[&str]; 3] =
    [SOURCED_LABEL_COLUMNS, LABEL_COLUMNS, ENTITY_LABEL_COLUMNS];
pub(crate) const REDIRECT_COLUMNS: &[&str] = &["id", "target_id"];
const RELATION_LABEL_COLUMNS: &[&str] = &["relation_id", "lang", "label"];

impl KnowledgeGraph {
    /// Reads the tables `triples.tsv` and `labels.tsv` of the folder `dir`.
    ///
    /// The headers are `head_id relation_id tail_id` and `id lang label kind` (kind `entity` or
    /// `relation`), optionally with a further column `source` ([`LabelSource`]). Files are UTF-8 and
    /// tab-separated; quotes are ordinary characters.
    ///
    /// A `labels.tsv` without the column `kind` contains only labels of entities. The labels of
    /// relations are then read from `relations.tsv` (header `relation_id lang label`) if the file
    /// exists.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing or unreadable; [`Error::Header`] for a wrong header;
    /// [`Error::Row`] with file, line and column for a wrong number of cells, an invalid id,
    /// language, label or kind, invalid UTF-8, or an id with two labels in one language.
    ///
    /// ```
    /// use kg_triples::KnowledgeGraph;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let dir = folder.path();
    ///
    /// let triples = "head_id\trelation_id\ttail_id\nQ183\tP36\tQ64\n";
    /// std::fs::write(dir.join("triples.tsv"), triples).unwrap();
    /// let labels = "id\tlang\tlabel\tkind\nQ64\ten\tBerlin\tentity\n";
    /// std::fs::write(dir.join("labels.tsv"), labels).unwrap();
    ///
    /// let graph = KnowledgeGraph::read_dir(dir)?;
    /// assert_eq!((graph.len(), graph.label("Q64", "en")), (1, Some("Berlin")));
    ///
    /// std::fs::write(dir.join("labels.tsv"), labels.replace("entity", "place")).unwrap();
    /// let error = KnowledgeGraph::read_dir(dir).unwrap_err().to_string();
    /// assert!(error.contains("labels.tsv:2: kind: expected `entity` or `relation`"));
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn read_dir(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        atomic_file::fs::read_dir(dir)?;
        let mut builder = GraphBuilder::default();
        for_each_row(&dir.join("triples.tsv"), &[TRIPLE_COLUMNS], |row| match *row {
            [head, relation, tail] => builder.add_triple(head, relation, tail),
            _ => unreachable!("a row has a cell for each column"),
        })?;
        let header_index = for_each_row(&dir.join("labels.tsv"), &LABEL_HEADERS, |row| {
            add_label(&mut builder, row, LabelKind::Entity)
        })?;
        let header = LABEL_HEADERS[header_index];
        builder.set_has_label_sources(header == SOURCED_LABEL_COLUMNS);
        let relations = dir.join("relations.tsv");
        if header == ENTITY_LABEL_COLUMNS && relations.exists() {
            for_each_row(&relations, &[RELATION_LABEL_COLUMNS], |row| {
                add_label(&mut builder, row, LabelKind::Relation)
            })?;
        }
        Ok(builder.build())
    }

    /// Writes `triples.tsv` and `labels.tsv` (with the column `kind`, and with the column `source` if
    /// [`Self::has_label_sources`]) in canonical order to the folder `dir`, which is created if
    /// missing. Both files are written completely before the
    /// first is renamed.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or a file cannot be written.
    ///
    /// ```
    /// use kg_triples::KnowledgeGraph;
    /// # let mut builder = kg_triples::GraphBuilder::default();
    /// # let capitals =
    /// #     [("Germany", "Berlin", "Deutschland"), ("France", "Paris", "Frankreich")];
    /// # for (head, tail, de) in capitals {
    /// #     builder.add_triple(head, "P36", tail)?;
    /// #     for (id, language, label) in
    /// #         [(head, "en", head), (head, "de", de), (tail, "en", tail), (tail, "de", tail)]
    /// #     {
    /// #         builder.add_label(id, language, label, kg_triples::LabelKind::Entity)?;
    /// #     }
    /// # }
    /// # builder.add_label("P36", "en", "capital", kg_triples::LabelKind::Relation)?;
    /// # builder.add_label("P36", "de", "Hauptstadt", kg_triples::LabelKind::Relation)?;
    /// # let graph = builder.build();
    /// # let folder = tempfile::tempdir().unwrap();
    /// let dir = folder.path().join("countries");
    /// graph.write_dir(&dir)?;
    /// assert_eq!(KnowledgeGraph::read_dir(&dir)?, graph);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn write_dir(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let dir = dir.as_ref();
        let triples = self
            .triples()
            .map(|Triple { head, relation, tail }| format!("{head}\t{relation}\t{tail}\n"));
        let has_sources = self.has_label_sources();
        let labels = self.all_labels().map(|(id, Label { language, text, source }, kind)| {
            let kind = kind.name();
            match has_sources {
                true => format!("{id}\t{language}\t{text}\t{kind}\t{}\n", source.name()),
                false => format!("{id}\t{language}\t{text}\t{kind}\n"),
            }
        });
        let columns = if has_sources { SOURCED_LABEL_COLUMNS } else { LABEL_COLUMNS };
        publish_all([
            write_table(&dir.join("triples.tsv"), TRIPLE_COLUMNS, triples)?,
            write_table(&dir.join("labels.tsv"), columns, labels)?,
        ])?;
        Ok(())
    }

    /// Iterates over all labels with their kinds. If an id is both an entity and a relation, its
    /// labels are returned once for each kind.
    fn all_labels(&self) -> impl Iterator<Item = (&str, &Label, LabelKind)> {
        self.ids.iter().zip(&self.labels).enumerate().flat_map(move |(at, (id, labels))| {
            let kinds = LabelKind::ALL.into_iter().filter(move |kind| self.has_kind(at, *kind));
            kinds.flat_map(move |kind| labels.iter().map(move |label| (&**id, label, kind)))
        })
    }

    /// Adds labels from the pages `entities.<lang>.jsonl[.gz]` of a folder, for entities without a
    /// label in the language of the page. `predicate` selects the languages.
    ///
    /// Blank labels are ignored.
    ///
    /// # Errors
    /// As [`page_files`] and [`read_pages`]; [`Error::Json`] with file and line for a label with a
    /// tab or line break, or for a second, different label of an entity in a language.
    ///
    /// ```
    /// use kg_triples::KnowledgeGraph;
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let line = r#"{"id":"Q70","label":"Bern"}"#;
    /// std::fs::write(folder.path().join("entities.de.jsonl"), line).unwrap();
    /// let graph = KnowledgeGraph::read_dir("../../data/demo/kg")?;
    /// let graph = graph.with_page_labels(folder.path(), |_| true)?;
    /// assert_eq!(graph.label("Q70", "de"), Some("Bern"));
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn with_page_labels(
        self,
        folder: impl AsRef<Path>,
        predicate: impl Fn(Language) -> bool,
    ) -> Result<Self, Error> {
        let mut pages = page_files(folder)?;
        pages.retain(|(language, _)| predicate(*language));
        let mut page_labels = GraphBuilder::default();
        read_pages(&pages, |language, page| {
            let label = page.label.as_deref().unwrap_or("").trim();
            if label.is_empty() || self.label(&page.id, language.as_str()).is_some() {
                return Ok(());
            }
            page_labels.add_label(&page.id, language.as_str(), label, LabelKind::Entity)
        })?;
        let mut builder = GraphBuilder::from(self);
        builder.add_labels(&page_labels.build())?;
        Ok(builder.build())
    }

    /// Replaces redirected heads and tails by their final targets, using the table `path` (header
    /// `id target_id`).
    ///
    /// An entity whose redirects form a cycle is not replaced. If the file does not exist, the
    /// graph is unchanged.
    ///
    /// # Errors
    /// As [`KnowledgeGraph::read_dir`].
    ///
    /// ```
    /// # let mut builder = kg_triples::GraphBuilder::default();
    /// builder.add_triple("Q183", "P36", "Q1")?;
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("redirects.tsv");
    /// std::fs::write(&path, "id\ttarget_id\nQ1\tQ2\nQ2\tQ64\n").unwrap();
    /// let graph = builder.build().with_redirects(&path)?;
    /// assert_eq!(graph.triples().next().map(|triple| triple.tail), Some("Q64"));
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn with_redirects(self, path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Ok(self);
        }
        let mut redirects = Redirects::default();
        for_each_row(path, &[REDIRECT_COLUMNS], |row| {
            if let [id, target] = *row {
                redirects.add(id, target);
            }
            Ok(())
        })?;
        if redirects.is_empty() {
            return Ok(self);
        }
        let resolve = |id| redirects.resolve(id);
        let mut builder = GraphBuilder::default();
        for triple in self.triples() {
            builder.add_triple(&resolve(triple.head), triple.relation, &resolve(triple.tail))?;
        }
        builder.add_labels(&self)?;
        let mut graph = builder.build();
        graph.duplicate_count += self.duplicate_count;
        Ok(graph)
    }
}

impl GraphBuilder {
    /// Adds all labels of a graph.
    ///
    /// # Errors
    /// [`Error::Value`] if an id already has a different label in the same language.
    pub(crate) fn add_labels(&mut self, graph: &KnowledgeGraph) -> Result<(), Error> {
        let has_label_sources = graph.has_label_sources();
        for (id, Label { language, text, source }, kind) in graph.all_labels() {
            match has_label_sources {
                true => self.add_label_from(id, language.as_str(), text, kind, *source)?,
                false => self.add_label(id, language.as_str(), text, kind)?,
            }
        }
        if has_label_sources {
            self.set_has_label_sources(true);
        }
        Ok(())
    }
}

/// Writes a table to a temporary file, which the caller must publish.
pub(crate) fn write_table(
    path: &Path,
    header: &[&str],
    rows: impl Iterator<Item = String>,
) -> Result<SyncedFile, Error> {
    let mut file = output::create(path)?;
    let mut lines = std::iter::once(header.join("\t") + "\n").chain(rows);
    lines.try_for_each(|line| file.write_all(line.as_bytes()))?;
    Ok(file.sync()?)
}

/// Adds the label of a row. Its kind is the fourth cell of the row, or `kind` if the row has three
/// cells. Its source is the fifth cell, if there is one.
fn add_label(builder: &mut GraphBuilder, row: &[&str], kind: LabelKind) -> Result<(), Error> {
    match *row {
        [id, language, label] => builder.add_label(id, language, label, kind),
        [id, language, label, kind] => builder.add_label(id, language, label, parse_kind(kind)?),
        [id, language, label, kind, source] => {
            builder.add_label_from(id, language, label, parse_kind(kind)?, parse_source(source)?)
        }
        _ => Ok(()),
    }
}

fn parse_kind(name: &str) -> Result<LabelKind, Error> {
    let kind = LabelKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| Error::Value {
        field: "kind",
        expected: "`entity` or `relation`".into(),
        got: format!("{name:?}"),
    })
}

fn parse_source(name: &str) -> Result<LabelSource, Error> {
    LabelSource::by_name(name).ok_or_else(|| Error::Value {
        field: "source",
        expected: "`language`, `variant`, `fallback` or `mul`".into(),
        got: format!("{name:?}"),
    })
}
