//! Documents, passages and search by words.
use collection::{Collection, Document, Writer};

use crate::{create, document, documents, select, snapshot};

const CITIES: [(&str, &str); 4] = [
    ("peru", "Lima is the capital of Peru."),
    ("ecuador", "Quito is the capital of Ecuador."),
    ("日本", "東京は日本の首都である。"),
    ("deutsch", "Die Straße in Lima ist lang."),
];

#[test]
fn passages_are_found_by_their_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/cities");
    create(&folder, &CITIES).finish().unwrap();
    let snapshot = snapshot(&folder);
    assert_eq!((snapshot.document_count(), snapshot.passage_count()), (4, 4));
    assert_eq!(select(&snapshot, "What is the capital of Peru?", 9), ["peru", "ecuador"]);
    assert_eq!(select(&snapshot, "日本の首都はどこですか", 9), ["日本"]);
    // Folding, and characters that a query language would reject.
    assert_eq!(select(&snapshot, "DIE STRASSEN: \"(+lang^ OR", 9), ["deutsch"]);
    assert_eq!(select(&snapshot, "the capital", 1).len(), 1);
    for nothing in ["", " ?!", "zzz"] {
        assert!(select(&snapshot, nothing, 9).is_empty());
    }
    assert!(select(&snapshot, "Lima", 0).is_empty());
    let stored = documents(&snapshot);
    assert_eq!(stored, CITIES.map(|(id, text)| (id.to_owned(), text.to_owned())));
}

#[test]
fn scores_are_bm25_with_padding() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), &[("a", "lima lima"), ("b", "lima peru")]).finish().unwrap();
    let hits = snapshot(folder.path()).select(&"Lima".into(), 9).unwrap();
    // Two of 50 passages have the word; each passage has the average length of two.
    let inverse_document_frequency = (1.0f32 + (50.0 - 2.0 + 0.5) / 2.5).ln();
    for (hit, (id, frequency)) in hits.iter().zip([("a", 2.0f32), ("b", 1.0)]) {
        assert_eq!(&*hit.passage.document, id);
        let expected = inverse_document_frequency * 2.2 * frequency / (frequency + 1.2);
        assert!((hit.words.unwrap() - expected).abs() < 1e-5, "{hit:?} {expected}");
    }
    assert_eq!(hits.len(), 2);
}

#[test]
fn passages_have_offsets_in_their_document() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}Écrit à Lima.\n\n東京は首都。\n\nThe end of Quito.\n";
    let starts = ["Écrit", "東京", "The end"].map(|word| text.find(word).unwrap());
    let passages = vec![
        starts[0]..starts[0] + "Écrit à Lima.".len(),
        starts[1]..starts[1] + "東京は首都。".len(),
        starts[2]..text.len() - 1,
    ];
    let whole = Document { id: "d".into(), text: text.into(), passages };
    let mut writer = Writer::create(folder.path()).unwrap();
    writer.add(&whole).unwrap();
    writer.finish().unwrap();
    let snapshot = snapshot(folder.path());
    assert_eq!(snapshot.document("d").unwrap(), Some(whole));
    assert_eq!(snapshot.document("e").unwrap(), None);
    for (question, word) in [("Lima", "Écrit"), ("東京", "東京"), ("Quito", "The end")] {
        let hits = snapshot.select(&question.into(), 9).unwrap();
        assert_eq!(hits.len(), 1);
        let passage = &hits[0].passage;
        assert!(passage.text.starts_with(word) && passage.text.trim() == &*passage.text);
        assert_eq!(text.get(passage.start_byte..).unwrap().find(word), Some(0));
        assert_eq!(text.chars().skip(passage.start).collect::<String>().find(word), Some(0));
        assert_eq!(snapshot.passage(passage.number).unwrap().as_ref(), Some(passage));
    }
}

#[test]
fn documents_are_updated_and_removed_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(folder.path(), &CITIES);
    let collection = Collection::open(folder.path()).unwrap();
    let before = collection.snapshot().unwrap();
    writer.update(&document("peru", "Cusco was the capital.")).unwrap();
    writer.update(&document("bolivia", "Sucre is the capital of Bolivia.")).unwrap();
    writer.remove("ecuador").unwrap();
    // Nothing is visible before the commit.
    assert_eq!(select(&collection.snapshot().unwrap(), "Sucre", 9), [""; 0]);
    writer.commit().unwrap();
    let after = collection.snapshot().unwrap();
    assert_eq!(after.document_count(), 4);
    let mut selected = select(&after, "Quito Lima Cusco Sucre", 9);
    selected.sort();
    assert_eq!(selected, ["bolivia", "deutsch", "peru"]);
    assert!(!after.contains("ecuador").unwrap() && after.contains("bolivia").unwrap());
    assert_eq!(after.document("peru").unwrap().unwrap().text, "Cusco was the capital.".into());
    // A snapshot does not change.
    assert_eq!(before.document_count(), 4);
    assert_eq!(select(&before, "Sucre Quito", 9), ["ecuador"]);
    // Changes that were not committed are dropped.
    writer.remove("peru").unwrap();
    drop(writer);
    let mut writer = Writer::open(folder.path()).unwrap();
    assert!(writer.snapshot().contains("peru").unwrap());
    writer.add(&document("ecuador", "Quito again.")).unwrap();
    writer.finish().unwrap();
    assert_eq!(collection.snapshot().unwrap().document_count(), 5);
}

#[test]
fn equal_scores_are_in_the_order_of_ids() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path()).unwrap();
    // Several segments, with ids in no order.
    for segment in 0..5 {
        for k in 0..40 {
            let id = (k * 5 + segment) * 77 % 200;
            writer.add(&document(&format!("{id:03}"), "The same words of Lima.")).unwrap();
        }
        writer.commit().unwrap();
    }
    let expected: Vec<String> = (0..200).map(|id| format!("{id:03}")).collect();
    assert_eq!(select(&snapshot(folder.path()), "Lima", 30), expected[..30]);
    // Updated documents have new numbers, but the same place.
    for id in [3, 150] {
        writer.update(&document(&format!("{id:03}"), "The same words of Lima.")).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(select(&snapshot(folder.path()), "Lima", 30), expected[..30]);
    assert_eq!(select(&snapshot(folder.path()), "Lima", 999), expected);
}
