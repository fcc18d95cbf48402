//! Tests of parts that a translator must not change.
use mlqa_eval::Language;
use proptest::prelude::*;
use qa_translate::{Identity, MarkerNotation, Protected, Rejection, ReplyReport, Translator, mark};

use crate::common::{DE, EN, FunctionTranslator};

fn translate<T: Translator>(protected: &mut Protected<T>, text: &str) -> Option<String> {
    protected.translate(&[text], EN, DE).unwrap().remove(0)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Returns the text that the inner translator gets, or `None` if it gets none.
fn masked(text: &str, protected_names: &[&str]) -> Option<String> {
    let mut request = None;
    let inner = FunctionTranslator(|text: &str| {
        request = Some(text.to_owned());
        Some(text.to_owned())
    });
    let translation = translate(&mut Protected::new(inner, names(protected_names)), text);
    assert_eq!(translation.as_deref(), Some(text));
    request
}

#[test]
fn each_kind_of_part_is_replaced() {
    for (text, expected) in [
        ("run `ls -l` or ```\nx = `1`\n``` now", "run ⟦0⟧ or ⟦1⟧ now"),
        ("one ` alone", "one ` alone"),
        ("``` without an end", "``` without an end"),
        (r"so $a^2$ and \(b\) in $$c$$", "so ⟦0⟧ and ⟦1⟧ in ⟦2⟧"),
        ("costs $5 or $6", "costs $⟦0⟧ or $⟦1⟧"),
        ("see https://x.org/a?b=1. Or a.b@c.de, now", "see ⟦0⟧. Or ⟦1⟧, now"),
        ("{name} has %d of ${all} %(n)s %1$s", "⟦0⟧ has ⟦1⟧ of ⟦2⟧ ⟦3⟧ ⟦4⟧"),
        ("sure { } {a b}", "sure { } {a b}"),
        ("<b class=\"x\">a</b> < b > c", "⟦0⟧a⟦1⟧ < b > c"),
        // Adjacent parts are joined.
        ("In ([1492]) or ([[2:x]])", "In ⟦0⟧ or ⟦1⟧x⟦2⟧"),
        ("3 of 1,234.5 (7 %, 8%) at 10:30, ٣٤", "⟦0⟧ of ⟦1⟧ (⟦2⟧ %, ⟦3⟧) at ⟦4⟧, ⟦5⟧"),
        ("COVID-19, H1N1, v2.0 and the 1990s", "COVID-19, H1N1, v2.0 and the 1990s"),
        // A text with such brackets gets longer ones.
        ("⟦a⟧ and `x`", "⟦a⟧ and ⟦⟦0⟧⟧"),
        ("a⟦`x`⟧", "a⟦⟦⟦0⟧⟧⟧"),
        ("", ""),
    ] {
        assert_eq!(masked(text, &[]).as_deref(), Some(expected));
    }
    assert_eq!(masked("1492 – `x`", &[]), None);
    let names = ["Ada", "Ada Lovelace", ""];
    let expected = "⟦0⟧ met ⟦1⟧ and Adam";
    assert_eq!(masked("Ada Lovelace met Ada and Adam", &names).as_deref(), Some(expected));
}

#[test]
fn lost_and_repeated_placeholders_are_reported() {
    let text = "use `a` and `b` now";
    type Change = fn(&str) -> String;
    let accepted: [(Change, &str); 2] = [
        (|text| text.replace("⟦1⟧", "⟦ 1 ⟧"), text),
        (|_| "now ⟦1⟧ and ⟦0⟧".to_owned(), "now `b` and `a`"),
    ];
    for (change, expected) in accepted {
        let inner = FunctionTranslator(|text: &str| Some(change(text)));
        let mut protected = Protected::new(inner, []);
        assert_eq!(translate(&mut protected, text).as_deref(), Some(expected));
        assert!(protected.take_reply_report().is_empty());
    }
    let rejected: [Change; 5] = [
        |text| text.replace("⟦1⟧", ""),
        |text| text.replace("⟦1⟧", "⟦0⟧"),
        |text| text.replace("⟦1⟧", "⟦7⟧"),
        |text| text.replace('1', "x"),
        |text| text.replace("⟦1⟧", "⟦1"),
    ];
    for change in rejected {
        let inner = FunctionTranslator(|text: &str| Some(change(text)));
        let mut protected = Protected::new(inner, []);
        assert_eq!(translate(&mut protected, text), None);
        let report = protected.take_reply_report();
        assert_eq!(report.rejected[&Rejection::Placeholder], 1);
        let reported = &report.rejected_texts[0];
        assert_eq!((&*reported.text, &*reported.detail), (text, &*change("use ⟦0⟧ and ⟦1⟧ now")));
        assert!(protected.take_reply_report().is_empty());
    }
    let mut missing = Protected::new(FunctionTranslator(|_: &str| None), []);
    assert_eq!(translate(&mut missing, text), None);
    assert_eq!(missing.take_reply_report(), ReplyReport::default());
}

#[test]
fn markers_survive_a_translator_that_changes_brackets() {
    let change = |text: &str| Some(text.replace("([[", "(").replace("<m>", "").to_uppercase());
    for (notation, text) in
        [(MarkerNotation::Brackets, "see ([a]) and x"), (MarkerNotation::Tags, "see [a] and x")]
    {
        let end = text.chars().count();
        let marked = notation.mark(text, std::slice::from_ref(&(end - 1..end))).unwrap();
        let plain = FunctionTranslator(change).translate(&[&marked.text], EN, DE).unwrap();
        assert!(marked.recover(plain[0].as_ref().unwrap()).is_err());
        let mut protected = Protected::new(FunctionTranslator(change), []);
        let translation = translate(&mut protected, &marked.text).unwrap();
        let recovered = marked.recover(&translation).unwrap();
        assert_eq!((recovered.text, &recovered.spans[0]), (text.to_uppercase(), &(end - 1..end)));
    }
}

#[test]
fn identity_includes_the_names() {
    struct Named;
    impl Translator for Named {
        fn translate(
            &mut self,
            _: &[&str],
            _: Language,
            _: Language,
        ) -> qa_translate::Translations {
            Ok(Vec::new())
        }
        fn identity(&self) -> Option<String> {
            Some("x".to_owned())
        }
    }
    let identity = |list: &[&str]| Protected::new(Named, names(list)).identity().unwrap();
    assert!(identity(&[]).starts_with("x, "));
    assert_ne!(identity(&["Ada"]), identity(&[]));
    assert_eq!(Protected::new(Identity, []).identity(), Identity.identity());
    // The number of translations is checked.
    assert!(Protected::new(Named, []).translate(&["a"], EN, DE).is_err());
}

proptest! {
    #[test]
    fn unchanged_translations_restore_the_text(
        text in "([ab.`{}<>$%⟦⟧0(\\[\\])/:@sé北-]|\u{301}|https://a\\.b| \\{x\\} |`c`|\\$y\\$){0,12}",
    ) {
        let translation = translate(&mut Protected::new(Identity, []), &text);
        prop_assert_eq!(translation.as_deref(), Some(text.as_str()));
    }

    #[test]
    fn translations_have_each_part_as_often_as_the_text(
        words in proptest::collection::vec(0usize..8, 1..10),
        rotation in 0usize..4,
        damaged in 0usize..4,
    ) {
        let all = ["`c d`", "https://a.b", "{x}", "$y$", "%s", "12", "wort", "北"];
        let words: Vec<&str> = words.iter().map(|&word| all[word]).collect();
        let text = words.join(" ");
        let inner = FunctionTranslator(|text: &str| {
            let mut words: Vec<&str> = text.split(' ').collect();
            let rotation = rotation.min(words.len());
            words.rotate_left(rotation);
            Some(words.join(" ").replacen('⟦', "", damaged))
        });
        match translate(&mut Protected::new(inner, []), &text) {
            Some(got) => {
                for part in &all[..6] {
                    prop_assert_eq!(got.matches(part).count(), text.matches(part).count());
                }
                prop_assert!(!got.contains(['⟦', '⟧']), "{}", got);
            }
            None => prop_assert!(damaged > 0 && words.iter().any(|word| all[..6].contains(word))),
        }
    }
}

#[test]
fn marked_answers_are_one_part_if_they_are_numbers() {
    let marked = mark("In 1492 Columbus sailed.", std::slice::from_ref(&(3..7))).unwrap();
    assert_eq!(masked(&marked.text, &[]).as_deref(), Some("In ⟦0⟧ Columbus sailed."));
}
