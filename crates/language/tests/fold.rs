//! Tests of text folding.
use language::{Folded, fold, fold_retaining_case};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

fn text(source: &str) -> String {
    fold(source).into_string()
}

#[test]
fn spellings_of_a_word_have_equal_folded_texts() {
    for (usual, others) in [
        (
            "Brändvörth",
            &[
                "Bra\u{308}ndvo\u{308}rth",
                "BRÄNDVÖRTH",
                "Bränd\u{AD}vörth",
                "Bränd-\nvörth",
                "Bränd\u{AD}\r\n  vörth",
            ][..],
        ),
        (
            "Thạch Lũng",
            &[
                "Tha\u{323}ch Lu\u{303}ng",
                "Thạch\u{A0}Lũng",
                "Thạch\n\tLũng",
                "\u{FEFF}Thạ\u{200B}ch Lũng",
            ],
        ),
        (
            "O'Malveney",
            &["O’Malveney", "O‘Malveney", "Oʼmalveney", "O´Malveney", "O`Malveney", "O＇Malveney"],
        ),
        ("Hafenstraße", &["HAFENSTRASSE", "HAFENSTRAẞE", "hafen\u{2060}strasse"]),
        ("fluffig", &["ﬂuﬀig", "FLUFFIG"]),
        ("KX71", &["ＫＸ７１", "ｋｘ71", "KX\u{FE0E}71"]),
        ("1871", &["१८७१", "١٨٧١", "۱۸۷۱", "１８７１", "𝟏𝟖𝟕𝟏"]),
        ("القنطرة", &["القَنْطَرَة", "القنـــطرة", "القنطره", "ٱلقنطرة", "\u{200F}القنطرة"]),
        ("أسامة", &["اسامة", "ا\u{654}سامة", "إسامة"]),
        ("على", &["علي", "علی"]),
        ("می روم", &["می\u{200C}روم", "مي\u{200C}\u{200C}روم", "می \u{200C} روم"]),
        ("क़लम", &["\u{0958}लम", "कलम", "क\u{93C}\u{200D}लम"]),
        ("क्ष", &["क्\u{200D}ष", "क्\u{200C}ष"]),
        ("ൻ", &["ന\u{D4D}\u{200D}"]),
        ("ৎ", &["ত\u{9CD}\u{200D}"]),
        ("שָׁלוֹם", &["שלום", "\u{FB2A}לום"]),
        ("Москва", &["Москва\u{301}", "МОСКВА"]),
        ("İstanbul", &["istanbul", "I\u{307}stanbul"]),
        ("ΟΔΟΣ", &["οδος", "οδοσ"]),
        ("น้ำ", &["น\u{E49}\u{E4D}\u{E32}"]),
        ("한국", &["\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}"]),
        ("ｶﾞ", &["ガ", "カ\u{3099}"]),
        ("max-flow", &["max‐flow", "max‑flow", "max－flow"]),
    ] {
        for other in others {
            assert_eq!(text(other), text(usual), "{other:?} ({})", other.escape_unicode());
        }
    }
}

#[test]
fn different_words_have_different_folded_texts() {
    for (a, b) in [
        ("ใกล้", "ไกล"),
        ("ไม่", "ไม้"),
        ("कल", "क्ल"),
        ("पड़", "पड"),
        ("နတ်", "နတ"),
        ("một", "mốt"),
        ("schon", "schön"),
        ("kırk", "kirk"),
        ("мой", "мои"),
        ("ѓон", "гон"),
        ("раница", "ранѝца"),
        ("سئل", "سل"),
        ("X-Y", "X-\nY"),
        ("well known", "well-\nknown"),
        ("1990-\n1995", "19901995"),
        ("ab", "a\nb"),
    ] {
        assert_ne!(text(a), text(b), "{a} {b}");
    }
    assert_eq!(text("Nord-\nSüd  A\r\n\r\nB"), "nord- süd a b");
}

#[test]
fn the_case_can_be_retained() {
    let source = "Ｂra\u{308}nd\u{AD}vör-\nth’s ﬁne Straße ΟΔΟΣ";
    assert_eq!(fold_retaining_case(source).as_str(), "Brändvörth's fine Straße ΟΔΟΣ");
}

#[test]
fn ranges_of_the_folded_text_have_a_source() {
    let source =
        "\u{FEFF}Der\u{A0} \nBra\u{308}nd\u{AD}vör-\n  th\u{200B} kaufte O’Mal’s ﬁne القَلَمُ،";
    let folded = fold(source);
    assert_eq!(folded.as_str(), "der brändvörth kaufte o'mal's fine القلم،");
    for (part, expected) in [
        ("der", "Der"),
        ("der ", "Der\u{A0} \n"),
        (" ", "\u{A0} \n"),
        ("brändvörth", "Bra\u{308}nd\u{AD}vör-\n  th"),
        ("brä", "Bra\u{308}"),
        ("nd", "nd"),
        ("ndv", "nd\u{AD}v"),
        ("o'mal's", "O’Mal’s"),
        ("ine", "ﬁne"),
        ("fi", "ﬁ"),
        ("القلم", "القَلَمُ"),
        ("،", "،"),
    ] {
        let start = folded.as_str().find(part).unwrap();
        let range = folded.source_range(start..start + part.len());
        assert_eq!(&source[range], expected, "{part:?}");
    }
    let joined = "അവന\u{D4D}\u{200D} ";
    assert_eq!(fold(joined).source_range(6..9), 6..15);
    let end = folded.as_str().len();
    assert_eq!(folded.source_range(end..end), source.len()..source.len());
    assert_eq!(fold("").source_range(0..0), 0..0);
    assert_eq!(fold("\u{200B}").source_range(0..0), 0..0);
}

#[test]
fn the_time_is_linear_in_the_number_of_invisible_characters() {
    // Quadratic time would be many minutes.
    for c in ['\u{AD}', '\u{200C}', '\u{200B}', '\u{301}', '\u{64E}', ' ', '-', '\u{1161}'] {
        let text = format!("ب{}ب", c.to_string().repeat(300_000));
        assert!(fold(&text).as_str().len() >= 4, "{c:?}");
    }
}

/// Checks offsets: each character has a non-empty source at character boundaries, in order, and
/// without invisible characters at its ends.
fn check_offsets(source: &str, folded: &Folded) -> Result<(), TestCaseError> {
    let text = folded.as_str();
    let mut last = 0..0;
    for (start, c) in text.char_indices() {
        let range = folded.source_range(start..start + c.len_utf8());
        let part = source.get(range.clone());
        prop_assert!(part.is_some_and(|part| !part.is_empty()), "{start} {range:?}");
        prop_assert!(range == last || range.start >= last.end, "{range:?} after {last:?}");
        last = range;
        let whole = folded.source_range(0..start + c.len_utf8());
        prop_assert_eq!(whole.end, last.end);
        prop_assert_eq!(folded.source_range(start..start), last.start..last.start);
        // A part of the source text is folded to the characters it is the source of.
        if c != ' ' {
            prop_assert!(fold(&source[last.clone()]).as_str().contains(c), "{c:?}");
        }
    }
    Ok(())
}

fn check(source: &str) -> Result<(), TestCaseError> {
    let folded = fold(source);
    let again = fold(folded.as_str());
    prop_assert_eq!(again.as_str(), folded.as_str(), "of {}", source.escape_unicode());
    let nfd: String = source.nfd().collect();
    prop_assert_eq!(text(&nfd), folded.as_str(), "NFD of {}", source.escape_unicode());
    let nfc: String = source.nfc().collect();
    prop_assert_eq!(text(&nfc), folded.as_str(), "NFC of {}", source.escape_unicode());
    prop_assert!(folded.as_str().nfkc().eq(folded.as_str().chars()), "{}", source.escape_unicode());
    check_offsets(source, &folded)?;
    // With the case retained, only the case differs.
    let cased = fold_retaining_case(source);
    prop_assert_eq!(text(cased.as_str()), folded.as_str(), "{}", source.escape_unicode());
    let again = fold_retaining_case(cased.as_str());
    prop_assert_eq!(again.as_str(), cased.as_str());
    let of_nfd = fold_retaining_case(&nfd);
    prop_assert_eq!(of_nfd.as_str(), cased.as_str());
    let end = cased.as_str().len();
    prop_assert_eq!(cased.source_range(0..end), folded.source_range(0..folded.as_str().len()));
    Ok(())
}

/// Characters with rules of their own, and characters that compose with them.
const SPECIAL: &str = " \t\n\r-\u{AD}\u{2010}\u{200B}\u{200C}\u{200D}\u{FEFF}\u{B4}`'\u{2019}aAiIjéßǆİıſKÅΣς\u{345}\u{301}\u{307}\u{308}\u{323}\u{327}\
    اأإآىیكهةہ\u{640}\u{64E}\u{651}\u{653}\u{654}\u{670}\u{FE71}\u{FDFA}\u{FEFB}कफड\u{93C}\u{94D}\u{958}नന\u{D4D}ত\u{9CD}\
    аяйЙѓ\u{306}שׁ\u{5B8}น้ำ\u{E4D}ကေ\u{103A}한\u{1112}\u{1161}\u{11AB}\u{115F}\u{1160}カ\u{3099}ﾞ\u{309B}\u{A8}０७";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn folding_is_idempotent_and_keeps_canonical_equivalence(source in any::<String>()) {
        check(&source)?;
    }

    #[test]
    fn special_characters_can_follow_each_other(
        chars in prop::collection::vec(prop::sample::select(SPECIAL.chars().collect::<Vec<_>>()), 0..12),
    ) {
        check(&chars.into_iter().collect::<String>())?;
    }
}

#[test]
fn every_character_is_folded_consistently() {
    // Han and Hangul blocks, whose characters have no foldings of their own, are sampled.
    let is_sampled = |code: u32| {
        !matches!(code, 0x3400..=0x9FFF | 0xAC00..=0xD7A3 | 0x20000..) || code.is_multiple_of(97)
    };
    for c in (0..=0x10_FFFF).filter(|&code| is_sampled(code)).filter_map(char::from_u32) {
        check(&format!("{c}a{c}\u{301} {c}ا")).unwrap();
    }
}
