//! Which ports brokers listen on. Broker 0 takes the ports of the manifest, the others the next free ones, and from then on
//! each keeps its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};

use flotilla_control::BrokerId;
use flotilla_crds::Listener;

/// The first port of the inner listeners.
const INNER: u16 = 19_092;

/// Where the search begins when any port will do, and how far it goes: below the ports that systems give to outgoing
/// connections, so that none of those sits on a broker's port when it starts again.
const ANY: std::ops::Range<u16> = 20_000..32_000;

/// The inner listeners of each broker.
pub const INNER_LISTENERS: [&str; 3] = ["@replication", "@control", "@admin"];

/// Where ports come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The manifest.
    Manifest,
    /// This port and those after it.
    From(u16),
    /// Wherever there are some; the number only spreads fleets that start at the same time.
    Any(u32),
}

impl Base {
    /// What `--port-base` says.
    pub fn of(flag: Option<u16>, spread: u32) -> Self {
        match flag {
            None => Self::Manifest,
            Some(0) => Self::Any(spread),
            Some(port) => Self::From(port),
        }
    }
}

/// Why a broker has no port.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The manifest's own port is in use.
    #[error(
        "port {port}, which listener `{listener}` asks for, is taken by another process. Stop that process, choose another \
         port in the manifest, or take whatever is free: --port-base 0"
    )]
    Taken {
        /// The port.
        port: u16,
        /// The listener.
        listener: String,
    },
    /// A port that was given out in an earlier run is in use.
    #[error(
        "port {port}, which broker {broker} has had for `{listener}` since it was made, is taken by another process. Stop that \
         process, or give all brokers other ports: --port-base 0"
    )]
    Lost {
        /// The port.
        port: u16,
        /// The broker.
        broker: BrokerId,
        /// The listener.
        listener: String,
    },
    /// There are no more.
    #[error("there is no free port after {0}")]
    None(u16),
}

/// Gives each broker in `brokers` a port for each listener, in addition to those in `ports`. Brokers in `running` hold their
/// ports themselves; those of the others must be free.
pub fn allot(
    ports: &mut BTreeMap<i32, BTreeMap<String, u16>>,
    brokers: &[BrokerId],
    listeners: &[Listener],
    base: Base,
    running: &BTreeSet<BrokerId>,
) -> Result<(), Error> {
    let wanted: BTreeSet<u16> = listeners.iter().map(|listener| listener.port).collect();
    let mut given: BTreeSet<u16> = ports.values().flat_map(|of| of.values().copied()).collect();
    let mut next = match base {
        Base::Manifest => INNER,
        Base::From(port) => port,
        Base::Any(spread) => ANY.start + (spread * 64 % u32::from(ANY.end - ANY.start)) as u16,
    };
    for (place, broker) in brokers.iter().enumerate() {
        let of = ports.entry(broker.0).or_default();
        let names = listeners
            .iter()
            .map(|listener| (listener.name.as_str(), Some(listener.port)))
            .chain(INNER_LISTENERS.map(|name| (name, None)));
        for (name, port) in names {
            if let Some(port) = of.get(name) {
                if !running.contains(broker) && !is_free(*port) {
                    return Err(Error::Lost {
                        port: *port,
                        broker: *broker,
                        listener: name.to_owned(),
                    });
                }
                continue;
            }
            let found = match (base, port) {
                (Base::Manifest, Some(port)) if place == 0 && !given.contains(&port) => {
                    if !is_free(port) {
                        return Err(Error::Taken {
                            port,
                            listener: name.to_owned(),
                        });
                    }
                    port
                }
                (Base::Manifest, Some(port)) => {
                    next_free(port, &|p| !given.contains(&p) && !wanted.contains(&p))?
                }
                _ => {
                    let port = next_free(next, &|p| !given.contains(&p) && !wanted.contains(&p))?;
                    next = port;
                    port
                }
            };
            given.insert(found);
            of.insert(name.to_owned(), found);
        }
    }
    Ok(())
}

fn next_free(from: u16, allowed: &dyn Fn(u16) -> bool) -> Result<u16, Error> {
    (from..=u16::MAX)
        .find(|port| allowed(*port) && is_free(*port))
        .ok_or(Error::None(from))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, port: u16) -> Listener {
        Listener {
            name: name.to_owned(),
            port,
            tls: false,
            authentication: Vec::new(),
            exposure: None,
        }
    }

    /// A port with some free ones after it.
    fn free() -> u16 {
        let spread = std::process::id();
        let mut ports = BTreeMap::new();
        allot(
            &mut ports,
            &[BrokerId(0)],
            &[],
            Base::Any(spread),
            &BTreeSet::new(),
        )
        .unwrap();
        ports[&0]["@admin"] + 10
    }

    #[test]
    fn the_first_broker_takes_the_manifests_port_and_all_ports_differ_and_stay() {
        let port = free();
        let listeners = [listener("plain", port), listener("users", port + 3)];
        let brokers = [BrokerId(0), BrokerId(1), BrokerId(2)];
        let mut ports = BTreeMap::new();
        allot(&mut ports, &brokers, &listeners, Base::Manifest, &BTreeSet::new()).unwrap();
        assert_eq!((ports[&0]["plain"], ports[&0]["users"]), (port, port + 3));
        let all: Vec<u16> = ports.values().flat_map(|of| of.values().copied()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 15);
        let before = ports.clone();
        allot(
            &mut ports,
            &[BrokerId(0), BrokerId(1), BrokerId(2), BrokerId(3)],
            &listeners,
            Base::Manifest,
            &BTreeSet::new(),
        )
        .unwrap();
        assert_eq!(ports.remove(&3).unwrap().len(), 5);
        assert_eq!(ports, before);
    }

    #[test]
    fn a_port_in_use_is_refused_by_name() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let listeners = [listener("plain", port)];
        let mut ports = BTreeMap::new();
        assert_eq!(
            allot(
                &mut ports,
                &[BrokerId(0)],
                &listeners,
                Base::Manifest,
                &BTreeSet::new()
            ),
            Err(Error::Taken {
                port,
                listener: "plain".to_owned()
            })
        );
        let mut ports = BTreeMap::from([(0, BTreeMap::from([("plain".to_owned(), port)]))]);
        assert_eq!(
            allot(
                &mut ports,
                &[BrokerId(0)],
                &listeners,
                Base::Manifest,
                &BTreeSet::new()
            ),
            Err(Error::Lost {
                port,
                broker: BrokerId(0),
                listener: "plain".to_owned()
            })
        );
        let running = BTreeSet::from([BrokerId(0)]);
        assert_eq!(
            allot(&mut ports, &[BrokerId(0)], &listeners, Base::Manifest, &running),
            Ok(())
        );
    }

    #[test]
    fn any_port_will_do_when_none_is_asked_for() {
        let mut ports = BTreeMap::new();
        let listeners = [listener("plain", 9_092)];
        let base = Base::of(Some(0), std::process::id());
        allot(&mut ports, &[BrokerId(0)], &listeners, base, &BTreeSet::new()).unwrap();
        assert!(
            ports[&0]
                .values()
                .all(|port| *port >= ANY.start && *port < 33_000)
        );
    }
}
