//! Adds libtorch's folder to the library search path of this package's binaries and tests.
fn main() {
    // torch-sys sets `DEP_TCH_LIBTORCH_LIB` for its direct dependents, except under `doc-only`.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
