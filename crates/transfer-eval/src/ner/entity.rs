//! Entities in a sequence of tags.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ner::tag;

/// An entity that consists of the words `start..=end` of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity<'a> {
    /// Type of the entity, such as `PER`.
    pub kind: &'a str,
    /// Index of the first word.
    pub start: usize,
    /// Index of the last word (inclusive).
    pub end: usize,
}

/// Rules that convert tags to entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `seqeval`'s default, which follows `conlleval`: an `I-` without a preceding entity starts an
    /// entity, so IOB1, IOB2 and IOBES files are all supported.
    #[default]
    Lenient,
    /// `seqeval` with `mode="strict", scheme=IOB2`: only `B-` starts an entity; an `I-` tag that
    /// does not continue an entity is ignored.
    StrictIob2,
}

/// The entities of one sentence, sorted by type, then position.
///
/// With [`Scheme::StrictIob2`], tags that start with `E` or `S` are ignored; `seqeval` would return
/// an error.
///
/// # Panics
/// If a tag is empty.
///
/// ```
/// use transfer_eval::ner::{Entity, Scheme, find_entities};
///
/// let tags = ["I-PER", "I-PER", "O", "B-LOC"];
/// let lenient = find_entities(&tags, Scheme::Lenient);
/// assert!(lenient.contains(&Entity { kind: "PER", start: 0, end: 1 }));
/// assert_eq!(find_entities(&tags, Scheme::StrictIob2).len(), 1);
/// ```
pub fn find_entities<T: AsRef<str>>(tags: &[T], scheme: Scheme) -> BTreeSet<Entity<'_>> {
    let mut set = BTreeSet::new();
    let mut previous = ('O', "_");
    let mut start = 0;
    let mut in_entity = false;
    let tags = tags.iter().map(|tag| tag::split(tag.as_ref()));
    for (k, current) in tags.chain([('O', "_")]).enumerate() {
        let (ends, starts) = match scheme {
            Scheme::Lenient => (ends(previous, current), starts(previous, current)),
            Scheme::StrictIob2 => {
                (in_entity && !(current.0 == 'I' && current.1 == previous.1), current.0 == 'B')
            }
        };
        if ends {
            set.insert(Entity { kind: previous.1, start, end: k.saturating_sub(1) });
        }
        if starts {
            start = k;
        }
        in_entity = starts || (in_entity && !ends);
        previous = current;
    }
    set
}

/// Returns whether an entity ends between two consecutive tags, given as pairs of letter and type.
fn ends((last, last_kind): (char, &str), (letter, kind): (char, &str)) -> bool {
    matches!(last, 'E' | 'S')
        || (matches!(last, 'B' | 'I') && matches!(letter, 'B' | 'S' | 'O'))
        || (!matches!(last, 'O' | '.') && last_kind != kind)
}

/// Returns whether an entity starts with the second of two consecutive tags.
fn starts((last, last_kind): (char, &str), (letter, kind): (char, &str)) -> bool {
    matches!(letter, 'B' | 'S')
        || (matches!(last, 'E' | 'S' | 'O') && matches!(letter, 'E' | 'I'))
        || (!matches!(letter, 'O' | '.') && last_kind != kind)
}
