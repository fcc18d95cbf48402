//! Wikidata's JSON: an array with one entity per line, or JSON lines.
mod entity;
mod texts;
mod values;

use self::entity::Line;
use super::format::{Event, LineFormat};
use super::requested::Requested;

/// Wikidata's JSON.
pub(super) struct Json;

impl LineFormat for Json {
    fn matches(&self, _start: &[u8]) -> bool {
        true
    }

    fn parse_line(&self, mut line: &[u8], requested: &Requested, push: &mut dyn FnMut(Event)) {
        if let Some(rest) = line.strip_prefix(b"[") {
            push(Event::Open);
            line = rest.trim_ascii_start();
        }
        let before_bracket = line.strip_suffix(b"]").map(<[u8]>::trim_ascii_end);
        let body = before_bracket.unwrap_or(line);
        let body = body.strip_suffix(b",").unwrap_or(body).trim_ascii_end();
        let mut is_valid = true;
        if !body.is_empty() {
            push(match entity::parse_line(body, requested) {
                Ok(Line::Entity(entity)) => Event::entity(*entity, requested),
                Ok(Line::Redirect { from, to }) => Event::Redirect { from, to },
                Ok(Line::Other(kind)) => Event::Other(kind),
                Err(reason) => {
                    // A truncated line may end in the bracket of an inner array.
                    is_valid = false;
                    Event::Bad(reason)
                }
            });
        }
        if before_bracket.is_some() && is_valid {
            push(Event::Close);
        }
    }
}
