//! Counts of the texts and statements of entities.
use serde::{Deserialize, Serialize};

/// Counts of written and skipped labels, statements, descriptions and sitelinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntityCounts {
    /// Labels written.
    pub labels: u64,
    /// Labels written that come from a fallback language.
    pub fallback_labels: u64,
    /// Labels written that come from a variant of the language.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub variant_labels: u64,
    /// Labels written that come from `mul`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mul_labels: u64,
    /// Labels skipped because the value of `language` differs from the language key of the label.
    pub foreign_labels: u64,
    /// Labels skipped because the text is empty after white space and control characters are
    /// removed.
    pub empty_labels: u64,
    /// Unpaired surrogates in texts, replaced by U+FFFD.
    pub lone_surrogates: u64,
    /// Statements of items.
    pub statements: u64,
    /// Statements skipped because they are deprecated.
    pub deprecated: u64,
    /// Statements of normal rank skipped because the item has preferred statements of the property.
    pub not_preferred: u64,
    /// Statements skipped because their value is `somevalue` or `novalue`.
    pub without_value: u64,
    /// Statements skipped because their value is not an item.
    pub other_values: u64,
    /// Triples skipped because they are duplicates.
    pub repeated_triples: u64,
    /// Triples written.
    pub triples: u64,
    /// Descriptions written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub descriptions: u64,
    /// Descriptions written that come from a variant or a fallback language.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fallback_descriptions: u64,
    /// Descriptions skipped because the value of `language` differs from the language key of the
    /// description.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub foreign_descriptions: u64,
    /// Descriptions skipped because the text is empty after cleaning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub empty_descriptions: u64,
    /// Aliases written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub aliases: u64,
    /// Aliases written that come from a variant, a fallback language or `mul`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fallback_aliases: u64,
    /// Sitelinks written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sitelinks: u64,
    /// Sitelinks skipped because the title is empty after cleaning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub empty_sitelinks: u64,
}

// `skip_serializing_if` requires a function that takes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl EntityCounts {
    /// Adds `other` to these counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.labels, other.labels),
            (&mut self.fallback_labels, other.fallback_labels),
            (&mut self.variant_labels, other.variant_labels),
            (&mut self.mul_labels, other.mul_labels),
            (&mut self.foreign_labels, other.foreign_labels),
            (&mut self.empty_labels, other.empty_labels),
            (&mut self.lone_surrogates, other.lone_surrogates),
            (&mut self.statements, other.statements),
            (&mut self.deprecated, other.deprecated),
            (&mut self.not_preferred, other.not_preferred),
            (&mut self.without_value, other.without_value),
            (&mut self.other_values, other.other_values),
            (&mut self.repeated_triples, other.repeated_triples),
            (&mut self.triples, other.triples),
            (&mut self.descriptions, other.descriptions),
            (&mut self.fallback_descriptions, other.fallback_descriptions),
            (&mut self.foreign_descriptions, other.foreign_descriptions),
            (&mut self.empty_descriptions, other.empty_descriptions),
            (&mut self.aliases, other.aliases),
            (&mut self.fallback_aliases, other.fallback_aliases),
            (&mut self.sitelinks, other.sitelinks),
            (&mut self.empty_sitelinks, other.empty_sitelinks),
        ] {
            *sum += count;
        }
    }
}
