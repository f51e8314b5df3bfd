//! One run: connections, warming up, measuring, and what is told of it meanwhile and at its end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::cluster::Cluster;
use super::consume::{From, ReadPlan, Reader};
use super::endpoint::Security;
use super::measure::{Measured, Meter, Point};
use super::options::{Arguments, Common, Limit, Load, Reading, Work};
use super::produce::{Writer, Writing};
use super::report::{Report, Side};
use super::{picture, report};
use crate::progress::Progress;

/// How often it is looked at whether enough records are through.
const LOOK: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);
/// What is in flight when a load stops may come to its end for so long.
const DRAIN: Duration = Duration::from_secs(35);

/// What works while a load runs.
struct Running {
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
    written: Option<Meter>,
    read: Option<Meter>,
}

/// Runs the load of a command line, and prints what it came to.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    LocalSet::new().run_until(load(&arguments.work)).await
}

async fn load(work: &Work) -> anyhow::Result<()> {
    let common = work.common();
    let security = Security::read(common.command_config.as_deref())?;
    let create = !matches!(work, Work::Consume { .. });
    let cluster = Cluster::discover(common, &security, create).await?;
    let (stop, stopped) = watch::channel(false);
    let mut running = Running {
        stop,
        tasks: JoinSet::new(),
        written: None,
        read: None,
    };
    let began = Instant::now();
    let (reading, writing) = match work {
        Work::Produce { load, .. } => (None, Some(load)),
        Work::Consume { reading, .. } => (Some(reading), None),
        Work::EndToEnd { load, reading, .. } => (Some(reading), Some(load)),
    };
    let mut connections = 0;
    // Who reads stands at the end of all partitions before the first record is written.
    if let Some(reading) = reading {
        let plan = ReadPlan {
            reading: reading.clone(),
            security: security.clone(),
            versions: cluster.versions,
            from: if writing.is_some() {
                From::End
            } else {
                From::Beginning
            },
            meter: running.read.insert(Meter::new()).clone(),
            began,
            stop: stopped.clone(),
        };
        connections += running.read_from(&cluster, common, reading, plan).await?;
    }
    if let Some(load) = writing {
        let writing = Writing {
            load: load.clone(),
            security,
            version: cluster.versions.produce,
            stamped: reading.is_some(),
            meter: running.written.insert(Meter::new()).clone(),
            began: Instant::now(),
            stop: stopped,
        };
        // Stamps count from where readers count from.
        let writing = if reading.is_some() {
            Writing { began, ..writing }
        } else {
            writing
        };
        connections += running.write_to(&cluster, common, load, &writing);
    }
    let report = Report {
        work: work.name(),
        connections,
        partitions: cluster.partitions().count(),
        brokers: cluster.addresses.len(),
        sides: running.measure(common).await?,
    };
    tell(common, work, &report)
}

impl Running {
    async fn read_from(
        &mut self,
        cluster: &Cluster,
        common: &Common,
        reading: &Reading,
        plan: ReadPlan,
    ) -> anyhow::Result<usize> {
        let mut readers = Vec::new();
        for _ in 0..reading.consumers {
            for (address, partitions) in
                cluster.spread(common.connections.min(cluster.partitions().count() as u32))
            {
                readers.push(Reader::open(plan.clone(), address, &partitions).await?);
            }
        }
        if plan.from == From::Beginning && readers.iter().map(Reader::available).sum::<u64>() == 0 {
            bail!(
                "there is nothing to read in topic `{}`; write to it first",
                common.topic
            );
        }
        let count = readers.len();
        for reader in readers {
            self.tasks.spawn_local(reader.run());
        }
        Ok(count)
    }

    fn write_to(&mut self, cluster: &Cluster, common: &Common, load: &Load, writing: &Writing) -> usize {
        let spread = cluster.spread(common.connections);
        let shares: usize = spread.iter().map(|(_, partitions)| partitions.len()).sum();
        let count = spread.len();
        for (place, (address, partitions)) in spread.into_iter().enumerate() {
            let rate = load
                .rate
                .map(|rate| rate * partitions.len() as f64 / shares as f64);
            let offset = load.rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(place as f64 / rate)
            });
            let writer = Writer::new(writing.clone(), partitions, rate, offset);
            self.tasks.spawn_local(writer.run(address));
        }
        count
    }

    /// Warms up, measures, stops.
    async fn measure(mut self, common: &Common) -> anyhow::Result<Vec<Side>> {
        let mut progress = Progress::new();
        progress.set("warming up".to_owned());
        self.until(common.warmup(), None, &mut progress).await?;
        for meter in self.meters() {
            meter.begin();
        }
        match common.limit() {
            Limit::Duration(duration) => self.until(duration, None, &mut progress).await?,
            Limit::Records(records) => self.until(Duration::MAX, Some(records), &mut progress).await?,
        }
        let sides = [("written", &self.written), ("read", &self.read)];
        let sides: Vec<Side> = sides
            .into_iter()
            .filter_map(|(name, meter)| {
                let measured = meter.as_ref()?.end();
                Some(Side { name, measured })
            })
            .collect();
        progress.set("stopping".to_owned());
        self.stop.send_replace(true);
        let drained = tokio::time::timeout(DRAIN, async {
            while let Some(ended) = self.tasks.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        });
        drained
            .await
            .context("requests that were in flight are not answered")??;
        progress.done();
        if let Some(idle) = sides.iter().find(|side| side.measured.total.records == 0) {
            bail!("no record was {} while it was measured", idle.name);
        }
        Ok(sides)
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.written.iter().chain(&self.read)
    }

    /// Lets the load run for so long, or until so many records are through; ends early where something fails.
    async fn until(
        &mut self,
        duration: Duration,
        records: Option<u64>,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut looks = tokio::time::interval(LOOK);
        let mut seconds = tokio::time::interval_at((began + SECOND).into(), SECOND);
        // The slower side counts: what was written is to be read too.
        let through = |running: &Self| running.meters().map(Meter::records).min().unwrap_or(0);
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    ended??;
                    bail!("a connection ended before the load did");
                }
                _ = looks.tick() => {
                    if began.elapsed() >= duration || records.is_some_and(|records| through(self) >= records) {
                        self.tick(progress);
                        return Ok(());
                    }
                }
                _ = seconds.tick() => self.tick(progress),
            }
        }
    }

    fn tick(&self, progress: &mut Progress) {
        let points: Vec<Point> = self.meters().filter_map(Meter::tick).collect();
        if let Some(last) = points.last() {
            progress.set(report::line(last));
        }
    }
}

fn tell(common: &Common, work: &Work, report: &Report) -> anyhow::Result<()> {
    print!("{}", report.text());
    if let Some(file) = &common.json {
        let json = serde_json::to_string_pretty(&report.json(work))? + "\n";
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &common.svg {
        let named: Vec<(&str, &Measured)> = report
            .sides
            .iter()
            .map(|side| (side.name, &side.measured))
            .collect();
        let svg = picture::draw(&report.title(), &named);
        std::fs::write(file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
