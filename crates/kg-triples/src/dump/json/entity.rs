//! Parsing of one line of a dump.
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};

use super::values::{
    FromEntries, ObjectList, ObjectSeed, Rank, RawString, Statement, Tail, VisitEntries,
    read_selected,
};
use crate::LabelKind;
use crate::dump::counts::EntityCounts;
use crate::dump::entity::{Entity, is_id};
use crate::dump::requested::Requested;
use crate::dump::table::DumpTable;
use crate::dump::texts::EntityTexts;

/// Parsed content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Entity(Box<Entity>),
    Redirect {
        from: String,
        to: String,
    },
    /// An entity of another type, such as `lexeme`.
    Other(String),
}

/// Parses one line, which must not end with a comma. The error is the reason why the line is
/// invalid.
pub(super) fn parse_line(line: &[u8], requested: &Requested) -> Result<Line, String> {
    if line.first() != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    let text = std::str::from_utf8(line).map_err(|error| format!("invalid UTF-8: {error}"))?;
    // JSON does not allow control characters in strings, but `serde_json` accepts them if a string
    // is read as bytes. The line is therefore also parsed without reading bytes.
    if line.iter().any(u8::is_ascii_control) {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    }
    let mut visitor = EntityVisitor { requested, fields: EntityFields::default() };
    let mut json = serde_json::Deserializer::from_str(text);
    let result = ObjectSeed(&mut visitor).deserialize(&mut json).and_then(|()| json.end());
    result.map_err(|error| error.to_string())?;
    visitor.fields.into_line(requested)
}

/// Reads the fields of an entity or redirect.
struct EntityVisitor<'w> {
    requested: &'w Requested,
    fields: EntityFields,
}

/// The values that [`EntityVisitor`] reads. Labels, descriptions, aliases, sitelinks and claims are
/// read only if the table that contains them is requested.
#[derive(Default)]
struct EntityFields {
    id: Option<String>,
    kind: Option<String>,
    entity: Option<String>,
    redirect: Option<String>,
    texts: EntityTexts,
    claims: BTreeMap<String, ObjectList<Statement>>,
}

impl EntityFields {
    fn into_line(self, requested: &Requested) -> Result<Line, String> {
        if let (Some(from), Some(to)) = (&self.entity, &self.redirect) {
            return match is_id(from) && is_id(to) {
                true => Ok(Line::Redirect { from: from.clone(), to: to.clone() }),
                false => Err(format!("invalid redirect from {from:?} to {to:?}")),
            };
        }
        let id = self.id.clone().ok_or("no id")?;
        if !is_id(&id) {
            return Err(format!("invalid id {id:?}"));
        }
        let kind = match self.kind.as_deref() {
            Some("item") => LabelKind::Entity,
            Some("property") => LabelKind::Relation,
            other => return Ok(Line::Other(other.unwrap_or("without a type").to_owned())),
        };
        let mut entity = Entity { id, kind, ..Entity::default() };
        entity.add_texts(&self.texts, requested)?;
        // Only statements of items are facts.
        if kind == LabelKind::Entity {
            let triples = truthy_triples(self.claims, &mut entity.counts);
            entity.set_triples(triples);
        }
        Ok(Line::Entity(Box::new(entity)))
    }
}

/// Returns the relation and tail of each statement of an item, from its truthy statements. These are
/// the preferred statements of a property, or its normal statements if none is preferred.
/// Statements are selected by rank before their values are checked.
fn truthy_triples(
    claims: BTreeMap<String, ObjectList<Statement>>,
    counts: &mut EntityCounts,
) -> Vec<(String, String)> {
    let mut triples = Vec::new();
    let claims = claims.into_iter().filter_map(|(property, list)| Some((property, list?)));
    for (property, statements) in claims {
        let has_preferred =
            statements.iter().any(|FromEntries(statement)| statement.rank == Rank::Preferred);
        for FromEntries(Statement { rank, tail }) in statements {
            counts.statements += 1;
            match (rank, has_preferred) {
                (Rank::Deprecated, _) => counts.deprecated += 1,
                (Rank::Normal, true) => counts.not_preferred += 1,
                _ => match tail {
                    Tail::Unknown => counts.without_value += 1,
                    Tail::Item(tail) if is_id(&property) => {
                        triples.push((property.clone(), tail));
                    }
                    _ => counts.other_values += 1,
                },
            }
        }
    }
    triples
}

impl<'de> VisitEntries<'de> for EntityVisitor<'_> {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let to_text = |raw: RawString<'_>| raw.text().map(str::to_owned);
        let requested = self.requested;
        let fields = &mut self.fields;
        let code_number = |code: &str| requested.code_number(code);
        match key {
            "id" => fields.id = to_text(map.next_value()?),
            "type" => fields.kind = to_text(map.next_value()?),
            "entity" => fields.entity = to_text(map.next_value()?),
            "redirect" => fields.redirect = to_text(map.next_value()?),
            "labels" if requested.has_table(DumpTable::Labels) => {
                fields.texts.labels = read_selected(map, &code_number)?;
            }
            "descriptions" if requested.has_table(DumpTable::Descriptions) => {
                let number = |code: &str| requested.description_number(code);
                fields.texts.descriptions = read_selected(map, &number)?;
            }
            "aliases" if requested.has_table(DumpTable::Aliases) => {
                fields.texts.aliases = read_selected(map, &code_number)?;
            }
            "sitelinks" if requested.has_table(DumpTable::Sitelinks) => {
                fields.texts.sitelinks = read_selected(map, &|site| requested.site_number(site))?;
            }
            "claims" if requested.has_table(DumpTable::Triples) => {
                fields.claims = read_selected(map, &|property| Some(property.to_owned()))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Language;
    use crate::dump::ExtractConfig;

    fn requested() -> Requested {
        let [en, zh, zh_hans] = ["en", "zh", "zh-hans"].map(|code| Language::new(code).unwrap());
        Requested::new(&ExtractConfig {
            languages: vec![en, zh],
            fallback: vec![(zh, vec![zh_hans])],
            tables: DumpTable::ALL.to_vec(),
            ..ExtractConfig::default()
        })
    }

    fn entity(json: &str) -> Entity {
        match parse_line(json.as_bytes(), &requested()) {
            Ok(Line::Entity(entity)) => *entity,
            other => panic!("{other:?}"),
        }
    }

    fn labels(entity: &Entity) -> Vec<(&str, &str)> {
        entity.labels.iter().map(|term| (term.language.as_str(), term.text.as_str())).collect()
    }

    /// An item whose property `P1` has these statements (rank and main snak).
    fn item_with(statements: &[(&str, &str)]) -> Entity {
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

    fn item_snak(id: &str) -> String {
        format!(
            "{{\"snaktype\":\"value\",\"datavalue\":{{\"type\":\"wikibase-entityid\",\"value\":\
             {{\"entity-type\":\"item\",\"id\":\"{id}\"}}}}}}"
        )
    }

    #[test]
    fn labels_must_match_their_key_or_come_from_a_fallback() {
        let json = r#"{"type":"item","id":"Q1","labels":{
            "en":{"language":"en","value":" A\t b\u00a0"},
            "zh":{"language":"zh-hant","value":"x"},
            "zh-hans":{"language":"zh-hans","value":"\u5317\/"},
            "de":{"language":"de","value":3}}}"#;
        let parsed = entity(json);
        assert_eq!(labels(&parsed), [("en", "A b"), ("zh", "北/")]);
        let counts = &parsed.counts;
        assert_eq!((counts.labels, counts.variant_labels, counts.foreign_labels), (2, 1, 1));
        assert_eq!((counts.fallback_labels, counts.mul_labels), (0, 0));
        let property = entity(r#"{"type":"property","id":"P1","labels":[],"claims":[]}"#);
        assert_eq!((property.kind, property.labels.len()), (LabelKind::Relation, 0));
        let json = r#"{"id":"Q1","type":"item",
            "labels":{"en":{"language":"en","value":"\ud83d\ude00\ud83d"}}}"#;
        let parsed = entity(json);
        assert_eq!(labels(&parsed), [("en", "😀\u{FFFD}")]);
        assert_eq!(parsed.counts.lone_surrogates, 1);
    }

    #[test]
    fn the_last_value_of_a_duplicate_key_is_used() {
        let json = r#"{"id":"Q9","id":"Q1","type":"item",
            "labels":{"en":{"language":"en","value":"a"}},
            "labels":{"zh":{"language":"zh","value":"b","value":"c"}}}"#;
        let parsed = entity(json);
        assert_eq!((parsed.id.as_str(), labels(&parsed)), ("Q1", vec![("zh", "c")]));
    }

    #[test]
    fn only_truthy_statements_become_triples() {
        let unknown_value = "{\"snaktype\":\"somevalue\"}".to_owned();
        let snaks = [item_snak("Q2"), item_snak("Q3"), unknown_value];
        let truthy_tails = |ranks: [&str; 3]| {
            let statements: Vec<(&str, &str)> =
                ranks.into_iter().zip(snaks.iter().map(String::as_str)).collect();
            let parsed = item_with(&statements);
            let tails: Vec<String> = parsed.triples.iter().map(|(_, tail)| tail.clone()).collect();
            (tails, parsed.counts)
        };
        assert_eq!(truthy_tails(["normal", "", "normal"]).0, ["Q2", "Q3"]);
        assert_eq!(truthy_tails(["normal", "preferred", "normal"]).0, ["Q3"]);
        assert_eq!(truthy_tails(["deprecated", "normal", ""]).0, ["Q3"]);
        // A preferred statement with an unknown value excludes the normal statements, because
        // statements are selected by rank first.
        let (tails, counts) = truthy_tails(["normal", "normal", "preferred"]);
        assert!(tails.is_empty());
        assert_eq!((counts.not_preferred, counts.without_value), (2, 1));
        assert_eq!(counts.statements, 3);
    }

    #[test]
    fn only_items_become_tails() {
        let triples = |value: &str| {
            let snak = format!("{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":{value}}}}}");
            item_with(&[("normal", &snak)]).triples
        };
        let to = |id: &str| vec![("P1".to_owned(), id.to_owned())];
        assert_eq!(triples(r#"{"entity-type":"item","numeric-id":9000000000}"#), to("Q9000000000"));
        assert_eq!(triples(r#"{"entity-type":"item","numeric-id":5,"id":"Q6"}"#), to("Q6"));
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
            assert!(triples(other).is_empty(), "{other}");
        }
        let duplicates = item_with(&[("normal", &item_snak("Q2")), ("normal", &item_snak("Q2"))]);
        assert_eq!((duplicates.triples.len(), duplicates.counts.repeated_triples), (1, 1));
    }

    #[test]
    fn redirects_and_other_entity_types_are_parsed() {
        let line = |json: &str| parse_line(json.as_bytes(), &requested());
        let redirect = Line::Redirect { from: "Q1".into(), to: "Q2".into() };
        assert_eq!(line(r#"{"entity":"Q1","redirect":"Q2"}"#), Ok(redirect));
        assert_eq!(line(r#"{"id":"L1","type":"lexeme"}"#), Ok(Line::Other("lexeme".into())));
        for wrong in ["", "[]", "\"Q1\"", "{", "{\"id\":\"Q1\"", "{} {}", "{\"type\":\"item\"}"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        // Values are skipped without recursion, so deep nesting cannot overflow the stack.
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let nested_json = format!("{{\"id\":\"L1\",\"type\":\"lexeme\",\"x\":{open}1{close}}}");
        assert_eq!(line(&nested_json), Ok(Line::Other("lexeme".into())));
        assert!(line(&nested_json.replace("\"x\"", "\"labels\"")).is_err());
    }
}
