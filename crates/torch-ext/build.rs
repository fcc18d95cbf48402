//! Compiles the C++ under `src/shim` against the libtorch that torch-sys found.
use std::path::{Path, PathBuf};

/// The files, those of a line compiled as one: libtorch's headers take most of the time, and so are
/// read once for each line.
const UNITS: [&[&str]; 5] = [
    &["attention_rows", "head_products", "logit_chunks", "norm_rows", "precision", "product"],
    &["autocast", "cast", "dropout", "flash_attention", "optim", "rng", "upload"],
    &["allocator", "device_memory", "distributed", "profile"],
    &["dropout_add_norm", "gated", "int8_linear", "linear_cross_entropy"],
    &["packed_attention", "recompute", "rotary", "streamed_logsumexp"],
];

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // torch-sys hands this to its direct dependents; absent under `doc-only`.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return Ok(()) };
    let root: PathBuf = Path::new(&lib).parent().map(Path::to_path_buf).unwrap_or_default();
    let include = root.join("include");
    let mut build = cc::Build::new();
    if std::env::var_os("CARGO_FEATURE_NCCL").is_some() {
        match nccl(&root) {
            Ok(folders) => {
                build.define("USE_C10D_NCCL", None).includes(folders);
                // NCCL's process group is there; programs then start with libtorch's CUDA alone.
                println!("cargo:rustc-link-lib=torch_cuda");
                println!("cargo:rustc-link-lib=c10_cuda");
            }
            Err(missing) => println!(
                "cargo:warning=feature `nccl`: {missing}; built without it, with Gloo alone"
            ),
        }
    }
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        // The loops over rows are ours, and not worth debugging at a tenth of their speed.
        .opt_level(3)
        // Types of libtorch's headers would be most of the bytes of every program and test.
        .debug(false)
        .flag_if_supported("-fopenmp-simd")
        // Nothing here reads floating-point flags; to keep them, choices would stay out of vectors.
        .flag_if_supported("-fno-trapping-math")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("src")
        .include("src/shim")
        .include(include.join("torch/csrc/api/include"))
        .include(&include)
        .files(units()?)
        .compile("polyqa_torch_ext");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    Ok(())
}

/// Writes a file for each of [`UNITS`] that includes its own.
fn units() -> std::io::Result<Vec<PathBuf>> {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let write = |names: &&[&str]| {
        let file = folder.join(format!("unit_{}.cpp", names.join("_")));
        let text: String =
            names.iter().map(|name| format!("#include \"shim/{name}.cpp\"\n")).collect();
        std::fs::write(&file, text)?;
        Ok(file)
    };
    UNITS.iter().map(write).collect()
}

/// The folders with the headers that NCCL's process group needs beside libtorch's own; else what is
/// missing, in one line.
fn nccl(root: &Path) -> Result<Vec<PathBuf>, String> {
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    println!("cargo:rerun-if-env-changed=NCCL_HOME");
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let home = |name| std::env::var_os(name).map(|path| PathBuf::from(path).join("include"));
    let wheels = root.parent().map(|folder| folder.join("nvidia")).unwrap_or_default();
    let places: Vec<PathBuf> = [home("NCCL_HOME"), home("CUDA_HOME")]
        .into_iter()
        .flatten()
        .chain(["nccl/include", "cu13/include", "cu13/include/cccl"].map(|name| wheels.join(name)))
        .collect();
    let mut missing = Vec::new();
    // With the package of the wheels that has it.
    for (header, package) in [
        ("nccl.h", "nvidia-nccl-cu13"),
        ("cuda_runtime.h", "nvidia-cuda-runtime"),
        ("crt/host_config.h", "nvidia-cuda-crt"),
        ("nv/target", "nvidia-cuda-cccl"),
    ] {
        if !places.iter().any(|place| place.join(header).exists()) {
            missing.push(format!("{header} ({package})"));
        }
    }
    if !root.join("lib/libtorch_cuda.so").exists() {
        missing.push("libtorch_cuda.so (libtorch with CUDA)".to_owned());
    }
    match missing.is_empty() {
        true => Ok(places.into_iter().filter(|place| place.exists()).collect()),
        false => Err(format!(
            "{} not found below {}, NCCL_HOME or CUDA_HOME",
            missing.join(", "),
            wheels.display()
        )),
    }
}
