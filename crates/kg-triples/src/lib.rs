//! kg-triples
