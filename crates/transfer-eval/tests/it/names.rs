//! Tests of WikiKGE-10's scores, compared with the output of the authors' scripts.
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::Program;
use transfer_eval::names::{
    GoldNames, NameConfig, PredictedNames, check_printed, normalize_name, read_gold,
    read_predicted, score_coverage, score_precision,
};

fn data_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/wikikge-10").join(file)
}

/// Compares both metrics of GPT-4 in 9 languages and of M-NTA in 10 languages.
#[test]
fn released_predictions_have_the_printed_scores() {
    let scores = check_printed(data_path("")).unwrap();
    assert_eq!(scores.values().map(|f1| f1.len()).sum::<usize>(), 38);
    let f1 = |system: &str| -> Vec<&str> { scores[system].values().map(|f1| &**f1).collect() };
    let coverage = ["43.2", "57.1", "41.3", "55.8", "57.4", "61.7", "35.2", "51.2", "45.3", "36.8"];
    assert_eq!(f1("coverage, m-nta.gpt-4"), coverage);
    let precision =
        ["74.4", "77.5", "64.8", "75.0", "70.3", "75.5", "67.9", "76.8", "67.1", "72.0"];
    assert_eq!(f1("precision, m-nta.gpt-4"), precision);
}

#[test]
fn names_are_normalised_as_in_python() {
    for (name, expected) in [
        ("Spider-Man (2002)", "spiderman 2002"),
        (" | Presse | Club | ", "  presse  club  "),
        // `isalnum` is false for combining marks and circled letters, and true for circled numbers.
        ("İ", "i"),
        ("مُحَمَّد", "محمد"),
        ("ⓐ②㈱", "②"),
        ("ΌΣΟΣ", "όσος"),
        ("🇫🇷", ""),
    ] {
        assert_eq!(normalize_name(name), expected, "{name}");
    }
}

fn gold(entity: &str, correct: &[&str], incorrect: &[&str]) -> GoldNames {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    GoldNames { entity: entity.into(), correct: owned(correct), incorrect: owned(incorrect) }
}

#[test]
fn equal_names_count_once_in_coverage_only() {
    let gold = [gold("Q1", &["Man", "man!", "a"], &["b"]), gold("Q2", &[], &["c"])];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let predicted: PredictedNames =
        [("Q1".into(), names(&["man", "b"])), ("Q2".into(), names(&["x"]))].into();
    let coverage = score_coverage(&gold, &predicted).unwrap();
    assert_eq!((coverage.entities, coverage.predicted_entities), (1, 2));
    assert_eq!((coverage.gold, coverage.predicted, coverage.found), (2, 2, 1));
    let precision = score_precision(&gold, &predicted).unwrap();
    assert_eq!((precision.correct, precision.rejected_correct), (3, 1));
    assert_eq!((precision.incorrect, precision.rejected_incorrect), (2, 1));
    assert_eq!((precision.accuracy, precision.recall), (60.0, 50.0));

    // Without predictions, every name is rejected, and no score is NaN.
    let coverage = score_coverage(&gold, &PredictedNames::new()).unwrap();
    assert_eq!([coverage.precision, coverage.recall, coverage.f1], [0.0; 3]);
    let precision = score_precision(&gold, &PredictedNames::new()).unwrap();
    assert_eq!(
        (precision.accuracy, precision.recall, precision.incorrect_share),
        (40.0, 100.0, 0.0)
    );
    let error = score_precision(&gold[..0], &predicted).unwrap_err().to_string();
    assert_eq!(error, "no incorrect name, so there is no score");
}

#[test]
fn higher_thresholds_predict_fewer_names() {
    let gold = read_gold(data_path("data/names/gold/de.json.gz")).unwrap();
    let file = data_path("data/names/m-nta/with_gpt-4/de.m-nta.json.gz");
    let score = |threshold| {
        let config = NameConfig { threshold, ..NameConfig::default() };
        score_coverage(&gold, &read_predicted(&file, &config).unwrap()).unwrap()
    };
    let scores: Vec<_> = (1..=12).map(score).collect();
    for pair in scores.windows(2) {
        assert!(pair[1].predicted <= pair[0].predicted && pair[1].found <= pair[0].found);
    }
}

#[test]
fn program_scores_files_and_rejects_invalid_files() {
    let program = Program::new(env!("CARGO_BIN_EXE_transfer-eval"));
    let gold = r#"{"wikidata_id": "Q1", "correct_values": ["A", "B"], "incorrect_values": ["C"]}"#;
    program.write("gold.json", gold);
    let names = r#"{"entity": "Q1", "lang": "de", "values": [[3, "a", true], [1, "c", false]]}"#;
    program.write("ours.jsonl", names);
    program.write("both.jsonl", format!("{names}\n{}", names.replace("de", "fr")));
    program
        .write("plain.json", r#"{"wikidata_id":"Q1","values":["a","c"],"primary":[true,false]}"#);
    let scores = |arguments: &str| -> Value {
        serde_json::from_str(&program.expect_success(&format!("names {arguments}")).out).unwrap()
    };
    for (arguments, key, value) in [
        ("coverage gold.json ours.jsonl", "f1", 50.0),
        ("coverage gold.json ours.jsonl --threshold 2", "precision", 100.0),
        ("coverage gold.json both.jsonl --language fr", "recall", 50.0),
        ("coverage gold.json plain.json --primary", "precision", 100.0),
        ("precision gold.json plain.json", "wrong", 50.0),
        ("precision gold.json plain.json --primary", "wrong", 0.0),
    ] {
        assert_eq!(scores(arguments)[key].as_f64(), Some(value), "{arguments}");
    }
    program.write("twice.json", format!("{gold}\n{gold}\n"));
    program.write("bad.json", format!("{names}\n{}", names.replace('3', "-3")));
    program.write("primary.json", r#"{"wikidata_id":"Q1","values":["a"],"primary":[]}"#);
    program.write("empty.json", "\n");
    program.expect_only_errors(&[
        ("names coverage twice.json ours.jsonl", &["twice.json:2: a second line of entity Q1"]),
        ("names coverage ours.jsonl ours.jsonl", &["ours.jsonl:1: ", "correct_values"]),
        ("names precision gold.json bad.json", &["bad.json:2: ", "[confidence, name, primary]"]),
        ("names precision gold.json primary.json", &["primary.json:1: 1 values, but 0"]),
        ("names coverage gold.json both.jsonl", &["both.jsonl: several languages"]),
        (
            "names coverage gold.json both.jsonl --language it",
            &["both.jsonl: no line with lang \"it\"; the languages are de, fr"],
        ),
        ("names coverage empty.json ours.jsonl", &["empty.json: no entity"]),
        ("names table .", &["results/coverage", "No such file"]),
    ]);
}

/// A score in the authors' output is changed by one digit; the error names the line of this score.
#[test]
fn differences_from_the_printed_scores_are_errors() {
    let program = Program::new(env!("CARGO_BIN_EXE_transfer-eval"));
    for file in ["data/names/gold/de.json.gz", "data/names/gpt/de.gpt-4.json.gz"] {
        program.write(&format!("copy/{file}"), fs::read(data_path(file)).unwrap());
    }
    let printed = fs::read_to_string(data_path("results/coverage/gpt-4.out")).unwrap();
    let block = printed.split("===========================\n\n").find(|part| part.contains("/de."));
    program.write("copy/results/coverage/gpt-4.out", block.unwrap());
    program.write("copy/results/precision/none", "");
    let output = program.expect_success("names table copy");
    assert!(output.out.contains("| coverage, gpt-4 | 51.3 |"), "{}", output.out);
    program.write("copy/results/coverage/gpt-4.out", block.unwrap().replace("51.3", "51.4"));
    let expected =
        "gpt-4.out:11: printed `  Coverage - F1 = 51.4`, computed `  Coverage - F1 = 51.3`";
    program.expect_only_error("names table copy", &[expected]);
}
