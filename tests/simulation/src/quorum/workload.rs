//! What is asked of the controller, from everywhere: settings are written and read, producer ids are allocated.

use std::sync::Arc;
use std::time::Duration;

use flotilla_broker::coordination::{Indexed, SubmitError};
use flotilla_control::proto::metadata::{
    AllocateProducerIds, AlterConfig, AlterConfigs, ConfigOperation, Refusal, Request, ResourceConfigs,
    ResourceType, Response, request,
};
use flotilla_protocol::BrokerId;
use tokio::time::{Instant, sleep};

use super::world::World;
use crate::dice::Dice;

/// Who asks at the same time.
const CLIENTS: u64 = 4;
/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(4);
/// The setting that is written: each time another number.
const KEY: &str = "log.retention.ms";

/// Asks until it is ended.
pub async fn run(world: Arc<World>, dice: Dice) {
    let clients = (0..CLIENTS).map(|number| {
        let (world, mut dice) = (world.clone(), dice.fork(&format!("client {number}")));
        async move {
            for count in 0.. {
                sleep(Duration::from_millis(dice.below(200))).await;
                let Some(broker) = somewhere(&world, &mut dice) else {
                    continue;
                };
                let value = 1_000_000 + count * CLIENTS + number;
                match dice.below(4) {
                    0 => drop(allocate(&world, broker, LIMIT).await),
                    1 => drop(read(&world, broker, LIMIT).await),
                    _ => drop(write(&world, broker, value, LIMIT).await),
                }
            }
        }
    });
    futures::future::join_all(clients).await;
}

fn somewhere(world: &World, dice: &mut Dice) -> Option<BrokerId> {
    let running = world.running();
    (!running.is_empty()).then(|| *dice.pick(&running))
}

/// Writes once more when all is well: it has to succeed.
pub async fn last_write(world: &Arc<World>, deadline: Instant) -> Result<(), String> {
    let mut last = "nobody was asked".to_owned();
    // Another value each time: one without an answer may have been written all the same.
    let mut value = 2_000_000;
    loop {
        for broker in world.running() {
            value += 1;
            match write(world, broker, value, LIMIT).await {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(last)
}

fn set(value: u64, validate_only: bool) -> Request {
    let change = AlterConfig {
        operation: ConfigOperation::Set.into(),
        key: KEY.to_owned(),
        value: Some(value.to_string()),
    };
    let resource = ResourceConfigs {
        resource_type: ResourceType::Broker.into(),
        resource_name: String::new(),
        changes: vec![change],
        replace: false,
    };
    Request {
        validate_only,
        request: Some(request::Request::AlterConfigs(AlterConfigs {
            resources: vec![resource],
        })),
    }
}

/// Asks from a broker's machine, and gives the image that the broker showed when the answer was there.
async fn ask(
    world: &World,
    broker: BrokerId,
    request: Request,
    limit: Duration,
) -> Result<(Response, Indexed), String> {
    let seated = world.seated(broker).ok_or("the broker is down")?;
    let (controller, metadata) = (seated.controller(), seated.metadata());
    let asked = seated.machine().spawn(async move {
        let response = controller.submit_within(request, limit).await?;
        Ok::<_, SubmitError>((response, metadata.latest()))
    });
    // A machine that is paused or killed answers nothing, and nobody waits for it for ever.
    let answered = tokio::time::timeout(limit * 2, asked).await;
    let answered = answered.map_err(|_| "the broker does not answer")?;
    let (response, image) = answered
        .map_err(|_| "the broker was killed")?
        .map_err(|error| error.to_string())?;
    if response.refusal() != Refusal::None {
        return Err(format!("{:?}: {}", response.refusal(), response.message));
    }
    Ok((response, image))
}

async fn write(world: &Arc<World>, broker: BrokerId, value: u64, limit: Duration) -> Result<(), String> {
    let seen = world.invariants().linearizable.asked();
    let asked = ask(world, broker, set(value, false), limit).await;
    asked.inspect_err(|why| {
        world.count("writes without an answer");
        world.note(format_args!("write {value} at {broker}: {why}"));
    })?;
    world.count("writes answered");
    world.look_at_all();
    let checked = world.invariants().linearizable.answered(seen, &value.to_string());
    if let Ok(place) = &checked {
        world.note(format_args!("write {value} at {broker}: stands at {place:?}"));
    }
    world.check(checked.map(|_| ()));
    Ok(())
}

async fn read(world: &Arc<World>, broker: BrokerId, limit: Duration) -> Result<(), String> {
    let seen = world.invariants().linearizable.asked();
    let asked = ask(world, broker, set(1, true), limit).await;
    let (_, shown) = asked.inspect_err(|_| world.count("reads without an answer"))?;
    world.count("reads answered");
    world.note(format_args!("read at {broker}: index {}", shown.index));
    let checked = world.invariants().linearizable.read(seen, shown.index);
    world.check(checked);
    Ok(())
}

async fn allocate(world: &Arc<World>, broker: BrokerId, limit: Duration) -> Result<(), String> {
    let lifecycle = world.lifecycle(broker).ok_or("the broker is down")?;
    let epoch = lifecycle.epoch().ok_or("the broker is not registered")?;
    let request = Request {
        validate_only: false,
        request: Some(request::Request::AllocateProducerIds(AllocateProducerIds {
            broker_id: broker.0,
            broker_epoch: epoch.0,
        })),
    };
    let seen = world.invariants().linearizable.asked();
    let asked = ask(world, broker, request, limit).await;
    let (response, _) = asked.inspect_err(|_| world.count("allocations without an answer"))?;
    world.count("producer ids allocated");
    world.note(format_args!(
        "producer ids at {broker}: from {}",
        response.first_producer_id
    ));
    let checked = world
        .invariants()
        .linearizable
        .allocated(seen, response.first_producer_id);
    world.check(checked);
    Ok(())
}
