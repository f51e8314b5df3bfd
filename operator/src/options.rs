//! The operator's flags and environment, parsed once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Parser;

use crate::cluster::Site;

/// What a log filter looks like when none is given: ours, and of the client's only what somebody should look at.
const LOG_DEFAULT: &str = "info";

const AFTER_HELP: &str = "\
Environment:
  FLOTILLA_LOG   filter of the log on standard error: `info` (the default), `debug`, `flotilla_operator=debug,kube=info`
  POD_NAME       name of this instance, for the lease and in events      (in a pod: metadata.name)
  POD_NAMESPACE  namespace of the lease                                  (in a pod: metadata.namespace)
  POD_IP         address of this pod; brokers listen on the same family  (in a pod: status.podIP)
  KUBECONFIG     how to reach Kubernetes from outside a pod; in a pod, its service account is used

Several instances may run at a time: with --lease, one works and the others wait to take over.

Endpoints on the listen port:
  /healthz   the process is alive          /readyz   it works, or waits for the lease          /metrics   for Prometheus

Exit codes:
  0  stopped by SIGTERM or SIGINT: what was under way is done, and the lease is free
  1  it could not go on: the message says why. A lease that was lost to another instance is one reason
  2  the flags or the environment are wrong

Examples:
  flotilla-operator --lease=flotilla                     everywhere, one instance of several at work
  flotilla-operator --namespaces=streaming,shop          only these namespaces
  FLOTILLA_LOG=debug flotilla-operator                   from a laptop, with the current context of kubectl";

/// Keeps Clusters, Topics and Users of Flotilla as they were asked for.
#[derive(Clone, Debug, Parser, PartialEq, Eq)]
#[command(name = "flotilla-operator", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Image of brokers, without a tag: the version of each Cluster is the tag
    #[arg(long, value_name = "IMAGE", default_value = "flotilla-broker", value_parser = image)]
    broker_image: String,
    /// Version of brokers that a new Cluster gets when it names none
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    broker_version: String,
    /// Name of the Lease that decides which instance works. Without it this one works at once
    #[arg(long, value_name = "NAME", value_parser = name)]
    lease: Option<String>,
    /// Port of probes and metrics; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8_080)]
    listen_port: u16,
    /// Namespaces to serve, separated by commas. Default: all
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',', value_parser = name)]
    namespaces: Vec<String>,
}

/// What the flags and the environment say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the controllers know of the place.
    pub site: Site,
    /// The Lease, if one decides.
    pub lease: Option<String>,
    /// The port of probes and metrics.
    pub listen_port: u16,
    /// The namespaces to serve; all, if there are none.
    pub namespaces: Vec<String>,
    /// The name of this instance.
    pub instance: String,
    /// The filter of the log.
    pub log: String,
}

/// The environment is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct Error {
    variable: &'static str,
    message: String,
}

impl Options {
    /// Puts the flags and the environment together.
    ///
    /// # Errors
    /// A variable whose value makes no sense.
    pub fn new(flags: Flags, environment: impl Fn(&'static str) -> Option<String>) -> Result<Self, Error> {
        let set = |variable| environment(variable).filter(|value| !value.is_empty());
        let ip = set("POD_IP").map(|text| {
            text.parse::<IpAddr>().map_err(|_| Error {
                variable: "POD_IP",
                message: format!("`{text}` is not an IP address"),
            })
        });
        let bind = match ip.transpose()? {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let mut namespaces = flags.namespaces;
        namespaces.sort();
        namespaces.dedup();
        Ok(Self {
            site: Site {
                broker_image: flags.broker_image,
                version: flags.broker_version,
                bind,
                operator_namespace: set("POD_NAMESPACE")
                    .unwrap_or_else(|| crate::DEFAULT_NAMESPACE.to_owned()),
            },
            lease: flags.lease,
            listen_port: flags.listen_port,
            namespaces,
            instance: set("POD_NAME").unwrap_or_else(|| format!("outside-{}", std::process::id())),
            log: set("FLOTILLA_LOG").unwrap_or_else(|| LOG_DEFAULT.to_owned()),
        })
    }
}

/// A name as namespaces and leases have it: RFC 1123's label.
fn name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        return Ok(text.to_owned());
    }
    Err("a name has at most 63 of a-z, 0-9 and -, and neither begins nor ends with -".to_owned())
}

fn image(text: &str) -> Result<String, String> {
    let last = text.rsplit('/').next().unwrap_or_default();
    if last.is_empty() || text.contains(char::is_whitespace) {
        return Err("an image is a name such as registry.example/flotilla-broker".to_owned());
    }
    if last.contains([':', '@']) {
        return Err("leave the tag out: the version of each Cluster is the tag".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn options(flags: &[&str], environment: &[(&str, &str)]) -> Result<Options, String> {
        let flags = Flags::try_parse_from([&["flotilla-operator"], flags].concat())
            .map_err(|error| error.to_string())?;
        let get = |variable| {
            let found = environment.iter().find(|(name, _)| *name == variable);
            found.map(|(_, value)| (*value).to_owned())
        };
        Options::new(flags, get).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_of_the_chart_are_taken() {
        let found = options(
            &[
                "--broker-image=registry.example:5000/flotilla-broker",
                "--lease=flotilla",
                "--listen-port=8080",
                "--namespaces=shop,streaming,shop",
            ],
            &[
                ("POD_NAME", "flotilla-x"),
                ("POD_NAMESPACE", "flotilla-system"),
                ("POD_IP", "fd00::7"),
                ("FLOTILLA_LOG", "debug"),
            ],
        )
        .unwrap();
        assert_eq!(
            found,
            Options {
                site: Site {
                    broker_image: "registry.example:5000/flotilla-broker".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    bind: "::".parse().unwrap(),
                    operator_namespace: "flotilla-system".into(),
                },
                lease: Some("flotilla".into()),
                listen_port: 8_080,
                namespaces: vec!["shop".into(), "streaming".into()],
                instance: "flotilla-x".into(),
                log: "debug".into(),
            }
        );
    }

    #[test]
    fn outside_a_pod_everything_has_a_default() {
        let found = options(&[], &[("POD_IP", "")]).unwrap();
        assert_eq!(found.site.bind, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(found.site.operator_namespace, "default");
        assert!(found.instance.starts_with("outside-"), "{}", found.instance);
        assert_eq!(
            (found.lease, found.namespaces, found.log.as_str()),
            (None, vec![], "info")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (flag, reason) in [
            ("--broker-image=flotilla-broker:1", "leave the tag out"),
            ("--broker-image=a@sha256:b", "leave the tag out"),
            ("--broker-image=a/", "an image is a name"),
            ("--namespaces=a,,b", "a name has at most 63"),
            ("--namespaces=A", "a name has at most 63"),
            ("--lease=-a", "a name has at most 63"),
            ("--listen-port=65536", "65536 is not in"),
            ("--unknown", "unexpected argument"),
            ("extra", "unexpected argument"),
        ] {
            let refused = options(&[flag], &[]).unwrap_err();
            assert!(refused.contains(reason), "{flag}: {refused}");
        }
        let refused = options(&[], &[("POD_IP", "here")]).unwrap_err();
        assert_eq!(refused, "POD_IP: `here` is not an IP address");
    }

    #[test]
    fn help_teaches_what_there_is() {
        Flags::command().debug_assert();
        let help = Flags::command().render_long_help().to_string();
        for word in [
            "--broker-image",
            "--lease",
            "--namespaces",
            "FLOTILLA_LOG",
            "POD_NAMESPACE",
            "/readyz",
            "Exit codes",
        ] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    }
}
