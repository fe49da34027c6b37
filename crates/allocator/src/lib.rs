//! The memory allocator of the binary, and how it gives memory back.
//!
//! The engine fills memtables and drops them whole, some dozens of megabytes every second or two under full load. By
//! default mimalloc keeps what was freed for a second before the system gets it back, which made a server that ingests
//! two million points per second twice as large. It is built without huge pages (feature `no_thp`): they made a server
//! at rest three times as large.

use std::ffi::{c_int, c_long};

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3: milliseconds from a page's being free to its return to the system.
const PURGE_DELAY: c_int = 15;
/// Long enough for a query, which takes the pages of one row group again for the next: at 10 ms those that read much took
/// 1.2 to 1.7 times as long. Short beside a flush.
const PURGE_DELAY_MILLIS: c_long = 100;

/// Has freed memory returned soon. To be called first thing, before other threads run; a value that the environment sets
/// (`MIMALLOC_PURGE_DELAY`) stays.
#[allow(unsafe_code, reason = "the C interface is the only way to the option")]
pub fn return_memory_soon() {
    // SAFETY: sets an integer in mimalloc's table of options; the number is within the table, and no other thread runs.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MILLIS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "reads the option back")]
    fn the_number_names_the_purge_delay() {
        // SAFETY: reads an integer.
        let read = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The default of mimalloc 3, and of no other option: another version may number them otherwise.
        assert_eq!(read(), 1000);
        return_memory_soon();
        assert_eq!(read(), PURGE_DELAY_MILLIS);
    }
}
