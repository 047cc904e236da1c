//! The operators that the native graph is made of, in the domain [`NATIVE_DOMAIN`].

mod adapters;
mod attention;
mod embedding;
mod gated;
mod head;
mod layer;
mod pass;
mod prepare;
mod product;

use std::sync::Arc;

use npc_onnx::NATIVE_DOMAIN;
use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, KernelContext, OperatorDomain};
use ort::value::ValueRef;

use super::kernel::Weights;
use super::state::Shared;

/// The domain with all operators, sharing `shared`.
pub fn domain(shared: &Arc<Shared>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(NATIVE_DOMAIN)?
        .add(embedding::EmbeddingOp(Arc::clone(shared)))?
        .add(layer::LayerOp(Arc::clone(shared)))?
        .add(head::HeadOp(Arc::clone(shared)))
}

/// An attribute that must be there and not be negative.
fn size(kernel: &KernelContext<'_>, name: &str) -> ort::Result<usize> {
    let value = kernel.get::<i64>(name).ok_or_else(|| ort::Error::new(format!("no attribute {name}")))?;
    usize::try_from(value).map_err(|_| ort::Error::new(format!("{name} is {value}")))
}

/// An attribute that must be what `model.toml` says: by that the engine sizes its memory.
fn size_of_model(kernel: &KernelContext<'_>, name: &str, wanted: usize) -> ort::Result<usize> {
    let found = size(kernel, name)?;
    if found == wanted {
        return Ok(found);
    }
    Err(ort::Error::new(format!("{name} is {found} in the graph, and {wanted} by model.toml")))
}

/// An attribute that must be below a number that `model.toml` says.
fn size_below(kernel: &KernelContext<'_>, name: &str, limit: usize) -> ort::Result<usize> {
    let found = size(kernel, name)?;
    if found < limit {
        return Ok(found);
    }
    Err(ort::Error::new(format!("{name} is {found} in the graph, and model.toml has {limit} of them")))
}

fn bits(kernel: &KernelContext<'_>, name: &str) -> ort::Result<Bits> {
    match size(kernel, name)? {
        4 => Ok(Bits::Four),
        8 => Ok(Bits::Eight),
        other => Err(ort::Error::new(format!("{name} is {other}, and must be 4 or 8"))),
    }
}

fn epsilon(kernel: &KernelContext<'_>) -> ort::Result<f32> {
    kernel.get::<f32>("epsilon").ok_or_else(|| ort::Error::new("no attribute epsilon"))
}

/// An input that must be there.
fn input(context: &ComputeContext, index: usize) -> ort::Result<ValueRef<'_>> {
    context.input(index)?.ok_or_else(|| ort::Error::new(format!("input {index} is missing")))
}

/// A matrix of so many outputs and inputs.
fn weights<'a>(
    value: &'a ValueRef<'_>,
    bits: Bits,
    (outputs, inputs): (usize, usize),
) -> ort::Result<Weights<'a>> {
    let (_, bytes) = value.try_extract_tensor::<u8>()?;
    Weights::new(bits, outputs, inputs, bytes)
        .ok_or_else(|| ort::Error::new("a weight has another size than the model"))
}

/// The values of an input that may be missing.
fn floats<'a>(value: Option<&'a ValueRef<'_>>) -> ort::Result<Option<&'a [f32]>> {
    value.map(|value| value.try_extract_tensor::<f32>().map(|(_, values)| values)).transpose()
}
