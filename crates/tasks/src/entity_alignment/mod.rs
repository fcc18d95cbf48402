//! Alignment of the entities of two knowledge graphs by text and structure, where one of the two may
//! be missing.
//!
//! The training follows *Rethinking Uncertainly Missing and Ambiguous Visual Modality in Multi-Modal
//! Entity Alignment* (UMAEA, Chen et al. 2023) over given vectors of texts and neighbours. Images,
//! graph attention and the attention over modalities are not part of it.
mod network;
mod structure;
mod task;

pub use network::{AlignmentNetwork, EntityVectors, Missing};
pub use structure::{Neighbours, StructureConfig};
pub use task::{AlignmentConfig, AlignmentStage, AlignmentTask};
