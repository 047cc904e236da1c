use std::path::PathBuf;

/// Why an adapter was not trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Of a tensor operation: memory, or a defect of ours.
    #[error("the computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    #[error(transparent)]
    Model(#[from] npc_onnx::ImportError),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A file is there and is not what it should be.
    #[error("{path}: {reason}", path = path.display())]
    Invalid { path: PathBuf, reason: String },
    /// A setting, or an example.
    #[error("{0}")]
    Bad(String),
    /// The loss is no longer a number.
    #[error("the loss is {loss} at step {step}: take a smaller learning rate")]
    Diverged { step: usize, loss: f64 },
    /// Whoever called wanted it to stop.
    #[error("stopped")]
    Stopped,
}

impl TrainError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
