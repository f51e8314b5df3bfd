//! What goes wrong, and when: as the seed says.

use std::sync::Arc;
use std::time::Duration;

use flotilla_protocol::BrokerId;
use tokio::time::{Instant, sleep};

use super::world::{Loss, World};
use crate::dice::Dice;

/// Lets things go wrong for some time.
pub async fn run(world: &Arc<World>, dice: &mut Dice, length: Duration) {
    let end = Instant::now() + length;
    // Some runs are harsh, some are mild: rare interleavings need quiet between two faults.
    let pause_ms = *dice.pick(&[300, 1_000, 3_000]);
    sleep(Duration::from_millis(dice.between(0, 2_000).unsigned_abs())).await;
    while Instant::now() < end {
        one(world, dice).await;
        sleep(Duration::from_millis(dice.between(50, pause_ms).unsigned_abs())).await;
    }
}

/// Everything is well again: whoever is down starts, whoever is paused goes on, the network is fair.
pub async fn end(world: &Arc<World>) {
    world.weather().clear();
    for broker in world.broker_ids() {
        world.pause(broker, false);
        world.set_disk_ms(broker, 0, 1);
        world.start(broker).await;
    }
    world.calm();
}

fn later(world: &Arc<World>, after: Duration, what: impl FnOnce(&World) + Send + 'static) {
    let world = world.clone();
    tokio::spawn(async move {
        sleep(after).await;
        what(&world);
    });
}

fn restart(world: &Arc<World>, broker: BrokerId, after: Duration) {
    let world = world.clone();
    tokio::spawn(async move {
        sleep(after).await;
        world.start(broker).await;
    });
}

async fn one(world: &Arc<World>, dice: &mut Dice) {
    let brokers = world.broker_ids();
    // Leaders are worth more attention than their share.
    let leader = world.leader().map(|(broker, _)| broker);
    let broker = match leader {
        Some(leader) if dice.chance(1, 2) => leader,
        _ => *dice.pick(&brokers),
    };
    let length_ms = *dice.pick(&[100, 400, 900, 2_500, 6_000]);
    let length = Duration::from_millis(dice.between(50, length_ms).unsigned_abs());
    match dice.below(16) {
        0 => cut_one_way(world, dice, broker, &brokers, length),
        1 | 2 => isolate(world, broker, &brokers, length),
        3 => split(world, dice, &brokers, length),
        4 => lossy(world, dice, length),
        5 => slow_network(world, dice, broker, length),
        6 | 7 => crash(world, dice, broker, length),
        8 => crash_all(world, dice, &brokers),
        9 | 10 => {
            let changes = dice.below(12);
            world.note(format_args!(
                "broker {broker}: the power will fail after {changes} changes"
            ));
            world.fail_within(broker, changes);
        }
        11 | 12 => pause(world, broker, length),
        13 => slow_disk(world, dice, broker, length),
        14 => empty(world, broker, length),
        _ => snapshot(world, broker),
    }
}

fn cut_one_way(world: &Arc<World>, dice: &mut Dice, from: BrokerId, brokers: &[BrokerId], length: Duration) {
    let to = *dice.pick(brokers);
    world.note(format_args!("cut: {from} -> {to} for {length:?}"));
    world.count("ways cut in one direction");
    world.weather().cut.insert((from, to));
    later(world, length, move |world| {
        world.weather().cut.remove(&(from, to));
    });
}

fn isolate(world: &Arc<World>, broker: BrokerId, brokers: &[BrokerId], length: Duration) {
    world.note(format_args!("cut: {broker} from all for {length:?}"));
    world.count("brokers cut off");
    cut_ways(
        world,
        length,
        |from, to| (from == broker) != (to == broker),
        brokers,
    );
}

fn split(world: &Arc<World>, dice: &mut Dice, brokers: &[BrokerId], length: Duration) {
    let mut all = brokers.to_vec();
    dice.shuffle(&mut all);
    let side = all[..dice.below(all.len() as u64) as usize].to_vec();
    world.note(format_args!("cut: {side:?} from the rest for {length:?}"));
    world.count("fleets split");
    cut_ways(
        world,
        length,
        |from, to| side.contains(&from) != side.contains(&to),
        brokers,
    );
}

fn cut_ways(
    world: &Arc<World>,
    length: Duration,
    is_cut: impl Fn(BrokerId, BrokerId) -> bool,
    brokers: &[BrokerId],
) {
    let ways = brokers
        .iter()
        .flat_map(|from| brokers.iter().map(move |to| (*from, *to)));
    let ways: Vec<_> = ways.filter(|(from, to)| is_cut(*from, *to)).collect();
    world.weather().cut.extend(ways.iter().copied());
    later(world, length, move |world| {
        let mut weather = world.weather();
        for way in &ways {
            weather.cut.remove(way);
        }
    });
}

fn lossy(world: &Arc<World>, dice: &mut Dice, length: Duration) {
    let (lost, doubled) = (dice.below(300), dice.below(300));
    world.note(format_args!(
        "of 1000 messages {lost} are lost, {doubled} doubled for {length:?}"
    ));
    world.count("times of loss");
    {
        let mut weather = world.weather();
        (weather.lost, weather.doubled) = (lost, doubled);
    }
    later(world, length, |world| {
        let mut weather = world.weather();
        (weather.lost, weather.doubled) = (0, 0);
    });
}

fn slow_network(world: &Arc<World>, dice: &mut Dice, broker: BrokerId, length: Duration) {
    world.count("times of delay");
    if dice.chance(1, 2) {
        let most = dice.below(300);
        world.note(format_args!("messages take up to {most} ms for {length:?}"));
        world.weather().delay_ms = (0, most);
        later(world, length, |world| world.weather().delay_ms = (0, 2));
        return;
    }
    let slower = dice.below(200);
    world.note(format_args!(
        "broker {broker}: messages take {slower} ms more for {length:?}"
    ));
    world.weather().slower_ms.insert(broker, slower);
    later(world, length, move |world| {
        world.weather().slower_ms.remove(&broker);
    });
}

fn crash(world: &Arc<World>, dice: &mut Dice, broker: BrokerId, length: Duration) {
    let loss = *dice.pick(&[Loss::Process, Loss::Power]);
    world.note(format_args!(
        "broker {broker}: crashes, with the loss of its {loss:?}, for {length:?}"
    ));
    world.count("crashes of one");
    world.kill(broker, loss);
    restart(world, broker, length);
}

fn crash_all(world: &Arc<World>, dice: &mut Dice, brokers: &[BrokerId]) {
    world.note(format_args!("all lose power"));
    world.count("crashes of all");
    for broker in brokers {
        world.kill(*broker, Loss::Power);
        restart(world, *broker, Duration::from_millis(dice.below(1_500)));
    }
}

fn pause(world: &Arc<World>, broker: BrokerId, length: Duration) {
    world.note(format_args!("broker {broker}: paused for {length:?}"));
    world.count("pauses");
    world.pause(broker, true);
    later(world, length, move |world| world.pause(broker, false));
}

fn slow_disk(world: &Arc<World>, dice: &mut Dice, broker: BrokerId, length: Duration) {
    let most = dice.between(20, 900).unsigned_abs();
    world.note(format_args!(
        "broker {broker}: the disk takes up to {most} ms for {length:?}"
    ));
    world.count("slow disks");
    world.set_disk_ms(broker, most / 4, most);
    later(world, length, move |world| world.set_disk_ms(broker, 0, 1));
}

fn empty(world: &Arc<World>, broker: BrokerId, length: Duration) {
    let votes = world
        .leader()
        .is_none_or(|(_, glance)| glance.voters.contains(&world.voter_id(broker)));
    if votes && !world.may_lose_a_disk() {
        return;
    }
    world.note(format_args!(
        "broker {broker}: its disk is emptied, and it is down for {length:?}"
    ));
    world.count(if votes {
        "disks of voters emptied"
    } else {
        "disks of observers emptied"
    });
    world.kill(broker, Loss::Disk);
    restart(world, broker, length);
}

fn snapshot(world: &Arc<World>, broker: BrokerId) {
    if let Some(seated) = world.seated(broker) {
        world.note(format_args!("broker {broker}: takes a snapshot"));
        seated.snapshot();
    }
}
