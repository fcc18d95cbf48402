//! Tests of XNLI and MultiNLI files, pair inputs and accuracy.
use super::read::parse_nli;
use crate::Error;
use crate::tokens::tests::tokenizer;
use crate::xnli::{NliConfig, NliExample, NliLabel, encode_nli, read_nli, score_nli};
use proptest::prelude::*;
use tokenizers::TruncationParams;

const HEADER: &str = "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tpromptID\tpairID\tgenre\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tsentence1_tokenized\tsentence2_tokenized\tmatch";

fn row(language: &str, label: &str, first: &str, second: &str) -> String {
    format!(
        "{language}\t{label}\t\t\t\t\t{first}\t{second}\t1\t1\tfacetoface\t{label}\t\t\t\t\t{first}\t{second}\tTrue"
    )
}

fn assert_error(text: &str, line: usize, words: &[&str]) {
    let message = parse_nli(text, "xnli.tsv").unwrap_err().to_string();
    assert!(message.starts_with(&format!("xnli.tsv:{line}: ")), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn official_tables_are_parsed() {
    let rows =
        [row("ar", "neutral", "قال", "نعم"), row("de", "contradiction", "\"Er", "sagte: \"ja\"")];
    let text = format!("{HEADER}\n{}\n{}\n", rows[0], rows[1]);
    let data = parse_nli(&text, "x").unwrap();
    assert_eq!((data.examples.len(), data.unlabelled), (2, 0));
    let [first, second] = data.examples.as_slice() else { panic!() };
    assert_eq!((first.language.as_str(), first.label, first.line), ("ar", NliLabel::Neutral, 2));
    // Quotes are not special characters.
    assert_eq!((second.premise.as_str(), second.hypothesis.as_str()), ("\"Er", "sagte: \"ja\""));
    assert_eq!(second.label.class(), 2);
}

#[test]
fn json_lines_of_both_corpora_are_parsed() {
    let xnli = r#"{"annotator_labels": ["neutral"], "genre": "x", "gold_label": "neutral", "language": "th", "match": "True", "sentence1": "a", "sentence2": "b\tc"}"#;
    let multinli = r#"{"annotator_labels": ["entailment"], "genre": "x", "gold_label": "entailment", "pairID": "1e", "sentence1": "a", "sentence2": "b"}"#;
    let unlabelled = r#"{"gold_label": "-", "sentence1": "a", "sentence2": "b"}"#;
    let data = parse_nli(&format!("{xnli}\n{multinli}\n\n{unlabelled}\n"), "x").unwrap();
    assert_eq!((data.examples.len(), data.unlabelled), (2, 1));
    assert_eq!(data.examples[0].hypothesis, "b\tc");
    assert_eq!(data.examples[1].language, "en");
    let uppercase_language = parse_nli(&xnli.replace("\"th\"", "\"TH\""), "x").unwrap();
    assert_eq!(uppercase_language.examples, data.examples[..1]);
    let truncated = format!("{xnli}\n{}", &multinli[..60]);
    assert_error(&truncated, 2, &["EOF", "gold_label, sentence1, sentence2"]);
    assert_error(r#"{"gold_label": "neutral", "sentence1": "a"}"#, 1, &["sentence2"]);
    assert_error(
        r#"{"gold_label": "maybe", "sentence1": "a", "sentence2": "b"}"#,
        1,
        &["`maybe`", "entailment"],
    );
}

#[test]
fn tables_of_multinli_and_translated_training_sets_are_parsed() {
    let text = "gold_label\tsentence1\tsentence2\tpairID\tlabel1\tlabel2\tlabel3\nneutral\ta\tb\t1n\tneutral\n-\ta\tb\t2\tneutral\tentailment\t\n";
    let data = parse_nli(text, "x").unwrap();
    assert_eq!((data.examples.len(), data.unlabelled), (1, 1));
    let text = "premise\thypo\tlabel\nEr sagt\tJa\tcontradictory\n";
    assert_eq!(parse_nli(text, "x").unwrap().examples[0].label, NliLabel::Contradiction);
}

#[test]
fn errors_name_line_and_problem() {
    let valid = row("ar", "neutral", "a", "b");
    let truncated: String = valid.chars().take(20).collect();
    assert_error(&format!("{HEADER}\n{valid}\n{truncated}\n"), 3, &["columns", "header has 19"]);
    assert_error(&format!("{HEADER}\n{valid}\tmore\n"), 2, &["20 columns"]);
    assert_error(&format!("{HEADER}\n{}\n", row("ar", "Neutral", "a", "b")), 2, &["`Neutral`"]);
    assert_error("a\tb\nc\td\n", 1, &["gold_label"]);
    assert_error("gold_label\tsentence1\nneutral\ta\n", 1, &["sentence2"]);
    for text in ["", HEADER] {
        let message = parse_nli(text, "xnli.tsv").unwrap_err().to_string();
        assert!(message.starts_with("xnli.tsv"), "{message}");
    }
    assert!(matches!(read_nli("no-such-file"), Err(Error::File(_))));
}

fn example(language: &str, label: NliLabel) -> NliExample {
    let (premise, hypothesis) = ("a".to_owned(), "b".to_owned());
    NliExample { language: language.into(), premise, hypothesis, label, line: 7 }
}

#[test]
fn accuracy_equals_hand_computed_values() {
    use NliLabel::{Contradiction as C, Entailment as E, Neutral as N};
    let gold = [("en", E), ("en", N), ("en", C), ("en", E), ("sw", N), ("sw", C)];
    let gold: Vec<NliExample> = gold.map(|(language, label)| example(language, label)).into();
    let score = score_nli(&gold, &[E, N, C, N, C, C]).unwrap();
    let en = &score.languages["en"];
    assert_eq!((en.accuracy, en.correct, en.examples), (75.0, 3, 4));
    assert_eq!(score.languages["sw"].accuracy, 50.0);
    assert_eq!(score.mean, 62.5, "each language counts once, not each pair");
    assert_eq!(score.by_language()["sw"], 50.0);
    let text = score_nli(&gold, &[E]).unwrap_err().to_string();
    assert_eq!(text, "1 predictions for 6 pairs; pair 2 (line 7) is unmatched");
    let text = score_nli(&gold, &[E; 7]).unwrap_err().to_string();
    assert_eq!(text, "7 predictions for 6 pairs; pair 7 is unmatched");
    assert!(matches!(score_nli(&[], &[]), Err(Error::Nothing { .. })));
}

proptest! {
    #[test]
    fn inputs_equal_the_output_of_tokenizers(
        premise in "([a-d]{1,3} ){0,20}", hypothesis in "([a-d]{1,3} ){0,20}", max_length in 6usize..40,
    ) {
        let mut reference = tokenizer().clone();
        // max_length counts special tokens; the default strategy is longest first.
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        reference.with_truncation(Some(truncation)).unwrap();
        let expected = reference.encode((premise.as_str(), hypothesis.as_str()), true).unwrap();
        let example = NliExample { premise, hypothesis, ..example("en", NliLabel::Neutral) };
        let inputs = encode_nli(&[example], tokenizer(), &NliConfig { max_length }).unwrap();
        prop_assert_eq!(inputs[0].label, 1);
        prop_assert_eq!(&inputs[0].input_ids, expected.get_ids());
    }
}
