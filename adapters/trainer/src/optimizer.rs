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
    /// Mean of the gradient, and of its square, of each variable.
    pub moments: Vec<(Tensor, Tensor)>,
    pub steps: usize,
}

impl AdamW {
    pub fn new(vars: Vec<Var>) -> Result<Self> {
        let zeros = |var: &Var| Ok((var.zeros_like()?.detach(), var.zeros_like()?.detach()));
        let moments = vars.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { vars, moments, steps: 0 })
    }

    /// One step against the gradients, which are made shorter if their norm is above `clip`.
    pub fn step(&mut self, gradients: &GradStore, rate: f64, decay: f64, clip: f64) -> Result<()> {
        self.steps += 1;
        let mut norm = 0.0;
        for var in &self.vars {
            if let Some(gradient) = gradients.get(var) {
                norm += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let shorter = (clip / norm.sqrt().max(1e-12)).min(1.0);
        let unbiased1 = 1.0 - BETA1.powi(self.steps as i32);
        let unbiased2 = 1.0 - BETA2.powi(self.steps as i32);
        for (var, (mean, square)) in self.vars.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(var) else { continue };
            // Without their history, which would keep every step's graph alive.
            let gradient = (gradient.detach() * shorter)?;
            *mean = ((&*mean * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            *square = ((&*square * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let step = ((&*mean / unbiased1)? / ((&*square / unbiased2)?.sqrt()? + EPSILON)?)?;
            let kept = (var.as_tensor().detach() * (1.0 - rate * decay))?;
            var.set(&(kept - (step * rate)?)?)?;
        }
        Ok(())
    }
}
