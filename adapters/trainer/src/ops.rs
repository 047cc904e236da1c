//! What the forward pass is made of. Each has a gradient; what the base's weights would get is never computed.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, D, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// A weight that does not change, `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Frozen(Tensor);

impl Frozen {
    pub fn new(weight: Tensor) -> Self {
        Self(weight)
    }

    /// `x Wᵀ`: `[n, inputs]` → `[n, outputs]`. Twice as fast in training as a product of two tensors, whose gradient is
    /// that of both.
    pub fn product(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }

    #[cfg(test)]
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    fn sizes(&self, x: &Layout) -> Result<(usize, usize, usize, usize)> {
        let (outputs, inputs) = self.0.dims2()?;
        match x.dims() {
            [n, found] if *found == inputs => Ok((1, *n, outputs, inputs)),
            other => bail!("a product of {other:?} with {outputs} rows of {inputs}"),
        }
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout)?;
        let turned = self.0.t()?;
        let (weight, weight_layout) = turned.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else { bail!("the weight is on another device") };
        Ok((x.matmul(weight, sizes, layout, weight_layout)?, Shape::from((sizes.1, sizes.2))))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let sizes = self.sizes(layout)?;
        let turned = self.0.t()?;
        let (weight, weight_layout) = turned.storage_and_layout();
        let Storage::Cuda(weight) = &*weight else { bail!("the weight is on another device") };
        Ok((x.matmul(weight, sizes, layout, weight_layout)?, Shape::from((sizes.1, sizes.2))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.matmul(&self.0).map(Some)
    }
}

/// x / √(mean(x²) + ε) · w over the last dimension. w does not change.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(epsilon))?.sqrt()?.recip()?;
    x.broadcast_mul(&scale)?.broadcast_mul(weight)
}

/// Turns pairs of a head's numbers by their position's angle. `x`: `[heads, n, head_dim]`; `cos`, `sin`: `[n, head_dim / 2]`.
pub(crate) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (b.broadcast_mul(cos)? + a.broadcast_mul(sin)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}

/// Softmax over the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.apply_op1(Softmax);
    }
    let highest = x.max_keepdim(D::Minus1)?;
    let powers = x.broadcast_sub(&highest)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// In one pass over memory; of ops by themselves it would be five, on one core.
struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((from, to)) = layout.contiguous_offsets() else { bail!("softmax of a tensor with gaps") };
        let columns = layout.dims().last().copied().unwrap_or(1);
        let mut values = x.as_slice::<f32>()?[from..to].to_vec();
        values.par_chunks_mut(columns).for_each(|row| {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for value in row.iter_mut() {
                *value = (*value - highest).exp();
                sum += *value;
            }
            let inverse = 1.0 / sum;
            for value in row.iter_mut() {
                *value *= inverse;
            }
        });
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let product = (y * gradient)?;
        let sum = product.sum_keepdim(D::Minus1)?;
        (product - y.broadcast_mul(&sum)?).map(Some)
    }
}

/// ln p of each row's target: `[n, vocab]` logits and `n` tokens → `[n]`.
pub(crate) fn log_probs(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let highest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&highest)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let picked = shifted.gather(&targets.unsqueeze(1)?, D::Minus1)?;
    (picked - sums)?.squeeze(1)
}
