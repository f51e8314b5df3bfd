//! Links lose and delay what they should.

use std::time::Duration;

use crate::chance::Chance;
use crate::link::{Fate, Link};

fn fates(link: Link) -> (usize, usize, usize) {
    let mut chance = Chance::new(1);
    let fates: Vec<Fate> = (0..1_000).map(|_| link.fate(&mut chance)).collect();
    let count = |of: fn(&Fate) -> bool| fates.iter().filter(|fate| of(fate)).count();
    (
        count(|fate| *fate == Fate::Delivered),
        count(|fate| *fate == Fate::Lost),
        count(|fate| matches!(fate, Fate::Late(_))),
    )
}

#[test]
fn whole_link_delivers_and_a_cut_one_loses_everything() {
    assert_eq!(fates(Link::default()), (1_000, 0, 0));
    let cut = Link {
        cuts: 1,
        delay: Duration::from_millis(5),
        ..Link::default()
    };
    assert_eq!(fates(cut), (0, 1_000, 0));
}

#[test]
fn link_with_loss_and_delay_loses_its_share_and_delivers_the_rest_late() {
    let (delivered, lost, late) = fates(Link {
        loss_percent: 10,
        delay: Duration::from_millis(5),
        ..Link::default()
    });
    assert_eq!(delivered, 0);
    assert!((60..140).contains(&lost), "{lost}");
    assert_eq!(late, 1_000 - lost);
}
