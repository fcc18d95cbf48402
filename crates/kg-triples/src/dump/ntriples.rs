//! Lines of an N-Triples dump of Wikidata, such as `latest-truthy.nt.bz2`.
use std::borrow::Cow;

use memchr::memchr;

use super::chunk::{Chunk, Event, Facts, Found, Parsed};
use super::source::BYTE_ORDER_MARK;
use super::statement::{self, Object};
use super::table::{DumpTable, TailKind};
use super::text::{Clean, clean};
use super::wanted::Wanted;

/// IRIs of entities begin so.
const ENTITY: &str = "http://www.wikidata.org/entity/";
/// Subjects of statements about entities begin so.
const SUBJECT: &[u8] = b"<http://www.wikidata.org/entity/";
/// Truthy statements have predicates that begin so.
const DIRECT: &str = "http://www.wikidata.org/prop/direct/";
const LABEL: &str = "http://www.w3.org/2000/01/rdf-schema#label";
const SAME_AS: &str = "http://www.w3.org/2002/07/owl#sameAs";
/// Values that are not known have IRIs with this in them.
const UNKNOWN_VALUE: &str = "/.well-known/genid/";

/// Parses every line of a chunk.
pub(super) fn parse(chunk: &Chunk, wanted: &Wanted) -> Parsed {
    let mut parsed = Parsed { lines: 0, statements: 0, found: Vec::new() };
    let mut offset = chunk.offset;
    let mut facts: Option<(u64, u64, Facts)> = None;
    // Checked for all lines at once, which is quick; where it fails, each is checked alone.
    let text = std::str::from_utf8(&chunk.bytes).ok();
    let (mut start, all) = (0, chunk.bytes.len());
    while start < all {
        let rest = chunk.bytes.get(start..).unwrap_or_default();
        let end = start + memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let whole = chunk.bytes.get(start..end).unwrap_or_default();
        // Also in the middle, where files were put together.
        let line = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole).trim_ascii();
        let checked = text.and_then(|text| text.get(start..end));
        let number = parsed.lines;
        let read = match (chunk.cut && end == all, checked) {
            (true, _) => Err(format!("a line above {} bytes", whole.len())),
            (false, Some(text)) => {
                statement(text.trim_start_matches('\u{feff}').trim_ascii(), wanted)
            }
            (false, None) => unchecked(line, wanted),
        };
        let says = read.is_ok() && line.starts_with(SUBJECT);
        parsed.statements += u64::from(says || matches!(read, Ok(Some(_))));
        match read {
            Ok(None) => (),
            Ok(Some(Statement::Redirect { from, to })) => {
                let event = Event::Redirect { from, to };
                parsed.found.push(Found { line: number, offset, event });
            }
            Ok(Some(Statement::Fact { id, property, fact })) => {
                if facts.as_ref().is_none_or(|(.., facts)| facts.id != id) {
                    let fresh = Facts { id: id.into_owned(), property, ..Facts::default() };
                    let before = facts.replace((number, offset, fresh));
                    parsed.found.extend(before.map(found));
                }
                if let Some((.., facts)) = &mut facts {
                    add(facts, fact);
                }
            }
            Err(reason) => {
                parsed.found.push(Found { line: number, offset, event: Event::Bad(reason) });
            }
        }
        parsed.lines += 1;
        offset += whole.len() as u64;
        start = end;
    }
    parsed.found.extend(facts.map(found));
    // Facts were pushed behind the lines that followed them.
    parsed.found.sort_by_key(|found| found.line);
    parsed
}

fn found((line, offset, facts): (u64, u64, Facts)) -> Found {
    Found { line, offset, event: Event::Facts(facts) }
}

enum Statement<'a> {
    Redirect { from: String, to: String },
    Fact { id: Cow<'a, str>, property: bool, fact: Fact },
}

enum Fact {
    Label { language: String, text: Clean },
    Triple { relation: String, tail: String },
    WithoutValue,
    OtherValue,
}

fn add(facts: &mut Facts, fact: Fact) {
    match fact {
        Fact::Label { text: Clean { text, lone_surrogates }, language } => {
            facts.counts.lone_surrogates += lone_surrogates;
            match text.is_empty() {
                true => facts.counts.empty_labels += 1,
                false => facts.labels.push((language, text)),
            }
        }
        // What a property says of itself is no fact about the world.
        _ if facts.property => (),
        Fact::Triple { relation, tail } => {
            facts.counts.statements += 1;
            facts.triples.push((relation, tail));
        }
        Fact::WithoutValue => {
            facts.counts.statements += 1;
            facts.counts.without_value += 1;
        }
        Fact::OtherValue => {
            facts.counts.statements += 1;
            facts.counts.other_values += 1;
        }
    }
}

/// A line of a chunk that is not UTF-8 as a whole.
fn unchecked<'a>(line: &'a [u8], wanted: &Wanted) -> Result<Option<Statement<'a>>, String> {
    if line.starts_with(b"#") {
        return Ok(None);
    }
    let text = std::str::from_utf8(line).map_err(|error| format!("no UTF-8: {error}"))?;
    statement(text, wanted)
}

/// The first word, and the rest behind one of the characters that end it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    let end = match memchr(b' ', text.as_bytes()) {
        // Mostly no other white space comes before.
        Some(end) if !any(text.as_bytes().get(..end), is_space) => end,
        _ => text.as_bytes().iter().position(is_space).unwrap_or(text.len()),
    };
    (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default())
}

/// Looks at all bytes, which is quicker for some dozens than stopping at the first.
fn any(bytes: Option<&[u8]>, holds: impl Fn(&u8) -> bool) -> bool {
    bytes.unwrap_or_default().iter().fold(false, |found, byte| found | holds(byte))
}

fn without_prefix<'a>(text: Cow<'a, str>, prefix: &str) -> Option<Cow<'a, str>> {
    match text {
        Cow::Borrowed(text) => text.strip_prefix(prefix).map(Cow::Borrowed),
        Cow::Owned(text) => text.strip_prefix(prefix).map(|rest| Cow::Owned(rest.to_owned())),
    }
}

/// What a line says; `None` for blank lines, comments, and what is not wanted. Lines whose
/// predicate is not wanted are read no further.
fn statement<'a>(text: &'a str, wanted: &Wanted) -> Result<Option<Statement<'a>>, String> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (subject, rest) = first_word(text);
    let (predicate, _) = first_word(rest);
    let bracketed = |word: &str| word.starts_with('<') || word.starts_with('_');
    if !bracketed(subject) || !predicate.starts_with('<') || !text.ends_with('.') {
        return Err("not an N-Triples statement".into());
    }
    let iri = predicate.trim_matches(['<', '>']);
    let relation = iri.strip_prefix(DIRECT);
    let label = iri == LABEL && wanted.has(DumpTable::Labels);
    let relation = relation.filter(|_| wanted.has(DumpTable::Triples));
    if relation.is_none() && !label && iri != SAME_AS {
        return Ok(None);
    }
    let parts = statement::read(text)?;
    let id = parts.subject.and_then(|subject| without_prefix(subject, ENTITY));
    let Some((id, property)) = id.and_then(|id| kind(&id).map(|property| (id, property))) else {
        return Ok(None);
    };
    let object = match &parts.object {
        Object::Iri(iri) => Some(&**iri),
        _ => None,
    };
    let entity = object.and_then(|iri| iri.strip_prefix(ENTITY));
    let fact = match (relation, label, parts.object.clone()) {
        (Some(relation), ..) => direct(relation, object, entity, &parts.object, wanted),
        (None, true, Object::Literal { text, language }) => {
            let Some(language) = language.filter(|code| wanted.reads(code)) else {
                return Ok(None);
            };
            let text = clean(text.plain().as_bytes()).unwrap_or_default();
            Fact::Label { language: language.into_owned(), text }
        }
        (None, false, _) => {
            let to = entity.filter(|to| kind(to).is_some()).map(str::to_owned);
            return Ok(to.map(|to| Statement::Redirect { from: id.into_owned(), to }));
        }
        _ => return Ok(None),
    };
    Ok(Some(Statement::Fact { id, property, fact }))
}

/// A truthy statement.
fn direct(
    relation: &str,
    object: Option<&str>,
    entity: Option<&str>,
    term: &Object<'_>,
    wanted: &Wanted,
) -> Fact {
    let is_tail = |id: &str| TailKind::of_id(id).is_some_and(|kind| wanted.tails.contains(&kind));
    let unknown =
        matches!(term, Object::Blank) || object.is_some_and(|iri| iri.contains(UNKNOWN_VALUE));
    match entity.filter(|tail| is_tail(tail)) {
        _ if unknown => Fact::WithoutValue,
        Some(tail) => Fact::Triple { relation: relation.to_owned(), tail: tail.to_owned() },
        None => Fact::OtherValue,
    }
}

/// Whether an id is a property's; `None` for other things than items and properties.
fn kind(id: &str) -> Option<bool> {
    let (first, number) = id.split_at_checked(1)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match first {
        "Q" if digits => Some(false),
        "P" if digits => Some(true),
        _ => None,
    }
}
