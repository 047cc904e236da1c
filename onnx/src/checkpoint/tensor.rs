/// A dequantized tensor, row-major; a linear layer's weight is `[out, in]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}
