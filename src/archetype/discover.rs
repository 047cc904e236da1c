//! Finds the trained adapters in a pack's folder.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Pack, PackAdapter, PackError, Task, pack::version_number};

/// Files of an adapter, as PEFT writes them.
const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// The adapter of each task: the highest version, or the one that the pack pins. Only the chosen version must
/// be complete. Folders that are no task's are left alone unless they hold adapters: then the name is wrong.
pub(super) fn adapters(folder: &Path, pack: &Pack) -> Result<BTreeMap<Task, PackAdapter>, PackError> {
    let mut found = BTreeMap::new();
    for name in subfolders(folder)? {
        let dir = folder.join(&name);
        let versions = versions(&dir)?;
        let Ok(task) = name.parse::<Task>() else {
            let holds_adapter = |version: &u32| dir.join(format!("v{version}")).join(FILES[0]).exists();
            if versions.iter().any(holds_adapter) {
                return Err(PackError::new(&dir, super::UnknownTask.to_string()));
            }
            continue;
        };
        if !pack.pinned.contains_key(&task)
            && let Some(&newest) = versions.iter().max()
        {
            found.insert(task, chosen(&dir, pack, task, newest)?);
        }
    }
    for (&task, &version) in &pack.pinned {
        found.insert(task, chosen(&folder.join(task.name()), pack, task, version)?);
    }
    Ok(found)
}

fn chosen(task_dir: &Path, pack: &Pack, task: Task, version: u32) -> Result<PackAdapter, PackError> {
    let version = format!("v{version}");
    let dir = task_dir.join(&version);
    for file in FILES {
        let path = dir.join(file);
        if !path.is_file() {
            let reason = format!("this file of the {task} adapter of pack {:?} is missing", pack.name);
            return Err(PackError::new(&path, reason));
        }
    }
    Ok(PackAdapter { id: format!("{}.{task}", pack.name), task, version, dir })
}

fn versions(dir: &Path) -> Result<Vec<u32>, PackError> {
    Ok(subfolders(dir)?.iter().filter_map(|name| version_number(name)).collect())
}

/// Names of the folders in a folder; names that are not UTF-8 can be neither tasks nor versions.
fn subfolders(dir: &Path) -> Result<Vec<String>, PackError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| PackError::io(dir, &e))? {
        let entry = entry.map_err(|e| PackError::io(dir, &e))?;
        // `is_dir` of the path follows links, so that adapters may live elsewhere.
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
