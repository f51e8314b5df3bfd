//! Watches each broker, and tells the rules what it says and has applied.

use std::sync::Arc;

use flotilla_broker::coordination::VoterId;
use flotilla_broker::coordination::simulation::Seated;

use super::world::World;

/// Watches one process until another takes its place.
pub async fn follow(world: Arc<World>, who: VoterId, incarnation: u64, seated: Arc<Seated>) {
    let (mut voters, mut snapshot) = (None, None);
    let mut images = seated.metadata().subscribe();
    loop {
        look(&world, who, &seated);
        let glance = seated.glance();
        if let Some(why) = seated.failure().or(glance.failed.clone()) {
            world.failed(who, incarnation, &why);
            return;
        }
        if voters.as_ref().is_some_and(|known| *known != glance.voters) {
            world.note(format_args!("{who} sees voters {}", shown(&glance.voters)));
        }
        if snapshot != glance.snapshot_index && glance.snapshot_index.is_some() {
            world.note(format_args!(
                "{who} has a snapshot up to {:?}",
                glance.snapshot_index
            ));
            world.count("snapshots taken or installed");
        }
        (voters, snapshot) = (Some(glance.voters), glance.snapshot_index);
        tokio::select! {
            biased;
            () = seated.changes() => {}
            changed = images.changed() => if changed.is_none() { return },
        }
    }
}

fn shown(voters: &std::collections::BTreeSet<VoterId>) -> String {
    voters
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Tells the rules where a broker stands.
pub fn look(world: &World, who: VoterId, seated: &Seated) {
    let glance = seated.glance();
    if glance.leads {
        let checked = world.invariants().leads(who, glance.term, &glance.voters);
        if checked == Ok(true) {
            world.note(format_args!("{who} leads in term {}", glance.term));
            world.count("leaders elected");
        }
        world.check(checked.map(|_| ()));
    }
    let known = world.applied_by(who);
    // Where a snapshot skipped over entries, others have applied them.
    let entries = seated
        .applied_after(known)
        .or_else(|| seated.applied_after(glance.snapshot_index?))
        .unwrap_or_default();
    for entry in entries {
        let checked = world.invariants().applied(who, &entry);
        if checked == Ok(true) {
            world.note(format_args!(
                "committed: entry {} of term {}, {} records",
                entry.index,
                entry.term,
                entry.records.len()
            ));
            world.count("entries committed");
        }
        world.check(checked.map(|_| ()));
        world.note_applied(who, entry.index);
    }
    world.tell_panics(who.broker, &seated.machine());
    let image = seated.metadata().latest();
    let checked = world.invariants().shows(who, &image);
    world.check(checked);
}
