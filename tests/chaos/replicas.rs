//! Whether all replicas of a partition hold the same bytes, once the brokers have ended.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use crate::fleet::Fleet;

/// Compares all replicas of these partitions. Says which differ, and where; each byte of each is read.
pub fn compare(fleet: &Fleet, partitions: &[(String, Vec<usize>)]) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (partition, replicas) in partitions {
        let Some((first, others)) = replicas.split_first() else {
            continue;
        };
        for other in others {
            let (one, two) = (
                fleet.disk(*first).records(partition)?,
                fleet.disk(*other).records(partition)?,
            );
            if let Some(at) = first_difference(joined(&one)?, joined(&two)?)? {
                wrong.push(format!(
                    "the records of {partition} on broker {first} and broker {other} differ from byte {at} on"
                ));
            }
        }
    }
    Ok(wrong)
}

/// Segments may be rolled at different places: what counts is all of them, one after the other.
fn joined(files: &[PathBuf]) -> anyhow::Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(std::io::empty());
    for file in files {
        all = Box::new(all.chain(File::open(file)?));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 16, all)))
}

fn first_difference(one: impl Read, two: impl Read) -> anyhow::Result<Option<u64>> {
    let (mut one, mut two) = (one, two);
    let (mut a, mut b) = ([0; 8_192], [0; 8_192]);
    let mut at = 0;
    loop {
        let (read_a, read_b) = (fill(&mut one, &mut a)?, fill(&mut two, &mut b)?);
        let both = read_a.min(read_b);
        if let Some(differs) = (0..both).find(|place| a[*place] != b[*place]) {
            return Ok(Some(at + differs as u64));
        }
        if read_a != read_b {
            return Ok(Some(at + both as u64));
        }
        if read_a == 0 {
            return Ok(None);
        }
        at += both as u64;
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
