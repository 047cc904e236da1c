//! Finds the trained adapters in a pack's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Pack, PackAdapter, PackError, Task, limits, pack::version_number};

/// Files of an adapter, as PEFT writes them, and what was measured of it.
pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
pub(super) const METRICS: &str = "metrics.json";

/// The same weights as Python pickles them: reading one may run anything that is written in it.
pub(super) const PICKLE: &str = "adapter_model.bin";

/// The versions of each task, by number: those that are complete, the newest [`limits::VERSIONS`], and the one that the
/// pack pins.
pub type Versions = BTreeMap<Task, BTreeMap<u32, PackAdapter>>;

/// The versions of each task. If `strict` the highest, or the one that the pack pins, must be complete; others that are
/// not are left out. Folders that are no task's are left alone unless they hold adapters: then the name is wrong.
pub(super) fn versions(folder: &Path, pack: &Pack, strict: bool) -> Result<Versions, PackError> {
    let mut found = Versions::new();
    for name in subfolders(folder)? {
        let dir = folder.join(&name);
        let mut numbers = numbers(&dir)?;
        let Ok(task) = name.parse::<Task>() else {
            let holds_adapter = |version: &u32| dir.join(format!("v{version}")).join(CONFIG).exists();
            if numbers.iter().any(holds_adapter) {
                return Err(PackError::new(&dir, super::UnknownTask.to_string()));
            }
            continue;
        };
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let wanted = pack.pinned.get(&task).or(numbers.first()).copied();
        let mut of_task = BTreeMap::new();
        for number in numbers.into_iter().take(limits::VERSIONS).chain(wanted) {
            match version(folder, pack, task, number) {
                Ok(adapter) => drop(of_task.insert(number, adapter)),
                Err(error) if strict && Some(number) == wanted => return Err(error),
                Err(error) => tracing::debug!(%error, "a version is left out"),
            }
        }
        if !of_task.is_empty() {
            found.insert(task, of_task);
        }
    }
    // What is pinned may be of a task without a folder.
    for (&task, &number) in pack.pinned.iter().filter(|_| strict) {
        found.entry(task).or_default().insert(number, version(folder, pack, task, number)?);
    }
    Ok(found)
}

/// One version of an adapter, if it is complete and lies in the pack's folder.
pub(super) fn version(folder: &Path, pack: &Pack, task: Task, number: u32) -> Result<PackAdapter, PackError> {
    let version = format!("v{number}");
    let dir = folder.join(task.name()).join(&version);
    for file in [CONFIG, WEIGHTS] {
        let path = dir.join(file);
        if path.is_file() {
            continue;
        }
        let what = format!("this file of the {task} adapter of pack {:?} is missing", pack.name);
        if file == WEIGHTS && dir.join(PICKLE).exists() {
            let why = format!("{what}; {PICKLE} is a pickle, which may run anything, and is not read");
            return Err(PackError::new(&path, why));
        }
        return Err(PackError::new(&path, what));
    }
    for file in [CONFIG, WEIGHTS, METRICS] {
        let path = dir.join(file);
        if path.exists() {
            stays_inside(folder, &path)?;
        }
    }
    Ok(PackAdapter { id: format!("{}.{task}", pack.name), task, version, dir })
}

/// What a pack brings along must not make the server read anything else: no link of it leads out of its folder. The
/// folder itself may be a link.
pub fn stays_inside(folder: &Path, path: &Path) -> Result<(), PackError> {
    if real(path)?.starts_with(real(folder)?) {
        return Ok(());
    }
    Err(PackError::new(path, "a link leads out of the pack's folder".to_owned()))
}

fn real(path: &Path) -> Result<PathBuf, PackError> {
    path.canonicalize().map_err(|e| PackError::io(path, &e))
}

fn numbers(dir: &Path) -> Result<Vec<u32>, PackError> {
    Ok(subfolders(dir)?.iter().filter_map(|name| version_number(name)).collect())
}

/// Names of the folders in a folder; names that are not UTF-8 can be neither tasks nor versions.
fn subfolders(dir: &Path) -> Result<Vec<String>, PackError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| PackError::io(dir, &e))? {
        let entry = entry.map_err(|e| PackError::io(dir, &e))?;
        // `is_dir` of the path follows links: within a pack they may stand for what lies elsewhere in it.
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
