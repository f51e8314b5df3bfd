//! The network of a fleet: every broker, and the clients together, have a port of a switch that is this very process. So each
//! direction between two of them can be cut, lossy or slow, for connections that are open too, whatever the kernel can do; and
//! nothing leads outside.

mod link;
mod tap;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Instant;

use anyhow::Context as _;

use crate::chance::Chance;
use link::{Fate, Link};

/// Larger frames than on a real Ethernet, because each costs this process two system calls.
const MTU: usize = 9_000;

/// Frames that are on their way late, at most. What comes on top is lost, as in a full buffer of a real switch.
const LATE_MAX: usize = 20_000;

/// A port by its number.
pub type Port = usize;

/// A frame that comes late: when, its place in the order of sending, to where, and the frame.
type Late = Reverse<(Instant, u64, Port, Vec<u8>)>;

/// The switch. Its threads run until the process ends.
#[derive(Clone)]
pub struct Switch(Arc<Shared>);

struct Shared {
    taps: Vec<File>,
    links: RwLock<Vec<Vec<Link>>>,
    late: Mutex<(BinaryHeap<Late>, u64)>,
    woken: Condvar,
}

/// The address of a port.
pub fn address(port: Port) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 77, 0, port as u8 + 1)
}

/// The network namespace of a port.
pub fn namespace(port: Port) -> String {
    format!("port{port}")
}

impl Switch {
    /// A switch with so many ports, each with the device `eth0` in a network namespace of its own; that of the last one is the
    /// namespace that this process is in.
    pub fn start(ports: usize, chance: &mut Chance) -> anyhow::Result<Self> {
        let taps = (0..ports)
            .map(|port| plug(port, port + 1 == ports))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared {
            taps,
            links: RwLock::new(vec![vec![Link::default(); ports]; ports]),
            late: Mutex::default(),
            woken: Condvar::new(),
        });
        for port in 0..ports {
            let (shared, chance) = (shared.clone(), chance.fork());
            std::thread::spawn(move || shared.receive(port, chance));
        }
        let late = shared.clone();
        std::thread::spawn(move || late.deliver_late());
        Ok(Self(shared))
    }

    /// Changes one direction.
    pub fn change(&self, from: Port, to: Port, change: impl FnOnce(&mut Link)) {
        change(&mut self.0.links.write().expect("not poisoned")[from][to]);
    }
}

/// Runs a program of the system that must succeed.
pub fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn plug(port: Port, here: bool) -> anyhow::Result<File> {
    let device = format!("tap{port}");
    let tap = tap::make(&device)?;
    let (mac, mtu) = (format!("02:00:00:00:00:{port:02x}"), MTU.to_string());
    let address = format!("{}/24", address(port));
    let name = namespace(port);
    if !here {
        run("ip", &["netns", "add", &name])?;
        run("ip", &["link", "set", &device, "netns", &name])?;
    }
    let inside: Vec<&str> = if here { vec![] } else { vec!["-n", &name] };
    let ip = |args: &[&str]| run("ip", &[&inside, args].concat());
    ip(&[
        "link", "set", &device, "name", "eth0", "address", &mac, "mtu", &mtu,
    ])?;
    ip(&["addr", "add", &address, "dev", "eth0"])?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "set", "eth0", "up"])?;
    Ok(tap)
}

impl Shared {
    fn receive(&self, from: Port, mut chance: Chance) {
        let mut frame = vec![0; MTU + 64];
        loop {
            let length = match (&self.taps[from]).read(&mut frame) {
                Ok(length) => length,
                // The device is down for a moment.
                Err(_) => {
                    std::thread::yield_now();
                    continue;
                }
            };
            let frame = &frame[..length];
            // The destination's last byte is its port; a group address goes to all.
            let Some(destination) = frame.first_chunk::<6>() else {
                continue;
            };
            let group = destination[0] & 1 == 1;
            for to in 0..self.taps.len() {
                if to != from && (group || usize::from(destination[5]) == to) {
                    let link = self.links.read().expect("not poisoned")[from][to];
                    self.forward(to, frame, link.fate(&mut chance));
                }
            }
        }
    }

    fn forward(&self, to: Port, frame: &[u8], fate: Fate) {
        match fate {
            Fate::Lost => {}
            Fate::Delivered => self.deliver(to, frame),
            Fate::Late(delay) => {
                let mut late = self.late.lock().expect("not poisoned");
                if late.0.len() < LATE_MAX {
                    late.1 += 1;
                    let place = late.1;
                    late.0
                        .push(Reverse((Instant::now() + delay, place, to, frame.to_vec())));
                    self.woken.notify_one();
                }
            }
        }
    }

    fn deliver(&self, to: Port, frame: &[u8]) {
        // A device that is down, or whose queue is full, loses the frame.
        let _ = (&self.taps[to]).write(frame);
    }

    fn deliver_late(&self) {
        let mut late = self.late.lock().expect("not poisoned");
        loop {
            let now = Instant::now();
            match late.0.peek() {
                None => late = self.woken.wait(late).expect("not poisoned"),
                Some(Reverse((due, ..))) if *due > now => {
                    let left = *due - now;
                    late = self.woken.wait_timeout(late, left).expect("not poisoned").0;
                }
                Some(_) => {
                    if let Some(Reverse((_, _, to, frame))) = late.0.pop() {
                        self.deliver(to, &frame);
                    }
                }
            }
        }
    }
}
