use kg_triples::Error;
use kg_triples::entity_linking::{LinkedText, Sitelinks, WikiReader, WikiReport};
use tempfile::tempdir;

use crate::common::{language, mention_text};

fn sitelinks() -> Sitelinks {
    let mut sitelinks = Sitelinks::default();
    for (id, code, title) in [
        ("Q70", "de", "Bern"),
        ("Q39", "de", "Schweiz"),
        ("Q39", "de", "Schweizerische Eidgenossenschaft"),
        ("Q42", "de", "AT&T"),
        ("Q90", "de", "São Paulo"),
        ("Q148", "zh", "中国"),
        ("Q70", "zh", "伯尔尼"),
    ] {
        sitelinks.add(id, language(code), title).unwrap();
    }
    sitelinks
}

/// Writes a WikiExtractor file with one page and returns the text that [`WikiReader`] reads from
/// it.
fn read(code: &str, title: &str, text: &str) -> LinkedText {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wiki_00");
    let page =
        serde_json::json!({ "id": "12", "revid": "3", "url": "…", "title": title, "text": text });
    std::fs::write(&path, format!("{page}\n")).unwrap();
    let sitelinks = sitelinks();
    let mut reader = WikiReader::open(&path, language(code), &sitelinks).unwrap();
    let page = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    page
}

fn links(page: &LinkedText) -> Vec<(String, &str)> {
    let mentions = page.mentions.iter();
    mentions.map(|mention| (mention_text(&page.text, mention), mention.entity.as_str())).collect()
}

#[test]
fn links_become_mentions_of_entities() {
    let text = "Bern ist <a href=\"Schweiz\">Bundesstadt</a> der <a href=\"schweizerische_Eidgenossenschaft#Lage\"> Eidgenossenschaft </a>; <a href=\"S%C3%A3o%20Paulo\">Sa\u{303}o</a>s, <a href=\"http%3A//x.org\">hier</a>.";
    let escaped = text.replace('<', "&lt;").replace('>', "&gt;");
    for text in [text, &escaped] {
        let page = read("de", "Bern", text);
        assert_eq!(page.text, "Bern ist Bundesstadt der  Eidgenossenschaft ; Sa\u{303}os, hier.");
        let expected = [
            ("Bundesstadt".into(), "Q39"),
            ("Eidgenossenschaft".into(), "Q39"),
            ("Sa\u{303}o".into(), "Q90"),
        ];
        assert_eq!(links(&page), expected);
        assert_eq!((page.id.as_str(), page.entity.as_deref()), ("de:12", Some("Q70")));
    }
}

#[test]
fn html_escapes_are_decoded_once() {
    let page = read("de", "AT&T", "1 &lt; 2 &amp;amp; &lt;a href=\"AT%26T\"&gt;AT&amp;T&lt;/a&gt;");
    assert_eq!(page.text, "1 < 2 &amp; AT&T");
    assert_eq!(links(&page), [("AT&T".into(), "Q42")]);
    assert_eq!(page.entity.as_deref(), Some("Q42"));
}

#[test]
fn escapes_of_titles_are_decoded_and_links_without_an_entity_counted() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wiki_00");
    let text = "<a href=\"AT%26amp%3BT\">a</a> <a href=\"AT%26%2338%3BT\">b</a> \
                <a href=\"AT%26%23x26%3BT%26\">c</a> <a href=\"%26nothing%3B\">d</a>";
    let pages = [("1", "AT&amp;T"), ("2", "AT&quot;T")].map(|(id, title)| {
        serde_json::json!({ "id": id, "title": title, "text": text }).to_string()
    });
    std::fs::write(&path, pages.join("\n")).unwrap();
    let sitelinks = sitelinks();
    let mut reader = WikiReader::open(&path, language("de"), &sitelinks).unwrap();
    let page = reader.next().unwrap().unwrap();
    assert_eq!(links(&page), [("a".into(), "Q42"), ("b".into(), "Q42")]);
    assert_eq!(page.entity.as_deref(), Some("Q42"));
    let counts =
        WikiReport { pages: 1, pages_without_entity: 0, links: 4, links_without_entity: 2 };
    assert_eq!(reader.report(), counts);
    assert_eq!(reader.take_report(), counts);
    reader.next().unwrap().unwrap();
    assert_eq!(reader.report(), WikiReport { pages_without_entity: 1, ..counts });
}

#[test]
fn offsets_count_code_points_in_any_script() {
    let page = read(
        "zh",
        "伯尔尼",
        "😀<a href=\"%E4%B8%AD%E5%9B%BD\">中国</a>的<a href=\"伯尔尼\">伯尔尼</a>",
    );
    assert_eq!(page.text, "😀中国的伯尔尼");
    assert_eq!(links(&page), [("中国".into(), "Q148"), ("伯尔尼".into(), "Q70")]);
    assert_eq!((page.mentions[0].start, page.mentions[0].end), (1, 3));
}

#[test]
fn tags_of_malformed_links_are_removed() {
    for (text, expected_text, mention_count) in [
        ("a <a href=\"Bern\">Bern", "a Bern", 0),
        ("<a href=\"X\">x <a href=\"Bern\">Bern</a> y</a>", "x Bern y", 1),
        ("a <a href=\"Bern\"> </a> b", "a   b", 0),
        ("a <a href=\"Bern\"></a> b", "a  b", 0),
        ("a <a href=\"Bern", "a Bern", 0),
        ("a </a> b", "a  b", 0),
        ("%zz <a href=\"%zz%\">x</a>", "%zz x", 0),
        ("", "", 0),
    ] {
        let page = read("de", "Bern", text);
        assert_eq!(page.text, expected_text, "{text}");
        assert_eq!(page.mentions.len(), mention_count, "{text}");
    }
}

#[test]
fn sitelinks_are_read_and_errors_reported() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("sitelinks.tsv.gz");
    let bytes = testkit::gzip("id\tlang\ttitle\nQ70\tde\tBern\nQ70\tde\tBundesstadt_(Schweiz)\n");
    std::fs::write(&path, &bytes).unwrap();
    let sitelinks = Sitelinks::read(&path).unwrap();
    assert_eq!(sitelinks.entity(language("de"), "bern"), Some("Q70"));
    assert_eq!(sitelinks.entity(language("de"), "Bundesstadt (Schweiz)"), Some("Q70"));
    assert_eq!(sitelinks.entity(language("en"), "Bern"), None);
    for (rows, expected_error) in [
        ("Q70\tde\tBern\nQ71\tde\tbern\n", "sitelinks.tsv:3: title: expected one id"),
        ("Q70\tde\n", "sitelinks.tsv:2: columns: expected 3"),
        ("Q70\td e\tBern\n", "sitelinks.tsv:2: language"),
        ("Q70\tde\t _\n", "sitelinks.tsv:2: title"),
        (" \tde\tBern\n", "sitelinks.tsv:2: id"),
    ] {
        let path = dir.path().join("sitelinks.tsv");
        std::fs::write(&path, format!("id\tlang\ttitle\n{rows}")).unwrap();
        let error = Sitelinks::read(&path).unwrap_err().to_string();
        assert!(error.contains(expected_error), "{error}");
    }
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let error = Sitelinks::read(&path).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn invalid_pages_are_reported() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wiki_00");
    let valid = r#"{"id":1,"title":"Bern","text":"x"}"#;
    for (line, expected_error) in
        [(r#"{"id":"2","title":"Bern"}"#, "missing field `text`"), ("x", "expected value")]
    {
        std::fs::write(&path, format!("{valid}\n{line}\n")).unwrap();
        let sitelinks = sitelinks();
        let results: Vec<_> =
            WikiReader::open(&path, language("de"), &sitelinks).unwrap().collect();
        assert_eq!(results[0].as_ref().unwrap().id, "de:1");
        let error = results[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("wiki_00:2: expected one page of WikiExtractor"), "{error}");
        assert!(error.contains(expected_error), "{error}");
    }
}
