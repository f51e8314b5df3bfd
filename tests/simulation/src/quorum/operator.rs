//! The hand of the operator: it replaces voters whose disk was emptied, and now and then wants another number of them.

use std::sync::Arc;
use std::time::Duration;

use flotilla_broker::coordination::VoterId;
use tokio::time::sleep;

use super::world::{World, node};
use crate::dice::Dice;

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps as many voters as are wanted, one change at a time.
pub async fn run(world: Arc<World>, mut dice: Dice) {
    let brokers = world.broker_ids();
    let mut wanted = world.first_voters();
    loop {
        sleep(PAUSE).await;
        if dice.chance(1, 20) && !world.is_calm() {
            wanted = if brokers.len() >= 5 {
                *dice.pick(&[3, 3, 5])
            } else {
                3
            };
        }
        let Some((leader, glance)) = world.leader() else {
            continue;
        };
        let Some(seated) = world.seated(leader) else {
            continue;
        };
        let strangers = glance
            .voters
            .iter()
            .find(|voter| world.voter_id(voter.broker) != **voter);
        let missing = brokers
            .iter()
            .map(|broker| world.voter_id(*broker))
            .find(|id| !glance.voters.iter().any(|voter| voter.broker == id.broker));
        let swap = dice.chance(1, 40) && !world.is_calm() && strangers.is_none();
        // A voter is added before one goes only where that is safe: with as many as are wanted.
        let (id, add): (VoterId, bool) = match (strangers, missing) {
            (Some(emptied), _) => (*emptied, false),
            (None, Some(missing)) if glance.voters.len() < wanted => (missing, true),
            (None, _) if glance.voters.len() > wanted => {
                let voters: Vec<VoterId> = glance.voters.iter().copied().collect();
                (*dice.pick(&voters), false)
            }
            (None, Some(missing)) if swap => (missing, true),
            _ => continue,
        };
        world.note(format_args!(
            "the operator {} {id} at {leader}",
            if add { "adds" } else { "removes" }
        ));
        let change = seated.change_voters(id, node(id.broker), add);
        world.set_operating(true);
        let outcome = match change.await {
            Ok(answer) if answer.message.is_empty() && answer.refusal == 0 => {
                world.count(if add { "voters added" } else { "voters removed" });
                "done".to_owned()
            }
            Ok(answer) => answer.message,
            Err(why) => why,
        };
        world.set_operating(false);
        world.note(format_args!("the operator's change of {id}: {outcome}"));
    }
}
