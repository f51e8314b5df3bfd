//! Memory that a virtual machine gave back to its host has to be fetched again page by page when it is used the next time: writing to
//! the page cache takes six times as long then, whoever writes. It has nothing to do with brokers, and comes and goes; so while
//! measuring, none is given back, and what is free has been used before. As root; elsewhere figures have it in them, and a line says so.

use std::fs;
use std::sync::OnceLock;

/// From which order on free blocks of pages are reported to the host (Linux' `mm/page_reporting.c`).
const REPORTING: &str = "/sys/module/page_reporting/parameters/page_reporting_order";
/// No block is as large, or, where that is refused, hardly any.
const ORDERS: [&str; 2] = ["11", "10"];
const PAGE_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 256 << 20;
/// What is left alone of the memory that is free.
const SPARE_BYTES: usize = 1 << 30;

/// What stood in [`REPORTING`] before.
static BEFORE: OnceLock<String> = OnceLock::new();

/// While it lives, memory stays with this machine.
pub struct Kept(());

impl Kept {
    pub fn take() -> Self {
        let Ok(before) = fs::read_to_string(REPORTING) else {
            return Self(());
        };
        if ORDERS.iter().any(|order| fs::write(REPORTING, order).is_ok()) {
            BEFORE.get_or_init(|| before);
            touch(free_bytes().saturating_sub(SPARE_BYTES));
        } else {
            eprintln!(
                "versus: free memory goes back to the host meanwhile, and comes again slowly: run as root to prevent it"
            );
        }
        Self(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        give_back();
    }
}

/// From now on, memory goes back to the host as before.
pub fn give_back() {
    if let Some(before) = BEFORE.get()
        && let Err(error) = fs::write(REPORTING, before)
    {
        eprintln!("versus: cannot write {} to {REPORTING}: {error}", before.trim());
    }
}

/// Uses so much memory once.
fn touch(bytes: usize) {
    let mut held = Vec::new();
    for _ in 0..bytes / CHUNK_BYTES {
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        chunk.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
        held.push(std::hint::black_box(chunk));
    }
}

fn free_bytes() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = crate::machine::field(&text, "MemFree");
    let kib: usize = field.trim_end_matches(" kB").parse().unwrap_or(0);
    kib << 10
}
