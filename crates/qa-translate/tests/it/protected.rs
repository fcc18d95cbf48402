//! Parts that a translator must not touch.
use crate::common::By;
use mlqa_eval::Language;
use proptest::prelude::*;
use qa_translate::{
    Identity, OnFault, Protect, ProtectConfig, ProtectReport, Protected, Translator, mark,
};

fn translate<T: Translator>(protected: &mut Protected<T>, text: &str) -> Option<String> {
    protected.translate(&[text], Language::EN, Language::DE).unwrap().remove(0)
}

/// What a translator sees of a text.
fn seen(text: &str, config: ProtectConfig) -> String {
    let mut log = String::new();
    let by = By(|text: &str| {
        log = text.to_owned();
        Some(text.to_owned())
    });
    assert_eq!(translate(&mut Protected::new(by, config), text).as_deref(), Some(text));
    log
}

#[test]
fn each_kind_is_hidden() {
    for (kind, text, hidden) in [
        (Protect::Code, "run `ls -l` or ```\nx = `1`\n``` now", "run ⟦0⟧ or ⟦1⟧ now"),
        (Protect::Code, "one ` alone", "one ` alone"),
        (Protect::Code, "``` without an end", "``` without an end"),
        (Protect::Math, r"so $a^2$ and \(b\) in $$c$$", "so ⟦0⟧ and ⟦1⟧ in ⟦2⟧"),
        (Protect::Math, "costs $5 or $6", "costs $5 or $6"),
        (Protect::Addresses, "see https://x.org/a?b=1. Or a.b@c.de, now", "see ⟦0⟧. Or ⟦1⟧, now"),
        (Protect::Placeholders, "{name} has %d of ${all} %(n)s %1$s", "⟦0⟧ has ⟦1⟧ of ⟦2⟧ ⟦3⟧ ⟦4⟧"),
        (Protect::Placeholders, "100 % sure { } {a b}", "100 % sure { } {a b}"),
        (Protect::Tags, "<b class=\"x\">a</b> < 5 > 3", "⟦0⟧a⟦1⟧ < 5 > 3"),
        (Protect::Markers, "In ([1492]) or ([[2:x]])", "In ⟦0⟧1492⟦1⟧ or ⟦2⟧x⟦3⟧"),
    ] {
        let config = ProtectConfig { kinds: vec![kind], ..ProtectConfig::default() };
        assert_eq!(seen(text, config), hidden, "{kind:?}");
        let none = ProtectConfig { kinds: Vec::new(), ..ProtectConfig::default() };
        assert_eq!(seen(text, none), text);
    }
    let names = ["Ada", "Ada Lovelace", ""].map(str::to_owned).to_vec();
    let config = ProtectConfig { kinds: Vec::new(), names, ..ProtectConfig::default() };
    assert_eq!(seen("Ada Lovelace met Ada", config), "⟦0⟧ met ⟦1⟧");
    // A text with such brackets of its own gets more of them.
    assert_eq!(seen("⟦0⟧ and `x`", ProtectConfig::default()), "⟦0⟧ and ⟦⟦0⟧⟧");
}

/// The words in reverse order.
fn reversed(text: &str) -> String {
    text.split(' ').rev().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_comes_back_otherwise_is_counted_and_mended_or_refused() {
    let text = "use `a` and `b` now";
    for (broken, report) in [
        (reversed as fn(&str) -> String, ProtectReport { reordered: 1, ..Default::default() }),
        (|text| text.replace("⟦1⟧", ""), ProtectReport { lost: 1, ..Default::default() }),
        (|text| text.replace("⟦1⟧", "⟦0⟧"), ProtectReport { doubled: 1, ..Default::default() }),
        (|text| text.replace("⟦1⟧", "⟦7⟧"), ProtectReport { doubled: 1, ..Default::default() }),
        (|text| text.replace("1", "x"), ProtectReport { doubled: 1, ..Default::default() }),
        (|text| text.replace("⟦1⟧", "⟦1"), ProtectReport { lost: 1, ..Default::default() }),
        (|text| text.replace("⟦1⟧", "⟦ 1 ⟧"), ProtectReport::default()),
    ] {
        let faulty = report.lost + report.doubled;
        let protect = |on_fault| {
            let by = By(|text: &str| Some(broken(text).to_uppercase()));
            Protected::new(by, ProtectConfig { on_fault, ..ProtectConfig::default() })
        };
        let mut mending = protect(OnFault::Segments);
        let got = translate(&mut mending, text).unwrap();
        let parts = ["`a`", "`b`"].map(|part| got.matches(part).count());
        assert_eq!(parts, [1, 1], "{got}");
        let segments = ProtectReport { protected: 1, by_segments: faulty, ..report };
        assert_eq!(mending.report, segments, "{got}");
        if faulty > 0 {
            assert_eq!(got, "USE `a` AND `b` NOW");
        }
        let mut refusing = protect(OnFault::Reject);
        assert_eq!(translate(&mut refusing, text).is_none(), faulty > 0);
        assert_eq!(refusing.report, ProtectReport { protected: 1, rejected: faulty, ..report });
    }
    // No translation at all is none of these.
    let mut silent = Protected::new(By(|_: &str| None), ProtectConfig::default());
    assert_eq!(translate(&mut silent, text), None);
    assert_eq!(silent.report, ProtectReport { protected: 1, ..Default::default() });
}

#[test]
fn markers_survive_a_translator_that_damages_brackets() {
    let marked = mark("see ([1]) and x", 14, 1).unwrap();
    assert_eq!(marked.level, 2);
    let mut bare = By(|text: &str| Some(text.replace("([[", "([").to_uppercase()));
    let plain = bare.translate(&[&marked.text], Language::EN, Language::DE).unwrap();
    assert!(marked.recover(plain[0].as_ref().unwrap()).is_err());
    let by = By(|text: &str| Some(text.replace("([[", "([").to_uppercase()));
    let text = translate(&mut Protected::new(by, ProtectConfig::default()), &marked.text).unwrap();
    let found = marked.recover(&text).unwrap();
    assert_eq!((found.passage.as_str(), found.answer.answer_start), ("SEE ([1]) AND X", 14));
}

proptest! {
    #[test]
    fn nothing_changes_where_nothing_is_translated(
        text in "([ab.`{}<>$%⟦⟧0(\\[\\])/:@sé北]|\u{301}|https://a\\.b| \\{x\\} |`c`|\\$y\\$){0,12}",
    ) {
        let unchanged = translate(&mut Protected::new(Identity, ProtectConfig::default()), &text);
        prop_assert_eq!(unchanged.as_deref(), Some(text.as_str()));
    }

    #[test]
    fn parts_come_back_as_often_as_they_were(
        words in proptest::collection::vec(0usize..7, 1..10),
        rotate in 0usize..4,
        broken in 0usize..4,
        reject in any::<bool>(),
    ) {
        let all = ["`c d`", "https://a.b", "{x}", "$y$", "%s", "wort", "北"];
        let words: Vec<&str> = words.iter().map(|&word| all[word]).collect();
        let text = words.join(" ");
        let by = By(|text: &str| {
            let mut words: Vec<&str> = text.split(' ').collect();
            let by = rotate.min(words.len());
            words.rotate_left(by);
            Some(words.join(" ").replacen('⟦', "", broken))
        });
        let on_fault = if reject { OnFault::Reject } else { OnFault::Segments };
        let config = ProtectConfig { on_fault, ..ProtectConfig::default() };
        let parts = words.iter().filter(|word| all[..5].contains(word)).count();
        match translate(&mut Protected::new(by, config), &text) {
            Some(got) => {
                for part in &all[..5] {
                    prop_assert_eq!(got.matches(part).count(), text.matches(part).count(), "{}", got);
                }
                prop_assert!(!got.contains('⟦') && !got.contains('⟧'), "{}", got);
            }
            None => prop_assert!(reject && broken > 0 && parts > 0),
        }
    }
}
