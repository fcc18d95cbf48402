//! Lines of an N-Triples dump of Wikidata, such as `latest-truthy.nt.bz2`.
use oxttl::NTriplesParser;
use oxttl::ntriples::SliceNTriplesParser;

use super::chunk::{Chunk, Event, Found, Parsed};
use super::counts::EntityCounts;
use super::table::{DumpTable, TailKind};
use super::text::{Clean, clean};
use super::wanted::Wanted;

/// IRIs of entities begin so.
const ENTITY: &str = "http://www.wikidata.org/entity/";
/// Truthy statements have predicates that begin so.
const DIRECT: &str = "http://www.wikidata.org/prop/direct/";
const LABEL: &str = "http://www.w3.org/2000/01/rdf-schema#label";
const SAME_AS: &str = "http://www.w3.org/2002/07/owl#sameAs";
/// Values that are not known have IRIs with this in them.
const UNKNOWN_VALUE: &str = "/.well-known/genid/";

/// What neighbouring lines say of one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) property: bool,
    /// Language and text.
    pub(super) labels: Vec<(String, String)>,
    /// Relation and tail.
    pub(super) triples: Vec<(String, String)>,
    pub(super) counts: EntityCounts,
}

/// Parses every line of a chunk.
pub(super) fn parse(chunk: &Chunk, wanted: &Wanted) -> Parsed {
    let mut parsed = Parsed { lines: 0, found: Vec::new() };
    let mut offset = chunk.offset;
    let mut facts: Option<(u64, u64, Facts)> = None;
    let mut lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let number = parsed.lines;
        let cut = chunk.cut && lines.peek().is_none();
        let read = match cut {
            true => Err(format!("a line above {} bytes", line.len())),
            false => statement(line.trim_ascii(), wanted),
        };
        match read {
            Ok(None) => (),
            Ok(Some(Statement::Redirect { from, to })) => {
                let event = Event::Redirect { from, to };
                parsed.found.push(Found { line: number, offset, event });
            }
            Ok(Some(Statement::Fact { id, property, fact })) => {
                if facts.as_ref().is_none_or(|(.., facts)| facts.id != id) {
                    let fresh = Facts { id, property, ..Facts::default() };
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
        offset += line.len() as u64;
    }
    parsed.found.extend(facts.map(found));
    // Facts were pushed behind the lines that followed them.
    parsed.found.sort_by_key(|found| found.line);
    parsed
}

fn found((line, offset, facts): (u64, u64, Facts)) -> Found {
    Found { line, offset, event: Event::Facts(facts) }
}

enum Statement {
    Redirect { from: String, to: String },
    Fact { id: String, property: bool, fact: Fact },
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

/// What a line says; `None` for blank lines, comments, and what is not wanted. Lines whose
/// predicate is not wanted are looked at no further.
fn statement(line: &[u8], wanted: &Wanted) -> Result<Option<Statement>, String> {
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let text = std::str::from_utf8(line).map_err(|error| format!("no UTF-8: {error}"))?;
    let mut words = text.split_ascii_whitespace();
    let (subject, predicate) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
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
    let mut reader: SliceNTriplesParser<'_> = NTriplesParser::new().for_slice(text);
    let triple = match reader.next() {
        Some(Ok(triple)) => triple,
        Some(Err(error)) => return Err(error.message().to_owned()),
        None => return Err("not an N-Triples statement".into()),
    };
    let subject = match &triple.subject {
        oxrdf::NamedOrBlankNode::NamedNode(node) => node.as_str().strip_prefix(ENTITY),
        oxrdf::NamedOrBlankNode::BlankNode(_) => None,
    };
    let Some((id, property)) = subject.and_then(|id| Some((id.to_owned(), kind(id)?))) else {
        return Ok(None);
    };
    let object = match &triple.object {
        oxrdf::Term::NamedNode(node) => Some(node.as_str()),
        _ => None,
    };
    let entity = object.and_then(|iri| iri.strip_prefix(ENTITY));
    let fact = match (relation, label, &triple.object) {
        (Some(relation), ..) => direct(relation, object, entity, &triple.object, wanted),
        (None, true, oxrdf::Term::Literal(literal)) => {
            let Some(language) = literal.language().filter(|code| wanted.reads(code)) else {
                return Ok(None);
            };
            let text = clean(literal.value().as_bytes()).unwrap_or_default();
            Fact::Label { language: language.to_owned(), text }
        }
        (None, false, _) => {
            let to = entity.filter(|to| kind(to).is_some()).map(str::to_owned);
            return Ok(to.map(|to| Statement::Redirect { from: id, to }));
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
    term: &oxrdf::Term,
    wanted: &Wanted,
) -> Fact {
    let is_tail = |id: &str| TailKind::of_id(id).is_some_and(|kind| wanted.tails.contains(&kind));
    let unknown = matches!(term, oxrdf::Term::BlankNode(_))
        || object.is_some_and(|iri| iri.contains(UNKNOWN_VALUE));
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
