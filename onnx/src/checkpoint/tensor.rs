/// A dequantized tensor, row-major; a linear layer's weight is `[out, in]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// As many numbers as the shape has room for.
    pub data: Vec<f32>,
}
