//! What the forward pass is made of. Each has a gradient; what the base's weights would get is never computed.

use std::ops::Range;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Storage, Tensor, bail,
};
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

/// The columns that a row sees: two ranges, of which the second begins behind the first or is empty.
pub(crate) type Spans = [Range<usize>; 2];

/// Softmax over what each row sees of the last dimension, and 0 elsewhere. `x`: `[groups, several times rows, columns]`;
/// `spans`: of each row.
pub(crate) fn softmax(x: &Tensor, spans: &Arc<[Spans]>) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.apply_op1(Softmax { spans: Arc::clone(spans) });
    }
    let (groups, rows, columns) = x.dims3()?;
    let mut mask = vec![f32::NEG_INFINITY; spans.len() * columns];
    for (row, spans) in mask.chunks_mut(columns).zip(spans.iter()) {
        for span in spans {
            row[span.clone()].fill(0.0);
        }
    }
    let mask = Tensor::from_vec(mask, (spans.len(), columns), x.device())?;
    let several = (groups * rows / spans.len().max(1), spans.len(), columns);
    let x = x.reshape(several)?.broadcast_add(&mask)?;
    let powers = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.reshape((groups, rows, columns))
}

/// In one pass over what is seen; of ops by themselves it would be six over all, on one core.
struct Softmax {
    spans: Arc<[Spans]>,
}

impl Softmax {
    /// Fills what each row sees.
    fn each(&self, x: &Layout, fill: impl Fn(usize, &Spans, &mut [f32]) + Sync) -> Result<CpuStorage> {
        let columns = x.dims().last().copied().unwrap_or(1);
        let mut values = vec![0.0; x.shape().elem_count()];
        if self.spans.iter().flatten().any(|span| span.end > columns) {
            bail!("a row sees more than {columns} columns");
        }
        values
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(row, values)| fill(row * columns, &self.spans[row % self.spans.len()], values));
        Ok(CpuStorage::F32(values))
    }
}

/// The numbers of a tensor without gaps.
fn numbers<'a>(x: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else { bail!("softmax of a tensor with gaps") };
    Ok(&x.as_slice::<f32>()?[from..to])
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = numbers(x, layout)?;
        let values = self.each(layout, |from, spans, values| {
            let seen = |at: usize| &x[from + spans[at].start..from + spans[at].end];
            let highest = seen(0).iter().chain(seen(1)).copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (at, span) in spans.iter().enumerate() {
                for (value, x) in values[span.clone()].iter_mut().zip(seen(at)) {
                    *value = (x - highest).exp();
                    sum += *value;
                }
            }
            let inverse = 1.0 / sum;
            for span in spans {
                values[span.clone()].iter_mut().for_each(|value| *value *= inverse);
            }
        })?;
        Ok((values, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let spans = Arc::clone(&self.spans);
        y.apply_op2_no_bwd(&gradient.contiguous()?, &SoftmaxGradient(Self { spans })).map(Some)
    }
}

/// y · (g − Σ y · g)
struct SoftmaxGradient(Softmax);

impl CustomOp2 for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "softmax-gradient"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, gradient) = (numbers(y, layout)?, numbers(gradient, gradient_layout)?);
        let values = self.0.each(layout, |from, spans, values| {
            let sum: f32 = spans
                .iter()
                .map(|span| {
                    let seen = from + span.start..from + span.end;
                    y[seen.clone()].iter().zip(&gradient[seen]).map(|(y, g)| y * g).sum::<f32>()
                })
                .sum();
            for span in spans {
                let seen = from + span.start..from + span.end;
                let of = y[seen.clone()].iter().zip(&gradient[seen]);
                for (value, (y, g)) in values[span.clone()].iter_mut().zip(of) {
                    *value = y * (g - sum);
                }
            }
        })?;
        Ok((values, layout.shape().clone()))
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
