use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use crate::{Error, LabelSource, LabelSourcesByLanguage, Language};

/// A fact: the ids of its head, relation and tail, such as `Q183 P36 Q64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Triple<'a> {
    /// Id of the head entity, h in (h, r, t).
    pub head: &'a str,
    /// Id of the relation, r in (h, r, t).
    pub relation: &'a str,
    /// Id of the tail entity, t in (h, r, t).
    pub tail: &'a str,
}

/// Whether a label names an entity or a relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// A head or tail.
    #[default]
    Entity,
    /// A relation (a Wikidata property).
    Relation,
}

impl LabelKind {
    /// Both kinds.
    pub(crate) const ALL: [Self; 2] = [Self::Entity, Self::Relation];

    /// The name of the kind in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Relation => "relation",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Entity => 1,
            Self::Relation => 2,
        }
    }
}

/// A label of an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) language: Language,
    pub(crate) text: Box<str>,
    pub(crate) source: LabelSource,
}

/// A set of triples with labels in several languages.
///
/// Ids are sorted as text, and triples by head, relation and tail, so results do not depend on the
/// order of lines in a file. The position of a triple in the sorted list of triples is its *fact
/// number*.
#[derive(Clone, Debug, PartialEq)]
pub struct KnowledgeGraph {
    /// Sorted ids; an interned id is an index into this list.
    pub(crate) ids: Vec<String>,
    /// The kinds of each id, as a bit set of [`LabelKind::bit`].
    kind_bits: Vec<u8>,
    /// The labels of each id, sorted by language.
    pub(crate) labels: Vec<Vec<Label>>,
    /// Whether the sources of labels are known; otherwise they are all
    /// [`LabelSource::Language`].
    has_label_sources: bool,
    /// Interned ids of head, relation and tail of each triple, sorted and without duplicates.
    pub(crate) triples: Vec<[u32; 3]>,
    languages: Vec<Language>,
    pub(crate) duplicate_count: usize,
}

impl KnowledgeGraph {
    /// Iterates over all triples, in the order of their fact numbers.
    pub fn triples(&self) -> impl ExactSizeIterator<Item = Triple<'_>> {
        self.triples.iter().map(|triple| self.resolve(*triple))
    }

    /// Returns the triple with this fact number.
    pub fn triple(&self, fact: u32) -> Option<Triple<'_>> {
        let triple = self.triples.get(usize::try_from(fact).ok()?)?;
        Some(self.resolve(*triple))
    }

    /// Returns the number of triples.
    pub fn len(&self) -> usize {
        self.triples.len()
    }

    /// Returns whether the graph has no triples.
    pub fn is_empty(&self) -> bool {
        self.triples.is_empty()
    }

    /// Returns the label of an entity or relation in `language`.
    pub fn label(&self, id: &str, language: &str) -> Option<&str> {
        let labels = &self.labels[self.position(id)?];
        let at = labels.binary_search_by(|label| label.language.as_str().cmp(language)).ok()?;
        Some(&labels[at].text)
    }

    /// Whether the sources of labels are known, because `labels.tsv` has a column `source`.
    pub fn has_label_sources(&self) -> bool {
        self.has_label_sources
    }

    /// Counts the labels of each language by their source. If the sources are not known
    /// ([`Self::has_label_sources`]), all labels are counted as labels of the language itself.
    pub fn label_sources(&self) -> LabelSourcesByLanguage {
        let mut counts = LabelSourcesByLanguage::new();
        for label in self.labels.iter().flatten() {
            counts.entry(label.language).or_default().add(label.source);
        }
        counts
    }

    /// Returns the languages in which the graph has labels, sorted.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// Returns the ids of all entities: heads, tails and ids labelled as entities, sorted.
    pub fn entities(&self) -> impl Iterator<Item = &str> {
        self.ids_of_kind(LabelKind::Entity)
    }

    /// Returns the ids of all relations of triples and all ids labelled as relations, sorted.
    pub fn relations(&self) -> impl Iterator<Item = &str> {
        self.ids_of_kind(LabelKind::Relation)
    }

    /// Returns the number of duplicates that were removed from the triples.
    pub fn repeated_triples(&self) -> usize {
        self.duplicate_count
    }

    /// Returns a graph that contains only the triples that `predicate` accepts and the labels of
    /// their heads, relations and tails.
    ///
    /// ```
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
    /// let germany = graph.filter(|triple| triple.head == "Germany");
    /// assert_eq!((germany.len(), germany.label("Paris", "en")), (1, None));
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn filter(&self, mut predicate: impl FnMut(Triple<'_>) -> bool) -> Self {
        let accepted = self.triples.iter().copied();
        let accepted = accepted.filter(|triple| predicate(self.resolve(*triple)));
        self.subgraph(&accepted.collect::<Vec<_>>(), |_, _| true)
    }

    /// Parses `language` and checks that the graph has labels in it.
    ///
    /// # Errors
    /// [`Error::UnknownLanguage`].
    pub fn known_language(&self, language: &str) -> Result<Language, Error> {
        let has_code = |known: &Language| known.as_str().eq_ignore_ascii_case(language);
        let known = self.languages.iter().copied().find(has_code);
        known.ok_or_else(|| Error::unknown_language(language, &self.languages))
    }

    /// Returns the label of an interned id in `language`.
    pub(crate) fn label_at(&self, id: u32, language: Language) -> Option<&str> {
        let labels = &self.labels[id as usize];
        let at = labels.binary_search_by_key(&language, |label| label.language).ok()?;
        Some(&labels[at].text)
    }

    /// Returns the text of an interned id.
    pub(crate) fn id_at(&self, id: u32) -> &str {
        &self.ids[id as usize]
    }

    /// Returns the triple with the number `fact`, which must be one of this graph.
    pub(crate) fn fact(&self, fact: u32) -> Triple<'_> {
        self.resolve(self.triples[fact as usize])
    }

    pub(crate) fn has_kind(&self, at: usize, kind: LabelKind) -> bool {
        self.kind_bits[at] & kind.bit() != 0
    }

    pub(crate) fn resolve(&self, [head, relation, tail]: [u32; 3]) -> Triple<'_> {
        Triple { head: self.id_at(head), relation: self.id_at(relation), tail: self.id_at(tail) }
    }

    /// Returns a graph that contains only `triples` and their labels for whose language and source
    /// `filter` returns true. `triples` must be sorted.
    pub(crate) fn subgraph(
        &self,
        triples: &[[u32; 3]],
        filter: impl Fn(Language, LabelSource) -> bool,
    ) -> Self {
        let has_label_sources = self.has_label_sources;
        let mut builder = GraphBuilder { has_label_sources, ..GraphBuilder::default() };
        for &[head, relation, tail] in triples {
            let [head, relation, tail] =
                [head, relation, tail].map(|id| (id, builder.intern(self.id_at(id))));
            for ((old, new), kind) in [
                (head, LabelKind::Entity),
                (relation, LabelKind::Relation),
                (tail, LabelKind::Entity),
            ] {
                if builder.mark_kind(new, kind) {
                    for Label { language, text, source } in &self.labels[old as usize] {
                        if filter(*language, *source) {
                            builder.labels.insert((new, *language), (text.clone(), *source));
                        }
                    }
                }
            }
            builder.triples.push([head.1, relation.1, tail.1]);
        }
        builder.build()
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok()
    }

    /// Returns the number of an interned id; `None` if the graph does not have the id.
    pub(crate) fn interned(&self, id: &str) -> Option<u32> {
        let number = |at: usize| u32::try_from(at).expect("ids are numbered as u32");
        self.position(id).map(number)
    }

    fn ids_of_kind(&self, kind: LabelKind) -> impl Iterator<Item = &str> {
        let ids = self.ids.iter().enumerate();
        ids.filter(move |(at, _)| self.has_kind(*at, kind)).map(|(_, id)| id.as_str())
    }
}

/// Collects triples and labels in any order and builds a [`KnowledgeGraph`].
///
/// ```
/// use kg_triples::{GraphBuilder, LabelKind};
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?;
/// builder.add_label("Q64", "de", "Berlin", LabelKind::Entity)?;
/// let graph = builder.build();
/// assert_eq!(graph.label("Q64", "de"), Some("Berlin"));
/// # Ok::<(), kg_triples::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    index: HashMap<String, u32>,
    kind_bits: Vec<u8>,
    labels: HashMap<(u32, Language), (Box<str>, LabelSource)>,
    has_label_sources: bool,
    triples: Vec<[u32; 3]>,
}

impl GraphBuilder {
    /// Adds a fact. [`Self::build`] removes duplicates, which [`KnowledgeGraph::repeated_triples`]
    /// counts.
    ///
    /// # Errors
    /// [`Error::Value`] if an id is empty or contains a tab or line break.
    pub fn add_triple(&mut self, head: &str, relation: &str, tail: &str) -> Result<(), Error> {
        check_text("head_id", head)?;
        check_text("relation_id", relation)?;
        check_text("tail_id", tail)?;
        let triple = [head, relation, tail].map(|id| self.intern(id));
        for (id, kind) in
            triple.into_iter().zip([LabelKind::Entity, LabelKind::Relation, LabelKind::Entity])
        {
            self.mark_kind(id, kind);
        }
        self.triples.push(triple);
        Ok(())
    }

    /// Adds the label of `id` in `language`. A label may be added several times, also with
    /// different kinds. Its source is [`LabelSource::Language`].
    ///
    /// # Errors
    /// [`Error::Value`] if the id or label is empty or contains a tab or line break, if `language`
    /// is not a language code, or if `id` has another label in `language`.
    pub fn add_label(
        &mut self,
        id: &str,
        language: &str,
        label: &str,
        kind: LabelKind,
    ) -> Result<(), Error> {
        self.add_label_of(id, language, label, kind, LabelSource::Language)
    }

    /// Adds the label of `id` in `language` with its source. The graph then has sources of labels
    /// ([`KnowledgeGraph::has_label_sources`]).
    ///
    /// # Errors
    /// As [`Self::add_label`].
    pub fn add_label_from(
        &mut self,
        id: &str,
        language: &str,
        label: &str,
        kind: LabelKind,
        source: LabelSource,
    ) -> Result<(), Error> {
        self.has_label_sources = true;
        self.add_label_of(id, language, label, kind, source)
    }

    fn add_label_of(
        &mut self,
        id: &str,
        language: &str,
        label: &str,
        kind: LabelKind,
        source: LabelSource,
    ) -> Result<(), Error> {
        check_text("id", id)?;
        check_text("label", label)?;
        let language = Language::new(language)?;
        let interned = self.intern(id);
        match self.labels.entry((interned, language)) {
            Entry::Occupied(known) if *known.get().0 != *label => {
                return Err(Error::Value {
                    field: "label",
                    expected: format!(
                        "one label for id {id:?} in language {language:?}, which has {:?} already",
                        known.get().0
                    ),
                    got: format!("{label:?}"),
                });
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => {
                entry.insert((label.into(), source));
            }
        }
        self.mark_kind(interned, kind);
        Ok(())
    }

    /// Marks the sources of labels as known or unknown.
    pub(crate) fn set_has_label_sources(&mut self, has_label_sources: bool) {
        self.has_label_sources = has_label_sources;
    }

    /// Sets the label of an entity and returns its previous label; returns `None` if `id` is not an
    /// entity.
    pub(crate) fn set_entity_label(
        &mut self,
        id: &str,
        language: Language,
        label: &str,
    ) -> Option<Option<Box<str>>> {
        let id = *self.index.get(id)?;
        let is_entity = self.kind_bits[id as usize] & LabelKind::Entity.bit() != 0;
        is_entity.then(|| {
            let known = self.labels.insert((id, language), (label.into(), LabelSource::Language));
            known.map(|(label, _)| label)
        })
    }

    /// Sorts ids, labels and triples, and builds the graph.
    pub fn build(self) -> KnowledgeGraph {
        let Self { index, kind_bits, labels, has_label_sources, triples } = self;
        let mut sorted_ids: Vec<(String, u32)> = index.into_iter().collect();
        sorted_ids.sort_unstable();
        // The new numbers fit into u32, because `intern` also numbers the ids as u32.
        let mut new_numbers = vec![0; sorted_ids.len()];
        for (new, (_, old)) in (0u32..).zip(&sorted_ids) {
            new_numbers[*old as usize] = new;
        }
        let renumber = |old: u32| new_numbers[old as usize];
        let mut new_kind_bits = vec![0; sorted_ids.len()];
        for (new, kinds) in new_numbers.iter().zip(kind_bits) {
            new_kind_bits[*new as usize] = kinds;
        }
        let mut sorted_labels: Vec<Vec<Label>> = vec![Vec::new(); sorted_ids.len()];
        let mut languages = Vec::new();
        for ((id, language), (text, source)) in labels {
            if !languages.contains(&language) {
                languages.push(language);
            }
            sorted_labels[renumber(id) as usize].push(Label { language, text, source });
        }
        sorted_labels.iter_mut().for_each(|labels| labels.sort_unstable());
        languages.sort_unstable();
        let count_before = triples.len();
        let mut triples: Vec<_> = triples.into_iter().map(|triple| triple.map(renumber)).collect();
        triples.sort_unstable();
        triples.dedup();
        KnowledgeGraph {
            ids: sorted_ids.into_iter().map(|(id, _)| id).collect(),
            kind_bits: new_kind_bits,
            labels: sorted_labels,
            has_label_sources,
            duplicate_count: count_before - triples.len(),
            triples,
            languages,
        }
    }

    fn intern(&mut self, id: &str) -> u32 {
        if let Some(known) = self.index.get(id) {
            return *known;
        }
        let new = u32::try_from(self.kind_bits.len()).expect("a graph has fewer than 2^32 ids");
        self.index.insert(id.to_owned(), new);
        self.kind_bits.push(0);
        new
    }

    /// Marks `id` as an entity or a relation. Returns whether it had no kind before.
    fn mark_kind(&mut self, id: u32, kind: LabelKind) -> bool {
        let kind_bits = &mut self.kind_bits[id as usize];
        std::mem::replace(kind_bits, *kind_bits | kind.bit()) == 0
    }
}

impl From<KnowledgeGraph> for GraphBuilder {
    /// Creates a builder with the content of `graph`.
    fn from(graph: KnowledgeGraph) -> Self {
        let labels = (0u32..).zip(graph.labels).flat_map(|(id, labels)| {
            let entry = move |label: Label| ((id, label.language), (label.text, label.source));
            labels.into_iter().map(entry)
        });
        Self {
            index: graph.ids.into_iter().zip(0..).collect(),
            kind_bits: graph.kind_bits,
            labels: labels.collect(),
            has_label_sources: graph.has_label_sources,
            triples: graph.triples,
        }
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), Error> {
    let invalid =
        |expected: &str, got: String| Err(Error::Value { field, expected: expected.into(), got });
    if text.trim().is_empty() {
        return invalid("some text", "an empty cell".into());
    }
    if text.contains(['\t', '\n', '\r']) {
        return invalid("text without tabs and line breaks", format!("{text:?}"));
    }
    Ok(())
}
