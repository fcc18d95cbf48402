//! Triples with synthetic descriptions: read and divided.
use std::path::Path;

use kg_triples::knowledge::{EntailmentDataset, EntailmentSource};
use kg_triples::{GraphBuilder, KgError, LabelKind};

use crate::{common, language, tokenizer};

fn load(source: &EntailmentSource) -> Result<EntailmentDataset, KgError> {
    EntailmentDataset::load(source, tokenizer())
}

fn source(folder: &Path) -> EntailmentSource {
    EntailmentSource { kg: folder.to_owned(), description_tokens: 16, ..Default::default() }
}

#[test]
fn keys_are_checked_before_anything_is_read() {
    let nowhere = source(Path::new("/no/such/folder"));
    for (beginning, source) in [
        ("held_out_fraction = 0", EntailmentSource { held_out_fraction: 0.0, ..nowhere.clone() }),
        (
            "held_out_fraction = NaN",
            EntailmentSource { held_out_fraction: f64::NAN, ..nowhere.clone() },
        ),
        ("description_tokens = 2", EntailmentSource { description_tokens: 2, ..nowhere.clone() }),
        (
            "languages = [\"en\"]",
            EntailmentSource { languages: vec![language("en")], ..nowhere.clone() },
        ),
        (
            "languages = [\"en\", \"en\"]",
            EntailmentSource { languages: vec![language("en"); 2], ..nowhere.clone() },
        ),
    ] {
        let error = load(&source).err().unwrap();
        assert!(matches!(error, KgError::Config { .. }), "{error}");
        assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
    }
    assert!(matches!(load(&nowhere), Err(KgError::Io { .. })));
}

#[test]
fn graphs_without_enough_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    common::countries().write_dir(folder.path()).unwrap();
    let unknown = ["en", "fr"].map(language).into();
    let error = load(&EntailmentSource { languages: unknown, ..source(folder.path()) }).err();
    assert!(matches!(error, Some(KgError::UnknownLanguage { .. })), "{error:?}");
    // Nothing is below a fraction this small.
    let held_out_fraction = 1e-12;
    let error = load(&EntailmentSource { held_out_fraction, ..source(folder.path()) }).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("held-out triples") && error.contains("held_out_fraction"), "{error}");
    let held_out_fraction = 1.0 - 1e-12;
    let error = load(&EntailmentSource { held_out_fraction, ..source(folder.path()) }).err();
    assert!(error.unwrap().to_string().contains("triples to train on"));

    let mut builder = GraphBuilder::default();
    builder.add_triple("Q1", "P1", "Q2").unwrap();
    builder.add_label("Q1", "en", "one", LabelKind::Entity).unwrap();
    builder.build().write_dir(folder.path()).unwrap();
    let error = load(&source(folder.path())).err().unwrap().to_string();
    assert!(error.starts_with("languages = [\"en\"]: must be two languages or more"), "{error}");
}

#[test]
fn an_empty_file_is_the_default() {
    let read = |text: &str| toml::from_str::<EntailmentSource>(text);
    assert_eq!(read("").unwrap(), EntailmentSource::default());
    assert!(read("held_out = 0.2").is_err());
}
