//! The program's commands.
use mlqa_eval::{Language, MLQA_LANGUAGES, Matrix};
use serde_json::Value;

use crate::program;

const GERMAN_FILES: &str = "fixtures/scorer/de/dataset.json fixtures/scorer/de/predictions.json";

fn parse_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn score_prints_the_official_line() {
    let program = program();
    for language in MLQA_LANGUAGES {
        let folder = format!("fixtures/scorer/{language}");
        let expected = program.read(&format!("{folder}/expected.json"));
        // Returns the digits of a number in the file as text.
        let digits = |key: &str| {
            let rest = expected.split_once(&format!("\"{key}\": ")).unwrap().1;
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        let arguments = format!("score {folder}/dataset.json {folder}/predictions.json {language}");
        let scored = program.expect_success(&arguments);
        let line =
            format!("{{\"exact_match\": {}, \"f1\": {}}}\n", digits("exact_match"), digits("f1"));
        assert_eq!(scored.out, line);
        assert_eq!(scored.err.lines().count().to_string(), digits("stderr_lines"));
        let expected = parse_json(&expected);
        let id = expected["unanswered"][0].as_str().unwrap();
        let line = format!("Unanswered question {id} will receive score 0.");
        assert!(scored.err.lines().any(|got| got == line), "{}", scored.err);
    }
}

#[test]
fn language_outside_mlqa_is_scored_with_a_note() {
    let program = program();
    program.write(
        "fr.json",
        r#"{"version": "1.0", "data": [{"paragraphs": [{"context": "dans la Maison !", "qas":
        [{"id": "q", "question": "Où ?", "answers": [{"text": "la Maison", "answer_start": 5}]}]}]}]}"#,
    );
    program.write("p.json", r#"{"q": "maison !"}"#);
    let scored = program.expect_success("score fr.json p.json fr");
    assert_eq!(scored.out, "{\"exact_match\": 0.0, \"f1\": 66.66666666666666}\n");
    let note = "note: fr is not a language of MLQA (en, es, de, ar, hi, vi, zh); articles are not \
                removed, and words are separated by spaces\n";
    assert_eq!(scored.err, note);
    // A region does not change the language.
    assert_eq!(program.run("score fr.json p.json es-MX").err, "");
}

#[test]
fn a_language_without_spaces_has_no_rules() {
    let program = program();
    let text = |id: &str| {
        format!(
            r#"{{"version": "1.0", "data": [{{"paragraphs": [{{"context": "リマ市", "qas":
            [{{"id": "{id}", "question": "?", "answers": [{{"text": "リマ市", "answer_start": 0}}]}}]}}]}}]}}"#
        )
    };
    program.write("ja.json", text("q"));
    program.write("p.json", r#"{"q": "リマ"}"#);
    let words = ["no scoring rules for `ja`", "not separated by spaces", "zh", "--norm squad"];
    program.expect_only_error("score ja.json p.json ja", &words);
    program.expect_success("score ja.json p.json zh");
    program.expect_success("score ja.json p.json --norm squad");
    // The language in the name of a file, or in the id of a question.
    program.write("in/test-context-ja-question-en.json", text("q"));
    program.write("answers/test-context-ja-question-en.json", r#"{"q": "リマ"}"#);
    program.expect_only_error("matrix --data in --predictions answers --out to", &words);
    program.expect_success("matrix --data in --predictions answers --out to --norm squad");
    program.write("tydi.json", text("japanese-1-2"));
    program.write("tydi-p.json", r#"{"japanese-1-2": "リマ"}"#);
    program.expect_only_error("score tydi.json tydi-p.json", &words);
}

#[test]
fn errors_name_the_bad_input() {
    let program = program();
    program.copy("fixtures/scorer/en/dataset.json", "d.json");
    program.copy("fixtures/scorer/en/predictions.json", "p.json");
    let dataset_text = program.read("d.json");
    program.write("malformed.json", "{\n\"data\": [\n{\"title\" 3}\n]}");
    program.write("truncated.json", dataset_text.chars().take(20_000).collect::<String>());
    program.write("empty.json", r#"{"data": []}"#);
    program.expect_only_errors(&[
        ("score malformed.json p.json en", &["malformed.json:3:"]),
        ("score truncated.json p.json en", &["truncated.json:", "EOF"]),
        ("score no-such.json p.json en", &["no-such.json", "No such file"]),
        ("score d.json no-such.json en", &["no-such.json", "No such file"]),
        ("score d.json p.json --norm mlqa", &["--norm mlqa", "such as en"]),
        ("score empty.json p.json en", &["empty.json", "no questions"]),
        ("matrix --data no-dir --predictions . --out .", &["no-dir"]),
    ]);
    let words = ["\"f r\"", "expected a code of ISO 639", "such as `en`"];
    program.expect_only_error(&["score", "d.json", "p.json", "f r"], &words);
    for (name, text, word) in [
        ("list.json", "[]", "expected a map"),
        ("number.json", "{\"a\": \"x\",\n\"b\": 3}", "number.json:2:"),
        ("nested.json", "{\"a\": {\"text\": \"x\"}}", "expected a string"),
    ] {
        program.write(name, text);
        let words = [name, word, "predictions: one object"];
        program.expect_only_error(&["score", "d.json", name, "en"], &words);
    }
}

#[test]
fn matrix_has_the_pairs_with_predictions() {
    let program = program();
    for folder in ["in/data", "in/predictions"] {
        std::fs::create_dir_all(program.path_of(folder)).unwrap();
    }
    let matrix = "matrix --data in/data --predictions in/predictions --out tables";
    program.expect_only_error(matrix, &["no test-context-"]);
    for name in ["test-context-de-question-de.json", "test-context-de-question-en.json"] {
        program.copy("fixtures/scorer/de/dataset.json", &format!("in/data/{name}"));
    }
    let dev_file = "in/data/dev-context-en-question-en.json";
    program.copy("fixtures/scorer/en/dataset.json", dev_file);
    program.write("in/data/notes.txt", "x");
    program.expect_only_error(matrix, &["with the name of a file in --data"]);
    let german = "in/predictions/test-context-de-question-de.json";
    program.copy("fixtures/scorer/de/predictions.json", german);
    let out = program.expect_success(matrix).out;
    assert!(out.contains("| de | 49.81 |"), "{out}");
    let read = Matrix::read_json(program.path_of("tables/matrix.json")).unwrap();
    assert_eq!(read.len(), 1);
    let cell = read.get(Language::DE, Language::DE).unwrap();
    assert_eq!((cell.f1, cell.em, cell.questions), (49.807539682539684, 32.5, 40));
    assert_eq!(program.read("tables/matrix.md"), out);

    let run = "--run tables/matrix.json";
    let out = program.run(&format!("compare --table 003-5 {run} --model ours")).out;
    assert!(out.contains("| Ours | MLQA zero-shot | de | f1 | 62.98 | 49.81 | -13.17 |"));
    let text = program.run(&format!("compare --table 000-1 {run}")).out;
    assert!(text.contains("| ours | MLQA context en | zh | em | 46.80 | – | – |\n"), "{text}");
    program.expect_only_error(&format!("compare --table 9 {run}"), &["`9`", "000-1"]);
}

/// A test of `qa-report` uses the same expected file.
#[test]
fn comparison_of_two_runs_equals_the_stored_file() {
    let program = program();
    let compared = program.run(
        "compare --samples 200 --format json --data fixtures/matrix/data \
         --baseline fixtures/matrix/predictions --predictions fixtures/matrix/better",
    );
    assert_eq!(compared.out, program.read("fixtures/matrix/compared.json"));
}

#[test]
fn tables_are_printed_as_markdown_or_json() {
    let program = program();
    let print_as = |name: &str| {
        program.run(&format!("tables --table 000-1 --model ours --language zh --format {name}")).out
    };
    assert!(print_as("md").ends_with("| 000-1 | ours | MLQA context en | zh | em | 46.8 |  |\n"));
    assert_eq!(parse_json(&print_as("json"))[0]["value"].as_f64(), Some(60.13));
    program.expect_only_error("tables --table 5", &["`5`", "000-1, 001-1"]);
    program.expect_only_error(
        &["tables", "--model", "no such model"],
        &["no published value matches"],
    );
}

#[cfg(feature = "windows")]
#[test]
fn coverage_of_folders_has_one_entry_per_language() {
    let program = program();
    for language in ["de", "es", "zh"] {
        let name = format!("questions/test-context-en-question-{language}.json");
        program.copy(&format!("fixtures/scorer/{language}/dataset.json"), &name);
    }
    // Files with contexts in other languages, and languages without a text file, are ignored.
    let spanish = "fixtures/scorer/es/dataset.json";
    program.copy(spanish, "questions/test-context-de-question-es.json");
    program.write("texts/triples.de.txt", "der die das\nwas wie wer\n");
    program.write("texts/triples.es.txt", "quién qué\n");
    let coverage_command = |questions: &str, text: &str| {
        format!(
            "coverage --tokenizer fixtures/tokenizer.json --questions {questions} --text {text}"
        )
    };
    let all = parse_json(&program.run(&coverage_command("questions", "texts")).out);
    assert_eq!(all.as_object().unwrap().len(), 2, "{all}");
    assert!(all["es"]["ratio"].is_f64(), "{all}");
    let german = coverage_command("fixtures/scorer/de/dataset.json", "texts/triples.de.txt");
    assert_eq!(all["de"], parse_json(&program.run(&german).out));
    let hindi = coverage_command("questions", "texts") + " --context hi";
    program.expect_only_error(&hindi, &["context-hi-question", "texts"]);
}

#[test]
fn comparison_of_two_runs_has_differences_and_p_values() {
    let program = program();
    program.write("bad.json", "{}");
    let predictions = "fixtures/scorer/de/predictions.json";
    let data = "compare --data fixtures/scorer/de/dataset.json";
    let compare_with = |baseline: &str| {
        let runs = format!("--baseline {baseline} --predictions {predictions}");
        let options = "--language de --samples 400 --format json";
        parse_json(&program.expect_success(&format!("{data} {runs} {options}")).out)
    };
    let better = compare_with("bad.json");
    assert_eq!(better[1]["metric"], "em");
    assert_eq!(better[1]["difference"].as_f64(), Some(32.5));
    assert!(better[0]["low"].as_f64().unwrap() > 0.0, "{better}");
    assert_eq!(better[0]["p_randomisation"].as_f64(), Some(1.0 / 401.0));
    let equal = compare_with(predictions);
    assert_eq!(equal[0]["p_holm"].as_f64(), Some(1.0));
    // The first run has two seeds, so its score has a confidence interval.
    let seeds = compare_with(&format!("{predictions},bad.json"));
    assert_eq!(seeds[1]["baseline"].as_f64(), Some(16.25));
    assert!(
        seeds[1]["baseline_half_width"].as_f64().unwrap() > 22.0
            && seeds[1]["predictions_half_width"].is_null()
    );
    program.expect_only_errors(&[
        (&format!("{data} --baseline bad.json --predictions {predictions}"), &["language"]),
        (data, &["--baseline"]),
    ]);
}

#[test]
fn score_prints_intervals_and_squad2_scores() {
    let program = program();
    let value = parse_json(&program.run(&format!("score {GERMAN_FILES} de --intervals")).out);
    assert_eq!(value["f1"].as_f64(), Some(49.807539682539684));
    let [low, high] = [0, 1].map(|k| value["exact_match_interval"][k].as_f64().unwrap());
    assert!(low < 32.5 && 32.5 < high && low > 10.0 && high < 55.0, "{value}");
    let squad2 = program.run(&format!("score --squad2 {GERMAN_FILES}"));
    assert!(squad2.out.contains("\"HasAns_total\": "), "{}", squad2.out);
    assert!(squad2.err.lines().any(|line| line.starts_with("Missing prediction for ")));
}
