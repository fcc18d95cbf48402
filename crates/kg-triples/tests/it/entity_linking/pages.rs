use kg_triples::entity_linking::{EntityPage, PageText, page_files, read_pages};
use kg_triples::{Error, Language};
use tempfile::tempdir;

use crate::common::language;

#[test]
fn pages_are_read_by_language_with_file_and_line_in_errors() {
    let dir = tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("entities.zh.jsonl", "{\"id\":\"Q4\",\"label\":\"死亡\",\"extract\":null}\n");
    write("README.md", "not pages");
    write("entities.tsv", "not pages");
    let english = "{\"id\":\"Q4\",\"extract\":\" Death is. \"}\n\n{\"id\":\"Q5\"}\n";
    std::fs::write(dir.path().join("entities.en.jsonl.gz"), testkit::gzip(english)).unwrap();
    let files = page_files(dir.path()).unwrap();
    let languages: Vec<Language> = files.iter().map(|(language, _)| *language).collect();
    assert_eq!(languages, ["en", "zh"]);
    let mut page_ids = Vec::new();
    read_pages(&files, |language, page| {
        page_ids.push((language.to_string(), page.id));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        page_ids,
        [("en", "Q4"), ("en", "Q5"), ("zh", "Q4")].map(|(l, id)| (l.into(), id.into()))
    );

    let visit = |_, page: EntityPage| match page.id.as_str() {
        "Q5" => Err(Error::Tokenizer("no".into())),
        _ => Ok(()),
    };
    let error = read_pages(&files, visit).unwrap_err().to_string();
    assert!(error.contains("entities.en.jsonl.gz:3:"), "{error}");
    write("entities.zh.jsonl", "{\"id\":\"Q4\"}\n{\"id\":\"Q5\",\"extrakt\":\"x\"}\n");
    let error = read_pages(&files, |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("entities.zh.jsonl:2:") && error.contains("extrakt"), "{error}");

    write("entities.en.jsonl", "");
    let error = page_files(dir.path()).unwrap_err().to_string();
    assert!(error.contains("one file for language \"en\""), "{error}");
    let empty = tempdir().unwrap();
    assert!(matches!(page_files(empty.path()).unwrap_err(), Error::Empty { .. }));
    let error = page_files(dir.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}

#[test]
fn the_text_of_a_page_depends_on_the_option() {
    let page = |extract: Option<&str>, description: Option<&str>| EntityPage {
        id: "Q4".into(),
        label: Some("death".into()),
        extract: extract.map(str::to_owned),
        description: description.map(str::to_owned),
    };
    let complete = page(Some("long"), Some("short"));
    let without_extract = page(Some(" \n"), Some("short"));
    for (page, option, expected) in [
        (&complete, PageText::Extract, Some("long")),
        (&complete, PageText::Description, Some("short")),
        (&complete, PageText::Either, Some("long")),
        (&without_extract, PageText::Extract, None),
        (&without_extract, PageText::Either, Some("short")),
        (&page(None, None), PageText::Either, None),
    ] {
        assert_eq!(page.text(option), expected, "{page:?}, {option:?}");
    }
    let text = complete.into_text(language("en"), PageText::Extract).unwrap();
    assert_eq!(
        (text.id.as_str(), text.entity.as_deref(), text.text.as_str()),
        ("Q4", Some("Q4"), "long")
    );
    assert!(without_extract.into_text(language("en"), PageText::Extract).is_none());
}
