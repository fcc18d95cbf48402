//! Tests of code-switched text: sentences, languages, output files and the EntityCS format.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::common::{
    expect_errors, failure, has_row, language, linked_text, mention_text, read, run, stdout,
    with_threads, write,
};
use kg_triples::entity_linking::{LinkedText, Mention};
use kg_triples::switch::{
    EntityLabels, LabelPair, LanguageRule, SwitchConfig, SwitchReport, SwitchedText, TaggedReader,
    sentences, switch_sentence, switch_texts,
};
use kg_triples::{Error, Language};
use proptest::prelude::*;
use shards::Manifest;
use tempfile::tempdir;

/// An English text in which each of `names` is a mention of the entity with this id.
fn text(body: &str, names: &[&str]) -> LinkedText {
    let mentions: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    linked_text("en", body, &mentions)
}

/// Labels of three entities: Bern has labels in seven languages, Aare in six of these, and Rome in
/// two.
fn labels() -> EntityLabels {
    let mut labels = EntityLabels::default();
    for code in ["aa", "bb", "cc", "dd", "ee", "ff", "gg"] {
        labels.add("Bern", language(code), &format!("Bärn {code}"));
        if code != "aa" {
            labels.add("Aare", language(code), &format!("阿勒 {code}"));
        }
    }
    labels.add("Rome", language("aa"), "Roma");
    labels.add("Rome", language("bb"), "Rooma");
    for name in ["Bern", "Aare", "Rome"] {
        labels.add(name, Language::EN, name);
    }
    labels
}

fn config(codes: &[&str]) -> SwitchConfig {
    let languages = codes.iter().map(|code| language(code)).collect();
    SwitchConfig { languages, ..SwitchConfig::default() }
}

const ALL: [&str; 7] = ["aa", "bb", "cc", "dd", "ee", "ff", "gg"];

fn codes(forms: &[SwitchedText]) -> Vec<String> {
    forms.iter().map(|form| form.text.language.to_string()).collect()
}

#[test]
fn languages_have_labels_of_all_mentions() {
    let labels = labels();
    let forms = |names: &[&str], config: &SwitchConfig| {
        let sentence = text("Bern, Aare, Rome and Nowhere.", names);
        switch_sentence(&sentence, 0, &labels, config)
    };
    let all_languages = SwitchConfig { count: 9, ..config(&ALL) };
    assert_eq!(codes(&forms(&["Bern", "Aare"], &all_languages)), ALL[1..]);
    assert_eq!(codes(&forms(&["Bern", "Aare", "Rome"], &all_languages)), ["bb"]);
    // A mention without any label is ignored, and its text is unchanged.
    let switched_forms = forms(&["Bern", "Rome", "Nowhere"], &all_languages);
    assert_eq!(codes(&switched_forms), ["aa", "bb"]);
    assert_eq!(switched_forms[1].text.text, "Bärn bb, Aare, Rooma and Nowhere.");
    assert_eq!(switched_forms[1].switched, [true, true, false]);
    assert_eq!(switched_forms[1].text.id, "t@bb");
    assert_eq!(switched_forms[1].text.switched_from.as_deref(), Some("t"));
    assert!(
        forms(&["Nowhere"], &all_languages).is_empty() && forms(&[], &all_languages).is_empty()
    );
    // A sentence is not switched if there is no language in which all its mentions have labels.
    assert!(forms(&["Aare", "Rome"], &config(&["cc", "dd"])).is_empty());
    assert!(forms(&["Aare", "Rome"], &config(&["aa", "cc"])).is_empty());
    // The source language is never a target language.
    assert_eq!(codes(&forms(&["Rome"], &config(&["en", "aa"]))), ["aa"]);

    let per_mention =
        SwitchConfig { rule: LanguageRule::PerMention, count: 9, ..config(&["aa", "cc"]) };
    let switched_forms = forms(&["Aare", "Rome"], &per_mention);
    assert_eq!(codes(&switched_forms), ["aa", "cc"]);
    assert_eq!(switched_forms[0].text.text, "Bern, Aare, Roma and Nowhere.");
    assert_eq!(
        (&switched_forms[0].switched, &switched_forms[1].switched),
        (&vec![false, true], &vec![true, false])
    );
}

#[test]
fn five_languages_are_drawn_uniformly_and_reproducibly() {
    let labels = labels();
    let sentence = text("Bern.", &["Bern"]);
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let draws = 10_000;
    for seed in 0..draws {
        let config = SwitchConfig { seed, ..config(&ALL) };
        let forms = switch_sentence(&sentence, 3, &labels, &config);
        assert_eq!(forms.len(), 5);
        assert!(forms.is_sorted_by_key(|form| form.text.language));
        if seed < 50 {
            assert_eq!(forms, switch_sentence(&sentence, 3, &labels, &config));
        }
        for code in codes(&forms) {
            *counts.entry(code).or_default() += 1.0;
        }
    }
    // Each language occurs in 5 of 7 draws. The statistic divided by 2/6 has a chi-squared
    // distribution with 6 degrees of freedom and exceeds 22.5 with probability 0.001.
    let expected = draws as f64 * 5.0 / 7.0;
    let sum: f64 = counts.values().map(|count| (count - expected).powi(2) / expected).sum();
    assert!(counts.len() == 7 && sum * 6.0 / 2.0 < 22.5, "{counts:?}");

    // With all languages in the pool, the drawn languages are the same as with all languages as
    // targets. However, only sentences in the targets `aa` and `cc` are returned.
    for seed in 0..50 {
        let with_pool =
            SwitchConfig { seed, pool: config(&ALL).languages, ..config(&["aa", "cc"]) };
        let without_pool = SwitchConfig { seed, ..config(&ALL) };
        let mut expected_codes = codes(&switch_sentence(&sentence, 3, &labels, &without_pool));
        expected_codes.retain(|code| ["aa", "cc"].contains(&code.as_str()));
        assert_eq!(codes(&switch_sentence(&sentence, 3, &labels, &with_pool)), expected_codes);
    }

    let drawn = |number: u64, seed: u64| {
        let config = SwitchConfig { seed, ..config(&ALL) };
        codes(&switch_sentence(&sentence, number, &labels, &config))
    };
    assert!((0..20).any(|number| drawn(number, 1) != drawn(0, 1)));
    assert!((0..20).any(|seed| drawn(0, seed) != drawn(0, 1)));
}

#[test]
fn sentences_are_split_outside_mentions() {
    let body = "In St. Petersburg it rains. Bern is dry!  Aare?\nRome.";
    let mut input = text(body, &["St. Petersburg", "Bern", "Aare", "Rome"]);
    input.mentions.push(Mention { start: 46, end: 50, entity: "across lines".into() });
    input.mentions.push(Mention { start: 6, end: 9, entity: "inside".into() });
    let (split, skipped_mentions) = sentences(&input);
    let found: Vec<(&str, &str)> =
        split.iter().map(|sentence| (sentence.id.as_str(), sentence.text.as_str())).collect();
    let expected = [
        ("t#0", "In St. Petersburg it rains."),
        ("t#1", "Bern is dry!"),
        ("t#2", "Aare?"),
        ("t#3", "Rome."),
    ];
    assert_eq!((found.as_slice(), skipped_mentions), (&expected[..], 2));
    for sentence in &split {
        let [mention] = &sentence.mentions[..] else { panic!("{sentence:?}") };
        assert_eq!(mention_text(&sentence.text, mention), mention.entity);
    }
}

fn switch_all(
    texts: Vec<LinkedText>,
    config: &SwitchConfig,
) -> (Vec<(LinkedText, Vec<SwitchedText>)>, SwitchReport) {
    let mut forms = Vec::new();
    let texts = texts.into_iter().map(Ok);
    let report = switch_texts(texts, &labels(), config, |number, sentence, switched| {
        assert!(forms.len() as u64 <= number);
        forms.push((sentence.clone(), switched.to_vec()));
        Ok(())
    });
    (forms, report.unwrap())
}

#[test]
fn skipped_texts_are_counted_for_any_number_of_threads() {
    let mut texts = vec![
        text("Bern. No mention. Nowhere here.", &["Bern", "Nowhere"]),
        text("One two three four Bern.", &["Bern"]),
    ];
    texts.push(LinkedText { language: Language::DE, ..text("Bern.", &["Bern"]) });
    // There are more texts than fit into one block.
    texts.extend((0..2000).map(|_| text("Aare and Bern.", &["Aare", "Bern"])));
    let config = SwitchConfig { max_words: 4, ..config(&ALL) };
    let run = |threads| with_threads(threads, || switch_all(texts.clone(), &config));
    let (forms, report) = run(1);
    assert_eq!((&forms, &report), (&run(3).0, &run(4).1));
    assert_eq!((report.texts, report.other_language, report.sentences), (2002, 1, 2004));
    assert_eq!((report.too_long, report.without_mention), (1, 1));
    assert_eq!((report.unswitched, report.switched), (1, 2001));
    let written: usize = report.by_language.values().map(|(texts, _)| texts).sum();
    assert_eq!(written, 2001 * 5);
    // Equal sentences have independent draws.
    assert!(forms.windows(2).any(|pair| codes(&pair[0].1) != codes(&pair[1].1)));
}

proptest! {
    #[test]
    fn switching_back_restores_the_sentence_and_offsets_match_labels(
        parts in proptest::collection::vec("[ a-zß漢]{0,6}", 4),
        name_indices in proptest::collection::vec(0usize..3, 3),
    ) {
        let names = ["Bern", "Aare", "Rome"];
        let mut body = parts[0].clone();
        let mut mentions = Vec::new();
        for (part, name_index) in parts[1..].iter().zip(&name_indices) {
            let start = body.chars().count();
            body.push_str(names[*name_index]);
            let end = body.chars().count();
            mentions.push(Mention { start, end, entity: names[*name_index].into() });
            body.push_str(part);
        }
        let sentence = LinkedText { text: body, mentions, ..text("", &[]) };
        let labels = labels();
        let per_mention = SwitchConfig { rule: LanguageRule::PerMention, count: 9, ..config(&ALL) };
        let forms = switch_sentence(&sentence, 0, &labels, &per_mention);
        prop_assert!(!forms.is_empty());
        for form in forms {
            for (mention, switched) in form.text.mentions.iter().zip(&form.switched) {
                let SwitchedText { text, .. } = &form;
                let label = labels.label(&mention.entity, text.language);
                prop_assert_eq!(*switched, label.is_some());
                prop_assert_eq!(mention_text(&text.text, mention), label.unwrap_or(&mention.entity));
            }
            let reverse_config = SwitchConfig { source: form.text.language, ..config(&["en"]) };
            let restored = switch_sentence(&form.text, 0, &labels, &reverse_config);
            prop_assert_eq!(&restored[0].text.text, &sentence.text);
            prop_assert_eq!(&restored[0].text.mentions, &sentence.mentions);
        }
    }
}

#[test]
fn the_format_of_the_released_corpus_is_read() {
    let first_line = r#"{"id":19,"language":"aa","en_sentence":"<en>Bern</en>, a town by <en>Nowhere</en>.","cs_sentence":"<aa>Bärn aa</aa>, a town by <en>Nowhere</en>."}"#;
    let folder = tempdir().unwrap();
    let line_without_switched = r#"{"id": "20", "en_sentence": "No <b>mention</b>.", "other": 1}"#;
    let second_line = first_line.replace("aa", "bb");
    write(
        folder.path(),
        "c.jsonl",
        format!("{first_line}\n{second_line}\n{line_without_switched}\n"),
    );
    let path = folder.path().join("c.jsonl");
    let read = |english: bool| -> Vec<LinkedText> {
        TaggedReader::open(&path, english).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let ids = |texts: Vec<LinkedText>| texts.into_iter().map(|text| text.id).collect::<Vec<_>>();
    assert_eq!(ids(read(true)), ["19", "19@aa", "19@bb", "20"]);
    assert_eq!(ids(read(false)), ["19@aa", "19@bb"]);
    let first = &read(false)[0];
    assert_eq!(
        (first.text.as_str(), first.language),
        ("Bärn aa, a town by Nowhere.", language("aa"))
    );
    let entities: Vec<&str> =
        first.mentions.iter().map(|mention| mention.entity.as_str()).collect();
    assert_eq!(entities, ["Bern", "Nowhere"]);
}

#[test]
fn invalid_pairs_are_reported_with_their_line() {
    let folder = tempdir().unwrap();
    let pair = |en: &str, cs: &str| {
        format!(r#"{{"id":1,"language":"de","en_sentence":"{en}","cs_sentence":"{cs}"}}"#)
    };
    for (pair, expected_error) in [
        (pair("<en>a</en>", "a"), "0 mentions in cs_sentence, 1 in en_sentence"),
        (pair("<en>a", "<de>a</de>"), "no </en> after"),
        (pair("<en></en>", "<de>a</de>"), "an empty mention"),
        (r#"{"id":1,"en_sentence":"a","cs_sentence":"a"}"#.into(), "without `language`"),
        (r#"{"id":1,"language":"de","en_sentence":"a"}"#.into(), "without `cs_sentence`"),
    ] {
        write(folder.path(), "c.jsonl", format!("\n{pair}\n"));
        let mut reader = TaggedReader::open(folder.path().join("c.jsonl"), true).unwrap();
        let error = reader.next().unwrap().unwrap_err();
        assert!(matches!(error, Error::Json { line: 2, .. }), "{error}");
        assert!(error.to_string().contains(expected_error), "{expected_error}: {error}");
    }
}

#[test]
fn labels_are_read_from_tables_and_pages() {
    let folder = tempdir().unwrap();
    let table = "id\tlang\tlabel\tkind\nQ1\tde\tBern\tentity\nP1\tde\tin\trelation\nQ1\tzh\t伯尔尼\tentity\n";
    write(folder.path(), "labels.tsv", table);
    let path = folder.path().join("labels.tsv");
    let labels = EntityLabels::read(&path, None).unwrap();
    assert_eq!(labels.label_counts(), BTreeMap::from([(Language::DE, 1), (Language::ZH, 1)]));
    let german = EntityLabels::read(&path, Some(&[Language::DE])).unwrap();
    assert_eq!(
        (german.label("Q1", Language::DE), german.label("Q1", Language::ZH)),
        (Some("Bern"), None)
    );
    write(folder.path(), "labels.tsv", format!("{table}Q1\tde\tBerne\tentity\n"));
    let error = EntityLabels::read(&path, None).unwrap_err().to_string();
    assert!(error.contains("labels.tsv:5: label: expected one label of \"Q1\""), "{error}");
    let codex = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/codex");
    let labels = EntityLabels::read_pages(codex, Some(&[Language::DE, Language::EN])).unwrap();
    assert_eq!(labels.label("Q4", Language::EN), Some("death"));
    assert_eq!(labels.label_counts().len(), 2);
}

#[test]
fn the_program_writes_files_atomically_and_rejects_inputs_as_outputs() {
    let folder = tempdir().unwrap();
    let dir = folder.path();
    let line =
        r#"{"id":"1","lang":"en","text":"Bern.","mentions":[{"start":0,"end":4,"entity":"Q70"}]}"#;
    write(dir, "t.jsonl", format!("{line}\n"));
    write(dir, "l.tsv", "id\tlang\tlabel\nQ70\tde\tBärn\nQ70\tzh\t伯尔尼\n");
    let output = run(dir, "switch --texts t.jsonl --labels l.tsv --with-source --out new/s.jsonl");
    let table = stdout(&output);
    for row in ["de 1 1", "sentences 1", "switched 1"] {
        assert!(has_row(&table, row), "{table}");
    }
    let texts: Vec<LinkedText> = read(dir.join("new/s.jsonl"));
    let texts: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
    assert_eq!(texts, ["Bern.", "Bärn.", "伯尔尼."]);

    // With --pool de,zh, German or Chinese is drawn, but only Chinese sentences are written. If
    // German is drawn, nothing is written, which is an error.
    let drawn = |seed: &u64| {
        let pool = "--languages zh --pool de,zh --count 1";
        let command = format!("switch --texts t.jsonl --labels l.tsv {pool} --seed {seed}");
        run(dir, &format!("{command} --out pool.jsonl")).status.success()
    };
    assert!((1..12).contains(&(0..12).filter(drawn).count()));

    let error = failure(&run(dir, "switch --texts t.jsonl --labels l.tsv --out t.jsonl"));
    assert!(error.contains("one of the inputs"), "{error}");
    let invalid_cases = [
        ("--texts t.jsonl --labels l.tsv --languages fr", "no data"),
        ("--texts t.jsonl --labels l.tsv --languages en", "languages = en"),
        ("--texts t.jsonl --labels l.tsv --count 0", "count = 0"),
        ("--texts t.jsonl --labels l.tsv --source de", "1 texts are in another"),
        ("--texts l.tsv --labels l.tsv", "l.tsv:1"),
        ("--texts t.jsonl --labels t.jsonl", "t.jsonl:1"),
        ("--tagged t.jsonl", "t.jsonl:1"),
        ("", "--texts"),
        ("--texts t.jsonl --labels l.tsv --hold-out 0.1", "must be a folder for --by-language"),
        ("--texts t.jsonl --labels l.tsv --validation 1", "must be a folder for --by-language"),
    ];
    expect_errors(dir, "switch", &invalid_cases);
    assert_eq!(std::fs::read_to_string(dir.join("t.jsonl")).unwrap(), format!("{line}\n"));
}

/// Writes texts that mention Bern, Aare and Rome, and labels of these entities.
fn write_texts(dir: &Path, count: usize) {
    let names = ["Bern", "Aare", "Rome"];
    let line = |number: usize| {
        let (first, second) = (names[number % 3], names[(number / 3) % 3]);
        let mut texts = vec![text(&format!("{first} {number}"), &[first])];
        if first != second {
            texts.push(text(&format!("{first} and {second} {number}."), &[first, second]));
        }
        let numbered = texts.into_iter().enumerate().map(|(part, mut text)| {
            text.id = format!("{number}-{part}");
            serde_json::to_string(&text).unwrap() + "\n"
        });
        numbered.collect::<String>()
    };
    write(dir, "t.jsonl", (0..count).map(line).collect::<String>());
    let mut labels = "id\tlang\tlabel\n".to_owned();
    for (id, de, zh) in
        [("Bern", "Bärn", "伯尔尼"), ("Aare", "Aar", "阿勒"), ("Rome", "Rom", "罗马")]
    {
        labels += &format!("{id}\ten\t{id}\n{id}\tde\t{de}\n{id}\tzh\t{zh}\n");
    }
    write(dir, "l.tsv", labels);
}

fn prepared_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let manifest = Manifest::read(folder).unwrap().unwrap();
    manifest.check(folder).unwrap();
    let files = manifest.files.into_keys();
    files.map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

const SWITCH: &str = "switch --texts t.jsonl --labels l.tsv --languages de,zh --rule per_mention";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::case_count(12)))]

    #[test]
    fn no_held_out_data_is_in_train(
        seed in 0u64..1000, hold_out_seed in 0u64..1000, validation in 0usize..4
    ) {
        let folder = tempdir().unwrap();
        let dir = folder.path();
        write_texts(dir, 40);
        let arguments = format!(
            "{SWITCH} --with-source --by-language --hold-out 0.4 --hold-out-seed {hold_out_seed} \
             --validation {validation} --seed {seed} --out o"
        );
        let mut outputs = Vec::new();
        for threads in ["1", "3"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
            command.current_dir(dir).env("RAYON_NUM_THREADS", threads);
            let output = command.args(arguments.split_whitespace()).output().unwrap();
            if !output.status.success() {
                // The command fails if all entities or none of them are held out.
                let error = String::from_utf8(output.stderr).unwrap();
                prop_assert!(error.contains("no data"), "{}", error);
                prop_assert_eq!(std::fs::read_dir(dir).unwrap().count(), 2);
                return Ok(());
            }
            outputs.push(prepared_files(&dir.join("o")));
        }
        prop_assert_eq!(&outputs[0], &outputs[1]);
        let held_out: Vec<LabelPair> = read(dir.join("o/probe/held-out.jsonl.gz"));
        let switched: Vec<LabelPair> = read(dir.join("o/probe/switched.jsonl.gz"));
        prop_assert!(!held_out.is_empty());
        for pair in &held_out {
            prop_assert!(switched.iter().all(|other| other.entity != pair.entity));
            prop_assert_eq!(&pair.entity, &pair.source);
        }
        for language in ["de", "zh"] {
            let name = format!("switched.{language}.jsonl.gz");
            let trained: Vec<LinkedText> = read(dir.join("o/train").join(&name));
            for text in &trained {
                for mention in &text.mentions {
                    let is_unswitched = mention_text(&text.text, mention) == mention.entity;
                    let is_held_out = held_out.iter().any(|pair| pair.entity == mention.entity);
                    prop_assert_eq!(is_unswitched, is_held_out, "{:?}", text);
                }
            }
            if validation > 0 {
                let texts: Vec<LinkedText> = read(dir.join("o/validation").join(&name));
                prop_assert_eq!(texts.len(), validation);
                for text in texts {
                    prop_assert!(trained.iter().all(|other| other.id != text.id));
                }
            }
        }
    }
}

#[test]
fn invalid_sizes_are_rejected() {
    let folder = tempdir().unwrap();
    write_texts(folder.path(), 3);
    for (options, expected) in [
        ("--hold-out 1", "hold_out = 1: must be from 0 to below 1"),
        ("--validation 1000", "training texts in de: no data; --validation uses all"),
    ] {
        let error = failure(&run(folder.path(), &format!("{SWITCH} {options} --out o")));
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn wrong_labels_belong_to_other_entities() {
    let (en, de) = (Language::EN, Language::DE);
    let mut labels = EntityLabels::default();
    for (id, english, german) in
        [("Q1", "one", "eins"), ("Q2", "two", "zwei"), ("Q3", "three", "drei")]
    {
        labels.add(id, en, english);
        labels.add(id, de, german);
    }
    labels.add("Q4", en, "four");
    let mut permuted = labels.clone();
    permuted.assign_wrong_labels(en, 1);
    let german = |labels: &EntityLabels, id| labels.label(id, de).map(str::to_owned);
    let ids = ["Q1", "Q2", "Q3"];
    assert!(ids.iter().all(|id| german(&permuted, id) != german(&labels, id)));
    let mut permuted_names: Vec<_> = ids.iter().filter_map(|id| german(&permuted, id)).collect();
    permuted_names.sort();
    assert_eq!(permuted_names, ["drei", "eins", "zwei"]);
    assert_eq!((permuted.label("Q1", en), permuted.label("Q4", de)), (Some("one"), None));
}
