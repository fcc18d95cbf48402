//! Triples as monolingual plain text.
use std::path::Path;

use atomic_file::publish_all;

use crate::{Error, KnowledgeGraph, Language, check_unique_languages, output};

impl KnowledgeGraph {
    /// Iterates over the triples as texts in `language`: the labels of head, relation and tail,
    /// separated by spaces.
    ///
    /// A triple is skipped if one of the three labels is missing.
    ///
    /// ```
    /// use kg_triples::{GraphBuilder, LabelKind, Language};
    ///
    /// let mut builder = GraphBuilder::default();
    /// builder.add_triple("Q183", "P36", "Q64")?;
    /// builder.add_label("Q183", "de", "Deutschland", LabelKind::Entity)?;
    /// builder.add_label("Q64", "de", "Berlin", LabelKind::Entity)?;
    /// builder.add_label("P36", "de", "Hauptstadt", LabelKind::Relation)?;
    /// let graph = builder.build();
    /// let texts: Vec<String> = graph.texts(Language::DE).collect();
    /// assert_eq!(texts, ["Deutschland Hauptstadt Berlin"]);
    /// assert_eq!(graph.texts(Language::EN).count(), 0);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn texts(&self, language: Language) -> impl Iterator<Item = String> {
        self.triples.iter().filter_map(move |&[head, relation, tail]| {
            let [head, relation, tail] =
                [head, relation, tail].map(|id| self.label_at(id, language));
            Some([head?, relation?, tail?].join(" "))
        })
    }

    /// Writes [`texts`](Self::texts) to `triples.<language>.txt` in the folder `dir` for each
    /// language, one text per line, and returns the number of lines of each file. All files are
    /// written to temporary files before the first one is renamed.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written; [`Error::Empty`] if there is a language in which
    /// no triple has all three labels; [`Error::Config`] for a duplicate language.
    ///
    /// ```
    /// use kg_triples::{KnowledgeGraph, Language};
    ///
    /// let graph = KnowledgeGraph::read_dir("../../data/demo/kg")?;
    /// let folder = tempfile::tempdir().unwrap();
    /// assert_eq!(graph.write_texts(&[Language::DE], folder.path())?, [graph.len()]);
    /// assert!(folder.path().join("triples.de.txt").exists());
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn write_texts(&self, languages: &[Language], dir: &Path) -> Result<Vec<usize>, Error> {
        check_unique_languages("languages", languages)?;
        let (mut files, mut counts) = (Vec::new(), Vec::new());
        for &language in languages {
            let path = dir.join(format!("triples.{language}.txt"));
            let mut file = output::create(&path)?;
            let mut lines = 0;
            for text in self.texts(language) {
                writeln!(file, "{text}")?;
                lines += 1;
            }
            if lines == 0 {
                let what = format!("triples with all labels in {language}");
                let hint = format!("none of {} triples has them; use other languages", self.len());
                return Err(Error::Empty { what, hint });
            }
            files.push(file.sync()?);
            counts.push(lines);
        }
        publish_all(files)?;
        Ok(counts)
    }
}
