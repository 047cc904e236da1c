//! Checkpoint in, model folder out.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use prost::Message;

use crate::{
    Checkpoint, FORMAT_VERSION, GraphInfo, ImportError, ModelFile, Precision, graph, weights::WeightWriter,
};

/// The native decoder's graph in a model folder; there for the precision int8.
pub const NATIVE_GRAPH_FILE: &str = "native.onnx";

/// Between a target's name and a random ending: the name of a folder that is not finished yet.
const UNFINISHED: &str = ".importing-";

/// `GroupQueryAttention` with rotary embeddings takes heads of multiples of this.
const HEAD_DIM_STEP: usize = 16;

/// How far an import has come; passed to its callback before each tensor and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done now, for people: a tensor's name or a step.
    pub what: &'a str,
    /// Tensors written so far.
    pub done: usize,
    /// Tensors to write in all; 0 until the checkpoint is open.
    pub total: usize,
}

/// Turns the checkpoint `source` (a GGUF file or a safetensors folder) into the model folder `out`.
///
/// `out` must not exist. The folder is made under a temporary name beside it and renamed at the end, so it
/// is there whole or not at all; what a killed import left behind is removed by the next one to the same
/// target. One import to a target runs at a time: a second is refused.
pub fn import(
    source: &Path,
    out: &Path,
    precision: Precision,
    progress: &mut dyn FnMut(Progress),
) -> Result<ModelFile, ImportError> {
    progress(Progress { what: "opening the checkpoint", done: 0, total: 0 });
    let checkpoint = Checkpoint::open(source)?;
    let head_dim = checkpoint.config().head_dim;
    if !head_dim.is_multiple_of(HEAD_DIM_STEP) {
        return Err(ImportError::Unsupported {
            path: checkpoint.path().to_owned(),
            reason: format!(
                "has a head size of {head_dim}, and ONNX Runtime's attention needs a multiple of {HEAD_DIM_STEP}"
            ),
        });
    }
    let target = Target::claim(out)?;
    let folder = target.unfinished()?;
    let file = write(&checkpoint, folder.path(), precision, progress)?;
    target.publish(folder)?;
    Ok(file)
}

/// Writes all files of a model folder into `folder`.
fn write(
    checkpoint: &Checkpoint,
    folder: &Path,
    precision: Precision,
    progress: &mut dyn FnMut(Progress),
) -> Result<ModelFile, ImportError> {
    let config = checkpoint.config();
    let file = ModelFile {
        format: FORMAT_VERSION,
        name: checkpoint.name().to_owned(),
        precision,
        source_sha256: checkpoint.sha256().to_owned(),
        source_file: file_name(checkpoint.path()),
        model: config.clone(),
        graph: GraphInfo::new(config),
    };
    let tokenizer = checkpoint.tokenizer_json()?;
    save(&folder.join("tokenizer.json"), tokenizer.as_bytes())?;
    // Without a template of its own a checkpoint cannot chat; an empty file would render to nothing.
    if let Some(template) = checkpoint.chat_template() {
        save(&folder.join("chat_template.jinja"), template.as_bytes())?;
    }
    let layout = WeightWriter::create(checkpoint, precision, folder, progress)?.write()?;
    let graph = graph::decoder(config, precision, &layout);
    save(&folder.join("decoder.onnx"), &graph.encode_to_vec())?;
    if let Some(graph) = graph::native(config, &layout) {
        save(&folder.join(NATIVE_GRAPH_FILE), &graph.encode_to_vec())?;
    }
    file.write(folder)?;
    // What cannot be read again must not be published.
    ModelFile::read(folder)
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    fs::write(path, bytes).map_err(|source| ImportError::Io { path: path.to_owned(), source })
}

fn file_name(path: &Path) -> String {
    path.canonicalize()
        .ok()
        .as_deref()
        .unwrap_or(path)
        .file_name()
        .map_or_else(|| "checkpoint".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The folder to be, with the sole right to make it.
struct Target {
    out: PathBuf,
    parent: PathBuf,
    name: String,
    lock_path: PathBuf,
    /// Held, not used: the system lets go of it even if the process is killed.
    _lock: File,
}

impl Target {
    fn claim(out: &Path) -> Result<Self, ImportError> {
        let io = |path: &Path, source| ImportError::Io { path: path.to_owned(), source };
        let invalid = |reason: &str| ImportError::Invalid { path: out.to_owned(), reason: reason.into() };
        let name = out.file_name().ok_or_else(|| invalid("is no name of a folder"))?.to_string_lossy();
        // `parent` of a bare name is empty, which means the current folder.
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|source| io(&parent, source))?;
        let lock_path = parent.join(format!(".{name}.import-lock"));
        let lock = File::create(&lock_path).map_err(|source| io(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(invalid("is being imported by another process"));
            }
            Err(fs::TryLockError::Error(source)) => return Err(io(&lock_path, source)),
        }
        let target = Self { out: out.to_owned(), parent, name: name.into_owned(), lock_path, _lock: lock };
        if target.out.symlink_metadata().is_ok() {
            return Err(invalid("exists already; remove it or choose another name"));
        }
        target.sweep().map_err(|source| io(&target.parent, source))?;
        Ok(target)
    }

    /// Removes what killed imports left: with the lock held, no other import to this target is alive.
    fn sweep(&self) -> io::Result<()> {
        let prefix = self.prefix();
        for entry in fs::read_dir(&self.parent)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new folder beside the target, removed when dropped.
    fn unfinished(&self) -> Result<tempfile::TempDir, ImportError> {
        tempfile::Builder::new()
            .prefix(&self.prefix())
            .tempdir_in(&self.parent)
            .map_err(|source| ImportError::Io { path: self.parent.clone(), source })
    }

    fn prefix(&self) -> String {
        format!(".{}{UNFINISHED}", self.name)
    }

    /// Gives the finished folder its name.
    fn publish(&self, folder: tempfile::TempDir) -> Result<(), ImportError> {
        let io = |source| ImportError::Io { path: self.out.clone(), source };
        for entry in fs::read_dir(folder.path()).map_err(io)? {
            File::open(entry.map_err(io)?.path()).and_then(|file| file.sync_all()).map_err(io)?;
        }
        make_readable(folder.path()).map_err(io)?;
        fs::rename(folder.path(), &self.out).map_err(io)?;
        // Its old name is gone, so there is nothing left to remove.
        let _ = folder.keep();
        // The rename itself survives a power cut only once the parent is on the disk; some file systems
        // cannot do that for a folder, and the model is whole in any case.
        let _ = File::open(&self.parent).and_then(|parent| parent.sync_all());
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Only tidiness: a lock file that stays does no harm.
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Temporary folders are for their owner only; a model folder is as open as any other.
#[cfg(unix)]
fn make_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> io::Result<()> {
    Ok(())
}
