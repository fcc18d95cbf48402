fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        // Sets the run-time library path, so that the program finds libtorch.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
