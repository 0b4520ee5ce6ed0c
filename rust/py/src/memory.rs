//! One allocator for Rust and for the C of tree-sitter: a parse makes and frees a node for every few bytes of source,
//! and the system's allocator takes a seventh of a harvest's time for that (measured on pytest's history).
//!
//! Version 2 of mimalloc: in version 3 the thread that loads the library owns a heap of its own kind, and when that
//! thread ends, the next one that gets its stack crashes. Any Python thread may be the first to import us.
#![allow(unsafe_code)]

use std::ffi::c_void;

use libmimalloc_sys::{mi_free, mi_malloc, mi_realloc, mi_zalloc};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size is allowed; null is tree-sitter's to handle, as from the system's malloc.
    unsafe { mi_malloc(size).cast() }
}

unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: as for `malloc`.
        Some(bytes) => unsafe { mi_zalloc(bytes).cast() },
        None => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: tree-sitter passes null or what one of these functions returned.
    unsafe { mi_realloc(pointer.cast(), size).cast() }
}

unsafe extern "C" fn free(pointer: *mut c_void) {
    // SAFETY: as for `realloc`.
    unsafe { mi_free(pointer.cast()) }
}

/// Makes tree-sitter use it; before anything is parsed.
pub fn install() {
    // SAFETY: called while the module is imported, when tree-sitter has not allocated anything in this process's copy
    // of it yet, and the four functions are of one allocator.
    unsafe {
        tree_sitter::set_allocator(Some(malloc), Some(calloc), Some(realloc), Some(free));
    }
}
