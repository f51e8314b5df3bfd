//! One run of one contender in one scenario: start, warm up, measure, end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{self, Topic};
use crate::contender::{Brokers, Plan};
use crate::figure::Figure;
use crate::generator::{Generator, Readers, Until};
use crate::ground::Ground;
use crate::outcome::{Contender, Run};
use crate::reading::Reading;
use crate::scenario::{Load, RETENTION_CHECK_MS, Scenario, Tool, Work};
use crate::spoken;

const TOPIC: &str = "versus";
const FEW: &str = "few";
/// `acks` of Produce.
const LEADER: i16 = 1;
const ALL_REPLICAS: i16 = -1;
/// How topics are filled that are read.
const FILLING: Load = Load {
    record_size: 1_000,
    batch_size: 131_072,
    acks: "1",
    connections: 4,
    in_flight: 5,
    rate: None,
};
/// What the topic of many partitions is compared with.
const FEW_PARTITIONS: i32 = 100;
/// Kafka's tools write values of so many bytes here.
const TOOL_RECORD_BYTES: f64 = 1_000.0;

/// Where runs take place.
pub struct Place {
    pub ground: Ground,
    /// Our binary.
    pub flotilla: PathBuf,
    pub broker_core: usize,
}

impl Place {
    /// Runs a scenario once; a failure is a result too.
    pub fn run(&self, contender: Contender, scenario: &Scenario) -> Run {
        self.measured(contender, scenario).unwrap_or_else(|error| Run {
            failed: Some(format!("{error:#}")),
            ..Run::default()
        })
    }

    fn measured(&self, contender: Contender, scenario: &Scenario) -> anyhow::Result<Run> {
        let directory = self.ground.fresh()?;
        let plan = Plan {
            flotilla: &self.flotilla,
            directory: &directory,
            brokers: scenario.brokers,
            tls: scenario.tls,
            retention_check_ms: scenario.bounded.then_some(RETENTION_CHECK_MS),
        };
        let brokers = Brokers::prepare(contender, &plan, self.broker_core)?;
        let mut running = Running {
            generator: Generator {
                flotilla: &self.flotilla,
                directory: &directory,
                bootstrap: if scenario.tls {
                    brokers.secure()
                } else {
                    brokers.plain()
                }
                .join(","),
                authority: scenario.tls.then(|| brokers.authority()),
            },
            brokers,
            scenario,
            contender,
        };
        let run = running.work(&directory);
        // Brokers that have ended are the better reason.
        running.brokers.check()?;
        run
    }
}

/// A run that goes on.
struct Running<'a> {
    generator: Generator<'a>,
    brokers: Brokers,
    scenario: &'a Scenario,
    contender: Contender,
}

/// What a load came to: records and bytes of batches.
#[derive(Clone, Copy, Debug)]
struct Through {
    records: f64,
    bytes: f64,
}

impl Running<'_> {
    fn work(&mut self, directory: &Path) -> anyhow::Result<Run> {
        let begun = Instant::now();
        self.brokers.start()?;
        if let Work::FirstRecord = self.scenario.work {
            return self.first_record(begun);
        }
        self.brokers.wait_until_ready()?;
        match self.scenario.work {
            Work::FirstRecord => unreachable!("it was run before anything was waited for"),
            Work::Idle => self.idle(),
            Work::Produce(load) => {
                self.make(TOPIC, self.scenario.partitions)?;
                self.loaded("produce", "written", &load)
            }
            Work::EndToEnd(load) => {
                self.make(TOPIC, self.scenario.partitions)?;
                self.loaded("end-to-end", "read", &load)
            }
            Work::Consume {
                connections,
                consumers,
                records,
                from_memory,
            } => {
                let readers = Readers {
                    connections,
                    consumers,
                };
                self.consume(readers, records, from_memory)
            }
            Work::Restart => self.restart(),
            Work::Create => self.create(),
            Work::Many(load) => self.many(&load),
            Work::Tool(tool, records) => self.tool(tool, records, directory),
        }
    }

    /// `flotilla bench` of one kind on a topic that is there: first to warm up, then measured.
    fn loaded(&self, work: &str, side: &str, load: &Load) -> anyhow::Result<Run> {
        let warmup = Until::Seconds(self.scenario.warmup_seconds.max(1));
        self.generator.load(work, TOPIC, load, warmup)?;
        let meter = self.begin();
        let until = Until::Seconds(self.scenario.seconds);
        let generator = self.generator.load(work, TOPIC, load, until)?;
        // At a rate, what the generator counts begins later than the meter does.
        let through = load.rate.is_none().then(|| through(&generator, "written"));
        let mut figures = meter.end(self, through);
        add_results(&mut figures, &generator, side);
        Ok(Run::of(figures, generator))
    }

    fn consume(&self, readers: Readers, records: u64, from_memory: bool) -> anyhow::Result<Run> {
        self.make(TOPIC, self.scenario.partitions)?;
        self.generator
            .load("produce", TOPIC, &FILLING, Until::Records(records))?;
        let warmup = Until::Seconds(self.scenario.warmup_seconds.max(1));
        self.generator.read(TOPIC, readers, warmup)?;
        let until = if from_memory {
            Until::Seconds(self.scenario.seconds)
        } else {
            self.brokers.forget_pages()?;
            Until::Records(records)
        };
        let meter = self.begin();
        let generator = self.generator.read(TOPIC, readers, until)?;
        let mut figures = meter.end(self, Some(through(&generator, "read")));
        add_results(&mut figures, &generator, "read");
        Ok(Run::of(figures, generator))
    }

    fn idle(&self) -> anyhow::Result<Run> {
        std::thread::sleep(Duration::from_secs(self.scenario.warmup_seconds));
        let meter = self.begin();
        std::thread::sleep(Duration::from_secs(self.scenario.seconds));
        Ok(Run::of(meter.end(self, None), Value::Null))
    }

    fn first_record(&self, begun: Instant) -> anyhow::Result<Run> {
        let meter = self.begin();
        self.create_topic(TOPIC, self.scenario.partitions)?;
        let acknowledged =
            client::acknowledge_all(&self.brokers.plain(), TOPIC, self.scenario.partitions, LEADER)?;
        let mut figures = meter.end(self, None);
        figures.insert(Figure::SecondsToFirst, (acknowledged.first - begun).as_secs_f64());
        Ok(Run::of(figures, Value::Null))
    }

    fn restart(&mut self) -> anyhow::Result<Run> {
        let addresses = self.brokers.plain();
        self.make(TOPIC, self.scenario.partitions)?;
        self.brokers.stop()?;
        let begun = Instant::now();
        self.brokers.start()?;
        let meter = self.begin();
        let acknowledged = client::acknowledge_all(&addresses, TOPIC, self.scenario.partitions, LEADER)?;
        let mut figures = meter.end(self, None);
        figures.insert(Figure::SecondsToFirst, (acknowledged.first - begun).as_secs_f64());
        figures.insert(Figure::SecondsToAll, (acknowledged.all - begun).as_secs_f64());
        Ok(Run::of(figures, Value::Null))
    }

    fn create(&self) -> anyhow::Result<Run> {
        let meter = self.begin();
        let begun = Instant::now();
        self.create_topic(TOPIC, self.scenario.partitions)?;
        let partitions = self.scenario.partitions;
        let acknowledged = client::acknowledge_all(&self.brokers.plain(), TOPIC, partitions, ALL_REPLICAS)?;
        let mut figures = meter.end(self, None);
        figures.insert(Figure::SecondsToFirst, (acknowledged.first - begun).as_secs_f64());
        figures.insert(Figure::SecondsToAll, (acknowledged.all - begun).as_secs_f64());
        Ok(Run::of(figures, Value::Null))
    }

    fn many(&self, load: &Load) -> anyhow::Result<Run> {
        let rate = |generator: &Value| generator["results"]["written"]["records_per_second"].as_f64();
        self.make(FEW, FEW_PARTITIONS)?;
        let warmup = Until::Seconds(self.scenario.warmup_seconds);
        self.generator.load("produce", FEW, load, warmup)?;
        let until = Until::Seconds(self.scenario.seconds);
        let few = self.generator.load("produce", FEW, load, until)?;
        self.make(TOPIC, self.scenario.partitions)?;
        let mut run = self.loaded("produce", "written", load)?;
        let slowdown = rate(&few).zip(rate(&run.generator)).map(|(few, many)| few / many);
        run.figures
            .extend(slowdown.map(|slowdown| (Figure::Slowdown, slowdown)));
        Ok(run)
    }

    fn tool(&self, tool: Tool, records: u64, directory: &Path) -> anyhow::Result<Run> {
        self.make(TOPIC, self.scenario.partitions)?;
        if tool == Tool::Consumer {
            self.generator
                .load("produce", TOPIC, &FILLING, Until::Records(records))?;
        }
        let meter = self.begin();
        let said = self.generator.tool(tool, TOPIC, records)?;
        let through = Through {
            records: records as f64,
            bytes: records as f64 * TOOL_RECORD_BYTES,
        };
        let mut figures = meter.end(self, Some(through));
        let found = spoken::figures(tool, &said);
        anyhow::ensure!(
            !found.is_empty(),
            "{} says nothing that is known in {}: {said}",
            tool.class(),
            directory.display()
        );
        figures.extend(found);
        Ok(Run::of(figures, Value::Null))
    }

    /// Creates a topic as the scenario has it, and waits until each partition takes records: a generator takes a refusal for a failure.
    fn make(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        self.create_topic(name, partitions)?;
        client::acknowledge_all(&self.brokers.plain(), name, partitions, LEADER)?;
        Ok(())
    }

    fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = Topic {
            name,
            partitions,
            replicas: self.scenario.replicas,
            settings: self
                .scenario
                .topic_settings(self.contender == Contender::Flotilla),
        };
        client::create(&self.brokers.plain(), &topic)
    }

    fn begin(&self) -> Meter {
        Meter {
            before: self.brokers.read(),
            began: Instant::now(),
        }
    }
}

/// Looks at the brokers when measuring begins and when it ends.
struct Meter {
    before: Reading,
    began: Instant,
}

impl Meter {
    fn end(self, running: &Running, through: Option<Through>) -> BTreeMap<Figure, f64> {
        let seconds = self.began.elapsed().as_secs_f64();
        let (before, after) = (self.before, running.brokers.read());
        let cpu_s = after.cpu_s - before.cpu_s;
        let others_s = after.machine_s - before.machine_s - cpu_s - (after.own_s - before.own_s);
        let mut figures = BTreeMap::from([
            (Figure::CpuCores, cpu_s / seconds),
            (Figure::Resident, after.resident_mb),
            (Figure::ResidentPeak, after.peak_mb),
            (Figure::Written, after.written_gb - before.written_gb),
            (Figure::Read, after.read_gb - before.read_gb),
            (Figure::OpenFiles, after.open_files),
            (Figure::OthersCores, others_s.max(0.0) / seconds),
        ]);
        if let Some(Through { records, bytes }) = through {
            figures.insert(Figure::CpuPerGigabyte, cpu_s / (bytes / 1e9));
            figures.insert(Figure::CpuPerMillion, cpu_s / (records / 1e6));
        }
        figures
    }
}

fn through(generator: &Value, side: &str) -> Through {
    let number = |name: &str| generator["results"][side][name].as_f64().unwrap_or(f64::NAN);
    Through {
        records: number("records"),
        bytes: number("bytes"),
    }
}

/// What the generator says of a side.
fn add_results(figures: &mut BTreeMap<Figure, f64>, generator: &Value, side: &str) {
    let results = &generator["results"][side];
    let latency = &results["latency_ms"];
    let found = [
        (Figure::RecordsPerSecond, results["records_per_second"].as_f64()),
        (
            Figure::MegabytesPerSecond,
            results["bytes_per_second"].as_f64().map(|bytes| bytes / 1e6),
        ),
        (Figure::LatencyP50, latency["p50"].as_f64()),
        (Figure::LatencyP99, latency["p99"].as_f64()),
        (Figure::LatencyP999, latency["p99.9"].as_f64()),
        (Figure::LatencyMax, latency["max"].as_f64()),
    ];
    figures.extend(
        found
            .into_iter()
            .filter_map(|(figure, value)| Some((figure, value?))),
    );
}
