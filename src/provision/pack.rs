//! What lies in a pack's folder: the lines to train on, and the adapters that are there already.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::archetype::{Task, read_pack, version_number};

/// An adapter's figures.
pub const METRICS: &str = "metrics.json";
/// What makes an adapter.
pub const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
/// What a trainer leaves, and what is moved into a pack.
pub const FILES: [&str; 3] = [ADAPTER[0], ADAPTER[1], METRICS];

/// A pack's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFolder {
    path: PathBuf,
}

impl PackFolder {
    /// `packs`: the folder of all packs.
    pub fn new(packs: &Path, archetype: &str) -> Self {
        Self { path: packs.join(archetype) }
    }

    /// Whether there is a pack.
    pub fn is_pack(&self) -> bool {
        self.path.join("pack.toml").is_file()
    }

    /// The tasks for which there are lines, `lines/TASK.jsonl`, but for those whose version the pack settles: no other could be
    /// promoted.
    ///
    /// # Errors
    /// The folder cannot be read. That it is not there is none.
    pub fn tasks(&self) -> io::Result<Vec<Task>> {
        let has_lines = |task: &Task| {
            let file = self.path.join("lines").join(format!("{task}.jsonl"));
            match fs::metadata(file) {
                Ok(found) => Ok(found.is_file() && found.len() > 0),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        };
        // A pack that cannot be read is refused elsewhere.
        let name = self.path.file_name().and_then(|name| name.to_str());
        let pack =
            name.zip(self.path.parent()).and_then(|(name, packs)| read_pack(packs, name).ok().flatten());
        let pinned = |task| pack.as_ref().is_some_and(|pack| pack.pinned(task).is_some());
        let mut tasks = Vec::new();
        for task in Task::ALL {
            if has_lines(&task)? && !pinned(task) {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }

    /// Where a task's adapters lie.
    pub fn task(&self, task: Task) -> PathBuf {
        self.path.join(task.name())
    }

    /// Where a version of a task's adapter lies.
    pub fn version(&self, task: Task, version: u32) -> PathBuf {
        self.task(task).join(format!("v{version}"))
    }

    /// The versions of a task's adapter.
    ///
    /// # Errors
    /// The folder cannot be read. That it is not there is none.
    pub fn versions(&self, task: Task) -> io::Result<Vec<u32>> {
        let entries = match fs::read_dir(self.task(task)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            versions.extend(name.to_str().and_then(version_number));
        }
        Ok(versions)
    }

    /// Whether it has an adapter of any task.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn has_adapters(&self) -> io::Result<bool> {
        for task in Task::ALL {
            if !self.versions(task)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_versions_are_found() {
        let packs = tempfile::tempdir().unwrap();
        let pack = PackFolder::new(packs.path(), "banshee");
        assert!(!pack.is_pack());
        assert_eq!(pack.tasks().unwrap(), []);
        assert!(!pack.has_adapters().unwrap());
        let at = |path: &str| packs.path().join("banshee").join(path);
        fs::create_dir_all(at("lines/personality.jsonl")).unwrap();
        fs::write(at("pack.toml"), "").unwrap();
        fs::write(at("lines/dialogue_style.jsonl"), "{}\n").unwrap();
        fs::write(at("lines/action_policy.jsonl"), "").unwrap();
        fs::write(at("lines/juggling.jsonl"), "{}\n").unwrap();
        assert!(pack.is_pack());
        assert_eq!(pack.tasks().unwrap(), [Task::DialogueStyle]);
        fs::create_dir_all(at("dialogue_style/.v3.partial")).unwrap();
        fs::create_dir_all(at("dialogue_style/v02")).unwrap();
        assert!(!pack.has_adapters().unwrap());
        fs::create_dir_all(at("dialogue_style/v2")).unwrap();
        assert_eq!(pack.versions(Task::DialogueStyle).unwrap(), [2]);
        assert!(pack.has_adapters().unwrap());
    }
}
