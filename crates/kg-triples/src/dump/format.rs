//! Formats of dumps.
//!
//! A format is a type that implements [`LineFormat`], in a file or folder of its own, and a variant
//! of [`DumpFormat`].
use serde::{Deserialize, Serialize};

use super::entity::Entity;
use super::json::Json;
use super::record::Record;
use super::requested::Requested;

/// The format of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum DumpFormat {
    #[default]
    Json,
}

impl DumpFormat {
    /// All formats, in the order of detection. The last format matches every dump, and returns the
    /// errors of lines that have no known format.
    const ALL: [Self; 1] = [Self::Json];

    /// Returns the implementation of the format.
    pub(super) fn implementation(self) -> &'static dyn LineFormat {
        match self {
            Self::Json => &Json,
        }
    }

    /// Returns the format of a dump from its first bytes, without a byte-order mark.
    ///
    /// # Errors
    /// The reason why the dump cannot be read, if it is N-Triples.
    #[expect(clippy::expect_used, reason = "the last format matches every dump")]
    pub(super) fn detect(start: &[u8]) -> Result<Self, String> {
        if start.starts_with(b"<http") || start.starts_with(b"_:") {
            let reason = "line 1: not a JSON entity; N-Triples dumps are not supported: use \
                          latest-all.json.bz2";
            return Err(reason.into());
        }
        let mut formats = Self::ALL.into_iter();
        let format = formats.find(|format| format.implementation().matches(start));
        Ok(format.expect("the last format matches every dump"))
    }
}

/// A format in which each line has zero or more complete entities and redirects.
///
/// Threads parse lines independently, so a line has no context. Statements about one entity must
/// not be on several lines: of entities with the same id, only the first is used.
pub(super) trait LineFormat: Sync {
    /// Returns whether a dump that begins with `start`, without a byte-order mark, has this format.
    /// The start has the first line or more.
    fn matches(&self, start: &[u8]) -> bool;

    /// Parses one line, without white space at its ends and without a byte-order mark, and passes
    /// its events to `push` in order. An empty line has no events, and an invalid line one event
    /// [`Event::Bad`].
    ///
    /// Only the data that [`Requested`] requests are needed. Texts are selected and cleaned by the
    /// functions of [`texts`](super::texts).
    fn parse_line(&self, line: &[u8], requested: &Requested, push: &mut dyn FnMut(Event));
}

/// Parsed content of a line. A line can contain several events, such as `[` and an entity.
pub(super) enum Event {
    /// The `[` of an array, on a separate line or before the first entity.
    Open,
    /// The `]` of an array.
    Close,
    /// The table rows of an entity.
    Entity(Box<Record>),
    /// An id that was replaced by another id.
    Redirect { from: String, to: String },
    /// An entity of another type, such as `lexeme`.
    Other(String),
    /// An invalid line, with the reason why it is invalid.
    Bad(String),
}

impl Event {
    /// Creates the event of an entity.
    pub(super) fn entity(entity: Entity, requested: &Requested) -> Self {
        Self::Entity(Box::new(Record::new(entity, requested)))
    }
}
