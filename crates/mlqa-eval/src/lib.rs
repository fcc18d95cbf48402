//! mlqa-eval
