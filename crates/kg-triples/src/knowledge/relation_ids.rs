//! Relations by number.
use crate::KnowledgeGraph;

/// Dense numbers for the relations of a graph, 0 to R − 1, in order of id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationIds {
    ids: Vec<String>,
}

impl RelationIds {
    /// Numbers every relation that has a triple in `graph`.
    pub fn new(graph: &KnowledgeGraph) -> Self {
        let mut relations: Vec<u32> =
            graph.triples.iter().map(|[_, relation, _]| *relation).collect();
        relations.sort_unstable();
        relations.dedup();
        Self { ids: relations.into_iter().map(|at| graph.id_at(at).to_owned()).collect() }
    }

    /// R, the number of relations: rows of the table of relation embeddings.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The relations by number.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The number of a relation, such as `P36`.
    pub fn number(&self, id: &str) -> Option<u32> {
        let at = self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok()?;
        u32::try_from(at).ok()
    }
}
