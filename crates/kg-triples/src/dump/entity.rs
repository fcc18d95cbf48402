//! One line of a dump: an entity, a redirect, or something else.
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde::{Deserialize, Serialize};

use super::json::{Each, Entries, Object, Rank, Raw, Statement, Tail, is_id};
use super::text::{Clean, clean};
use crate::{LabelKind, Language};

/// What is read of an entity.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The languages of labels, each with those whose labels take the place of a missing one, best
    /// first. Codes are compared exactly.
    pub(super) languages: Vec<(Language, Vec<Language>)>,
}

impl Wanted {
    /// Whether labels in the language of this code are read.
    pub(super) fn reads(&self, code: &str) -> bool {
        self.languages.iter().any(|(language, others)| {
            *language == *code || others.iter().any(|other| *other == *code)
        })
    }
}

impl Wanted {
    /// The label of each language, or of the first that takes its place, sorted by language.
    pub(super) fn choose(
        &self,
        usable: &BTreeMap<&str, String>,
        counts: &mut EntityCounts,
    ) -> Vec<(Language, String)> {
        let mut chosen = Vec::new();
        for (language, others) in &self.languages {
            let own = usable.get(language.as_str());
            let other = || others.iter().find_map(|other| usable.get(other.as_str()));
            let Some(text) = own.or_else(other) else { continue };
            counts.labels += 1;
            counts.fallback_labels += u64::from(own.is_none());
            chosen.push((*language, text.clone()));
        }
        chosen.sort_unstable();
        chosen
    }
}

/// What became of labels and statements of one or of all entities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntityCounts {
    /// Labels written.
    pub labels: u64,
    /// Of these, taken from another language (`--fallback`).
    pub fallback_labels: u64,
    /// Labels left out: their `language` is not their key, so they are another language's.
    pub foreign_labels: u64,
    /// Labels left out: nothing is left of the text.
    pub empty_labels: u64,
    /// Surrogates without a partner in labels, which became U+FFFD.
    pub lone_surrogates: u64,
    /// Statements of items.
    pub statements: u64,
    /// Left out: deprecated.
    pub deprecated: u64,
    /// Left out: the property has preferred statements, and this is a normal one.
    pub not_preferred: u64,
    /// Left out: `somevalue` or `novalue`.
    pub without_value: u64,
    /// Left out: the value is no item.
    pub other_values: u64,
    /// Left out: the triple is there already.
    pub repeated_triples: u64,
    /// Triples written.
    pub triples: u64,
}

impl EntityCounts {
    /// Adds the counts of another part.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.labels, other.labels),
            (&mut self.fallback_labels, other.fallback_labels),
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
        ] {
            *sum += count;
        }
    }
}

/// An item or a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) id: String,
    pub(super) kind: LabelKind,
    /// Sorted by language.
    pub(super) labels: Vec<(Language, String)>,
    /// Relation and tail, sorted, each pair once.
    pub(super) triples: Vec<(String, String)>,
    pub(super) counts: EntityCounts,
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Entity(Entity),
    Redirect {
        from: String,
        to: String,
    },
    /// An entity of another type, such as `lexeme`.
    Other(String),
}

/// Reads one line, without the comma at its end. The error says what is wrong in words.
pub(super) fn read(line: &[u8], wanted: &Wanted) -> Result<Line, String> {
    if line.first() != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    let text = std::str::from_utf8(line).map_err(|error| format!("no UTF-8: {error}"))?;
    // Strings that are read as bytes may hold control characters, which JSON does not allow.
    if line.iter().any(u8::is_ascii_control) {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    }
    let mut fields = Fields::new(wanted);
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Object(&mut fields).deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| error.to_string())?;
    fields.line()
}

/// The keys of an entity or redirect.
struct Fields<'w> {
    wanted: &'w Wanted,
    id: Option<String>,
    kind: Option<String>,
    entity: Option<String>,
    redirect: Option<String>,
    labels: BTreeMap<String, Label>,
    claims: BTreeMap<String, Vec<Statement>>,
}

impl<'w> Fields<'w> {
    fn new(wanted: &'w Wanted) -> Self {
        Self {
            wanted,
            id: None,
            kind: None,
            entity: None,
            redirect: None,
            labels: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }

    fn line(self) -> Result<Line, String> {
        if let (Some(from), Some(to)) = (&self.entity, &self.redirect) {
            return match is_id(from) && is_id(to) {
                true => Ok(Line::Redirect { from: from.clone(), to: to.clone() }),
                false => Err(format!("a redirect from {from:?} to {to:?}")),
            };
        }
        let id = self.id.clone().ok_or("no id")?;
        if !is_id(&id) {
            return Err(format!("the id {id:?}"));
        }
        let kind = match self.kind.as_deref() {
            Some("item") => LabelKind::Entity,
            Some("property") => LabelKind::Relation,
            other => return Ok(Line::Other(other.unwrap_or("without a type").to_owned())),
        };
        let mut counts = EntityCounts::default();
        let labels = self.chosen_labels(&mut counts)?;
        // What a property says of itself is no fact about the world.
        let triples = match kind {
            LabelKind::Entity => triples(self.claims, &mut counts),
            LabelKind::Relation => Vec::new(),
        };
        Ok(Line::Entity(Entity { id, kind, labels, triples, counts }))
    }

    /// The usable labels, of which [`Wanted::choose`] takes some.
    fn chosen_labels(&self, counts: &mut EntityCounts) -> Result<Vec<(Language, String)>, String> {
        let mut usable: BTreeMap<&str, String> = BTreeMap::new();
        for (code, label) in &self.labels {
            if label.language.as_deref() != Some(code.as_bytes()) {
                counts.foreign_labels += 1;
                continue;
            }
            let Some(value) = &label.value else { continue };
            let cleaned = clean(value).ok_or_else(|| format!("the label in {code}: no UTF-8"))?;
            let Clean { text, lone_surrogates } = cleaned;
            counts.lone_surrogates += lone_surrogates;
            match text.is_empty() {
                true => counts.empty_labels += 1,
                false => {
                    usable.insert(code, text);
                }
            }
        }
        Ok(self.wanted.choose(&usable, counts))
    }
}

/// The triples that truthy statements make: the preferred ones of a property or, where there is
/// none, the normal ones. Values are looked at after ranks.
fn triples(
    claims: BTreeMap<String, Vec<Statement>>,
    counts: &mut EntityCounts,
) -> Vec<(String, String)> {
    let mut triples = Vec::new();
    for (property, statements) in claims {
        let preferred = statements.iter().any(|statement| statement.rank == Rank::Preferred);
        for Statement { rank, tail } in statements {
            counts.statements += 1;
            match (rank, preferred) {
                (Rank::Deprecated, _) => counts.deprecated += 1,
                (Rank::Normal, true) => counts.not_preferred += 1,
                _ => match tail {
                    Tail::Unknown => counts.without_value += 1,
                    Tail::Item(tail) if is_id(&property) => triples.push((property.clone(), tail)),
                    _ => counts.other_values += 1,
                },
            }
        }
    }
    let all = triples.len();
    triples.sort_unstable();
    triples.dedup();
    counts.repeated_triples += (all - triples.len()) as u64;
    counts.triples += triples.len() as u64;
    triples
}

impl<'de> Entries<'de> for Fields<'_> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let text = |raw: Raw<'_>| raw.text().map(str::to_owned);
        match key {
            "id" => self.id = text(map.next_value()?),
            "type" => self.kind = text(map.next_value()?),
            "entity" => self.entity = text(map.next_value()?),
            "redirect" => self.redirect = text(map.next_value()?),
            "labels" => {
                let mut labels = Labels { wanted: self.wanted, found: BTreeMap::new() };
                map.next_value_seed(Object(&mut labels))?;
                self.labels = labels.found;
            }
            "claims" => {
                let mut claims = Claims::default();
                map.next_value_seed(Object(&mut claims))?;
                self.claims = claims.0;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Labels<'w> {
    wanted: &'w Wanted,
    found: BTreeMap<String, Label>,
}

impl<'de> Entries<'de> for Labels<'_> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if !self.wanted.reads(key) {
            return Ok(false);
        }
        let mut label = Label::default();
        map.next_value_seed(Object(&mut label))?;
        self.found.insert(key.to_owned(), label);
        Ok(true)
    }
}

#[derive(Clone, Debug, Default)]
struct Label {
    language: Option<Vec<u8>>,
    /// WTF-8.
    value: Option<Vec<u8>>,
}

impl<'de> Entries<'de> for Label {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match key {
            "language" => &mut self.language,
            "value" => &mut self.value,
            _ => return Ok(false),
        };
        *field = Some(map.next_value::<Raw<'de>>()?.0.into_owned());
        Ok(true)
    }
}

#[derive(Default)]
struct Claims(BTreeMap<String, Vec<Statement>>);

impl<'de> Entries<'de> for Claims {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let mut statements = Vec::new();
        let mut keep = |statement: Statement| statements.push(statement);
        map.next_value_seed(Each(&mut keep, PhantomData))?;
        self.0.insert(key.to_owned(), statements);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let [en, zh, hans] = ["en", "zh", "zh-hans"].map(|code| Language::new(code).unwrap());
        Wanted { languages: vec![(en, vec![]), (zh, vec![hans])] }
    }

    fn entity(json: &str) -> Entity {
        match read(json.as_bytes(), &wanted()) {
            Ok(Line::Entity(entity)) => entity,
            other => panic!("{other:?}"),
        }
    }

    fn labels(entity: &Entity) -> Vec<(&str, &str)> {
        entity.labels.iter().map(|(code, text)| (code.as_str(), text.as_str())).collect()
    }

    /// An item whose property `P1` has these statements: rank and main snak.
    fn with_statements(statements: &[(&str, &str)]) -> Entity {
        let statements: Vec<String> = statements
            .iter()
            .map(|(rank, snak)| match rank.is_empty() {
                true => format!("{{\"mainsnak\":{snak}}}"),
                false => format!("{{\"rank\":\"{rank}\",\"mainsnak\":{snak}}}"),
            })
            .collect();
        entity(&format!(
            "{{\"id\":\"Q1\",\"type\":\"item\",\"claims\":{{\"P1\":[{}]}}}}",
            statements.join(",")
        ))
    }

    fn item(id: &str) -> String {
        format!(
            "{{\"snaktype\":\"value\",\"datavalue\":{{\"type\":\"wikibase-entityid\",\"value\":\
             {{\"entity-type\":\"item\",\"id\":\"{id}\"}}}}}}"
        )
    }

    #[test]
    fn labels_count_in_their_own_language_and_others_may_stand_in() {
        let json = r#"{"type":"item","id":"Q1","labels":{
            "en":{"language":"en","value":" A\t b\u00a0"},
            "zh":{"language":"zh-hant","value":"x"},
            "zh-hans":{"language":"zh-hans","value":"\u5317\/"},
            "de":{"language":"de","value":3}}}"#;
        let found = entity(json);
        assert_eq!(labels(&found), [("en", "A b"), ("zh", "北/")]);
        let counts = &found.counts;
        assert_eq!((counts.labels, counts.fallback_labels, counts.foreign_labels), (2, 1, 1));
        let empty = entity(r#"{"type":"property","id":"P1","labels":[],"claims":[]}"#);
        assert_eq!((empty.kind, empty.labels.len()), (LabelKind::Relation, 0));
        let json = r#"{"id":"Q1","type":"item",
            "labels":{"en":{"language":"en","value":"\ud83d\ude00\ud83d"}}}"#;
        let found = entity(json);
        assert_eq!(labels(&found), [("en", "😀\u{FFFD}")]);
        assert_eq!(found.counts.lone_surrogates, 1);
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let json = r#"{"id":"Q9","id":"Q1","type":"item",
            "labels":{"en":{"language":"en","value":"a"}},
            "labels":{"zh":{"language":"zh","value":"b","value":"c"}}}"#;
        let found = entity(json);
        assert_eq!((found.id.as_str(), labels(&found)), ("Q1", vec![("zh", "c")]));
    }

    #[test]
    fn triples_are_truthy() {
        let some = "{\"snaktype\":\"somevalue\"}".to_owned();
        let all = [item("Q2"), item("Q3"), some];
        let of = |ranks: [&str; 3]| {
            let statements: Vec<(&str, &str)> =
                ranks.into_iter().zip(all.iter().map(String::as_str)).collect();
            let found = with_statements(&statements);
            let tails: Vec<String> = found.triples.iter().map(|(_, tail)| tail.clone()).collect();
            (tails, found.counts)
        };
        assert_eq!(of(["normal", "", "normal"]).0, ["Q2", "Q3"]);
        assert_eq!(of(["normal", "preferred", "normal"]).0, ["Q3"]);
        assert_eq!(of(["deprecated", "normal", ""]).0, ["Q3"]);
        // Rank comes first: a preferred unknown value hides the normal ones.
        let (tails, counts) = of(["normal", "normal", "preferred"]);
        assert!(tails.is_empty());
        assert_eq!((counts.not_preferred, counts.without_value), (2, 1));
        assert_eq!(counts.statements, 3);
    }

    #[test]
    fn tails_are_items() {
        let value = |value: &str| {
            let snak = format!("{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":{value}}}}}");
            with_statements(&[("normal", &snak)]).triples
        };
        let to = |id: &str| vec![("P1".to_owned(), id.to_owned())];
        assert_eq!(value(r#"{"entity-type":"item","numeric-id":9000000000}"#), to("Q9000000000"));
        assert_eq!(value(r#"{"entity-type":"item","numeric-id":5,"id":"Q6"}"#), to("Q6"));
        for other in [
            "\"Q5\"",
            "5",
            "null",
            "[1]",
            r#"{"entity-type":"property","id":"P5"}"#,
            r#"{"entity-type":"lexeme","id":"L5"}"#,
            r#"{"id":"Q5"}"#,
            r#"{"entity-type":"item"}"#,
            r#"{"text":"\ud800","language":"en"}"#,
            "\"\\ud800\"",
        ] {
            assert!(value(other).is_empty(), "{other}");
        }
        let twice = with_statements(&[("normal", &item("Q2")), ("normal", &item("Q2"))]);
        assert_eq!((twice.triples.len(), twice.counts.repeated_triples), (1, 1));
    }

    #[test]
    fn other_lines_are_told_apart() {
        let line = |json: &str| read(json.as_bytes(), &wanted());
        let redirect = Line::Redirect { from: "Q1".into(), to: "Q2".into() };
        assert_eq!(line(r#"{"entity":"Q1","redirect":"Q2"}"#), Ok(redirect));
        assert_eq!(line(r#"{"id":"L1","type":"lexeme"}"#), Ok(Line::Other("lexeme".into())));
        for wrong in ["", "[]", "\"Q1\"", "{", "{\"id\":\"Q1\"", "{} {}", "{\"type\":\"item\"}"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        // What is skipped is skipped without recursion, however deep it goes.
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let deep = format!("{{\"id\":\"L1\",\"type\":\"lexeme\",\"x\":{open}1{close}}}");
        assert_eq!(line(&deep), Ok(Line::Other("lexeme".into())));
        assert!(line(&deep.replace("\"x\"", "\"labels\"")).is_err());
    }
}
