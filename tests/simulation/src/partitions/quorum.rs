//! The metadata log behind its seam: entries are proposed, and some of them committed, in order; leadership comes and
//! goes, with proposals in doubt; entries of an old term are skipped by everyone; each broker learns at its own pace.

use flotilla_broker::metadata::Image;
use flotilla_control::proto::metadata::Entry;
use std::collections::VecDeque;
use std::sync::Arc;

/// An entry that is not committed yet.
#[derive(Clone, Debug)]
pub(super) struct Proposed {
    /// The term that it stands in the log under.
    pub term: u64,
    pub entry: Entry,
}

/// The log, as it truly is.
#[derive(Debug)]
pub(super) struct Quorum {
    pub term: u64,
    /// The broker that leads, if one does.
    pub leader: Option<usize>,
    images: Vec<Arc<Image>>,
    pub in_flight: VecDeque<Proposed>,
    /// Whether a commit is on its way.
    pub is_committing: bool,
    pub is_electing: bool,
    /// Microseconds that a commit takes beyond the usual, at most.
    pub slow_us: u64,
}

/// What became of an entry.
#[derive(Debug)]
pub(super) struct Committed {
    pub index: u64,
    pub term: u64,
    pub is_skipped: bool,
    pub before: Arc<Image>,
    pub after: Arc<Image>,
}

impl Quorum {
    pub fn new() -> Self {
        Self {
            term: 0,
            leader: None,
            images: vec![Arc::default()],
            in_flight: VecDeque::new(),
            is_committing: false,
            is_electing: false,
            slow_us: 0,
        }
    }

    /// The index of the last committed entry.
    pub fn index(&self) -> u64 {
        self.images.len() as u64 - 1
    }

    /// All metadata up to an entry.
    pub fn image(&self, index: u64) -> Arc<Image> {
        self.images[index as usize].clone()
    }

    pub fn latest(&self) -> Arc<Image> {
        self.image(self.index())
    }

    /// The metadata as it will be if all that is on its way is committed.
    pub fn foreseen(&self) -> Image {
        let mut image = Image::clone(&self.latest());
        for proposed in &self.in_flight {
            if proposed.entry.term == proposed.term {
                image
                    .fold_all(&proposed.entry.records)
                    .expect("the controller understands what it decided");
            }
        }
        image
    }

    /// Commits the oldest entry. One that was decided in another term than it stands under is skipped by everyone.
    pub fn commit(&mut self) -> Option<Committed> {
        let proposed = self.in_flight.pop_front()?;
        let before = self.latest();
        let is_skipped = proposed.entry.term != proposed.term;
        let after = if is_skipped {
            before.clone()
        } else {
            let mut image = Image::clone(&before);
            image
                .fold_all(&proposed.entry.records)
                .expect("the controller understands what it decided");
            Arc::new(image)
        };
        self.images.push(after.clone());
        Some(Committed {
            index: self.index(),
            term: proposed.term,
            is_skipped,
            before,
            after,
        })
    }
}
