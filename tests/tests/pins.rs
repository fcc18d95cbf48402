//! Versions that must move together do.
#![allow(clippy::panic)] // helpers of tests
use std::path::Path;

fn read(relative: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tch_and_torch_sys_have_one_pin_everywhere() {
    for file in ["Cargo.toml", "crates/objectives/template/Cargo.toml"] {
        let text = read(file);
        let pins: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("tch =") || line.starts_with("torch-sys ="))
            .collect();
        assert!(!pins.is_empty(), "{file} names neither");
        assert!(pins.iter().all(|pin| pin.contains("\"=0.24.0\"")), "{file}: {pins:?}");
    }
}

#[test]
fn the_shipped_base_is_what_its_card_says() {
    let config: serde_json::Value = serde_json::from_str(&read("data/base/config.json")).unwrap();
    assert_eq!(config["architectures"][0], "XLMRobertaForMaskedLM");
    assert_eq!(config["type_vocab_size"], 2);
    assert!(read("data/base/README.md").contains("cargo xtask pretrain-base"));
}
