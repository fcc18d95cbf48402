fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        // Adds libtorch's folder to the program's run-time library path.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
