//! Compiles the C++ under `src/shim` against the libtorch that torch-sys found.
use std::path::{Path, PathBuf};

/// Compilation units. Each line lists the files of one unit. Several files share a unit, because
/// most of the compile time of a unit is spent on libtorch's headers.
const UNITS: [&[&str]; 3] = [
    // Tensors only.
    &[
        "attention_rows",
        "autocast",
        "dropout",
        "encoder_layer",
        "flash_attention",
        "head_matmul",
        "int8_linear",
        "logit_chunks",
        "matmul",
        "norm_rows",
        "optim",
        "precision",
        "rng",
        "upload",
    ],
    // Autograd, whose headers take twice as long.
    &[
        "cast",
        "dropout_add_norm",
        "gated",
        "linear_cross_entropy",
        "packed_attention",
        "recompute",
        "rotary",
        "streamed_logsumexp",
    ],
    // Process groups.
    &["allocator", "device_memory", "distributed", "profile"],
];

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // torch-sys sets `DEP_TCH_LIBTORCH_LIB` for its direct dependents, except under `doc-only`.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return Ok(()) };
    let root: PathBuf = Path::new(&lib).parent().map(Path::to_path_buf).unwrap_or_default();
    let include = root.join("include");
    let mut build = cc::Build::new();
    if std::env::var_os("CARGO_FEATURE_NCCL").is_some() {
        match nccl_include_folders(&root) {
            Ok(folders) => {
                build.define("USE_C10D_NCCL", None).includes(folders);
                // These libraries contain NCCL's process group, so a program with NCCL requires
                // them at run time.
                println!("cargo:rustc-link-lib=torch_cuda");
                println!("cargo:rustc-link-lib=c10_cuda");
            }
            Err(missing) => {
                println!("cargo:warning=feature `nccl`: {missing}; built with Gloo only")
            }
        }
    }
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        // Without optimisation, loops over rows are ten times slower.
        .opt_level(3)
        // Debug information of libtorch's types would make up most of the size of every program.
        .debug(false)
        .flag_if_supported("-fopenmp-simd")
        // Floating-point exception flags are not used, and code that preserves them cannot
        // vectorise conditionals.
        .flag_if_supported("-fno-trapping-math")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("src")
        .include("src/shim")
        .include(include.join("torch/csrc/api/include"))
        .include(&include)
        .files(write_units()?)
        .compile("polyqa_torch_ext");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    Ok(())
}

/// For each entry of [`UNITS`], writes a C++ file that includes the entry's source files. Returns
/// the paths of the written files.
fn write_units() -> std::io::Result<Vec<PathBuf>> {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let write = |(index, names): (usize, &&[&str])| {
        let file = folder.join(format!("unit_{index}.cpp"));
        let text: String =
            names.iter().map(|name| format!("#include \"shim/{name}.cpp\"\n")).collect();
        std::fs::write(&file, text)?;
        Ok(file)
    };
    UNITS.iter().enumerate().map(write).collect()
}

/// Returns the header folders that NCCL's process group requires in addition to libtorch's headers,
/// or a description of the missing files.
fn nccl_include_folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    println!("cargo:rerun-if-env-changed=NCCL_HOME");
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let include_of = |name| std::env::var_os(name).map(|path| PathBuf::from(path).join("include"));
    let nvidia = root.parent().map(|folder| folder.join("nvidia")).unwrap_or_default();
    let candidates: Vec<PathBuf> = [include_of("NCCL_HOME"), include_of("CUDA_HOME")]
        .into_iter()
        .flatten()
        .chain(["nccl/include", "cu13/include", "cu13/include/cccl"].map(|name| nvidia.join(name)))
        .collect();
    let mut missing = Vec::new();
    // Headers and the Python packages that contain them.
    for (header, package) in [
        ("nccl.h", "nvidia-nccl-cu13"),
        ("cuda_runtime.h", "nvidia-cuda-runtime"),
        ("crt/host_config.h", "nvidia-cuda-crt"),
        ("nv/target", "nvidia-cuda-cccl"),
    ] {
        if !candidates.iter().any(|candidate| candidate.join(header).exists()) {
            missing.push(format!("{header} ({package})"));
        }
    }
    if !root.join("lib/libtorch_cuda.so").exists() {
        missing.push("libtorch_cuda.so (libtorch with CUDA)".to_owned());
    }
    match missing.is_empty() {
        true => Ok(candidates.into_iter().filter(|candidate| candidate.exists()).collect()),
        false => Err(format!(
            "{} not found below {}, NCCL_HOME or CUDA_HOME",
            missing.join(", "),
            nvidia.display()
        )),
    }
}
