//! AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"), with a state that can be stored.

use candle_core::{Result, Tensor, Var, backprop::GradStore};

/// How fast the means of gradients and of their squares forget.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct AdamW {
    pub vars: Vec<Var>,
    /// Mean of the gradient, and of its square, of all variables' numbers one behind another: a few large operations
    /// instead of thousands of small ones.
    pub moments: (Tensor, Tensor),
    pub steps: usize,
}

impl AdamW {
    pub fn new(vars: Vec<Var>) -> Result<Self> {
        let zeros = flat(&vars.iter().map(|var| var.zeros_like()).collect::<Result<Vec<_>>>()?)?.detach();
        Ok(Self { vars, moments: (zeros.clone(), zeros), steps: 0 })
    }

    /// One step against the gradients, which are made shorter if their norm is above `clip`. A variable that the loss does
    /// not depend on has a gradient of 0.
    pub fn step(&mut self, gradients: &GradStore, rate: f64, decay: f64, clip: f64) -> Result<()> {
        self.steps += 1;
        let of = |var: &Var| match gradients.get(var) {
            // Without their history, which would keep every step's graph alive.
            Some(gradient) => Ok(gradient.detach()),
            None => Ok(var.zeros_like()?.detach()),
        };
        let gradient = flat(&self.vars.iter().map(of).collect::<Result<Vec<_>>>()?)?;
        let norm = f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
        let gradient = (gradient * (clip / norm.max(1e-12)).min(1.0))?;
        let unbiased1 = 1.0 - BETA1.powi(self.steps as i32);
        let unbiased2 = 1.0 - BETA2.powi(self.steps as i32);
        let (mean, square) = &self.moments;
        let mean = ((mean * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
        let square = ((square * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
        let step = ((&mean / unbiased1)? / ((&square / unbiased2)?.sqrt()? + EPSILON)?)?;
        self.moments = (mean, square);
        let values = flat(&self.vars.iter().map(|var| var.as_tensor().detach()).collect::<Vec<_>>())?;
        let values = ((values * (1.0 - rate * decay))? - (step * rate)?)?;
        let mut at = 0;
        for var in &self.vars {
            let count = var.elem_count();
            var.set(&values.narrow(0, at, count)?.reshape(var.shape())?)?;
            at += count;
        }
        Ok(())
    }
}

/// The numbers of all, one behind another.
fn flat(tensors: &[Tensor]) -> Result<Tensor> {
    Tensor::cat(&tensors.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?, 0)
}
