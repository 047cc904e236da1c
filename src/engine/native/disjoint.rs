//! One slice written by several threads, each its own part, and read by all of them afterwards.

use std::marker::PhantomData;

/// A slice whose parts are handed to threads that the borrow checker cannot tell apart.
#[derive(Debug)]
pub struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    _borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out parts, and who takes one to write promises that nobody else has it; parts to read are
// shared between threads, which takes a `T` that may be.
unsafe impl<T: Send + Sync> Sync for Disjoint<'_, T> {}

impl<T> Clone for Disjoint<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

// Parts are handed out by promises alone, of whichever copy.
impl<T> Copy for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), _borrow: PhantomData }
    }

    /// The part `first..first + length`; panics if it lies outside.
    ///
    /// # Safety
    /// While the part is in use, no other part that overlaps it is.
    #[allow(clippy::mut_from_ref)] // That is what it is for.
    pub unsafe fn part(&self, first: usize, length: usize) -> &mut [T] {
        assert!(
            first <= self.length && length <= self.length - first,
            "{first} + {length} of {}",
            self.length
        );
        // SAFETY: inside the slice, as just checked; alone there, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), length) }
    }

    /// The `N` elements from `first` on; panics if they lie outside.
    ///
    /// # Safety
    /// As [`Self::part`].
    #[allow(clippy::mut_from_ref)] // That is what it is for.
    #[inline]
    pub unsafe fn array<const N: usize>(&self, first: usize) -> &mut [T; N] {
        assert!(first <= self.length && N <= self.length - first, "{first} + {N} of {}", self.length);
        // SAFETY: inside the slice, as just checked; alone there, as the caller promises.
        unsafe { &mut *self.start.add(first).cast() }
    }

    /// The part `first..first + length`, for reading; panics if it lies outside.
    ///
    /// # Safety
    /// While the part is in use, nobody writes to it.
    pub unsafe fn read(&self, first: usize, length: usize) -> &[T] {
        assert!(
            first <= self.length && length <= self.length - first,
            "{first} + {length} of {}",
            self.length
        );
        // SAFETY: inside the slice, as just checked; not written, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.start.add(first), length) }
    }

    /// Writes values `run` at a time, the first ones at `first`, the next ones `step` elements behind; panics if one would
    /// lie outside. A number of values that is no multiple of `run` is cut off.
    ///
    /// # Safety
    /// Nobody else reads or writes these elements at the same time.
    #[allow(clippy::inline_always)] // For a run that is known it is a move and not a call.
    #[inline(always)]
    pub unsafe fn spread(&self, first: usize, run: usize, step: usize, values: &[T])
    where
        T: Copy,
    {
        let runs = values.chunks_exact(run);
        let end =
            runs.len().saturating_sub(1).checked_mul(step).and_then(|last| last.checked_add(first + run));
        assert!(end.is_some_and(|end| end <= self.length), "{first} and more of {}", self.length);
        for (i, values) in runs.enumerate() {
            // SAFETY: up to the end, which lies inside, as just checked; alone there, as the caller promises.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(first + i * step), run) };
        }
    }

    /// Where an element is, for whoever fetches it ahead and reads or writes nothing; `None`: outside.
    pub fn address(&self, index: usize) -> Option<*const T> {
        (index < self.length).then(|| self.start.wrapping_add(index).cast_const())
    }

    /// Writes one element; panics if it lies outside.
    ///
    /// # Safety
    /// Nobody else reads or writes this element at the same time.
    pub unsafe fn set(&self, index: usize, value: T) {
        assert!(index < self.length, "{index} of {}", self.length);
        // SAFETY: inside the slice, as just checked; alone there, as the caller promises.
        unsafe { self.start.add(index).write(value) };
    }
}

/// Something that threads fill in one stage of their work and read in the next, which the borrow checker cannot see.
pub struct Late<'a, T: ?Sized> {
    value: *mut T,
    _borrow: PhantomData<&'a mut T>,
}

// SAFETY: who fills it or reads it promises that nobody does the other meanwhile; see [`Disjoint`].
unsafe impl<T: ?Sized + Send + Sync> Sync for Late<'_, T> {}

impl<'a, T: ?Sized> Late<'a, T> {
    pub fn new(value: &'a mut T) -> Self {
        Self { value, _borrow: PhantomData }
    }

    /// To be cut into [`Disjoint`] parts before the work begins.
    ///
    /// # Safety
    /// It is called once, before anything is read, and what comes of it is used in an earlier stage than all reading.
    #[allow(clippy::mut_from_ref)] // That is what it is for.
    pub unsafe fn fill(&self) -> &'a mut T {
        // SAFETY: made from a borrow that lives as long; alone, as the caller promises.
        unsafe { &mut *self.value }
    }

    /// What is there once it is filled.
    ///
    /// # Safety
    /// The stage that fills it is over, and the caller has seen its end.
    pub unsafe fn read(&self) -> &'a T {
        // SAFETY: made from a borrow that lives as long; not written any more, as the caller promises.
        unsafe { &*self.value }
    }
}

#[cfg(test)]
mod tests {
    use super::{Disjoint, Late};

    #[test]
    fn threads_write_their_parts() {
        let mut values = vec![0; 64];
        let parts = Disjoint::new(&mut values);
        std::thread::scope(|scope| {
            for i in 0..8 {
                let parts = &parts;
                scope.spawn(move || {
                    // SAFETY: each thread takes other elements.
                    unsafe {
                        parts.part(i * 8, 7).fill(i);
                        parts.set(i * 8 + 7, i + 100);
                    }
                });
            }
        });
        for (i, value) in values.iter().enumerate() {
            assert_eq!(*value, if i % 8 == 7 { i / 8 + 100 } else { i / 8 });
        }
    }

    #[test]
    fn threads_read_what_others_wrote() {
        let mut values = vec![0; 8];
        let late = Late::new(&mut values);
        let barrier = std::sync::Barrier::new(8);
        // SAFETY: the only call; all reading is behind the barrier.
        let parts = Disjoint::new(unsafe { late.fill() });
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (late, parts, barrier) = (&late, &parts, &barrier);
                scope.spawn(move || {
                    // SAFETY: each thread has its own element.
                    unsafe { parts.set(i, i) };
                    barrier.wait();
                    // SAFETY: all have passed the barrier.
                    assert_eq!(unsafe { late.read() }.iter().sum::<usize>(), 28);
                });
            }
        });
    }

    #[test]
    #[should_panic(expected = "60 + 5 of 64")]
    fn what_lies_outside_is_refused() {
        let mut values = vec![0; 64];
        // SAFETY: the only part.
        unsafe { Disjoint::new(&mut values).part(60, 5).fill(1) };
    }
}
