//! Tests of reading and writing NER files.
use crate::Error;
use crate::ner::read::parse_ner;
use crate::ner::{NerFormat, Sentence, read_ner, write_ner};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Vec<Sentence>, Error> {
    parse_ner(text, NerFormat::detect(text).unwrap(), "file.txt")
}

/// Checks that the error starts with file and line and contains `words`.
fn assert_error(text: &str, line: usize, words: &[&str]) {
    let message = parse(text).unwrap_err().to_string();
    assert!(message.starts_with(&format!("file.txt:{line}: ")), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn conll_2003_is_parsed() {
    let text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP I-ORG\nrejects VBZ B-VP O\n\n-DOCSTART- -X- -X- O\n\n\nPeter NNP B-NP I-PER\n";
    let sentences = parse(text).unwrap();
    assert_eq!(sentences.len(), 2);
    assert_eq!(sentences[0].words, ["EU", "rejects"]);
    assert_eq!(sentences[0].tags, ["I-ORG", "O"]);
    assert_eq!(sentences[0].lines, [3, 4]);
    assert_eq!(sentences[1].line(), Some(9));
}

#[test]
fn conll_2002_with_windows_line_ends_is_parsed() {
    let sentences = parse("Melbourne B-LOC\r\n( O\r\n\r\n# O\r\n\u{a0} O\r\n").unwrap();
    assert_eq!(sentences[0].words, ["Melbourne", "("]);
    assert_eq!(sentences[1].words, ["#", "\u{a0}"]);
    assert_eq!(NerFormat::detect("# O\nParis B-LOC\n"), Ok(NerFormat::Conll));
    assert_eq!(NerFormat::detect("\n\nDe Art O\n"), Ok(NerFormat::Conll));
    // In lines with a tab, words may contain spaces.
    assert_eq!(parse("New York\tB-LOC\n").unwrap()[0].words, ["New York"]);
}

#[test]
fn wikiann_is_parsed() {
    let sentences = parse("de:Berlin\tB-LOC\nde::\tO\n\nzh-min-nan:x\tO").unwrap();
    assert_eq!(sentences[0].words, ["Berlin", ":"]);
    assert_eq!(sentences[0].id.as_deref(), Some("de"));
    assert_eq!(sentences[1].id.as_deref(), Some("zh-min-nan"));
    assert_error(
        "de:Berlin\tB-LOC\nBerlin\tB-LOC\nde:Bonn\tB-LOC\n",
        2,
        &["`Berlin`", "lang:word"],
    );
}

#[test]
fn the_format_is_detected_from_all_lines() {
    let conll = Ok(NerFormat::Conll);
    for (name, text, expected) in [
        ("a number as the first word", "1\tCD\tB-NP\tO\nMeyer\tNNP\tI-NP\tB-PER\n", conll.clone()),
        ("sentences of the word 1", "1\tCD\tB-NP\tO\n\n1\tCD\tB-NP\tB-LOC\n", conll.clone()),
        ("an address as the first word", "http://a.b\tO\nParis\tB-LOC\n", conll.clone()),
        ("a word with a colon", "de:mo\tO\nin\tO\nParis\tB-LOC\n", conll.clone()),
        ("only addresses", "https://a.b\tO\n\nhttps://c.d\tO\n", conll),
        ("indices and three columns", "1\tIn\tO\n2\tRom\tB-LOC\n", Ok(NerFormat::UniversalNer)),
        ("a missing index", "1\tIn\tO\n2\tRom\tB-LOC\n4\tx\tO\n", Ok(NerFormat::UniversalNer)),
        ("a language in all lines", "de:1\tO\n", Ok(NerFormat::WikiAnn)),
    ] {
        assert_eq!(NerFormat::detect(text), expected, "{name}");
    }
    let ambiguous = "1\tCD\tB-NP\tO\n2\tCD\tI-NP\tB-LOC\n";
    assert!(NerFormat::detect(ambiguous).unwrap_err().contains("--format"));
}

#[test]
fn universal_ner_is_parsed() {
    let text = "# newdoc id = d\n# sent_id = s1\n# text = Ein #Haus\n1\tEin\tO\t-\t-\n2\t#Haus\tB-LOC\t-\tx\n\n# newpar\n# sent_id = s2\n1\tJa\tO\t-\t-\n";
    let sentences = parse(text).unwrap();
    assert_eq!(
        sentences.iter().map(|one| one.id.as_deref()).collect::<Vec<_>>(),
        [Some("s1"), Some("s2")]
    );
    assert_eq!(sentences[0].words, ["Ein", "#Haus"]);
    let texts: Vec<_> = sentences.iter().map(|one| one.text.as_deref()).collect();
    assert_eq!(texts, [Some("Ein #Haus"), None]);
    assert_eq!(NerFormat::detect("# newpar\n1\tJa\tO\t-\t-\n"), Ok(NerFormat::UniversalNer));
    assert_eq!(NerFormat::detect("1\tJa\tO\t-\t-\n"), Ok(NerFormat::UniversalNer));
    assert_error("# sent_id = s1\n1\tJa\tO\t-\t-\n3\tNein\tO\t-\t-\n", 3, &["`3`", "number 2"]);
    assert_error("# a = b\n1\tJa\tO\t-\t-\n2\tNein\tO\n", 3, &["3 columns", "line 2 has 5"]);
}

#[test]
fn errors_name_line_and_problem() {
    assert_error("EU NNP B-NP I-ORG\nrejects VBZ O\n", 2, &["3 columns", "line 1 has 4"]);
    assert_error("EU\n", 1, &["1 column", "a word and a tag"]);
    assert_error("EU X-ORG\n", 1, &["`X-ORG`", "unknown", "B-PER"]);
    assert_error("EU B-ORG\nEU b-ORG\n", 2, &["`b-ORG`"]);
    assert_error("EU B-\n", 1, &["`B-`", "no type"]);
    assert_error("EU BORG\n", 1, &["`BORG`"]);
    assert_error("\tB-ORG\n", 1, &["empty"]);
    // The last line is truncated after the word.
    assert_error("EU B-ORG\nrejects", 2, &["1 columns", "line 1 has 2"]);
    for text in ["", "\n\n", "# text = x\n", "-DOCSTART- O\n"] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.starts_with("file.txt: no sentence"), "{text:?}: {message}");
    }
}

#[test]
fn compressed_files_are_read_and_damaged_files_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gz");
    let bytes = testkit::gzip("\u{feff}EU B-ORG\n");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(
        read_ner(&path, None).unwrap(),
        [Sentence { lines: vec![1], ..Sentence::new(&["EU"], &["B-ORG"]) }]
    );
    std::fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    assert!(matches!(read_ner(&path, None), Err(Error::File(_))));
    std::fs::write(&path, b"EU B-ORG\n\xff B-ORG\n").unwrap();
    assert!(read_ner(&path, None).unwrap_err().to_string().contains("x.gz:2: not UTF-8"));
    assert!(read_ner(folder.path().join("none"), None).unwrap_err().to_string().contains("none"));
}

proptest! {
    #[test]
    fn written_files_are_read_unchanged(
        sentences in prop::collection::vec(
            prop::collection::vec(("[a-zé中:#. ]{0,4}[a-z中#:]", prop::sample::select(vec!["O", "B-PER", "I-A-B"])), 1..5),
            1..5,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sentences: Vec<Sentence> = sentences
            .iter()
            .map(|pairs| {
                let words: Vec<&str> = pairs.iter().map(|(word, _)| word.as_str()).collect();
                let tags: Vec<&str> = pairs.iter().map(|&(_, tag)| tag).collect();
                Sentence::new(&words, &tags)
            })
            .collect();
        let path = folder.path().join("out.txt");
        write_ner(&path, &sentences).unwrap();
        let mut got = read_ner(&path, Some(NerFormat::Conll)).unwrap();
        got.iter_mut().for_each(|sentence| sentence.lines.clear());
        prop_assert_eq!(&got, &sentences);
    }

    #[test]
    fn parser_does_not_panic(text in "([a-z#:0-9 -]|\t|\n|B-|O){0,60}") {
        for format in [NerFormat::Conll, NerFormat::WikiAnn, NerFormat::UniversalNer] {
            let _ = parse_ner(&text, format, "x");
        }
    }
}

#[test]
fn invalid_sentences_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.txt");
    let invalid = Sentence { tags: Vec::new(), ..Sentence::new(&["EU"], &["O"]) };
    let message =
        write_ner(&path, &[Sentence::new(&["a"], &["O"]), invalid]).unwrap_err().to_string();
    assert_eq!(message, "sentence 2: 0 tags for 1 words");
    for (word, message) in
        [("a\tb", r#"the word "a\tb" is empty or contains a tab"#), ("", r#"the word "" is empty"#)]
    {
        let got = write_ner(&path, &[Sentence::new(&[word], &["O"])]).unwrap_err().to_string();
        assert!(got.contains(message), "{got}");
    }
    let got = write_ner(&path, &[Sentence::default()]).unwrap_err().to_string();
    assert_eq!(got, "sentence 1: no word");
    assert!(!path.exists());
}
