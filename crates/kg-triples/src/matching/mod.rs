//! Matching of texts and records without labelled data, as in TDmatch (Ahmadi et al. 2022).
//!
//! 1. [`Corpora::new`] collects the terms of two corpora. Terms are created by the first corpus; a
//!    document of the second corpus joins existing terms. Labels of entities in several languages
//!    link terms of different languages.
//! 2. [`Corpora::graph`] connects documents and terms, and removes terms that connect nothing.
//! 3. [`embed`] trains vectors by skip-gram on random walks.
//! 4. [`rank_by_cosine`] ranks the documents of the first corpus for each document of the second.
//!
//! [`rank_by_bm25`] ranks by the same terms without vectors. It is the control.
//!
//! Differences from the paper: terms with one neighbour are always removed, in place of compression
//! by shortest paths. The graph is expanded with labels of entities in place of ConceptNet or
//! DBpedia. The negative samples of a window are shared by its contexts.
//!
//! ```
//! use kg_triples::Language;
//! use kg_triples::matching::{
//!     Corpora, Document, EmbedConfig, TermConfig, embed, rank_by_cosine,
//! };
//! use kg_triples::switch::EntityLabels;
//!
//! let document = |id: &str, text: &str| Document {
//!     id: id.into(),
//!     text: text.into(),
//!     ..Document::default()
//! };
//! let english = [document("1", "Munich is in Bavaria"), document("2", "Vienna is in Austria")];
//! let german = [document("a", "Wien, Österreich"), document("b", "München, Bayern")];
//! let mut labels = EntityLabels::default();
//! for (id, en, de) in [
//!     ("Q1726", "Munich", "München"),
//!     ("Q980", "Bavaria", "Bayern"),
//!     ("Q1741", "Vienna", "Wien"),
//!     ("Q40", "Austria", "Österreich"),
//! ] {
//!     labels.add(id, Language::EN, en);
//!     labels.add(id, Language::DE, de);
//! }
//! let corpora = Corpora::new(&english, &german, Some(&labels), &TermConfig::default())?;
//! let graph = corpora.graph(false)?;
//! let vectors = embed(&graph, &EmbedConfig::default(), |_| ())?;
//! let rankings = rank_by_cosine(&graph, &vectors, 1);
//! assert_eq!([rankings[0][0].0, rankings[1][0].0], [1, 0]);
//! # Ok::<(), kg_triples::Error>(())
//! ```
mod bm25;
mod corpora;
mod document;
mod embed;
mod graph;
mod labels;
mod rank;
mod run_file;
mod skip_gram;
mod terms;
mod walks;

pub use bm25::rank_by_bm25;
pub use corpora::Corpora;
pub use document::{Document, read_documents};
pub use embed::{EmbedConfig, Embeddings, embed};
pub use graph::MatchGraph;
pub use rank::{Rankings, rank_by_cosine};
pub use run_file::write_run;
pub use terms::{TermConfig, TermKind};
pub use walks::random_walk;
