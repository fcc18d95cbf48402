//! Tests that cross crates or leave the workspace; they lie in `tests/tests`. Those of whole recipes are beside the recipes,
//! in `examples/tests`.
