//! Items and properties of a dump, in any format.
use super::counts::EntityCounts;
use super::record::NameTally;
use super::requested::Term;
use crate::{LabelKind, Language};

/// An item or a property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) id: String,
    pub(super) kind: LabelKind,
    /// Labels, sorted by language. `descriptions` and `aliases` are sorted in the same way.
    pub(super) labels: Vec<Term>,
    pub(super) descriptions: Vec<Term>,
    pub(super) aliases: Vec<Term>,
    /// For each requested language, in the order of the configuration, the source of the label.
    /// Empty if labels are not requested.
    pub(super) names: Vec<NameTally>,
    /// Page titles, sorted by language.
    pub(super) sitelinks: Vec<(Language, String)>,
    /// Pairs of relation and tail, sorted, without duplicates.
    pub(super) triples: Vec<(String, String)>,
    pub(super) counts: EntityCounts,
}

impl Entity {
    /// Sets the triples from pairs of relation and tail in any order, and counts them.
    pub(super) fn set_triples(&mut self, mut triples: Vec<(String, String)>) {
        let count = triples.len();
        triples.sort_unstable();
        triples.dedup();
        self.counts.repeated_triples += (count - triples.len()) as u64;
        self.counts.triples += triples.len() as u64;
        self.triples = triples;
    }
}

/// Whether a text can be an id in a table: it has no white space or control characters and is not
/// empty.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
