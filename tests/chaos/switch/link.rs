//! What becomes of a packet from one port to another. Pure: chance is an argument.

use std::time::Duration;

use crate::chance::Chance;

/// One direction between two ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// How many faults cut it now: nothing passes while there is one.
    pub cuts: u32,
    /// So many of a hundred packets are lost.
    pub loss_percent: u64,
    /// Each packet comes so much later.
    pub delay: Duration,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Lost,
    Late(Duration),
}

impl Link {
    pub fn fate(&self, chance: &mut Chance) -> Fate {
        if self.cuts > 0 || (self.loss_percent > 0 && chance.percent(self.loss_percent)) {
            Fate::Lost
        } else if self.delay.is_zero() {
            Fate::Delivered
        } else {
            Fate::Late(self.delay)
        }
    }
}
