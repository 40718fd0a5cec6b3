//! A buffer for reading that belongs to the thread, so that an idle connection holds none.

use std::cell::RefCell;

/// Its size in bytes.
const SIZE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn with_buffer<R>(then: impl FnOnce(&mut [u8]) -> R) -> R {
    // Taken out for the time of use: a handler that blocks the thread could otherwise meet it again.
    let mut buffer = BUFFER.take();
    buffer.resize(SIZE, 0);
    let result = then(&mut buffer);
    BUFFER.set(buffer);
    result
}
