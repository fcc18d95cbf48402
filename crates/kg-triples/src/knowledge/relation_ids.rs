//! Relations by number.
use crate::KnowledgeGraph;

/// Dense numbers for the relations of a graph, 0 to R − 1, in order of id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RelationIds {
    ids: Vec<String>,
}

impl RelationIds {
    /// Numbers every relation that has a triple in `graph`.
    pub(super) fn new(graph: &KnowledgeGraph) -> Self {
        let mut relations: Vec<u32> =
            graph.triples.iter().map(|[_, relation, _]| *relation).collect();
        relations.sort_unstable();
        relations.dedup();
        Self { ids: relations.into_iter().map(|at| graph.id_at(at).to_owned()).collect() }
    }

    /// R, the number of relations: rows of the table of relation embeddings.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The number of a relation, such as `P36`.
    pub(super) fn number(&self, id: &str) -> Option<u32> {
        let at = self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok()?;
        u32::try_from(at).ok()
    }
}
