//! Every broker's image is the fold of the committed records up to its index, whether it came from the log, from a snapshot
//! or by observing a voter.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_broker::coordination::{Indexed, VoterId};
use flotilla_broker::metadata::Image;
use flotilla_control::proto::coordination::Committed;

use super::broken;
use crate::outcome::Violation;

/// The image at each index, folded here.
pub struct OneImageAtAnIndex {
    images: BTreeMap<u64, Arc<Image>>,
    waiting: BTreeMap<u64, Committed>,
}

/// Index 0 is the entry that founds the quorum, and brings no records.
impl Default for OneImageAtAnIndex {
    fn default() -> Self {
        Self {
            images: BTreeMap::from([(0, Arc::default())]),
            waiting: BTreeMap::new(),
        }
    }
}

impl OneImageAtAnIndex {
    /// An entry is committed. They may come in any order.
    pub fn committed(&mut self, entry: &Committed) -> Result<(), Violation> {
        let next = self.images.keys().next_back().map_or(0, |last| last + 1);
        if entry.index < next {
            return Ok(());
        }
        self.waiting.insert(entry.index, entry.clone());
        let mut next = next;
        while let Some(entry) = self.waiting.remove(&next) {
            let last = self.images.values().next_back();
            let mut image = last.map(|image| Image::clone(image)).unwrap_or_default();
            let folded = image.fold_all(&entry.records);
            folded.map_err(|error| broken("one_image_at_an_index", error.to_string()))?;
            self.images.insert(next, Arc::new(image));
            next += 1;
        }
        Ok(())
    }

    /// A broker shows an image. What was not folded here yet cannot be judged.
    pub fn shows(&self, who: VoterId, shown: &Indexed) -> Result<(), Violation> {
        let Some(image) = self.images.get(&shown.index) else {
            return Ok(());
        };
        if image != &shown.image {
            let message = format!(
                "{who} has another image at index {} than the log: {:?}, where {image:?} was expected",
                shown.index, shown.image
            );
            return Err(broken("one_image_at_an_index", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::tests::{feature, voter};

    #[test]
    fn another_image_at_an_index_is_found() {
        let mut rule = OneImageAtAnIndex::default();
        let entry = |index, records| Committed {
            index,
            term: 1,
            records,
        };
        rule.committed(&entry(2, Vec::new())).unwrap();
        rule.committed(&entry(1, vec![feature("a")])).unwrap();
        let mut image = Image::default();
        image.fold_all(&[feature("a")]).unwrap();
        let shown = |index, image: &Image| Indexed {
            index,
            image: Arc::new(image.clone()),
        };
        for index in [1, 2] {
            assert_eq!(rule.shows(voter(0), &shown(index, &image)), Ok(()));
        }
        assert_eq!(rule.shows(voter(0), &shown(0, &Image::default())), Ok(()));
        let found = rule.shows(voter(0), &shown(1, &Image::default())).unwrap_err();
        assert_eq!(found.invariant, "one_image_at_an_index");
    }
}
