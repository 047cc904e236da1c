//! How much memory a server needs: weights, keys and values, adapters, and the runtime.
//!
//! All by arithmetic from the architecture; only the runtime's own part is an input, since it has to be measured.

mod adapters;
mod total;
mod weights;

#[cfg(test)]
mod tests;

pub use adapters::{AdapterShape, Target};
pub use total::{Demand, DoesNotFit, KvScheme, Memory};
pub use weights::{Precision, WeightScheme};

/// Bytes in a gigabyte, as data sheets of memory count it.
pub const GB: f64 = 1e9;

/// Bytes as gigabytes, with as many digits as matter.
pub fn gigabytes(bytes: u64) -> String {
    let gigabytes = bytes as f64 / GB;
    match gigabytes {
        _ if gigabytes < 1.0 => format!("{gigabytes:.3} GB"),
        _ if gigabytes < 10.0 => format!("{gigabytes:.2} GB"),
        _ => format!("{gigabytes:.1} GB"),
    }
}
