//! What happened in a simulation, line by line, and a hash over all of it.

use std::fmt;

/// Lines with the virtual time before them. They are printed only where somebody looks; the hash runs over all of them
/// in either case (FNV-1a, 64 bits), and is what two runs of one seed are compared by.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    is_printed: bool,
    line: String,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl Trace {
    /// A trace that is only hashed.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            hash: FNV_OFFSET,
            lines: 0,
            is_printed: false,
            line: String::new(),
        }
    }

    /// A trace whose lines go to standard output as they come, so that they are there after a panic too.
    #[must_use]
    pub fn printed() -> Self {
        Self {
            is_printed: true,
            ..Self::quiet()
        }
    }

    /// Notes what happened at `now_us`, microseconds of virtual time.
    pub fn note(&mut self, now_us: u64, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        let (ms, us) = (now_us / 1_000, now_us % 1_000);
        write!(self.line, "{ms:>7}.{us:03} {what}").expect("a string takes all that is written");
        for byte in self.line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.lines += 1;
        if self.is_printed {
            println!("{}", self.line);
        }
    }

    /// The hash of all lines so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_tells_lines_times_and_order_apart() {
        let hash = |lines: &[(u64, &str)]| {
            let mut trace = Trace::quiet();
            for (now_us, line) in lines {
                trace.note(*now_us, format_args!("{line}"));
            }
            assert_eq!(trace.lines(), lines.len() as u64);
            trace.hash()
        };
        let one = hash(&[(1, "a"), (2, "b")]);
        assert_eq!(one, hash(&[(1, "a"), (2, "b")]));
        for other in [
            hash(&[(1, "b"), (2, "a")]),
            hash(&[(1, "a"), (3, "b")]),
            hash(&[(1, "a")]),
        ] {
            assert_ne!(one, other);
        }
    }
}
