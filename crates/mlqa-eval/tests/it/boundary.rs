//! Boundary errors with hand-computed classes.
use mlqa_eval::{
    BoundaryClass, BoundaryCounts, Error, Language, MLQA_LANGUAGES, NBest, Normalization,
    classify_boundaries, count_boundaries, score,
};
use proptest::prelude::*;

use crate::common::{dataset, n_best, predictions, question};

const EN: Normalization = Normalization::Mlqa(Language::EN);

fn classify(context: &str, predicted: &str, gold: &str, rules: Normalization) -> BoundaryClass {
    let at = |text: &str| context[..context.find(text).unwrap()].chars().count();
    let data = dataset(vec![question("q", "", context, &[(gold, at(gold))])]);
    let counts =
        count_boundaries(&data, &[n_best("q", &[(predicted, at(predicted))])], rules).unwrap();
    BoundaryClass::ALL.into_iter().find(|class| counts.count(*class) == 1).unwrap()
}

#[test]
fn each_class_is_assigned() {
    let context = "In 1999 the old stone bridge was rebuilt.";
    let gold = "old stone bridge";
    for (predicted, expected) in [
        ("old stone bridge", BoundaryClass::Exact),
        ("the old stone bridge", BoundaryClass::Exact),
        ("the old stone bridge was", BoundaryClass::Superset),
        ("1999 the old stone bridge", BoundaryClass::Superset),
        ("stone", BoundaryClass::Subset),
        ("stone bridge was", BoundaryClass::Overlap),
        ("1999 the old", BoundaryClass::Overlap),
        ("was rebuilt.", BoundaryClass::Disjoint),
        ("In 1999 the", BoundaryClass::Disjoint),
    ] {
        assert_eq!(classify(context, predicted, gold, EN), expected, "{predicted}");
    }
}

#[test]
fn boundaries_ignore_text_that_normalisation_deletes() {
    let [de, ar, zh] = [Language::DE, Language::AR, Language::ZH].map(Normalization::Mlqa);
    let squad = Normalization::SquadEn;
    let (exact, superset) = (BoundaryClass::Exact, BoundaryClass::Superset);
    for (context, predicted, gold, rules, expected) in [
        ("Sie lebt (in der Stadt).", "(in der Stadt).", "in der Stadt", de, exact),
        // A leading article is stripped, and an article within the span is retained.
        ("die in der Stadt", "die in der Stadt", "in der Stadt", de, exact),
        // "The-old" is one word without the hyphen, so it has no leading article.
        ("The-old house", "The-old house", "old house", EN, superset),
        // Under SQuAD's rules a typographic quotation mark is part of the answer.
        ("“cat” x", "“cat”", "cat", EN, exact),
        ("“cat” x", "“cat”", "cat", squad, superset),
        // Arabic: the prefix "al-" is stripped from the word.
        ("في البيت", "البيت", "بيت", ar, exact),
        ("北京，上海", "北京，", "北京", zh, exact),
        // "the" is not stripped, because the span would become empty.
        ("see the end", "the", "end", EN, BoundaryClass::Disjoint),
        ("see the end", "the", "the", EN, exact),
    ] {
        assert_eq!(classify(context, predicted, gold, rules), expected, "{predicted} in {context}");
    }
}

#[test]
fn positions_count_code_points() {
    let context = "Größe é: 北京市 groß";
    assert_eq!(classify(context, "北京市", "北京市", EN), BoundaryClass::Exact);
    assert_eq!(classify(context, "北京市", "北京", EN), BoundaryClass::Superset);
    // These spans end or begin after the end of the context.
    let counts = |gold, start| {
        let data = dataset(vec![question("q", "", context, &[gold])]);
        count_boundaries(&data, &[n_best("q", &[("groß and more", start)])], EN).unwrap()
    };
    assert_eq!((counts(("groß", 13), 13).exact, counts(("北京市", 9), 50).disjoint), (1, 1));
}

#[test]
fn equal_text_at_another_position_is_disjoint_and_counted() {
    let context = "red fox and red hen";
    let data = dataset(vec![
        question("a", "", context, &[("red", 12)]),
        question("b", "", context, &[("red", 12)]),
        question("c", "", context, &[("fox", 4), ("red fox", 0)]),
        question("d", "", context, &[("hen", 16)]),
        question("e", "", context, &[("hen", 16)]),
    ]);
    let null = NBest { null: true, ..n_best("e", &[("hen", 16)]) };
    let lists = [
        n_best("a", &[("red", 0)]),
        n_best("b", &[("red", 12)]),
        n_best("c", &[("red fox", 0)]),
        null,
    ];
    let counts = count_boundaries(&data, &lists, EN).unwrap();
    let expected =
        BoundaryCounts { exact: 2, disjoint: 1, unanswered: 2, elsewhere: 1, ..Default::default() };
    assert_eq!(counts, expected);
    assert_eq!((counts.questions(), counts.percentage(BoundaryClass::Exact)), (5, 40.0));
    // A text may occur several times in the context; the occurrence with the best class counts.
    let texts =
        predictions(&[("a", "red"), ("b", "fox"), ("c", "and red"), ("d", "cat"), ("e", "")]);
    let counts = BoundaryCounts::of(&classify_boundaries(&data, &texts, EN).unwrap());
    assert_eq!((counts.exact, counts.disjoint, counts.unanswered, counts.elsewhere), (1, 3, 1, 0));
}

#[test]
fn missing_questions_and_gold_answers_are_errors() {
    let no_questions = count_boundaries(&dataset(Vec::new()), &[], EN).unwrap_err();
    assert!(matches!(no_questions, Error::NoQuestions { .. }), "{no_questions}");
    let data = dataset(vec![question("a", "", "x y", &[])]);
    let no_gold = count_boundaries(&data, &[n_best("a", &[("x", 0)])], EN).unwrap_err();
    assert!(matches!(no_gold, Error::NoGold { .. }), "{no_gold}");
    // The gold answer must be inside the context. The predicted one can be `empty` of `run_qa`.
    let data = dataset(vec![question("a", "", "x y", &[("y", 2)])]);
    let counts = count_boundaries(&data, &[n_best("a", &[("empty", 0)])], EN).unwrap();
    assert_eq!(counts.superset, 1);
    let data = dataset(vec![question("a", "", "x y", &[("y", 3)])]);
    let outside = count_boundaries(&data, &[n_best("a", &[("x", 0)])], EN).unwrap_err();
    assert!(matches!(outside, Error::AnswerMismatch { offset: 3, .. }), "{outside}");
}

proptest! {
    /// Every exact span is an exact match. Every exact match is an exact span or counted as
    /// `elsewhere`.
    #[test]
    fn classes_agree_with_exact_match(
        words in proptest::collection::vec("(the|a|An|der|die|x|y,|\\(z|-|ال|البيت|là|北京)", 1..8),
        spans in proptest::collection::vec(0usize..60, 4),
        language in 0usize..7,
    ) {
        let context = words.join(" ");
        let text: Vec<char> = context.chars().collect();
        let part = |a: usize, b: usize| {
            let (a, b) = (a % text.len(), b % text.len());
            let (from, to) = (a.min(b), a.max(b) + 1);
            (text[from..to].iter().collect::<String>(), from)
        };
        let ((gold, gold_start), (predicted, start)) = (part(spans[0], spans[1]), part(spans[2], spans[3]));
        let rules = Normalization::Mlqa(MLQA_LANGUAGES[language]);
        let data = dataset(vec![question("q", "", &context, &[(&gold, gold_start)])]);
        let counts = count_boundaries(&data, &[n_best("q", &[(&predicted, start)])], rules).unwrap();
        let predictions = predictions(&[("q", &predicted)]);
        let is_exact_match = score(&data, &predictions, rules).unwrap().exact_match == 100.0;
        prop_assert_eq!(counts.questions(), 1);
        prop_assert_eq!(counts.exact + counts.elsewhere, usize::from(is_exact_match), "{:?} {:?} in {:?}", predicted, gold, context);
    }
}
