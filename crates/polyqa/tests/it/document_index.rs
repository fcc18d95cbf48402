//! Tests of the selection of passages of documents without a collection.
use polyqa::{
    Candidate, Document, DocumentIndex, Documents, OtherLanguages, PassageSearch, Ranking,
};

use crate::common::xquad;

fn documents(texts: impl IntoIterator<Item = String>) -> Documents {
    let document = |(index, text): (usize, String)| Document {
        id: index.to_string().into(),
        text: text.into(),
    };
    texts.into_iter().enumerate().map(document).collect::<Vec<_>>().into()
}

/// Returns the passages that are read for a question.
fn select(index: &DocumentIndex, question: &str, max_passages: usize) -> Vec<Candidate> {
    let candidates = index.search(&question.into(), None, max_passages).unwrap();
    candidates.collect::<polyqa::Result<_>>().unwrap()
}

/// Returns the penalties of all passages.
fn penalties(index: &DocumentIndex, question: &str) -> Vec<f32> {
    let all = select(index, question, usize::MAX);
    assert_eq!(all.len(), index.passage_count());
    all.iter().map(|candidate| candidate.penalty).collect()
}

#[test]
fn an_unrelated_document_does_not_change_the_penalties_of_others() {
    let text = |words: [&str; 4]| {
        let paragraph = |word: &str| format!("{word} {}", "of many words in a row. ".repeat(9));
        words.map(paragraph).join("\n\n")
    };
    let cities = text(["Lima Peru", "Quito Peru", "Lima Bolivia", "La Paz"]);
    let recipe = text(["bread flour", "salt sea", "yeast time", "oven heat"]);
    let penalties = |texts: &[&String]| {
        let texts = texts.iter().map(|&text| text.clone());
        let index = DocumentIndex::over(&documents(texts)).unwrap();
        penalties(&index, "Which river is in Lima in Peru?")
    };
    let cities_only = penalties(&[&cities]);
    let with_recipe = penalties(&[&cities, &recipe]);
    assert_eq!((cities_only.len(), with_recipe.len()), (4, 8));
    assert!(
        cities_only[3] > cities_only[1] && cities_only[1] > cities_only[0] && cities_only[0] == 0.0,
        "{cities_only:?}"
    );
    // The word "in" occurs in every passage of both documents, so it does not affect the penalties.
    for (before, after) in cities_only.iter().zip(&with_recipe) {
        assert!((before - after).abs() < 0.01, "{cities_only:?} {with_recipe:?}");
    }
}

#[test]
fn answers_in_passages_without_question_words_are_penalised() {
    let text = "Lima is the capital of Peru and lies at the coast of the Pacific. \n\n\
        Quito is the capital of Ecuador, and it is high in the mountains. \n\n\
        A recipe for bread takes flour, water and some salt from the sea. \n\n"
        .split("\n\n")
        .map(|paragraph| format!("{paragraph}{}\n\n", "Here is a word. ".repeat(10)))
        .collect::<String>();
    let index = DocumentIndex::over(&documents([text])).unwrap();
    let questions = ["Which city is the capital of Peru?", "秘鲁的首都是哪座城市？"];
    let [peru, ecuador, bread] = penalties(&index, questions[0]).try_into().unwrap();
    assert!(peru == 0.0 && ecuador > 0.0 && bread > ecuador, "{peru} {ecuador} {bread}");
    // No passage has a word of the second question.
    assert_eq!(penalties(&index, questions[1]), [0.0; 3]);
    let top_1 = select(&index, questions[0], 1);
    assert_eq!(top_1.iter().map(|one| one.passage.number).collect::<Vec<_>>(), [0]);
    assert_eq!(select(&index, questions[1], 1).len(), 3);
    let unranked = index.without_ranking();
    assert_eq!(select(&unranked, questions[0], 1).len(), 3);
    assert_eq!(penalties(&unranked, questions[0]), [0.0; 3]);
}

#[test]
fn documents_with_equal_ids_and_texts_are_different() {
    let document = |text: &str| Document { id: "same".into(), text: text.into() };
    let texts = ["Lima", "Quito", "Lima", ""];
    let index = DocumentIndex::over(&texts.map(document).to_vec().into()).unwrap();
    assert_eq!((index.document_count(), index.passage_count()), (4, 4));
    assert_eq!(index.rank(&["Lima?"], Ranking::Bm25).unwrap(), [[0, 2]]);
    let found = select(&index, "Lima?", 3);
    assert_eq!(found.iter().map(|one| one.passage.number).collect::<Vec<_>>(), [0, 2]);
    assert!(found.iter().all(|one| &*one.passage.document == "same" && one.penalty == 0.0));
    let empty = DocumentIndex::over(&Documents::default()).unwrap();
    assert_eq!((select(&empty, "Lima?", 3).len(), empty.passage_count()), (0, 0));
    assert_eq!(empty.rank(&["Lima?"], Ranking::Bm25).unwrap(), [[0usize; 0]]);
}

#[test]
fn passages_have_the_offsets_and_pages_of_their_documents() {
    let long = "Écrit à Lima. ".repeat(30);
    let text = format!("\u{feff}{long}\u{c}\n\n{long}\u{c}\n\n{long}\u{c}");
    let index = DocumentIndex::over(&documents([text.clone(), "Lima".to_owned()])).unwrap();
    let found = select(&index, "Lima", 50);
    assert_eq!(found.len(), 4);
    for (number, candidate) in found.iter().take(3).enumerate() {
        let passage = &candidate.passage;
        assert!(text[passage.start_byte..].starts_with(&*passage.text));
        assert_eq!(text[..passage.start_byte].chars().count(), passage.start);
        assert_eq!(passage.page, documents::page_of(&text, passage.start_byte));
        assert_eq!(passage.page, Some(number + 1));
    }
    assert_eq!((found[0].passage.start, found[3].passage.page), (1, None));
}

#[test]
fn a_few_passages_in_other_languages_are_read() {
    let german = |index: usize| {
        format!(
            "Der Leuchtturm Nummer {index} steht auf dem Hügel an der Küste und ist für alle offen, \
             die sich den Weg nach oben zutrauen. Wer ihn gegründet hat, ist nicht bekannt."
        )
    };
    let english = "The lighthouse on the summit was founded in 1843 by Anselm Kirchwall, who paid \
                   for the lamp and the house of the keeper, and it is open to visitors.";
    let mut texts: Vec<String> = (0..85).map(german).collect();
    texts.push(english.to_owned());
    let question = "Wer hat den Leuchtturm auf dem Gipfel gegründet?";
    let index = DocumentIndex::over(&documents(texts.clone())).unwrap();
    let found = select(&index, question, 50);
    let last = found.last().unwrap();
    // Its score is compared with those of other English passages.
    assert_eq!((found.len(), last.passage.number, last.penalty), (51, 85, 0.0));
    assert_eq!(index.language_mismatch(question), None);
    let others = index.other_languages(question).unwrap();
    assert_eq!(others, OtherLanguages { passages: 1, names: ["de", "en"] });

    // If nearly all passages are in another language, all are read.
    texts.rotate_right(1);
    texts[1..].fill(english.to_owned());
    texts.push(german(0));
    let index = DocumentIndex::over(&documents(texts)).unwrap();
    assert_eq!(select(&index, question, 50).len(), 87);
    assert_eq!(index.language_mismatch(question), Some(["de", "en"]));
}

#[test]
fn questions_over_documents_in_seven_languages_select_few_passages() {
    let codes = ["en", "de", "es", "ar", "hi", "vi", "zh"];
    let of_language = codes.map(|code| {
        let mut questions = xquad(code);
        questions.dedup_by(|question, previous| question.context == previous.context);
        questions.truncate(20);
        questions
    });
    let texts = of_language.iter().flatten().map(|question| question.context.to_string());
    let index = DocumentIndex::over(&documents(texts)).unwrap();
    let mut found = 0;
    for (number, question) in of_language.iter().flatten().enumerate() {
        let text = question.question.as_str();
        assert_eq!(index.language_mismatch(text), None, "{text}");
        let selected = select(&index, text, 5);
        assert_eq!(selected.len(), 5, "{text}");
        let gold = number.to_string();
        found += usize::from(selected.iter().any(|one| *one.passage.document == gold));
    }
    assert!(found >= 136, "{found} of 140");
    // A name in Latin script does not change the language of a Chinese question.
    let question = "Sky Digital是什么时候推出的？";
    let others = index.other_languages(question).unwrap();
    let all = select(&index, question, usize::MAX);
    let is_chinese = |one: &&Candidate| one.passage.document.parse::<usize>().unwrap() >= 120;
    let chinese = all.iter().filter(is_chinese).count();
    assert_eq!(others.passages, index.passage_count() - chinese);
}
