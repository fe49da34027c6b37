//! Words for whoever started the program. That nobody reads them any more (a closed pipe, a full disk) is no reason to
//! fail: `println!` and `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub(crate) fn say(line: &dyn Display) {
    let _unheard = writeln!(io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn complain(line: &dyn Display) {
    let _unheard = writeln!(io::stderr(), "{line}");
}

/// A writer that takes everything, also what the one below does not.
#[derive(Debug)]
pub(crate) struct Forgiving<W>(pub(crate) W);

impl<W: Write> Write for Forgiving<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _lost = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _lost = self.0.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn what_cannot_be_written_is_forgotten() {
        let mut lines = Forgiving(Broken);
        writeln!(lines, "a line").expect("errors are swallowed");
        lines.flush().expect("errors are swallowed");
    }
}
