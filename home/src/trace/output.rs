//! Where a trace is written.

use std::fs::File;
use std::io::Write;

/// Kept in memory before it is written.
const BUFFER_MAX_BYTES: usize = 64 << 10;

/// A file with a buffer. Once it cannot be written any more, what comes is dropped.
#[derive(Debug)]
pub struct Writer {
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Writer {
    /// One that writes to `file`; without one it writes nowhere.
    pub fn new(file: Option<File>) -> Writer {
        Writer { file, buffer: Vec::new() }
    }

    /// Appends.
    pub fn put(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        if self.buffer.len() > BUFFER_MAX_BYTES {
            self.flush();
        }
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) {
        if !self.buffer.is_empty()
            && let Some(file) = &mut self.file
            && file.write_all(&self.buffer).is_err()
        {
            // A trace nobody can read any more (EPIPE, ENOSPC) must not stop the program: strace goes on, too.
            self.file = None;
        }
        self.buffer.clear();
    }
}
