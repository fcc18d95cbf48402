//! Adds libtorch's folder to the rpath of this package's binaries and tests.
fn main() {
    // torch-sys sets this variable for its direct dependents, except under `doc-only`.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
