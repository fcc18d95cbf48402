//! Triples for object entailment, divided into training triples and queries.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::Rng;
use rand::seq::IndexedRandom;
use tokenizers::Tokenizer;

use super::described::{Described, Verbalised};
use super::description::text_budget;
use super::entailment_split::{Divided, divide, languages};
use super::facts_by_language::FactsByLanguage;
use super::{
    DescribedBy, Descriptions, EncodedDescriptions, EntailmentExample, EntailmentReport,
    EntailmentSource, RelationIds, SameLanguage,
};
use crate::tokens::{Specials, unlimited};
use crate::{KgError, KnowledgeGraph, Language, seed};

/// The triples of a graph for object entailment (XLM-K, §3.3), divided into training triples and
/// queries.
///
/// Subject and object are described by texts ([`DescribedBy::Pages`], [`DescribedBy::Wikidata`]) or
/// synthetically: the label of the entity, then other *training* triples about it, so that no
/// description tells what is held out. Synthetic descriptions of a training example leave out its
/// own triple, and what has no label in their language.
///
/// The language of the subject is drawn with probability n^α / Σ n^α, where n is the number of its
/// triples and α is [`EntailmentSource::smoothing`], then one of these triples uniformly, and
/// uniformly another language of the object.
pub struct EntailmentDataset {
    graph: KnowledgeGraph,
    described: Described,
    languages: Vec<Language>,
    same_language: SameLanguage,
    relations: RelationIds,
    /// Fact numbers.
    train: Vec<u32>,
    /// What is drawn where subject and object are described in two languages, and in one.
    across: FactsByLanguage,
    within: FactsByLanguage,
    /// Fact numbers of held-out triples whose subject and relation have one object.
    test: Vec<u32>,
    report: EntailmentReport,
}

impl EntailmentDataset {
    /// Calls `visit` with the name and text of everything that decides the training examples, in a
    /// fixed order and without paths: for a fingerprint of the data.
    ///
    /// The tokenizer comes as its JSON, empty if it cannot be written.
    pub fn visit(&self, mut visit: impl FnMut(&'static str, &str)) {
        if let Described::Triples(triples) = &self.described {
            let Verbalised { tokenizer, text_budget, .. } = &**triples;
            visit("tokenizer", &tokenizer.to_string(false).unwrap_or_default());
            visit("text_budget", &text_budget.to_string());
        }
        for drawn in [&self.across, &self.within] {
            visit("weights", &format!("{:?}", drawn.weights));
        }
        for language in &self.languages {
            visit("language", language.as_str());
        }
        for relation in self.relations() {
            visit("relation", relation);
        }
        for triple in self.train.iter().filter_map(|&fact| self.graph.triple(fact)) {
            for id in [triple.head, triple.relation, triple.tail] {
                visit("id", id);
                match &self.described {
                    Described::Texts(texts) => visit("texts", &format!("{:?}", texts.get(id))),
                    Described::Triples(_) => self.languages.iter().for_each(|language| {
                        let label = self.graph.label(id, language.as_str());
                        visit("label", label.unwrap_or_default());
                    }),
                }
            }
        }
    }

    /// Reads a graph and the descriptions of its entities, and divides its triples.
    ///
    /// # Errors
    /// [`KgError::Config`] as [`EntailmentSource::validate`], before anything is read; the errors
    /// of [`KnowledgeGraph::read_dir`] and [`Descriptions`]; [`KgError::UnknownLanguage`];
    /// [`KgError::Empty`] if there is no triple to train on or, unless nothing is held out, none as
    /// a query.
    ///
    /// ```
    /// use kg_triples::knowledge::{DescribedBy, EntailmentDataset, EntailmentSource};
    /// use kg_triples::{GraphBuilder, LabelKind};
    /// use rand_chacha::ChaCha8Rng;
    /// use rand_chacha::rand_core::SeedableRng;
    /// # let tokenizer = tokenizers::Tokenizer::from_file(
    /// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let mut builder = GraphBuilder::default();
    /// # for language in ["de", "en"] {
    /// #     builder.add_label("P36", language, "Stadt", LabelKind::Relation)?;
    /// # }
    /// # for at in 0..30 {
    /// #     let (country, city) = (format!("Q{at}"), format!("Q{}", 100 + at));
    /// #     builder.add_triple(&country, "P36", &city)?;
    /// #     for language in ["de", "en"] {
    /// #         builder.add_label(&country, language, &format!("Land {at}"), LabelKind::Entity)?;
    /// #         builder.add_label(&city, language, &format!("Stadt {at}"), LabelKind::Entity)?;
    /// #     }
    /// # }
    /// # builder.build().write_dir(folder.path())?;
    /// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
    /// let kg = folder.path().to_owned(); // triples.tsv and labels.tsv
    /// let descriptions = DescribedBy::Triples;
    /// let source: EntailmentSource = EntailmentSource { kg, descriptions, ..Default::default() };
    /// let data = EntailmentDataset::load(&source, &tokenizer)?;
    /// println!("{}", data.report());
    /// let example = data.sample(true, &mut ChaCha8Rng::seed_from_u64(1))?;
    /// assert_eq!((example.relation, data.relations()), (0, ["P36".to_owned()].as_slice()));
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn load<P: AsRef<Path>, Q: AsRef<Path>>(
        source: &EntailmentSource<P, Q>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, KgError> {
        source.validate()?;
        let kg = source.kg.as_ref();
        let graph = KnowledgeGraph::read_dir(kg)?;
        let wanted = |language| source.languages.is_empty() || source.languages.contains(&language);
        let texts = match source.descriptions {
            DescribedBy::Pages => {
                let known = |id: &str| graph.position(id).is_some();
                Some(Descriptions::of_pages(&source.pages, source.page_text, wanted, known)?)
            }
            DescribedBy::Wikidata => {
                let mut texts = Descriptions::default();
                texts.add_table(&kg.join("descriptions.tsv"), wanted)?;
                Some(texts)
            }
            DescribedBy::Triples => None,
        };
        let data = match texts {
            Some(texts) => {
                let texts = texts.encode(tokenizer, source.description_tokens)?;
                Self::with_texts(graph, texts, source)?
            }
            None => Self::with_triples(graph, tokenizer, source)?,
        };
        let lacks_queries = data.test.is_empty() && source.held_out_fraction > 0.0;
        if data.train.is_empty() || lacks_queries {
            let what = if lacks_queries { "held-out triples" } else { "triples to train on" };
            return Err(data.nothing(format!("{}: {what}", kg.display()), source));
        }
        Ok(data)
    }

    /// Divides the triples of a graph whose entities these texts describe. Paths are not looked
    /// at, nor is [`EntailmentSource::descriptions`]. There may be no triple to train on.
    ///
    /// # Errors
    /// [`KgError::Config`] as [`EntailmentSource::validate`]; [`KgError::UnknownLanguage`].
    pub fn with_texts<P, Q>(
        graph: KnowledgeGraph,
        texts: EncodedDescriptions,
        source: &EntailmentSource<P, Q>,
    ) -> Result<Self, KgError> {
        let known = texts.known_languages();
        Self::new(graph, Described::Texts(texts), &known, source)
    }

    fn with_triples<P, Q>(
        graph: KnowledgeGraph,
        tokenizer: &Tokenizer,
        source: &EntailmentSource<P, Q>,
    ) -> Result<Self, KgError> {
        let described = Described::Triples(Box::new(Verbalised {
            specials: Specials::find(tokenizer)?,
            tokenizer: unlimited(tokenizer)?,
            text_budget: text_budget(source.description_tokens, "description_tokens")?,
            facts_about: BTreeMap::new(),
        }));
        let known = graph.languages().to_vec();
        Self::new(graph, described, &known, source)
    }

    /// `known` are the languages that something is described in.
    fn new<P, Q>(
        graph: KnowledgeGraph,
        mut described: Described,
        known: &[Language],
        source: &EntailmentSource<P, Q>,
    ) -> Result<Self, KgError> {
        source.validate()?;
        let languages = languages(source, known)?;
        let Divided { train, test, facts_about, report } =
            divide(&graph, &described, &languages, source);
        if let Described::Triples(triples) = &mut described {
            triples.facts_about = facts_about;
        }
        let relations = RelationIds::new(&graph);
        let report = EntailmentReport { relations: relations.len(), ..report };
        let usable = |multilingual: bool| {
            let (graph, described, all) = (&graph, &described, &languages);
            let allow = source.same_language == SameLanguage::Allow;
            move |fact: u32, language: Language| {
                graph.triple(fact).is_some_and(|triple| {
                    let has = |id: &str, code| described.has(graph, id, code);
                    let across =
                        || all.iter().any(|code| *code != language && has(triple.tail, *code));
                    let alone = || allow && only_language(graph, described, all, fact, language);
                    has(triple.head, language)
                        && match multilingual {
                            true => across() || alone(),
                            false => has(triple.tail, language),
                        }
                })
            }
        };
        let by_language = |multilingual| {
            FactsByLanguage::new(&languages, &train, source.smoothing, usable(multilingual))
        };
        let (across, within) = (by_language(true), by_language(false));
        let same_language = source.same_language;
        Ok(Self {
            across,
            within,
            relations,
            report,
            graph,
            described,
            languages,
            same_language,
            train,
            test,
        })
    }

    /// That nothing is left, and why.
    fn nothing<P, Q>(&self, what: String, source: &EntailmentSource<P, Q>) -> KgError {
        let EntailmentReport { triples, without_subject, without_object, without_language, .. } =
            self.report;
        KgError::Empty {
            what,
            hint: format!(
                "of {triples} triples {without_subject} have no described subject, \
                 {without_object} no described object, {without_language} no descriptions in two \
                 of {:?}, one each; as held out (held_out_fraction = {}) those count with one \
                 object for subject and relation; give more triples or descriptions",
                self.languages, source.held_out_fraction
            ),
        }
    }

    /// The relations by number.
    pub fn relations(&self) -> &[String] {
        self.relations.ids()
    }

    /// What was found.
    pub fn report(&self) -> EntailmentReport {
        self.report
    }

    /// A random training example: subject and object are described in two languages or, without
    /// `multilingual`, in one.
    ///
    /// # Errors
    /// [`KgError::Value`] if there is none; [`KgError::Tokenizer`] if a description cannot be
    /// encoded.
    pub fn sample(
        &self,
        multilingual: bool,
        rng: &mut impl Rng,
    ) -> Result<EntailmentExample, KgError> {
        let drawn = if multilingual { &self.across } else { &self.within };
        let (language, fact) = drawn.sample(rng).ok_or_else(|| missing("a training triple"))?;
        let object_language = if multilingual {
            let triple = self.graph.triple(fact).ok_or_else(|| missing("a triple"))?;
            let others = self.languages_of(triple.tail).filter(|other| *other != language);
            let others: Vec<Language> = others.collect();
            // Only `SameLanguage::Allow` lets triples without another language be drawn.
            others.choose(rng).copied().unwrap_or(language)
        } else {
            language
        };
        self.example(fact, language, object_language, rng)
    }

    /// Example `index` of an endless row of random ones, by `seed` and `index` alone.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn drawn(
        &self,
        multilingual: bool,
        seed: u64,
        index: u64,
    ) -> Result<EntailmentExample, KgError> {
        self.sample(multilingual, &mut seed::use_rng("entailment", seed, index))
    }

    /// Every training triple once, in order of fact number; its languages are drawn uniformly from
    /// all pairs of two languages (without `multilingual`, from all of one) in which the two are
    /// described, by `seed` and fact number. Triples without such a pair are passed over.
    ///
    /// Reading: the languages of subject and object are "different where possible".
    pub fn once(
        &self,
        multilingual: bool,
        seed: u64,
    ) -> impl Iterator<Item = Result<EntailmentExample, KgError>> + '_ {
        self.of_facts(&self.train, multilingual, seed)
    }

    /// The held-out triples whose subject and relation have one object, as [`Self::once`] gives
    /// those to train on.
    pub fn held_out(
        &self,
        multilingual: bool,
        seed: u64,
    ) -> impl Iterator<Item = Result<EntailmentExample, KgError>> + '_ {
        self.of_facts(&self.test, multilingual, seed)
    }

    fn of_facts<'a>(
        &'a self,
        facts: &'a [u32],
        multilingual: bool,
        seed: u64,
    ) -> impl Iterator<Item = Result<EntailmentExample, KgError>> + 'a {
        facts.iter().filter_map(move |&fact| {
            let mut rng = seed::use_rng("entailment once", seed, u64::from(fact));
            let (subject, object) = *self.pairs(fact, multilingual).choose(&mut rng)?;
            Some(self.example(fact, subject, object, &mut rng))
        })
    }

    /// The languages of subject and object that a triple can be told in.
    fn pairs(&self, fact: u32, multilingual: bool) -> Vec<(Language, Language)> {
        let Some(triple) = self.graph.triple(fact) else { return Vec::new() };
        let all = || {
            let subject = self.languages_of(triple.head);
            subject.flat_map(|one| self.languages_of(triple.tail).map(move |other| (one, other)))
        };
        let same = || all().filter(|(one, other)| one == other).collect();
        if !multilingual {
            return same();
        }
        let different: Vec<_> = all().filter(|(one, other)| one != other).collect();
        match self.same_language {
            SameLanguage::Allow if different.is_empty() => same(),
            _ => different,
        }
    }

    /// The languages that the entity is described in.
    fn languages_of<'a>(&'a self, entity: &'a str) -> impl Iterator<Item = Language> + 'a {
        let described = |code: &Language| self.described.has(&self.graph, entity, *code);
        self.languages.iter().copied().filter(described)
    }

    fn example(
        &self,
        fact: u32,
        subject_language: Language,
        object_language: Language,
        rng: &mut impl Rng,
    ) -> Result<EntailmentExample, KgError> {
        let triple = self.graph.triple(fact).ok_or_else(|| missing("a triple of this number"))?;
        let relation = self.relations.number(triple.relation);
        let mut ids = |entity, language| {
            let ids = self.described.ids(&self.graph, entity, language, Some(fact), rng);
            ids.map(|ids| ids.into_owned())
        };
        Ok(EntailmentExample {
            fact,
            subject: triple.head.to_owned(),
            relation_id: triple.relation.to_owned(),
            relation: relation.ok_or_else(|| missing("a numbered relation"))?,
            object: triple.tail.to_owned(),
            subject_language,
            subject_ids: ids(triple.head, subject_language)?,
            object_language,
            object_ids: ids(triple.tail, object_language)?,
        })
    }

    /// The candidates of the probe: every entity that is an object of some triple and is described
    /// (with synthetic descriptions: occurs in a training triple), with one language for its
    /// description, sorted by id.
    pub fn objects(&self) -> Vec<(String, Language)> {
        let objects: BTreeSet<&str> = self.graph.triples().map(|triple| triple.tail).collect();
        objects
            .into_iter()
            .filter(|object| self.described.knows(object))
            .filter_map(|object| {
                let mut rng = seed::stream_rng(0, object, 0);
                let languages: Vec<Language> = self.languages_of(object).collect();
                Some((object.to_owned(), *languages.choose(&mut rng)?))
            })
            .collect()
    }

    /// Token ids of the description of a candidate, from training triples alone where it is
    /// synthetic.
    ///
    /// # Errors
    /// [`KgError::Value`] if `object` has no description in `language`; [`KgError::Tokenizer`] if
    /// it cannot be encoded.
    pub fn object_ids(&self, object: &str, language: Language) -> Result<Vec<u32>, KgError> {
        let mut rng = seed::stream_rng(1, object, 0);
        let ids = self.described.ids(&self.graph, object, language, None, &mut rng)?;
        Ok(ids.into_owned())
    }

    /// The held-out triples as queries: subject and relation, where the language of the subject's
    /// description differs from `object_language` of the object. Triples for whose object
    /// `object_language` is `None` are left out.
    ///
    /// # Errors
    /// [`KgError::Tokenizer`] if a description cannot be encoded.
    pub fn queries(
        &self,
        object_language: impl Fn(&str) -> Option<Language>,
    ) -> Result<Vec<EntailmentExample>, KgError> {
        let mut queries = Vec::new();
        for &fact in &self.test {
            let Some(triple) = self.graph.triple(fact) else { continue };
            let Some(object_language) = object_language(triple.tail) else { continue };
            let mut rng = seed::stream_rng(2, "query", u64::from(fact));
            let others = self.languages_of(triple.head).filter(|other| *other != object_language);
            let others: Vec<Language> = others.collect();
            let Some(&language) = others.choose(&mut rng) else { continue };
            queries.push(self.example(fact, language, object_language, &mut rng)?);
        }
        Ok(queries)
    }
}

/// Whether subject and object can be described in `language`, and in no two languages.
fn only_language(
    graph: &KnowledgeGraph,
    described: &Described,
    languages: &[Language],
    fact: u32,
    language: Language,
) -> bool {
    graph.triple(fact).is_some_and(|triple| {
        languages.iter().all(|code| {
            let own = *code == language;
            described.has(graph, triple.head, *code) == own
                && described.has(graph, triple.tail, *code) == own
        })
    })
}

/// Something that [`EntailmentDataset::load`] makes sure of is not there.
fn missing(what: &str) -> KgError {
    KgError::Value { field: "facts", expected: what.into(), got: "none".into() }
}

#[cfg(test)]
mod tests;
