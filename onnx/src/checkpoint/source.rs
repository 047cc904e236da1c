use super::Tensor;
use crate::ImportError;

/// What a kind of checkpoint offers, in Hugging Face names and half-split rotary order.
pub(crate) trait Source: std::fmt::Debug + Send + Sync {
    /// Every tensor, in name order. One whose name has no meaning here keeps the name it has in the file.
    fn names(&self) -> Vec<String>;

    /// `None`: there is no such tensor.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    fn tensor(&self, name: &str) -> Result<Tensor, ImportError>;

    fn tokenizer_json(&self) -> Result<String, ImportError>;
}
