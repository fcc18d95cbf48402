//! Compiles the C++ under `src/shim` against the libtorch that torch-sys found.
use std::path::{Path, PathBuf};

const SOURCES: [&str; 15] = [
    "attention_rows",
    "autocast",
    "distributed",
    "dropout_add_norm",
    "flash_attention",
    "linear_cross_entropy",
    "logit_chunks",
    "norm_rows",
    "optim",
    "packed_attention",
    "precision",
    "product",
    "recompute",
    "rng",
    "streamed_logsumexp",
];

fn main() {
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // torch-sys hands this to its direct dependents; absent under `doc-only`.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    let root: PathBuf = Path::new(&lib).parent().map(Path::to_path_buf).unwrap_or_default();
    let include = root.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        // The loops over rows are ours, and not worth debugging at a tenth of their speed.
        .opt_level(3)
        .flag_if_supported("-fopenmp-simd")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("src/shim")
        .include(include.join("torch/csrc/api/include"))
        .include(&include)
        .files(SOURCES.map(|name| format!("src/shim/{name}.cpp")))
        .compile("polyqa_torch_ext");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
