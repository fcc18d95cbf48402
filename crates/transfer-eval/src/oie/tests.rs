//! Tests of extraction files, matches and CaRB's scores.
use std::ops::Range;
use std::path::Path;

use testkit::{assert_contains, fixture};

use super::matching::{Match, match_extractions};
use super::read::{parse_gold, parse_gold_json, parse_predicted};
use super::{
    MarkedPredicate, OieExtraction, OieSentence, argument_tags, extractions_of_tags,
    marked_predicates, predicate_tags, read_oie, read_oie_gold, score_oie, write_oie,
};
use crate::Error;
use crate::ner::Sentence;

fn extraction(predicate: &str, arguments: &[&str], confidence: f64) -> OieExtraction {
    let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    OieExtraction { predicate: predicate.into(), arguments, confidence }
}

fn sentence(text: &str, extractions: Vec<OieExtraction>) -> OieSentence {
    OieSentence { text: text.into(), extractions }
}

fn matched(gold: (&str, &[&str]), predicted: (&str, &[&str])) -> (f64, f64) {
    let gold = extraction(gold.0, gold.1, 1.0);
    let Match { precision, recall } =
        match_extractions(&gold, &extraction(predicted.0, predicted.1, 1.0));
    (precision, recall)
}

#[test]
fn words_match_within_the_predicate_and_two_arguments() {
    let gold: (&str, &[&str]) = ("was rebuilt", &["The museum", "by Ana Ruiz", "after the war"]);
    // 2 + 2 + 5 words match, of 3 + 2 + 5 predicted and 2 + 2 + 6 gold words.
    let predicted: (&str, &[&str]) = ("was rebuilt by", &["The museum", "Ana Ruiz after the war"]);
    assert_eq!(matched(gold, predicted), (0.9, 0.9));
    // Words of the other argument do not match: 2 of 6 and 2 of 10 words.
    assert_eq!(matched(gold, ("was rebuilt", &["Ana Ruiz", "The museum"])), (2.0 / 6.0, 0.2));
    // A repeated word matches as often as it occurs in both.
    assert_eq!(matched(("a a b", &[]), ("a a a", &[])), (2.0 / 3.0, 2.0 / 3.0));
    // No common word of the predicates; fewer arguments; more arguments, which are ignored.
    assert_eq!(matched(gold, ("rebuilds", &["The museum", "by Ana Ruiz"])), (0.0, 0.0));
    assert_eq!(matched(gold, ("was rebuilt", &["The museum"])), (0.0, 0.0));
    assert_eq!(matched(("rained", &["It"]), ("rained", &["It", "a lot"])), (1.0, 1.0));
    assert_eq!(matched(("rained", &[]), ("rained", &[])), (1.0, 1.0));
    // Words are case-sensitive, and separated by any whitespace, also in Python's sense.
    assert_eq!(matched(("is", &["The\u{1c}river  x"]), ("is", &["the river"])), (2.0 / 3.0, 0.5));
}

#[test]
fn a_predicted_be_matches_its_forms() {
    let gold: (&str, &[&str]) = ("was", &["It", "new"]);
    assert_eq!(matched(gold, ("be", &["It", "new"])), (1.0, 1.0));
    assert_eq!(matched(gold, ("is", &["It", "new"])), (0.0, 0.0));
    // The other direction does not match.
    assert_eq!(matched(("be", &["It", "new"]), ("was", &["It", "new"])), (0.0, 0.0));
    // "be" matches once more than the words of the gold predicate.
    assert_eq!(matched(("be", &[]), ("be be", &[])), (1.0, 2.0));
}

#[test]
fn verbs_of_speech_match_with_exchanged_arguments() {
    let gold: (&str, &[&str]) = ("said", &["Marta", "that it is closed"]);
    let exchanged: (&str, &[&str]) = ("said", &["that it is closed", "Marta"]);
    assert_eq!(matched(gold, exchanged), (1.0, 1.0));
    assert_eq!(matched(("added", gold.1), ("added", exchanged.1)), (1.0, 1.0));
    // Verbs are searched in the text of the gold predicate.
    assert_eq!(matched(("unsaid", gold.1), ("unsaid", exchanged.1)), (1.0, 1.0));
    let other = matched(("heard", gold.1), ("heard", exchanged.1));
    assert_eq!(other, (1.0 / 6.0, 1.0 / 6.0));
    // With three arguments, the last two become the first.
    assert_eq!(matched(gold, ("said", &["Marta", "that it", "is closed"])), (1.0, 1.0));
    assert_eq!(matched(gold, ("said", &["that it is closed", "Marta", "today"])), (6.0 / 7.0, 1.0));
}

#[test]
fn a_curve_computed_by_hand() {
    let gold = [
        sentence("one .", vec![extraction("is", &["a b"], 1.0), extraction("has", &["c"], 1.0)]),
        sentence("two", vec![extraction("is", &["d"], 1.0)]),
    ];
    let predicted = [
        // The same sentence without space and full stop.
        sentence("on e", vec![extraction("is", &["a"], 0.9), extraction("is", &["a b"], 0.4)]),
        sentence("three", vec![extraction("is", &["d"], 0.95)]),
    ];
    let score = score_oie(&gold, &predicted).unwrap();
    let points: Vec<_> =
        score.curve.iter().map(|point| (point.confidence, point.precision, point.recall)).collect();
    // At 0.4, one of the two predictions is assigned to "is" with precision 1, the other to "has"
    // with precision 0. The recall is (1 + 0 + 0) / 3. At 0.9 it is 2 / 3 of an extraction, and at
    // 0.95 there is no prediction of a gold sentence.
    assert_eq!(points, [(0.4, 0.5, 1.0 / 3.0), (0.9, 1.0, 2.0 / 9.0), (0.95, 1.0, 0.0)]);
    assert_eq!((score.sentences, score.gold, score.predicted), (2, 3, 2));
    assert_eq!(score.unknown_sentences, 1);
    // F1 is 0.4, 4 / 11 and 0.
    assert_eq!((score.precision, score.recall, score.confidence), (0.5, 1.0 / 3.0, Some(0.4)));
    assert!((score.f1 - 0.4).abs() < 1e-15);
    let area = 2.0 / 9.0 + (1.0 / 3.0 - 2.0 / 9.0) * 0.75;
    assert!((score.auc - area).abs() < 1e-15 && (score.auc_distinct_recall - area).abs() < 1e-15);
}

#[test]
fn nothing_predicted_scores_0() {
    let gold = [sentence("one", vec![extraction("is", &["a"], 1.0)])];
    let score = score_oie(&gold, &[]).unwrap();
    let values = [score.f1, score.precision, score.recall, score.auc, score.auc_distinct_recall];
    assert_eq!((values, score.confidence, score.curve), ([0.0; 5], None, vec![]));
    // Only wrong predictions: F1 is undefined, as is the best confidence.
    let wrong = [sentence("one", vec![extraction("has", &["a"], 0.5)])];
    let score = score_oie(&gold, &wrong).unwrap();
    assert_eq!((score.f1, score.confidence, score.auc), (0.0, None, 0.0));
    let error = score_oie(&gold, &[sentence("two", wrong[0].extractions.clone())]).unwrap_err();
    assert_contains(&error.to_string(), &["predicted sentence 1", "`two`", "in the gold file"]);
    assert!(matches!(score_oie(&[], &wrong), Err(Error::Nothing { .. })));
}

/// Digits of the scorers: `dair-iitd/CaRB` (commit 024e0e91) with three, and `youngbin-ro/Multi2OIE`
/// (commit c89cdc30) with five, run with Python 3, NumPy and scikit-learn on these files.
#[test]
fn scores_equal_those_of_the_released_scorers() {
    let score = |gold: &str, predicted: &str| {
        let file = |name: &str| fixture("transfer/oie").join(name);
        score_oie(&read_oie_gold(file(gold)).unwrap(), &read_oie(file(predicted)).unwrap()).unwrap()
    };
    let carb = score("gold.tsv", "predicted.tsv");
    let values = [carb.auc, carb.precision, carb.recall, carb.f1].map(|x| format!("{x:.3}"));
    // 0.7525 is rounded to 0.753, because the double is slightly above.
    assert_eq!(values, ["0.603", "0.753", "0.731", "0.742"]);
    let values = [carb.auc_distinct_recall, carb.precision, carb.recall, carb.f1];
    assert_eq!(values.map(|x| format!("{x:.5}")), ["0.60566", "0.75250", "0.73086", "0.74152"]);
    assert_eq!((carb.sentences, carb.gold, carb.predicted, carb.unknown_sentences), (6, 9, 11, 1));
    let points = carb.curve.iter().rev();
    let recalls: Vec<String> = points.map(|point| format!("{:.6}", point.recall)).collect();
    assert_eq!(
        recalls,
        [
            "0.000000", "0.100000", "0.169444", "0.255864", "0.353086", "0.441975", "0.553086",
            "0.664198", "0.664198", "0.730864", "0.730864"
        ]
    );
    let re_oie = score("gold.json", "predicted-re-oie.tsv");
    let values = [re_oie.auc_distinct_recall, re_oie.precision, re_oie.recall, re_oie.f1]
        .map(|x| format!("{x:.5}"));
    assert_eq!(values, ["0.62362", "0.67222", "0.68778", "0.67991"]);
}

#[test]
fn files_are_parsed_as_by_the_released_readers() {
    let path = Path::new("f");
    let predicted =
        parse_predicted("a b\t 0.5 \tis\tx\t\ty\t\t\r\n\n \t\nc\t1e-2\thas\na b\t1\tx", path)
            .unwrap();
    let expected = [
        sentence("a b", vec![extraction("is", &["x", "", "y"], 0.5), extraction("x", &[], 1.0)]),
        sentence("c", vec![extraction("has", &[], 0.01)]),
    ];
    assert_eq!(predicted, expected);
    let gold = parse_gold(" a b \t is \t x \tC: said\ty\n", path).unwrap();
    assert_eq!(gold, [sentence("a b", vec![extraction("is", &["x", "y"], 1.0)])]);
    let gold = read_oie_gold(fixture("transfer/oie/gold.json")).unwrap();
    let parts: Vec<&str> =
        gold.iter().flat_map(|one| &one.extractions).map(|one| &*one.predicate).collect();
    assert_eq!(parts, ["fue construido por", "construido", "[is]", "recebe", "abriu"]);
    assert_eq!(gold[0].extractions[0].arguments, ["El puente", "dos hermanas", "en 1911"]);
}

#[test]
fn invalid_files_are_rejected() {
    let path = Path::new("f");
    for (text, words) in [
        ("a\t0.5\n", vec!["f:1: 2 columns", "sentence, confidence, predicate"]),
        ("a\t0.5\tis\nb\tis\tx\n", vec!["f:2", "confidence \"is\""]),
        ("a\tnan\tis\n", vec!["f:1", "finite"]),
    ] {
        assert_contains(&parse_predicted(text, path).unwrap_err().to_string(), &words);
    }
    for (text, words) in [("a\tis\tb\n\n", vec!["f:2", "predicate"]), ("", vec!["f:1", "sentence"])]
    {
        assert_contains(&parse_gold(text, path).unwrap_err().to_string(), &words);
    }
    for (text, words) in [
        ("{}", vec!["f: no sentence"]),
        ("{\"a\": [{\"pred\": \"is\",\n \"arg0\": \"\"}]}", vec!["f:2", "missing field `arg1`"]),
        ("{\"a\":\n 3}", vec!["f:2", "an object that maps each sentence"]),
    ] {
        assert_contains(&parse_gold_json(text, path).unwrap_err().to_string(), &words);
    }
}

#[test]
fn written_extractions_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/extractions.tsv");
    let sentences = [
        sentence("a b", vec![extraction("is", &["x", "", "y z"], 0.1 + 0.2)]),
        sentence("c", vec![]),
    ];
    write_oie(&path, &sentences).unwrap();
    assert_eq!(read_oie(&path).unwrap(), sentences[..1]);
    let error =
        write_oie(&path, &[sentence("a\tb", vec![extraction("is", &[], 1.0)])]).unwrap_err();
    assert_contains(&error.to_string(), &["extractions.tsv", "a tab"]);
    assert_eq!(read_oie(&path).unwrap(), sentences[..1]);
}

fn marks() -> [String; 2] {
    ["[", "]"].map(str::to_owned)
}

/// Returns words and tags as `word/tag`; `O` is omitted.
fn tagged_text(sentence: &Sentence) -> String {
    let words = sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| match tag.as_str() {
        "O" => word.clone(),
        tag => format!("{word}/{tag}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn extractions_become_tags() {
    let sentences = [sentence(
        "The old man saw the man and the dog saw him",
        vec![
            extraction("saw", &["The old man", "the man"], 1.0),
            // The same predicate again; the last "the dog" before it; an argument before it.
            extraction("saw", &["the man", "him"], 1.0),
            extraction("saw him", &["the dog"], 1.0),
            extraction("sees", &["the dog"], 1.0),
            extraction("saw", &["man the"], 1.0),
            extraction("saw", &["saw"], 1.0),
            extraction("saw", &["a", "b", "c", "d", "e"], 1.0),
            extraction(" ", &["him"], 1.0),
        ],
    )];
    let predicates = predicate_tags(&sentences);
    assert_eq!(
        predicates.sentences.iter().map(tagged_text).collect::<Vec<_>>(),
        ["The old man saw/B-P the man and the dog saw/B-P him/I-P"]
    );
    // "saw" as its own argument is the second "saw".
    assert_eq!(predicates.skipped, 4);
    let arguments = argument_tags(&sentences, &marks());
    assert_eq!(
        arguments.sentences.iter().map(|one| tagged_text(&one.sentence)).collect::<Vec<_>>(),
        [
            "The/B-A0 old/I-A0 man/I-A0 [ saw ] the/B-A1 man/I-A1 and the dog saw him",
            "The old man [ saw ] the/B-A0 man/I-A0 and the dog saw him/B-A1",
            "The old man saw the man and the/B-A0 dog/I-A0 [ saw him ]",
            "The old man [ saw ] the man and the dog saw/B-A0 him",
        ]
    );
    assert_eq!(arguments.skipped, 4);
    // An overlapping predicate has no tags, but its own arguments.
    let overlapping =
        [sentence("a b c d", vec![extraction("b c", &["a"], 1.0), extraction("c", &["d"], 1.0)])];
    assert_eq!(predicate_tags(&overlapping).skipped, 1);
    assert_eq!(argument_tags(&overlapping, &marks()).sentences.len(), 2);
}

#[test]
fn tags_become_extractions() {
    let predicted =
        Sentence::new(&["It", "was", "new", "and", "is"], &["O", "I-P", "I-P", "O", "B-P"]);
    let marked = marked_predicates(&[Sentence::new(&["No"], &["O"]), predicted], &marks());
    let sources: Vec<(usize, Range<usize>)> =
        marked.iter().map(|one| (one.source, one.predicate.clone())).collect();
    assert_eq!(sources, [(1, 1..3), (1, 4..5)]);
    let texts: Vec<String> = marked.iter().map(|one| tagged_text(&one.sentence)).collect();
    assert_eq!(texts, ["It [ was new ] and is", "It was new and [ is ]"]);
    let mut tagged = marked.clone();
    // The second span of A0 is ignored, a span continues over a mark, and A1 is empty.
    let tags = |tags: [&str; 7]| tags.map(str::to_owned).to_vec();
    tagged[0].sentence.tags = tags(["B-A0", "O", "O", "O", "O", "B-A2", "B-A0"]);
    tagged[1].sentence.tags = tags(["O", "O", "I-A1", "I-A1", "I-A1", "O", "O"]);
    let expected = sentence(
        "It was new and is",
        vec![
            extraction("was new", &["It", "", "and"], 0.5),
            extraction("is", &["", "new and"], 0.25),
        ],
    );
    assert_eq!(extractions_of_tags(&tagged, &[0.5, 0.25]).unwrap(), [expected]);
    // Without arguments, there is no extraction.
    assert_eq!(extractions_of_tags(&marked, &[1.0, 1.0]).unwrap(), []);
    let error = extractions_of_tags(&marked, &[1.0]).unwrap_err().to_string();
    assert_contains(&error, &["1 predictions for 2 sentences", "It was new and [ is ]"]);
    for predicate in [2..2, 5..6] {
        let invalid = [MarkedPredicate { predicate, ..marked[1].clone() }];
        let error = extractions_of_tags(&invalid, &[1.0]).unwrap_err().to_string();
        assert_contains(&error, &["sentence 1", "of 7 words with two marks"]);
    }
}

#[test]
fn marks_can_be_words_of_a_sentence() {
    let gold = [sentence("a ] b [ c", vec![extraction("b", &["a ]", "[ c"], 1.0)])];
    let tagged = argument_tags(&gold, &marks());
    let text = "a/B-A0 ]/I-A0 [ b ] [/B-A1 c/I-A1";
    assert_eq!(tagged_text(&tagged.sentences[0].sentence), text);
    assert_eq!(extractions_of_tags(&tagged.sentences, &[1.0]).unwrap(), gold);
}

#[test]
fn gold_extractions_survive_tags() {
    let mut gold = read_oie_gold(fixture("transfer/oie/gold.tsv")).unwrap();
    let tagged = argument_tags(&gold, &marks());
    // "said" has an argument without the words in brackets.
    assert_eq!(tagged.skipped, 1);
    let confidences = vec![1.0; tagged.sentences.len()];
    let again = extractions_of_tags(&tagged.sentences, &confidences).unwrap();
    gold[2].extractions.remove(0);
    assert_eq!(again, gold);
    let score = score_oie(&gold, &again).unwrap();
    assert_eq!((score.f1, score.auc), (1.0, 1.0));
}
