//! The whole way, with a real child process in the trainer's place.

mod kill;
mod paths;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Answer, Limits, Provisioner, Record, Registrar, Setup, TrainerCommand};
use crate::archetype::Task;

const STAND_IN: &str = include_str!("trainer.sh");

/// Longer than anything takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(2);

/// A folder for a server's data, for packs, and for what happened.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new(root: &Path) -> Self {
        let place = Self { root: root.to_owned() };
        fs::write(place.at("trainer.sh"), STAND_IN).unwrap();
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A pack with lines for two tasks.
    fn pack(&self, archetype: &str) {
        let lines = self.at(&format!("packs/{archetype}/lines"));
        fs::create_dir_all(&lines).unwrap();
        fs::write(lines.parent().unwrap().join("pack.toml"), "").unwrap();
        for task in ["dialogue_style", "action_policy"] {
            fs::write(lines.join(format!("{task}.jsonl")), "{}\n").unwrap();
        }
    }

    fn setup(&self, how: &str) -> Setup {
        Setup {
            data: self.at("data"),
            packs: Some(self.at("packs")),
            trainer: TrainerCommand {
                program: "/bin/sh".into(),
                arguments: vec![self.at("trainer.sh").into()],
                variables: vec![
                    ("STAND_IN".into(), how.into()),
                    ("STAND_IN_LOG".into(), self.at("trainer.log").into()),
                    ("RAYON_NUM_THREADS".into(), "1".into()),
                ],
                packs: self.at("packs"),
                epochs: 0,
            },
            limits: Limits { bytes: 1 << 20, time: PATIENCE },
            queue: 2,
            auto: true,
        }
    }

    fn open(&self, setup: Setup) -> Arc<Provisioner> {
        Provisioner::open(setup, Arc::new(Noting { place: self.root.clone(), refuses: None })).unwrap()
    }

    /// What the trainer and the registrar did, line by line.
    fn log(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Names of what lies in a folder.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Writes down what it is asked, and checks that what it is asked about is there whole.
#[derive(Debug)]
struct Noting {
    place: PathBuf,
    /// The task whose adapters do not load.
    refuses: Option<Task>,
}

impl Noting {
    fn note(&self, line: &str) {
        use std::io::Write;
        let mut log = fs::File::options().create(true).append(true).open(self.place.join("asked")).unwrap();
        writeln!(log, "{line}").unwrap();
    }
}

impl Registrar for Noting {
    fn load<'a>(&'a self, archetype: &'a str, task: Task, version: u32) -> Answer<'a> {
        Box::pin(async move {
            let folder = self.place.join(format!("packs/{archetype}/{task}/v{version}"));
            let model = fs::read_to_string(folder.join("adapter_model.safetensors")).unwrap();
            assert_eq!(model.trim(), task.name());
            assert_eq!(fs::read_dir(folder).unwrap().count(), 3);
            if self.refuses == Some(task) {
                return Err("its shapes do not fit".to_owned());
            }
            self.note(&format!("load {archetype} {task} v{version}"));
            Ok(())
        })
    }

    fn promote<'a>(&'a self, archetype: &'a str, versions: &'a [(Task, u32)]) -> Answer<'a> {
        Box::pin(async move {
            let versions: Vec<String> = versions.iter().map(|(task, v)| format!("{task} v{v}")).collect();
            self.note(&format!("promote {archetype} {}", versions.join(" ")));
            Ok(())
        })
    }
}

/// Runs until the record of an archetype is as wanted.
async fn until(provisioner: &Arc<Provisioner>, archetype: &str, wanted: impl Fn(&Record) -> bool) -> Record {
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(provisioner).run(stop.clone()));
    let reached = async {
        loop {
            match provisioner.record(archetype) {
                Some(record) if wanted(&record) => return record,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let record = tokio::time::timeout(PATIENCE, reached).await.expect("it ends");
    stop.cancel();
    running.await.unwrap();
    record
}

async fn until_the_end(provisioner: &Arc<Provisioner>, archetype: &str) -> Record {
    until(provisioner, archetype, |record| record.state.is_end()).await
}
