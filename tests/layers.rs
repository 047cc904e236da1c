//! Imports between the rooms of `src/` run downward only, in the order of [`ROOMS`].
//!
//! A room is a folder or a file right below `src/`. The test reads the sources, so it sees imports, paths
//! written in full and paths inside macros, in test modules too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

/// Top to bottom. `cli` stands on top because it calls everything and nothing calls it; `pull` stands right
/// above `config` because it needs no other room, and only `cli` calls it.
const ROOMS: [&str; 20] = [
    "main",
    "cli",
    "app",
    "planner",
    "http",
    "session",
    "training",
    "turn",
    "npc",
    "chain",
    "provision",
    "face",
    "archetype",
    "history",
    "models",
    "engine",
    "metrics",
    "wire",
    "pull",
    "config",
];

/// Not a room: it lists them.
const CRATE_ROOT: &str = "lib";

/// The names that the crate's own paths start with, inside it and in its binary.
const CRATE: [&str; 2] = ["crate", "npc_gateway"];

/// Collects the rooms that one file names.
struct Imports {
    /// The modules from the crate's root to where the visitor is, the room first.
    here: Vec<String>,
    named: BTreeSet<String>,
}

impl Imports {
    /// Notes what a path such as `crate::engine::Engine` or `super::super::wire` leads to.
    fn note(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        if CRATE.contains(&first.as_str()) {
            self.named.extend(path.get(1).cloned());
            return;
        }
        let ups = path.iter().take_while(|name| *name == "super").count();
        // As many steps up as there are modules above leads to the crate's root.
        if ups > 0 && ups == self.here.len() {
            self.named.extend(path.get(ups).cloned());
        }
    }

    fn note_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(before, tree)),
        }
    }

    /// Paths in a macro's input, which is not parsed: names joined by `::`.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons < 2 {
                        self.note(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.note(&std::mem::take(&mut path));
                    if let TokenTree::Group(group) = other {
                        self.note_tokens(group.stream());
                    }
                }
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&names);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.here.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.here.pop();
    }
}

/// The modules that a file below `src/` is, the room first: `turn/run.rs` is `turn::run`.
fn modules(file: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// What is wrong with one source file, `file` being its path below `src/`.
fn violations(file: &Path, source: &str) -> Vec<String> {
    let here = modules(file);
    let room = here[0].clone();
    if room == CRATE_ROOT {
        return Vec::new();
    }
    let at = |room: &str| ROOMS.iter().position(|known| *known == room);
    let Some(own) = at(&room) else { return vec![format!("{}: room {room} has no place", file.display())] };
    let mut imports = Imports { here, named: BTreeSet::new() };
    imports.visit_file(&syn::parse_file(source).expect("the compiler takes it"));
    let wrong = |named: &String| match at(named) {
        None => Some(format!("{}: {named} is no room", file.display())),
        Some(other) if other < own => {
            Some(format!("{}: {room} imports {named}, which stands above it", file.display()))
        }
        Some(_) => None,
    };
    imports.named.iter().filter_map(wrong).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn imports_run_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() > 50, "only {} sources were found", files.len());
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|path| violations(path.strip_prefix(&src).unwrap(), &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn upward_imports_are_caught() {
    let up = [
        ("engine/mod.rs", "use crate::turn::Turns;"),
        ("engine/a/b.rs", "use crate::{config, wire::{Frame, Op}, http as web};"),
        ("engine/a/b.rs", "use super::super::super::turn::Turns;"),
        ("engine/mod.rs", "use super::session;"),
        ("engine.rs", "mod tests { use super::super::npc::Npc; }"),
        ("wire/x.rs", "fn f() { let _ = crate::engine::Engine::start(); }"),
        ("wire/x.rs", "fn f(_: Vec<crate::engine::Mix>) {}"),
        ("wire/x.rs", "fn f() { println!(\"{}\", [crate::engine::N]); }"),
        ("config/mod.rs", "#[cfg(test)] mod tests { use crate::pull::Cache; }"),
        ("app.rs", "pub use npc_gateway::cli::main;"),
        ("wire/x.rs", "use crate::nowhere::X;"),
        ("kitchen/mod.rs", ""),
    ];
    for (file, source) in up {
        assert_eq!(violations(Path::new(file), source).len(), 1, "{file}: {source}");
    }
    let down = [
        ("main.rs", "fn main() { npc_gateway::cli::main() }"),
        ("turn/run.rs", "use crate::{engine::Engine, wire, config::Turn};"),
        ("turn/run.rs", "use super::state::State; use crate::turn::clock;"),
        ("turn/run.rs", "mod tests { use super::super::state; fn f() { vec![super::engine::x()]; } }"),
        ("wire/x.rs", "fn f(engine: u8) { std::engine::f(); println!(\"crate::engine::{engine}\"); }"),
        ("lib.rs", "pub use crate::engine::Engine;"),
    ];
    for (file, source) in down {
        assert_eq!(violations(Path::new(file), source), Vec::<String>::new(), "{source}");
    }
}
