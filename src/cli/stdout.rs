//! Where results go. Decides nothing about what they say.

use std::io::{self, ErrorKind, StdoutLock, Write};

/// stdout, for this thread alone until it is dropped. What its reader no longer takes is left out: `status | head`
/// is no failure, and the exit code is what it would have been.
#[derive(Debug)]
pub struct Stdout(StdoutLock<'static>);

/// stdout, once no other thread has it.
pub fn lock() -> Stdout {
    Stdout(io::stdout().lock())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_nobody_reads(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_nobody_reads(self.0.flush(), ())
    }
}

fn unless_nobody_reads<T>(done: io::Result<T>, otherwise: T) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(otherwise),
        done => done,
    }
}
