//! The tables of an extract: their names, columns and files.
use serde::{Deserialize, Serialize};

use super::config::TermLookup;

/// A table of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpTable {
    /// `head_id relation_id tail_id`: truthy statements between entities.
    Triples,
    /// `id lang label kind source`: labels, with kind `entity` or `relation` and the
    /// [`LabelSource`](crate::LabelSource). With [`TermLookup::Exact`], there is no column
    /// `source`.
    Labels,
    /// `id lang description`: Wikidata's short descriptions of items and properties.
    Descriptions,
    /// `id lang alias kind source`: other names of items and properties. In contrast to a label, all
    /// aliases of the language, its variants, its fallback languages and `mul` are written.
    Aliases,
    /// `id lang title`: titles of Wikipedia pages.
    Sitelinks,
    /// `id target_id`: entities that were merged into another entity.
    Redirects,
}

impl DumpTable {
    /// All tables.
    pub const ALL: [Self; 6] = [
        Self::Triples,
        Self::Labels,
        Self::Descriptions,
        Self::Aliases,
        Self::Sitelinks,
        Self::Redirects,
    ];

    /// The tables that define a graph. They are written by default.
    pub const GRAPH: [Self; 3] = [Self::Triples, Self::Labels, Self::Redirects];

    /// Returns the table's name: the file name without `.tsv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Triples => "triples",
            Self::Labels => "labels",
            Self::Descriptions => "descriptions",
            Self::Aliases => "aliases",
            Self::Sitelinks => "sitelinks",
            Self::Redirects => "redirects",
        }
    }

    /// Returns the column names. All columns hold text, and no cell is empty.
    pub fn columns(self, lookup: TermLookup) -> &'static [&'static str] {
        match self {
            Self::Triples => &["head_id", "relation_id", "tail_id"],
            Self::Labels if lookup == TermLookup::Exact => &["id", "lang", "label", "kind"],
            Self::Labels => &["id", "lang", "label", "kind", "source"],
            Self::Aliases => &["id", "lang", "alias", "kind", "source"],
            Self::Descriptions => &["id", "lang", "description"],
            Self::Sitelinks => &["id", "lang", "title"],
            Self::Redirects => &["id", "target_id"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_serde_names() {
        for table in DumpTable::ALL {
            assert_eq!(serde_json::to_value(table).unwrap(), table.name());
            assert!(table.columns(TermLookup::Wikidata).len() > 1);
        }
    }
}
