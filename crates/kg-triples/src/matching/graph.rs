//! The graph of documents and terms.
use super::Corpora;
use crate::Error;

/// An undirected graph without weights. Its nodes are the documents of the first corpus, the
/// documents of the second corpus, and terms, in this order.
///
/// A document is a neighbour of its terms, a column's name is a neighbour of the terms of its
/// cells, and labels of an entity are neighbours of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchGraph {
    first: usize,
    second: usize,
    /// The text of each term's node.
    terms: Vec<String>,
    /// The neighbours of node k are `neighbours[offsets[k]..offsets[k + 1]]`, sorted.
    offsets: Vec<usize>,
    neighbours: Vec<u32>,
}

impl MatchGraph {
    pub(super) fn new(corpora: &Corpora, only_shared: bool) -> Result<Self, Error> {
        let first = corpora.first.len();
        let second = corpora.second.len();
        let documents = first + second;
        let count = documents + corpora.terms.len();
        assert!(u32::try_from(count).is_ok(), "fewer than 2^32 nodes fit into memory");
        let node = |term: u32| documents + term as usize;
        let mut adjacent: Vec<Vec<u32>> = vec![Vec::new(); count];
        let mut connect = |a: usize, b: usize| {
            adjacent[a].push(b as u32);
            adjacent[b].push(a as u32);
        };
        for (document, terms) in corpora.first.iter().chain(&corpora.second).enumerate() {
            terms.counts.iter().for_each(|(term, _)| connect(document, node(*term)));
        }
        for [column, term] in &corpora.column_links {
            connect(node(*column), node(*term));
        }
        let links = corpora.label_links.iter().filter(|[a, b]| a < b);
        links.for_each(|[a, b]| connect(node(*a), node(*b)));
        for neighbours in &mut adjacent {
            neighbours.sort_unstable();
            // A column's name can be a label of the same entity as a term of its cells.
            neighbours.dedup();
        }

        let mut removed: Vec<bool> = (0..count)
            .map(|at| {
                at >= documents && !is_useful(corpora, &adjacent, at - documents, only_shared)
            })
            .collect();
        remove_leaves(&adjacent, documents, &mut removed);
        let graph = Self::compact(corpora, &adjacent, &removed);
        let is_connected = |document: usize| !graph.neighbours(document).is_empty();
        match (first..documents).any(is_connected) {
            true => Ok(graph),
            false => Err(Error::Empty {
                what: "neighbours of the second corpus".into(),
                hint: "no term connects the corpora; use shorter terms or add labels".into(),
            }),
        }
    }

    /// Renumbers the nodes that are not removed.
    fn compact(corpora: &Corpora, adjacent: &[Vec<u32>], removed: &[bool]) -> Self {
        let first = corpora.first.len();
        let second = corpora.second.len();
        let mut next = 0;
        let new_ids: Vec<Option<u32>> = removed
            .iter()
            .map(|removed| {
                (!removed).then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let mut graph =
            Self { first, second, terms: Vec::new(), offsets: vec![0], neighbours: Vec::new() };
        for (at, neighbours) in adjacent.iter().enumerate() {
            if removed[at] {
                continue;
            }
            if let Some(term) = at.checked_sub(first + second) {
                graph.terms.push(corpora.terms[term].clone());
            }
            graph.neighbours.extend(neighbours.iter().flat_map(|other| new_ids[*other as usize]));
            graph.offsets.push(graph.neighbours.len());
        }
        graph
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether the graph has no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of edges.
    pub fn edge_count(&self) -> usize {
        self.neighbours.len() / 2
    }

    /// The terms, in the order of their nodes, which follow the nodes of the documents.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The neighbours of a node, in ascending order.
    pub fn neighbours(&self, node: usize) -> &[u32] {
        &self.neighbours[self.offsets[node]..self.offsets[node + 1]]
    }

    /// The nodes of the first corpus.
    pub fn first(&self) -> std::ops::Range<usize> {
        0..self.first
    }

    /// The nodes of the second corpus.
    pub fn second(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.second
    }
}

/// Whether a term occurs in a document and, with `only_shared`, connects the corpora. Names of
/// columns occur in no document of their own.
fn is_useful(corpora: &Corpora, adjacent: &[Vec<u32>], term: usize, only_shared: bool) -> bool {
    let first = corpora.first.len();
    let documents = first + corpora.second.len();
    let occurs = |term: usize| {
        // Neighbours are sorted, and documents precede terms.
        let neighbours = &adjacent[documents + term];
        let in_second = neighbours.partition_point(|other| (*other as usize) < first);
        let in_documents = neighbours.partition_point(|other| (*other as usize) < documents);
        (in_second > 0, in_documents > in_second)
    };
    let (in_first, in_second) = occurs(term);
    let id = term as u32;
    let is_column = corpora.column_links.range([id, 0]..=[id, u32::MAX]).next().is_some();
    if !in_first && !in_second {
        return is_column;
    }
    if !only_shared || is_column {
        return true;
    }
    let linked = corpora.linked_labels(id).map(|other| occurs(other as usize));
    let (linked_in_first, linked_in_second) =
        linked.fold((false, false), |all, one| (all.0 || one.0, all.1 || one.1));
    (in_first || linked_in_first) && (in_second || linked_in_second)
}

/// Marks terms with fewer than two neighbours as removed, until there are none.
fn remove_leaves(adjacent: &[Vec<u32>], documents: usize, removed: &mut [bool]) {
    let degree = |at: usize, removed: &[bool]| {
        adjacent[at].iter().filter(|other| !removed[**other as usize]).count()
    };
    let mut degrees: Vec<usize> = (0..adjacent.len()).map(|at| degree(at, removed)).collect();
    let is_leaf = |at: usize, degrees: &[usize], removed: &[bool]| {
        at >= documents && !removed[at] && degrees[at] < 2
    };
    let mut leaves: Vec<usize> =
        (documents..adjacent.len()).filter(|at| is_leaf(*at, &degrees, removed)).collect();
    while let Some(leaf) = leaves.pop() {
        if removed[leaf] {
            continue;
        }
        removed[leaf] = true;
        for other in adjacent[leaf].iter().map(|other| *other as usize) {
            degrees[other] -= 1;
            if is_leaf(other, &degrees, removed) {
                leaves.push(other);
            }
        }
    }
}
