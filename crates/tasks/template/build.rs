fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        // Lets the program find libtorch at run time.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
