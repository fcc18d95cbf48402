//! Facts of N-Triples that stand apart, put together as entities.
use std::collections::BTreeMap;
use std::io;

use super::chunk::{Facts, Record, record};
use super::counts::EntityCounts;
use super::entity::Entity;
use super::sort::Entry;
use super::wanted::Wanted;
use crate::LabelKind;

/// Facts as an entry to be sorted.
pub(super) fn entry(facts: Facts, number: u64) -> io::Result<Entry> {
    let rows = |pairs: &[(String, String)]| {
        pairs.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect::<String>()
    };
    let kind = if facts.property { "property" } else { "item" };
    let counts = serde_json::to_string(&facts.counts)?;
    let values = vec![rows(&facts.labels), rows(&facts.triples), counts, kind.to_owned()];
    Ok(Entry { key: facts.id, number, values })
}

/// The entity that entries of one id, in the order of their numbers, are about. Of several labels
/// in a language the first counts.
pub(super) fn merge(entries: &[Entry], wanted: &Wanted) -> io::Result<Record> {
    let mut counts = EntityCounts::default();
    let mut usable: BTreeMap<&str, String> = BTreeMap::new();
    let (mut triples, mut kind) = (Vec::new(), LabelKind::Entity);
    for entry in entries {
        let [labels, pairs, of_entry, of_kind] = entry.values.as_slice() else { continue };
        counts.add(&serde_json::from_str(of_entry)?);
        if of_kind == "property" {
            kind = LabelKind::Relation;
        }
        for (language, text) in labels.lines().filter_map(|line| line.split_once('\t')) {
            usable.entry(language).or_insert_with(|| text.to_owned());
        }
        let pairs = pairs.lines().filter_map(|line| line.split_once('\t'));
        triples.extend(pairs.map(|(relation, tail)| (relation.to_owned(), tail.to_owned())));
    }
    let all = triples.len();
    triples.sort_unstable();
    triples.dedup();
    counts.repeated_triples += (all - triples.len()) as u64;
    counts.triples += triples.len() as u64;
    let labels = wanted.choose(&usable);
    counts.labels += labels.texts.len() as u64;
    counts.fallback_labels += labels.fallbacks;
    let id = entries.first().map(|entry| entry.key.clone()).unwrap_or_default();
    let entity = Entity { id, kind, labels: labels.texts, triples, counts, ..Entity::default() };
    Ok(record(entity, wanted))
}
