//! Tests of names as Wikidata stores them: in `mul`, variants and fallback languages; and of site
//! codes.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kg_triples::dump::{ExtractConfig, ExtractReport};
use kg_triples::jsonl::JsonlWriter;
use kg_triples::{KnowledgeGraph, LabelSource};
use tempfile::tempdir;

use crate::common::{expect_errors, failure, has_row, language, linked_text, read, run, stdout};
use kg_triples::entity_linking::LinkedText;

fn case(name: &str) -> PathBuf {
    testkit::fixture("wikidata").join(name)
}

/// Runs `extract` on a case with further arguments. The output folder is `kg`.
fn extract(dir: &Path, name: &str, arguments: &str) -> (String, ExtractReport) {
    let dump = case(name);
    let output =
        run(dir, &format!("extract --dump {} {arguments} --restart --out kg", dump.display()));
    let report = fs::read_to_string(dir.join("kg/extract.json")).unwrap();
    (stdout(&output), serde_json::from_str(&report).unwrap())
}

/// Returns the rows of a table without its header.
fn rows(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_name_that_is_only_in_mul_is_a_label_of_languages_in_its_script() {
    let dir = tempdir().unwrap();
    let (table, report) = extract(dir.path(), "mul-minimal.json", "--languages en,de,zh,ar");
    let labels = rows(&dir.path().join("kg/labels.tsv"));
    let expected = [
        "Q990001\tde\tIlse Brandvoort\tentity\tmul",
        "Q990001\ten\tIlse Brandvoort\tentity\tmul",
        "Q990001\tzh\t伊尔泽·布兰德福特\tentity\tlanguage",
    ];
    assert_eq!(labels[3..6], expected);
    assert!(has_row(&table, "labels language variant fallback mul unused mul"), "{table}");
    assert!(has_row(&table, "ar 0 0 0 0 1") && has_row(&table, "de 2 0 0 1 0"), "{table}");
    assert!(has_row(&table, "labels of mul 2"), "{table}");
    assert_eq!(report.label_sources[&language("ar")].unused_mul, 1);
    let stats = stdout(&run(dir.path(), "stats --in kg"));
    assert!(has_row(&stats, "de 2 0 0 1 0") && has_row(&stats, "zh 3 0 0 0 0"), "{stats}");

    // The fact has labels in three languages, one of them in `mul`.
    let sampled = stdout(&run(dir.path(), "sample --kg kg --languages en,de,zh --out sampled"));
    assert!(has_row(&sampled, "available 1") && has_row(&sampled, "en 2 0 0 1"), "{sampled}");
    let graph = KnowledgeGraph::read_dir(dir.path().join("sampled")).unwrap();
    assert_eq!(graph.label("Q990001", "de"), Some("Ilse Brandvoort"));
    assert_eq!(graph.label_sources()[&language("de")].mul, 1);
    expect_errors(
        dir.path(),
        "sample --kg kg --languages en,de,zh",
        &[
            (
                "--label-sources language,variant",
                "triples with labels in all of en, de, zh: no data",
            ),
            ("--label-sources native", "native"),
        ],
    );
}

#[test]
fn mul_is_used_in_any_script_on_request_and_never_with_the_exact_lookup() {
    let dir = tempdir().unwrap();
    for (arguments, count, unused, has_source) in [
        ("--languages ar", 0, 1, true),
        ("--languages ar --mul any-script", 1, 0, true),
        ("--languages ar --fallback ar=mul", 1, 0, true),
        ("--languages ar --fallback ar=hi", 0, 1, true),
        ("--languages ar --lookup exact", 0, 1, false),
        ("--languages de --lookup exact", 0, 1, false),
        ("--languages de --lookup exact --fallback de=mul", 1, 0, false),
        ("--languages qqx", 0, 1, true),
        ("--languages mul", 1, 0, true),
    ] {
        let (_, report) = extract(dir.path(), "mul-minimal.json", arguments);
        let labels = fs::read_to_string(dir.path().join("kg/labels.tsv")).unwrap();
        let names = labels.matches("Ilse Brandvoort").count();
        assert_eq!(names, count, "{arguments}: {labels}");
        let unused_mul = report.label_sources.values().next().unwrap().unused_mul;
        assert_eq!(unused_mul, unused, "{arguments}");
        let header = labels.lines().next().unwrap();
        assert_eq!(header.ends_with("\tsource"), has_source, "{arguments}: {header}");
    }
    let dump = case("mul-minimal.json");
    let unknown = run(
        dir.path(),
        &format!("extract --dump {} --languages qqx --restart --out kg", dump.display()),
    );
    let note = String::from_utf8(unknown.stderr).unwrap();
    assert!(note.contains("note: the scripts of qqx are unknown"), "{note}");
    for (arguments, expected) in [
        ("--languages en,ar --fallback hi=mul", "fallback = hi=…: must be fallback languages of a"),
        ("--languages en --lookup exact --mul any-script", "mul = any_script: must be omitted"),
    ] {
        let dump = dump.display();
        let output = run(dir.path(), &format!("extract --dump {dump} {arguments} --out new"));
        let error = failure(&output);
        assert!(error.contains(expected), "{error}");
        assert!(!dir.path().join("new").exists());
    }
}

/// `lookup.tsv` contains, for 20 entities in 12 languages, what Wikidata's interface shows by its
/// rule (worked out by hand from Wikibase's list of fallback languages), and what `extract` writes.
#[test]
fn labels_are_the_ones_that_wikidata_shows() {
    let dir = tempdir().unwrap();
    let codes = "en,de,es,ar,hi,vi,zh,zh-hans,zh-tw,sr-el,en-gb,pt-br";
    extract(dir.path(), "lookup.jsonl", &format!("--languages {codes} --tables labels"));
    let mut extracted = BTreeMap::new();
    for row in rows(&dir.path().join("kg/labels.tsv")) {
        let cells: Vec<String> = row.split('\t').map(str::to_owned).collect();
        extracted
            .insert([cells[0].clone(), cells[1].clone()], [cells[2].clone(), cells[4].clone()]);
    }
    let (mut equal, mut unconverted, mut omitted) = (0, 0, 0);
    let expected = rows(&case("lookup.tsv"));
    assert_eq!(expected.len(), 20 * 12);
    for row in expected {
        let cells: Vec<&str> = row.split('\t').collect();
        let [id, code, shown, label, source] = cells[..] else { panic!("{row}") };
        let found = extracted.get(&[id.to_owned(), code.to_owned()]);
        let missing = ["-".to_owned(), "-".to_owned()];
        let found = found.unwrap_or(&missing);
        assert_eq!([&*found[0], &*found[1]], [label, source], "{id} {code}");
        match (shown, label) {
            _ if shown == label => equal += 1,
            // English, the last resort of the interface, or a name of `mul` in another script.
            (_, "-") => omitted += 1,
            // The interface converts variants to the script of the language.
            _ => unconverted += 1,
        }
    }
    assert_eq!((equal, unconverted, omitted), (134, 4, 102));
}

#[test]
fn sitelinks_have_the_codes_of_the_labels() {
    let dir = tempdir().unwrap();
    let codes = "nb,yue,nan,lzh,be-tarask,gsw,sgs,vro,rup,en";
    let tables = "--tables labels,sitelinks";
    extract(dir.path(), "sitelinks-today.jsonl", &format!("--languages {codes} {tables}"));
    let first_two = |name: &str| -> Vec<String> {
        let rows = rows(&dir.path().join(format!("kg/{name}.tsv")));
        rows.iter().map(|row| row.split('\t').take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let labels = first_two("labels");
    assert_eq!(labels.len(), 10);
    assert_eq!(first_two("sitelinks"), labels);

    // Site codes have the labels of their language, and the site.
    let sites = "no,zh-yue,zh-min-nan,zh-classical,be-x-old,als,bat-smg,fiu-vro,roa-rup,en";
    extract(dir.path(), "sitelinks-today.jsonl", &format!("--languages {sites} {tables}"));
    assert_eq!(first_two("labels").len(), 10);
    assert_eq!(first_two("sitelinks"), first_two("labels"));
    let labels = rows(&dir.path().join("kg/labels.tsv"));
    assert!(labels.contains(&"Q995001\tno\tbukt\tentity\tlanguage".to_owned()), "{labels:?}");
}

#[test]
fn links_of_a_wikipedia_are_found_under_each_of_its_codes() {
    let dir = tempdir().unwrap();
    let page =
        r#"{"id":"1","title":"Bukt","text":"en <a href=\"Bukt\">bukt</a> <a href=\"X\">x</a>"}"#;
    fs::write(dir.path().join("nowiki.jsonl"), page).unwrap();
    for (table_code, code) in [("nb", "nb"), ("no", "nb"), ("nb", "no"), ("no", "no")] {
        let table = format!("id\tlang\ttitle\nQ1\t{table_code}\tBukt\n");
        fs::write(dir.path().join("sitelinks.tsv"), table).unwrap();
        let arguments =
            format!("link --wiki {code}=nowiki.jsonl --sitelinks sitelinks.tsv --out linked.jsonl");
        let table = stdout(&run(dir.path(), &arguments));
        assert!(has_row(&table, &format!("{code} 1 1 0 1")), "{table}");
        let texts: Vec<LinkedText> = read(dir.path().join("linked.jsonl"));
        assert_eq!(texts[0].language, code);
        assert_eq!(texts[0].mentions.len(), 1);
        fs::remove_file(dir.path().join("linked.jsonl")).unwrap();
    }
    fs::write(dir.path().join("sitelinks.tsv"), "id\tlang\ttitle\nQ1\tde\tBucht\n").unwrap();
    expect_errors(
        dir.path(),
        "link",
        &[(
            "--wiki de=nowiki.jsonl,nb=nowiki.jsonl --sitelinks sitelinks.tsv",
            "titles in nb in sitelinks.tsv: no data; the table has titles in: de; add",
        )],
    );
}

#[test]
fn escaped_titles_lead_to_entities() {
    let dir = tempdir().unwrap();
    let wiki = case("dewiki-extracted.jsonl");
    let sitelinks = case("sitelinks.tsv");
    let arguments = format!(
        "link --wiki de={} --sitelinks {} --out linked.jsonl",
        wiki.display(),
        sitelinks.display()
    );
    let table = stdout(&run(dir.path(), &arguments));
    assert!(has_row(&table, "de 1 7 0 1"), "{table}");
    let texts: Vec<LinkedText> = read(dir.path().join("linked.jsonl"));
    assert_eq!(texts[0].entity.as_deref(), Some("Q990601"));
    let entities: Vec<_> = texts[0].mentions.iter().map(|m| m.entity.as_str()).collect();
    let expected = ["Q990101", "Q990602", "Q990603", "Q990101", "Q990104", "Q990101", "Q990604"];
    assert_eq!(entities, expected);
}

/// These cases are read as before names were stored in `mul`.
#[test]
fn unusual_entities_are_read_and_other_formats_are_rejected() {
    let dir = tempdir().unwrap();
    let (_, report) = extract(dir.path(), "edge.json", "--languages en,de,nb --lookup exact");
    assert_eq!((report.items, report.properties, report.redirects), (5, 2, 1));
    assert_eq!(report.bad_lines, 0);
    assert_eq!(report.others, BTreeMap::from([("lexeme".to_owned(), 1)]));
    let counts = &report.counts;
    assert_eq!((counts.triples, counts.statements, counts.deprecated), (2, 12, 1));
    assert_eq!((counts.without_value, counts.not_preferred, counts.other_values), (2, 1, 6));
    let triples = rows(&dir.path().join("kg/triples.tsv"));
    assert_eq!(triples, ["Q991004\tP9906\tQ991003", "Q991004\tP9906\tQ991005"]);

    let (_, report) = extract(dir.path(), "nodatatype.jsonl", "--languages en");
    assert_eq!((report.items, report.counts.triples, report.counts.other_values), (1, 1, 1));

    let (_, report) = extract(dir.path(), "api-fallback.jsonl", "--languages en,de,zh");
    assert_eq!((report.counts.labels, report.counts.foreign_labels), (3, 3));

    let dump = case("odd-lines.jsonl");
    let arguments = format!("extract --dump {} --languages en,de --out new", dump.display());
    let error = failure(&run(dir.path(), &arguments));
    assert!(error.contains("not a Wikidata dump"), "{error}");
}

#[test]
fn aliases_of_mul_are_linked_and_counted_as_names() {
    let dir = tempdir().unwrap();
    let item = |id: &str, labels: &str, aliases: &str| {
        format!("{{\"type\":\"item\",\"id\":\"{id}\",\"labels\":{labels},\"aliases\":{aliases}}}")
    };
    let text =
        |code: &str, value: &str| format!("{{\"language\":\"{code}\",\"value\":\"{value}\"}}");
    let lines = [
        item(
            "Q1",
            &format!("{{\"mul\":{}}}", text("mul", "Kestrel Bight")),
            &format!(
                "{{\"mul\":[{},{}],\"de\":[{}]}}",
                text("mul", "The Bight"),
                text("mul", "Moor"),
                text("de", "Turmfalkenbucht")
            ),
        ),
        item("Q2", &format!("{{\"de\":{}}}", text("de", "Moor")), "[]"),
    ];
    fs::write(dir.path().join("dump.jsonl"), lines.join("\n")).unwrap();
    let arguments = "--languages de,ar --tables labels,aliases --out kg";
    stdout(&run(dir.path(), &format!("extract --dump dump.jsonl {arguments}")));
    let aliases = rows(&dir.path().join("kg/aliases.tsv"));
    let expected = [
        "Q1\tde\tMoor\tentity\tmul",
        "Q1\tde\tThe Bight\tentity\tmul",
        "Q1\tde\tTurmfalkenbucht\tentity\tlanguage",
    ];
    assert_eq!(aliases, expected);

    // `Moor` is the label of another entity and therefore not used as an alias.
    fs::create_dir(dir.path().join("pages")).unwrap();
    let page = |id: &str, label: &str, extract: &str| {
        format!("{{\"id\":\"{id}\",\"label\":\"{label}\",\"extract\":\"{extract}\"}}\n")
    };
    let pages = page("Q1", "Kestrel Bight", "Am Moor.")
        + &page("Q2", "Moor", "Bei The Bight und Turmfalkenbucht.");
    fs::write(dir.path().join("pages/entities.de.jsonl"), pages).unwrap();
    for (aliases, expected) in [("", 1), ("--aliases kg/aliases.tsv", 3)] {
        let arguments = format!("link --entities pages {aliases} --out linked.jsonl");
        let table = stdout(&run(dir.path(), &arguments));
        assert!(has_row(&table, &format!("de 2 {expected}")), "{table}");
    }

    let candidates = r#"{"entity":"Q1","lang":"de","name":"the bight","source":"mt:en"}"#;
    fs::write(dir.path().join("candidates.jsonl"), candidates).unwrap();
    let arguments = "names --labels kg/labels.tsv --aliases kg/aliases.tsv --candidates \
                     candidates.jsonl --out names.tsv";
    stdout(&run(dir.path(), arguments));
    assert_eq!(rows(&dir.path().join("names.tsv")), ["Q1\tde\tThe Bight\tentity"]);
}

/// Names of the entities in the test below, by script.
const NAMES: [(&str, &str, &str, &str); 4] = [
    ("Ilse", "إلسه", "इल्से", "伊尔泽"),
    ("Bram", "برام", "ब्राम", "布拉姆"),
    ("Odo", "أودو", "ओडो", "奥多"),
    ("Runa", "رونا", "रूना", "鲁娜"),
];

/// Returns a dump of 44 items, 3 properties and 65 facts. Before 2025 (`with_mul` unset), every
/// label is stored under its language. Today, a Latin name that several languages share is stored
/// in `mul` alone.
fn dump_in_both_forms(with_mul: bool) -> String {
    let label = |code: &str, text: &str| {
        format!("\"{code}\":{{\"language\":\"{code}\",\"value\":\"{text}\"}}")
    };
    let mut lines = Vec::new();
    for id in 1..=44_u32 {
        let (latin, arabic, hindi, chinese) = NAMES[id as usize % 4];
        let latin = format!("{latin} {}", ["Moor", "Lys", "Fjord", "Haven"][id as usize / 4 % 4]);
        let latin = format!("{latin} {}", ["I", "II", "III", "IV", "V"][id as usize / 16 % 5]);
        let mut labels = vec![
            label("ar", &format!("{arabic} {id}")),
            label("hi", &format!("{hindi} {id}")),
            label("zh", &format!("{chinese}{id}")),
        ];
        // Every third item has a different German name, every fifth one a different Vietnamese one.
        let own = |code: &str| match code {
            "de" if id % 3 == 0 => format!("{latin} (Ort)"),
            "vi" if id % 5 == 0 => format!("{latin} (làng)"),
            _ => latin.clone(),
        };
        for code in ["en", "de", "es", "vi"] {
            let name = own(code);
            if !with_mul || name != latin {
                labels.push(label(code, &name));
            }
        }
        if with_mul {
            labels.push(label("mul", &latin));
        }
        let mut claims: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for offset in 1..=if id <= 21 { 2 } else { 1 } {
            let tail = (id + 7 * offset) % 44 + 1;
            claims.entry(1 + id % 3).or_default().push(format!(
                "{{\"mainsnak\":{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":\
                 {{\"entity-type\":\"item\",\"id\":\"Q{tail}\"}}}}}},\"rank\":\"normal\"}}"
            ));
        }
        let claims: Vec<String> = claims
            .into_iter()
            .map(|(property, statements)| format!("\"P{property}\":[{}]", statements.join(",")))
            .collect();
        lines.push(format!(
            "{{\"type\":\"item\",\"id\":\"Q{id}\",\"labels\":{{{}}},\"claims\":{{{}}}}}",
            labels.join(","),
            claims.join(",")
        ));
    }
    for (id, names) in [
        ("P1", ["near", "nahe", "cerca de", "gần", "قرب", "निकट", "靠近"]),
        ("P2", ["part of", "Teil von", "parte de", "phần của", "جزء من", "का भाग", "属于"]),
        ("P3", ["seat", "Sitz", "sede", "trụ sở", "مقر", "मुख्यालय", "总部"]),
    ] {
        let codes = ["en", "de", "es", "vi", "ar", "hi", "zh"];
        let labels = codes.into_iter().zip(names).map(|(code, name)| label(code, name));
        let labels: Vec<String> = labels.collect();
        let labels = labels.join(",");
        lines.push(format!("{{\"type\":\"property\",\"id\":\"{id}\",\"labels\":{{{labels}}}}}"));
    }
    lines.join("\n")
}

#[test]
fn both_forms_of_names_give_equal_facts_and_training_data() {
    let dir = tempdir().unwrap();
    let mut outputs = Vec::new();
    let languages = "en,de,es,ar,hi,vi,zh";
    for (form, with_mul) in [("2023", false), ("today", true)] {
        let folder = dir.path().join(form);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("dump.jsonl"), dump_in_both_forms(with_mul)).unwrap();
        let extracted = stdout(&run(
            &folder,
            &format!("extract --dump dump.jsonl --languages {languages} --out kg"),
        ));
        assert!(has_row(&extracted, "triples 65"), "{extracted}");
        let expected = if with_mul { "en 3 0 0 44 0" } else { "en 47 0 0 0 0" };
        assert!(has_row(&extracted, expected), "{extracted}");
        let sampled = stdout(&run(
            &folder,
            &format!("sample --kg kg --languages {languages} --count 40 --out sampled"),
        ));
        assert!(has_row(&sampled, "available 65") && has_row(&sampled, "sampled 40"), "{sampled}");
        let tokenizer = testkit::fixture("tokenizer.json");
        let mixed = stdout(&run(
            &folder,
            &format!(
                "mix --in sampled --tokenizer {} --pairs en-de,en-zh --out mixed.jsonl",
                tokenizer.display()
            ),
        ));
        stdout(&run(&folder, "texts --in sampled --out texts"));
        stdout(&run(&folder, "pairs --kg sampled --out pairs.jsonl"));
        let entailment = format!(
            "entailment --kg sampled --synthetic --tokenizer {} --out entailment.jsonl",
            tokenizer.display()
        );
        stdout(&run(&folder, &entailment));
        let mut texts = JsonlWriter::create(folder.join("texts.jsonl")).unwrap();
        for id in 1..=44 {
            let (text, entity) = (format!("They visited place{id} once."), format!("Q{id}"));
            let text = linked_text("en", &text, &[(&format!("place{id}"), &entity)]);
            texts.write(&LinkedText { id: format!("t{id}"), ..text }).unwrap();
        }
        texts.finish().unwrap();
        let switched = stdout(&run(
            &folder,
            "switch --texts texts.jsonl --labels kg/labels.tsv --count 6 --out switched.jsonl",
        ));
        assert!(has_row(&switched, "switched 44"), "{switched}");
        let triples = fs::read(folder.join("sampled/triples.tsv")).unwrap();
        let labels: Vec<String> = rows(&folder.join("sampled/labels.tsv"))
            .iter()
            .map(|row| row.rsplit_once('\t').unwrap().0.to_owned())
            .collect();
        let sequences = fs::read(folder.join("mixed.jsonl")).unwrap();
        let switched_texts = fs::read(folder.join("switched.jsonl")).unwrap();
        let plain = fs::read(folder.join("texts/train/triples.vi.txt")).unwrap();
        let examples = ["pairs.jsonl", "entailment.jsonl"];
        let examples = examples.map(|name| fs::read(folder.join(name)).unwrap());
        let tables = (mixed, switched);
        outputs.push((triples, labels, tables, sequences, switched_texts, plain, examples));
    }
    assert_eq!(outputs[0], outputs[1]);

    // The labels as entered are not enough today.
    let folder = dir.path().join("today");
    let arguments =
        format!("extract --dump dump.jsonl --languages {languages} --lookup exact --out exact");
    stdout(&run(&folder, &arguments));
    let error =
        failure(&run(&folder, &format!("sample --kg exact --languages {languages} --out e")));
    assert!(error.contains("65 lack a label of the head"), "{error}");
}

#[test]
fn sources_are_required_to_select_them() {
    let dir = crate::common::countries_folder();
    expect_errors(
        dir.path(),
        "sample --kg kg --languages en,de",
        &[("--label-sources language", "all sources if labels.tsv has no column `source`")],
    );
    let labels = fs::read_to_string(dir.path().join("kg/labels.tsv")).unwrap();
    let (header, rest) = labels.split_once('\n').unwrap();
    let rest: String = rest.lines().map(|line| format!("{line}\tmul\n")).collect();
    fs::write(dir.path().join("kg/labels.tsv"), format!("{header}\tsource\n{rest}")).unwrap();
    let graph = KnowledgeGraph::read_dir(dir.path().join("kg")).unwrap();
    assert!(graph.has_label_sources());
    assert!(graph.label_sources().values().all(|counts| counts.language == 0));
    assert_eq!(LabelSource::ALL.map(LabelSource::name)[3], "mul");
    let wrong = rest.replacen("\tmul\n", "\tenglish\n", 1);
    fs::write(dir.path().join("kg/labels.tsv"), format!("{header}\tsource\n{wrong}")).unwrap();
    let error = failure(&run(dir.path(), "sample --kg kg --languages en,de --out out"));
    assert!(error.contains("kg/labels.tsv:2: source: expected `language`, `variant`"), "{error}");
}

#[test]
fn the_default_lookup_is_wikidatas() {
    let config = ExtractConfig::default();
    assert_eq!(serde_json::to_value(config.lookup).unwrap(), "wikidata");
    assert_eq!(serde_json::to_value(config.mul).unwrap(), "same_script");
}
