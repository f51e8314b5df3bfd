//! Messages between brokers and clients: lost, doubled, late, or cut off in one direction.

use super::event::Place;
use crate::dice::Dice;
use std::collections::BTreeSet;

/// How bad the network is.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// From whom to whom nothing goes.
    cut: BTreeSet<(Place, Place)>,
    /// Of a thousand messages, how many are lost.
    pub lost: u64,
    /// Of a thousand, how many come twice.
    pub doubled: u64,
    /// Of a thousand, how many are late, and by up to how many microseconds.
    pub late: (u64, u64),
}

/// How long a message takes, in microseconds.
const TRANSIT_US: (i64, i64) = (80, 600);

impl Network {
    pub fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    pub fn mend(&mut self, from: Place, to: Place) {
        self.cut.remove(&(from, to));
    }

    pub fn heal(&mut self) {
        *self = Self::default();
    }

    pub fn reaches(&self, from: Place, to: Place) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// After how many microseconds a message arrives, each time that it does.
    pub fn transit(&self, dice: &mut Dice, from: Place, to: Place) -> Vec<u64> {
        if from == to {
            return vec![dice.between(5, 30) as u64];
        }
        if !self.reaches(from, to) || dice.chance(self.lost, 1_000) {
            return Vec::new();
        }
        let times = if dice.chance(self.doubled, 1_000) { 2 } else { 1 };
        (0..times)
            .map(|_| {
                let mut us = dice.between(TRANSIT_US.0, TRANSIT_US.1) as u64;
                if dice.chance(self.late.0, 1_000) {
                    us += dice.below(self.late.1.max(1));
                }
                us
            })
            .collect()
    }
}
