//! The system's allocator with counters for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts allocations and their bytes for the calling thread.
pub(crate) struct Counting;

/// The allocations of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocated {
    /// Number of allocations.
    pub(crate) count: u64,
    /// Sum of their bytes.
    pub(crate) bytes: u64,
}

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { count: 0, bytes: 0 }) };
}

/// Returns the allocations of the calling thread so far.
pub(crate) fn allocated() -> Allocated {
    ALLOCATED.get()
}

fn note(bytes: usize) {
    // Fails for a thread that is ending, whose counter is no longer read.
    let _ = ALLOCATED.try_with(|cell| {
        let before = cell.get();
        cell.set(Allocated { count: before.count + 1, bytes: before.bytes + bytes as u64 });
    });
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call is forwarded unchanged to the system's allocator, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_threads_allocations_are_counted() {
        let before = allocated();
        drop(std::hint::black_box(vec![1u8; 1_000]));
        let after = allocated();
        assert_eq!((after.count - before.count, after.bytes - before.bytes), (1, 1_000));
    }
}
