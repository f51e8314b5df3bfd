//! One run on one fleet: start, use, break, mend, judge.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::care::Care;
use crate::chance::Chance;
use crate::churn::{Churn, Outcome};
use crate::clients::{Worker, java, librdkafka, reader};
use crate::fleet::Fleet;
use crate::history::{Event, History, Logs};
use crate::nemesis::Nemesis;
use crate::recorder::Recorder;
use crate::report::{self, Report};
use crate::switch::Switch;
use crate::{Arguments, checker, replicas, report_file, within};

/// The topics that live as long as the run, with their partitions: librdkafka writes to the first one and Java to the second one,
/// and groups of both read both.
const TOPICS: [(&str, i32); 2] = [("orders", 6), ("payments", 3)];

/// How long groups may take to read to the ends once writers have stopped.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// How long it may take to read a topic from one end to the other.
const READ_WITHIN: Duration = Duration::from_secs(300);

/// What was wrong, at most, as a report tells it.
const WRONG_TOLD_MAX: usize = 50;

/// All of it, inside the namespaces. Says whether all went well.
pub fn inside(arguments: &Arguments, directory: &Path) -> anyhow::Result<bool> {
    within::furnish()?;
    let brokers = arguments.brokers[0];
    let seed = arguments.seed.context("the process outside says the seed")?;
    let mut chance = Chance::new(seed);
    println!("chaos: {brokers} brokers, seed {seed}, {} s", arguments.seconds);
    let switch = Switch::start(brokers + 1, &mut chance)?;
    let fleet = Fleet::prepare(directory, brokers, true)?;
    let care = Care::take(fleet.access())?;
    let recorder = Recorder::begin(&directory.join("logs/librdkafka.log"))?;
    let bootstrap = fleet.bootstrap();
    let mut nemesis = Nemesis::new(
        fleet,
        switch,
        care,
        chance.fork(),
        recorder.clone(),
        &arguments.faults,
    );
    let mut report = Report {
        brokers,
        seed,
        seconds: arguments.seconds,
        commit: output("git", &["rev-parse", "--short=12", "HEAD"]),
        date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        ..Report::default()
    };
    let judged = (|| {
        nemesis.begin()?;
        make_topics(&bootstrap)?;
        let users = Users::start(&recorder, &bootstrap, arguments, directory, &mut chance);
        nemesis.rage(Duration::from_secs(arguments.seconds))?;
        judge(&mut nemesis, &recorder, users, &bootstrap, &mut report)
    })();
    if let Err(error) = judged {
        report.wrong.push(format!("the run broke off: {error:#}"));
    }
    tell(&mut report, &nemesis);
    std::fs::write(
        report_file(&arguments.report, brokers, "json"),
        serde_json::to_string_pretty(&report)?,
    )?;
    std::fs::write(
        report_file(&arguments.report, brokers, "svg"),
        report::picture(&report),
    )?;
    if !report.wrong.is_empty() || arguments.keep_logs {
        let kept = arguments.report.join(format!("logs-{brokers}-{seed}"));
        crate::switch::run(
            "cp",
            &[
                "-r",
                &directory.join("logs").display().to_string(),
                &kept.display().to_string(),
            ],
        )?;
        println!("chaos: the logs are in {}", kept.display());
    }
    Ok(report.wrong.is_empty())
}

fn make_topics(bootstrap: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let admin: AdminClient<DefaultClientContext> = librdkafka::config(bootstrap).create()?;
    let topics = TOPICS.map(|(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(3)));
    let results = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()))?;
    for result in results {
        result.map_err(|(name, code)| anyhow::anyhow!("topic {name} is not made: {code}"))?;
    }
    Ok(())
}

/// Everybody who uses the fleet.
struct Users {
    writers: Vec<Worker>,
    readers: Vec<Worker>,
    churn: Worker,
    churned: Arc<std::sync::Mutex<Option<Outcome>>>,
    /// The groups, and what each reads.
    groups: Vec<(Arc<str>, Arc<str>, i32)>,
}

impl Users {
    fn start(
        recorder: &Recorder,
        bootstrap: &str,
        arguments: &Arguments,
        directory: &Path,
        chance: &mut Chance,
    ) -> Self {
        let topics: Vec<(Arc<str>, i32)> = TOPICS.map(|(name, partitions)| (name.into(), partitions)).into();
        let mut writers = Vec::new();
        for (topic, _) in &topics {
            writers.push(librdkafka::writer(recorder, bootstrap, topic, arguments.rate));
        }
        if !arguments.no_java {
            let (topic, _) = &topics[1];
            writers.push(java::writer(
                recorder,
                bootstrap,
                topic,
                arguments.rate,
                directory,
            ));
        }
        let (mut readers, mut groups) = (Vec::new(), Vec::new());
        for ((topic, partitions), strategy) in topics.iter().zip(["range", "cooperative-sticky"]) {
            let group: Arc<str> = format!("readers-of-{topic}").into();
            for _ in 0..2 {
                let chance = chance.fork();
                readers.push(librdkafka::members(
                    recorder, bootstrap, &group, topic, strategy, chance,
                ));
            }
            readers.push(reader::watch_commits(
                recorder,
                bootstrap,
                &group,
                topic,
                *partitions,
            ));
            groups.push((group, topic.clone(), *partitions));
        }
        if !arguments.no_java {
            // In a group with the others, so that both kinds rebalance together; and in one of their own.
            let own: Arc<str> = "java".into();
            for (group, (topic, _)) in [(&groups[0].0, &topics[0]), (&own, &topics[1])] {
                let chance = chance.fork();
                readers.push(java::members(
                    recorder, bootstrap, group, topic, directory, chance,
                ));
            }
            let (topic, partitions) = topics[1].clone();
            groups.push((own, topic, partitions));
        }
        let churn = Churn {
            bootstrap: bootstrap.to_owned(),
            brokers: arguments.brokers[0],
            recorder: recorder.clone(),
            chance: chance.fork(),
            directory: directory.to_owned(),
            movable: topics,
            java: !arguments.no_java,
            outcome: Outcome::default(),
        };
        let churned = Arc::new(std::sync::Mutex::new(None));
        let result = churned.clone();
        let churn = Worker::start(move |stop| {
            let outcome = churn.run(&stop);
            *result.lock().expect("not poisoned") = Some(outcome);
        });
        Self {
            writers,
            readers,
            churn,
            churned,
            groups,
        }
    }
}

/// Lets all come to an end in order, and judges what was recorded.
fn judge(
    nemesis: &mut Nemesis,
    recorder: &Recorder,
    users: Users,
    bootstrap: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    users.churn.stop()?;
    let churned = users
        .churned
        .lock()
        .expect("not poisoned")
        .take()
        .unwrap_or_default();
    users.writers.iter().for_each(Worker::ask_to_stop);
    let ends = recorder.now();
    for writer in users.writers {
        writer.stop()?;
    }
    println!(
        "chaos: writers have stopped after {} records",
        recorder.acknowledged_count()
    );
    let mut logs = churned.logs;
    for (name, partitions) in TOPICS {
        logs.extend(reader::read_all(
            bootstrap,
            name,
            &name.into(),
            partitions,
            READ_WITHIN,
        )?);
    }
    for (name, topic) in &churned.left {
        match reader::read_all(bootstrap, name, topic, crate::churn::PARTITIONS, READ_WITHIN) {
            Ok(read) => logs.extend(read),
            Err(error) => report
                .wrong
                .push(format!("topic {name} cannot be read: {error:#}")),
        }
    }
    for (group, topic, partitions) in &users.groups {
        if let Err(missing) = catch_up(recorder, group, topic, *partitions, &logs) {
            report.wrong.push(missing);
        }
    }
    users.readers.iter().for_each(Worker::ask_to_stop);
    for reader in users.readers {
        reader.stop()?;
    }
    let held = nemesis.replicas(&TOPICS.map(|(name, _)| name));
    let whole = nemesis.calm()?;
    nemesis.end()?;
    if whole {
        report.wrong.extend(replicas::compare(&nemesis.fleet, &held)?);
    }
    report.failed = recorder.failed_count();
    let history = recorder.take();
    count(report, &history, &logs, ends);
    (report.topics_made, report.topics_deleted, report.replicas_moved) =
        (churned.made, churned.deleted, churned.moves);
    // A run in which nothing happened shows nothing.
    for (what, count) in [
        ("records were acknowledged", report.acknowledged),
        ("records were handed to groups", report.delivered),
        ("commits were acknowledged", report.commits),
        ("topics were made", report.topics_made as usize),
        ("faults were made", nemesis.happened.len()),
    ] {
        if count == 0 {
            report.wrong.push(format!("no {what}: the run shows nothing"));
        }
    }
    tell_violations(report, &checker::check(&history, &logs));
    Ok(())
}

/// Waits until a group was handed all that there is.
fn catch_up(
    recorder: &Recorder,
    group: &Arc<str>,
    topic: &Arc<str>,
    partitions: i32,
    logs: &Logs,
) -> Result<(), String> {
    let deadline = Instant::now() + CAUGHT_UP_WITHIN;
    loop {
        let behind = (0..partitions).find_map(|index| {
            let partition = crate::history::Partition {
                topic: topic.clone(),
                index,
            };
            let last = logs.get(&partition)?.last()?.offset;
            let reached = recorder.reached(group, &partition);
            (reached < last).then(|| format!("{partition}: handed up to {reached} of {last}"))
        });
        match behind {
            None => return Ok(()),
            Some(behind) if Instant::now() > deadline => {
                return Err(format!(
                    "group {group} does not get on within {CAUGHT_UP_WITHIN:?}: {behind}"
                ));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn count(report: &mut Report, history: &History, logs: &Logs, ends: u64) {
    let mut times: Vec<u64> = history
        .acknowledged
        .iter()
        .map(|acknowledged| acknowledged.at)
        .filter(|at| *at <= ends)
        .collect();
    (
        report.per_second,
        report.longest_silence_ms,
        report.longest_silence_from_ms,
    ) = report::rhythm(&mut times, ends);
    report.acknowledged = history.acknowledged.len();
    report.read = logs.values().map(Vec::len).sum();
    for event in &history.events {
        match event {
            Event::Assigned { .. } => report.sessions += 1,
            Event::Delivered { .. } => report.delivered += 1,
            Event::Committed { .. } => report.commits += 1,
            Event::Seen { .. } => report.commits_read += 1,
            Event::Revoked { .. } => {}
        }
    }
}

fn tell_violations(report: &mut Report, violations: &[checker::Violation]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.kind()).or_default() += 1;
    }
    for (kind, count) in counts {
        report.wrong.push(format!("{kind}: {count}"));
    }
    let told = violations.iter().take(WRONG_TOLD_MAX);
    report
        .wrong
        .extend(told.map(|violation| format!("{violation:?}")));
}

fn tell(report: &mut Report, nemesis: &Nemesis) {
    report.faults = nemesis.happened.clone();
    report.wrong.extend(nemesis.complaints.iter().cloned());
    report.calms = nemesis.calms.len();
    report.longest_mend_ms = nemesis
        .calms
        .iter()
        .max()
        .map_or(0, |longest| longest.as_millis() as u64);
    println!(
        "chaos: {} faults ({:?}), {} records acknowledged, {} read, {} handed to groups; longest silence {} ms",
        report.faults.len(),
        report.by_kind(),
        report.acknowledged,
        report.read,
        report.delivered,
        report.longest_silence_ms
    );
    match report.wrong.as_slice() {
        [] => println!("chaos: nothing is lost, doubled or out of order"),
        wrong => wrong.iter().for_each(|wrong| println!("chaos: WRONG: {wrong}")),
    }
}

/// What a program of the system says; nothing where it is not there.
fn output(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
