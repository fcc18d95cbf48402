//! xlmr-model
