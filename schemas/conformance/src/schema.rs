//! The JSON Schema of every server frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use jsonschema::Validator;
use serde_json::Value;

use crate::stop::short;

/// The schemas of one direction.
pub struct Schemas {
    by_op: BTreeMap<String, Validator>,
}

impl Schemas {
    /// Reads `FOLDER/*.schema.json`.
    ///
    /// # Errors
    /// A file that cannot be read, or is no schema.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut by_op = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(op) = name.strip_suffix(".schema.json") else { continue };
            let what = || path.display().to_string();
            let schema: Value =
                serde_json::from_slice(&fs::read(&path).with_context(what)?).with_context(what)?;
            let validator = jsonschema::draft202012::new(&schema);
            by_op.insert(
                op.to_owned(),
                validator.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?,
            );
        }
        anyhow::ensure!(!by_op.is_empty(), "{} holds no schema", folder.display());
        Ok(Self { by_op })
    }

    /// Checks a frame against the schema of its `op`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, frame: &Value) -> Result<(), String> {
        let op = frame["op"]
            .as_str()
            .ok_or_else(|| format!("a frame without op: {}", short(&frame.to_string())))?;
        let Some(validator) = self.by_op.get(op) else {
            return Err(format!("the protocol has no server frame `{op}`"));
        };
        let errors: Vec<String> = validator
            .iter_errors(frame)
            .map(|error| format!("{} at {}", short(&error.to_string()), error.instance_path()))
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(format!("`{op}` breaks its schema: {}", errors.join("; ")))
        }
    }
}
