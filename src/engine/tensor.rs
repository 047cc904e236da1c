//! Tensors over memory that is not ONNX Runtime's, by its C API: ort's own of that kind cannot be given to a session to keep,
//! and are copied where they are bound as inputs.

use std::ptr::NonNull;

use ort::AsPointer;
use ort::memory::{Allocator, MemoryInfo};
use ort::value::{DynValue, Shape, TensorElementType, Value};

use super::EngineError;

/// A tensor of this element and shape over `bytes` bytes at `data`.
///
/// # Safety
/// The memory, of which `info` says where it is, begins where an element may, is as long, and there for as long as the tensor; nobody reads or writes it
/// while a run that has the tensor writes it, and nobody writes it while one reads it.
pub unsafe fn over(
    (data, bytes): (*mut u8, usize),
    (element, shape): (TensorElementType, &Shape),
    info: &MemoryInfo<'_>,
    allocator: &Allocator,
) -> Result<DynValue, EngineError> {
    let mut value = std::ptr::null_mut();
    // SAFETY: the memory is as the caller promises, and ONNX Runtime compares its length with the shape.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            info.ptr(),
            data.cast(),
            bytes,
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &raw mut value,
        )
    };
    // SAFETY: `status` came from the call above and is consumed once.
    unsafe { ort::Error::result_from_status(status) }?;
    let value = NonNull::new(value).ok_or_else(|| EngineError::Runtime("no tensor was made".into()))?;
    // SAFETY: `value` is a fresh tensor that nobody else owns.
    Ok(unsafe { Value::from_ptr(value, Some(allocator)) })
}
