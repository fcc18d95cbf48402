//! Generates a deterministic JSON dump, whose entities have about 10 kB each, as in Wikidata, and
//! the tables of an extract.
use std::fmt::Write as _;
use std::io::{self, Write};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Languages of labels. An item has labels in most of the first 12 languages and in a few of the
/// remaining languages.
const CODES: [&str; 24] = [
    "en", "de", "es", "ar", "hi", "vi", "zh", "fr", "it", "nl", "ru", "ja", "pt", "pl", "sv", "uk",
    "ca", "cs", "fi", "he", "hu", "ko", "tr", "zh-hans",
];
/// Syllables from which labels are built, one list per script.
const SYLLABLES: [&[&str]; 5] = [
    &["ba", "ri", "no", "gel", "stein", "mo", "ta", "lu", "ker", "\u{fc}n"],
    &["\u{628}\u{631}", "\u{644}\u{64a}", "\u{646}\u{627}", "\u{645}\u{62f}", "\u{633}\u{648}"],
    &["\u{915}\u{93e}", "\u{928}\u{940}", "\u{930}\u{94b}", "\u{92e}\u{947}", "\u{932}\u{93e}"],
    &["\u{5317}", "\u{4eac}", "\u{5927}", "\u{5c71}", "\u{5ddd}", "\u{57ce}"],
    &["\u{43c}\u{43e}", "\u{43b}\u{435}", "\u{43d}\u{430}", "\u{432}\u{438}", "\u{440}\u{430}"],
];

/// Value of a statement.
enum Value {
    Item(u32),
    Text(String),
    Time(u32),
}

/// Language, label and description.
type Texts = (&'static str, String, String);

struct Item {
    id: u32,
    texts: Vec<Texts>,
    claims: Vec<(u32, Vec<Value>)>,
}

fn random_text(rng: &mut ChaCha8Rng, code: &str, words: usize) -> String {
    let script = match code {
        "ar" | "he" => 1,
        "hi" => 2,
        "zh" | "zh-hans" | "ja" | "ko" => 3,
        "ru" | "uk" => 4,
        _ => 0,
    };
    let syllables = SYLLABLES[script];
    let word = |rng: &mut ChaCha8Rng| {
        let count = rng.random_range(2..5);
        (0..count).map(|_| syllables[rng.random_range(0..syllables.len())]).collect::<String>()
    };
    (0..words).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

impl Item {
    fn new(id: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(id));
        let mut texts = Vec::new();
        for (at, code) in CODES.into_iter().enumerate() {
            if rng.random_range(0..10) < if at < 12 { 8 } else { 3 } {
                texts.push((code, random_text(&mut rng, code, 2), random_text(&mut rng, code, 6)));
            }
        }
        let count = rng.random_range(6..14);
        let claim = |rng: &mut ChaCha8Rng| {
            let property = rng.random_range(1..2000);
            let values = (0..rng.random_range(1..3)).map(|_| match rng.random_range(0..10) {
                0..4 => Value::Item(rng.random_range(1..1_000_000)),
                4..9 => Value::Text(format!("{:08x}", rng.random::<u32>())),
                _ => Value::Time(rng.random_range(1000..2020)),
            });
            (property, values.collect())
        };
        let claims = (0..count).map(|_| claim(&mut rng)).collect();
        Self { id, texts, claims }
    }

    fn write_json(&self, out: &mut String) {
        let id = self.id;
        let map = |field: for<'t> fn(&'t Texts) -> &'t String| {
            let texts = self.texts.iter().map(|text| {
                let code = text.0;
                format!("\"{code}\":{{\"language\":\"{code}\",\"value\":\"{}\"}}", field(text))
            });
            texts.collect::<Vec<_>>().join(",")
        };
        let (labels, descriptions) = (map(|text| &text.1), map(|text| &text.2));
        let _ = write!(
            out,
            "{{\"type\":\"item\",\"id\":\"Q{id}\",\"labels\":{{{labels}}},\
             \"descriptions\":{{{descriptions}}},\"aliases\":{{}},\"claims\":{{"
        );
        for (at, (property, values)) in self.claims.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(out, "{comma}\"P{property}\":[");
            for (number, value) in values.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                let (kind, value) = match value {
                    Value::Item(item) => (
                        "wikibase-entityid",
                        format!(
                            "{{\"entity-type\":\"item\",\"numeric-id\":{item},\"id\":\"Q{item}\"}}"
                        ),
                    ),
                    Value::Text(text) => ("string", format!("\"{text}\"")),
                    Value::Time(year) => (
                        "time",
                        format!("{{\"time\":\"+{year}-01-01T00:00:00Z\",\"precision\":9}}"),
                    ),
                };
                let hash = format!("{:040x}", u128::from(id) * 0x9E37_79B9_7F4A_7C15);
                let _ = write!(
                    out,
                    "{comma}{{\"mainsnak\":{{\"snaktype\":\"value\",\"property\":\"P{property}\",\
                     \"datavalue\":{{\"value\":{value},\"type\":\"{kind}\"}},\"datatype\":\"{kind}\"}},\
                     \"type\":\"statement\",\"id\":\"Q{id}${hash}\",\"rank\":\"normal\",\
                     \"references\":[{{\"hash\":\"{hash}\",\"snaks\":{{\"P143\":[{{\"snaktype\":\
                     \"value\",\"property\":\"P143\",\"hash\":\"{hash}\",\"datavalue\":{{\"value\":\
                     {{\"entity-type\":\"item\",\"numeric-id\":328,\"id\":\"Q328\"}},\"type\":\
                     \"wikibase-entityid\"}},\"datatype\":\"wikibase-item\"}}]}},\"snaks-order\":\
                     [\"P143\"]}}]}}"
                );
            }
            out.push(']');
        }
        out.push_str("},\"sitelinks\":{");
        for (at, (code, label, _)) in self.texts.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}\"{code}wiki\":{{\"site\":\"{code}wiki\",\"title\":\"{label}\",\"badges\":[]}}"
            );
        }
        out.push_str("},\"lastrevid\":1}");
    }
}

/// Writes a dump of `items` items and returns its number of bytes.
pub fn write_dump(items: u32, out: &mut impl Write) -> io::Result<u64> {
    let (mut bytes, mut line) = (0, String::new());
    for id in 1..=items {
        line.clear();
        line.push_str(if id == 1 { "[\n" } else { "" });
        Item::new(id).write_json(&mut line);
        line.push_str(if id == items { "\n]\n" } else { ",\n" });
        out.write_all(line.as_bytes())?;
        bytes += line.len() as u64;
    }
    Ok(bytes)
}

/// Writes `triples.tsv` and `labels.tsv` with up to five triples per item. An item has a label in
/// each of seven languages with probability 0.8.
pub fn write_kg(items: u32, triples: &mut impl Write, labels: &mut impl Write) -> io::Result<()> {
    writeln!(triples, "head_id\trelation_id\ttail_id")?;
    writeln!(labels, "id\tlang\tlabel\tkind")?;
    let mut sorted_codes = CODES[..7].to_vec();
    sorted_codes.sort_unstable();
    let mut ids: Vec<String> = (1..=items).map(|id| format!("Q{id}")).collect();
    ids.extend((1..=500).map(|id| format!("P{id}")));
    ids.sort_unstable();
    for (at, id) in ids.iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(at as u64);
        let is_item = id.starts_with('Q');
        for code in &sorted_codes {
            if !is_item || rng.random_range(0..5) < 4 {
                let kind = if is_item { "entity" } else { "relation" };
                writeln!(labels, "{id}\t{code}\t{}\t{kind}", random_text(&mut rng, code, 2))?;
            }
        }
        let mut rows: Vec<String> = Vec::new();
        for _ in 0..if is_item { 5 } else { 0 } {
            // Relations with small numbers are drawn most often, so that most triples have one of a
            // few relations.
            let relation = 1 + 499 / rng.random_range(1..500);
            rows.push(format!("{id}\tP{relation}\tQ{}\n", rng.random_range(1..=items)));
        }
        rows.sort_unstable();
        rows.dedup();
        rows.iter().try_for_each(|row| triples.write_all(row.as_bytes()))?;
    }
    Ok(())
}
