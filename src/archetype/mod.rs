//! stub
use std::collections::BTreeMap;
use std::sync::Arc;
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task { DialogueStyle, Personality, WorldKnowledge }
impl std::fmt::Display for Task { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("x") } }
impl std::str::FromStr for Task { type Err=(); fn from_str(_: &str)->Result<Self,()> { Err(()) } }
#[derive(Debug)]
pub struct PackAdapter { pub id: String, pub version: String, pub dir: std::path::PathBuf, pub task: Task }
impl PackAdapter { pub fn engine_id(&self) -> String { format!("{}@{}", self.id, self.version) } }
#[derive(Debug)]
pub struct Pack { pub name: String, pub title: String, pub names: Vec<String>, pub persona: String, pub speech: Vec<String>, pub lore: Vec<String>, pub mix: BTreeMap<Task,f32>, pub overload_lines: Vec<String>, pub adapters: BTreeMap<Task, PackAdapter> }
#[derive(Debug)]
pub struct Packs;
impl Packs { pub fn get(&self, _n: &str) -> Option<&Arc<Pack>> { None } pub fn names(&self) -> Vec<&str> { vec![] } }
