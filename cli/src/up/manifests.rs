//! Reads a directory of manifests. A document that cannot be read is reported by file and line, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use flotilla_control::settings::{self, Scope};
use flotilla_crds::{Cluster, ClusterSpec, SettingValue, Topic, TopicSpec, User, UserSpec};
use flotilla_operator::DEFAULT_NAMESPACE;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::locate::line_of;

const API_VERSION: &str = "flotilla.dev/v1alpha1";

/// A manifest larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Something in a manifest that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reported {
    /// The manifest.
    pub file: PathBuf,
    /// From 1; 0 where it is about the file as a whole.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.message),
        }
    }
}

/// Where a document stands.
#[derive(Clone, Debug)]
struct Source {
    file: PathBuf,
    /// The document, behind as many empty lines as come before it in the file.
    text: Arc<str>,
    line: u64,
}

/// A resource and where it stands.
#[derive(Clone, Debug)]
pub struct Manifest<T> {
    /// The resource.
    pub resource: T,
    source: Source,
}

impl<T> Manifest<T> {
    /// A problem with a field, such as `spec.partitions`; with its line.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Reported {
        self.source.problem(field, message)
    }

    /// A problem that the planning found.
    pub fn refused(&self, problem: &flotilla_operator::Problem) -> Reported {
        self.problem(&problem.field, problem.to_string())
    }
}

impl Source {
    fn problem(&self, field: &str, message: impl Into<String>) -> Reported {
        Reported {
            file: self.file.clone(),
            line: line_of(&self.text, field).unwrap_or(self.line),
            message: message.into(),
        }
    }
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Manifests {
    /// In the order of files and documents.
    pub clusters: Vec<Manifest<Cluster>>,
    /// In the order of files and documents.
    pub topics: Vec<Manifest<Topic>>,
    /// In the order of files and documents.
    pub users: Vec<Manifest<User>>,
    /// Labels of namespaces, for the Cluster's `allowedNamespaces`.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets by namespace and name, for the Users' `passwordFrom`.
    pub secrets: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// What could not be read.
    pub problems: Vec<Reported>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<S> {
    #[allow(dead_code, reason = "read before, in the head")]
    api_version: IgnoredAny,
    #[allow(dead_code, reason = "read before, in the head")]
    kind: IgnoredAny,
    metadata: Metadata,
    spec: S,
    #[serde(default)]
    #[allow(dead_code, reason = "allowed, because `kubectl get -o yaml` writes it")]
    status: IgnoredAny,
}

/// Kubernetes' metadata. What only a server writes is let pass, so that the output of `kubectl get -o yaml` can be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "named so that they are not refused")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    uid: IgnoredAny,
    #[serde(default)]
    creation_timestamp: IgnoredAny,
    #[serde(default)]
    resource_version: IgnoredAny,
    #[serde(default)]
    generation: IgnoredAny,
    #[serde(default)]
    managed_fields: IgnoredAny,
    #[serde(default)]
    finalizers: IgnoredAny,
    #[serde(default)]
    owner_references: IgnoredAny,
}

/// What is of use in other kinds of manifests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Other {
    metadata: OtherMetadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct OtherMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The manifests of a directory (or of one file): its `.yaml` and `.yml` files by name, as `kubectl apply -f` takes them,
/// not those of directories in it.
pub fn read(path: &Path) -> Manifests {
    let mut manifests = Manifests::default();
    match files(path) {
        Ok(files) => {
            for file in files {
                manifests.read_file(&file);
            }
        }
        Err(error) => manifests.problems.push(Reported {
            file: path.to_owned(),
            line: 0,
            message: format!("cannot read it: {error}"),
        }),
    }
    manifests.check_names();
    manifests.check_settings();
    manifests
}

/// The files that [`read`] reads.
pub fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let hidden = file
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            !hidden && file.extension().is_some_and(|e| e == "yaml" || e == "yml") && file.is_file()
        })
        .collect();
    files.sort();
    Ok(files)
}

impl Manifests {
    fn read_file(&mut self, file: &Path) {
        let whole = |message: String| Reported {
            file: file.to_owned(),
            line: 0,
            message,
        };
        match std::fs::metadata(file) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let message = format!(
                    "the file is larger than {} MiB and is not read",
                    FILE_BYTES_MAX >> 20
                );
                self.problems.push(whole(message));
                return;
            }
            _ => {}
        }
        match std::fs::read_to_string(file) {
            Ok(text) => {
                for source in documents(file, &text) {
                    self.read_document(source);
                }
            }
            Err(error) => self
                .problems
                .push(whole(format!("cannot read the file: {error}"))),
        }
    }

    fn read_document(&mut self, source: Source) {
        let head: Head = match parse(&source) {
            Ok(head) => head,
            Err(problem) => return self.problems.push(problem),
        };
        let (api_version, kind) = (head.api_version.as_deref(), head.kind.as_deref());
        match (api_version, kind) {
            (None, _) | (_, None) => self.problems.push(source.problem(
                "kind",
                format!("no manifest: `apiVersion: {API_VERSION}` and `kind: Cluster`, `Topic` or `User` are missing"),
            )),
            (Some(API_VERSION), Some("Cluster")) => {
                if let Some(manifest) = self.typed(source, |name, spec: ClusterSpec| Cluster::new(name, spec)) {
                    self.clusters.push(manifest);
                }
            }
            (Some(API_VERSION), Some("Topic")) => {
                if let Some(manifest) = self.typed(source, |name, spec: TopicSpec| Topic::new(name, spec)) {
                    self.topics.push(manifest);
                }
            }
            (Some(API_VERSION), Some("User")) => {
                if let Some(manifest) = self.typed(source, |name, spec: UserSpec| User::new(name, spec)) {
                    self.users.push(manifest);
                }
            }
            (Some("v1"), Some("Secret" | "Namespace")) => self.read_other(&source, kind == Some("Secret")),
            (Some(group), Some(kind)) if group.starts_with("flotilla.dev/") => self.problems.push(source.problem(
                "kind",
                format!("there is no kind `{kind}` in `{group}`: {API_VERSION} has Cluster, Topic and User"),
            )),
            // Other kinds are for Kubernetes; there is nothing to do with them here.
            _ => {}
        }
    }

    fn typed<T, S: DeserializeOwned>(&mut self, source: Source, new: fn(&str, S) -> T) -> Option<Manifest<T>>
    where
        T: kube_metadata::Named,
    {
        match parse::<Document<S>>(&source) {
            Ok(document) => {
                let mut resource = new(&document.metadata.name, document.spec);
                resource.place(document.metadata.namespace, document.metadata.labels);
                Some(Manifest { resource, source })
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn read_other(&mut self, source: &Source, secret: bool) {
        let other: Other = match parse(source) {
            Ok(other) => other,
            Err(problem) => return self.problems.push(problem),
        };
        if !secret {
            self.namespaces.insert(other.metadata.name, other.metadata.labels);
            return;
        }
        let mut data = other.string_data;
        for (key, value) in other.data {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(value.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded {
                Some(text) => _ = data.insert(key, text),
                None => self.problems.push(source.problem(
                    &format!("data.{key}"),
                    format!("`data.{key}` is no text in base64; write it plainly under `stringData`"),
                )),
            }
        }
        let namespace = other
            .metadata
            .namespace
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        self.secrets.insert((namespace, other.metadata.name), data);
    }

    /// Takes out resources whose names Kubernetes would refuse, and second ones of a name.
    fn check_names(&mut self) {
        let problems = &mut self.problems;
        take_out(&mut self.clusters, problems);
        take_out(&mut self.topics, problems);
        take_out(&mut self.users, problems);
    }

    /// Takes out resources with settings that Kafka does not know or that are refused, with the line of the setting.
    fn check_settings(&mut self) {
        let problems = &mut self.problems;
        self.clusters.retain(|manifest| {
            let refused = refused_settings(manifest, Scope::Broker, &manifest.resource.spec.config);
            problems.extend(refused.iter().cloned());
            refused.is_empty()
        });
        self.topics.retain(|manifest| {
            let refused = refused_settings(manifest, Scope::Topic, &manifest.resource.spec.config);
            problems.extend(refused.iter().cloned());
            refused.is_empty()
        });
    }
}

fn refused_settings<T>(
    manifest: &Manifest<T>,
    scope: Scope,
    config: &BTreeMap<String, SettingValue>,
) -> Vec<Reported> {
    config
        .iter()
        .filter_map(|(name, value)| {
            let error = match settings::get(scope, name) {
                Ok(setting) => match setting.managed_by {
                    Some(by) => settings::Error::Managed {
                        name: setting.name,
                        by,
                    },
                    None => setting.check(&value.to_string()).err()?,
                },
                Err(error) => error,
            };
            Some(manifest.problem(&format!("spec.config.{name}"), error.to_string()))
        })
        .collect()
}

fn take_out<T: kube_metadata::Named>(manifests: &mut Vec<Manifest<T>>, problems: &mut Vec<Reported>) {
    let mut seen = BTreeSet::new();
    manifests.retain(|manifest| {
        let (namespace, name) = manifest.resource.key();
        let message = if !is_name(&name) {
            Some(format!(
                "`{name}` is no name for a resource: a-z, 0-9, `-` and `.`, at most 253 of them, with a letter or digit at \
                 both ends. Topics may have another name in Kafka: spec.name"
            ))
        } else if !seen.insert((namespace.clone(), name.clone())) {
            Some(format!(
                "there are two resources of this kind named `{name}` in namespace `{namespace}`: the first one counts"
            ))
        } else {
            None
        };
        let refused = message.map(|message| manifest.problem("metadata.name", message));
        let keep = refused.is_none();
        problems.extend(refused);
        keep
    });
}

/// Kubernetes' rule for names (RFC 1123).
fn is_name(name: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= 253
        && end(bytes.first())
        && end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte))
}

/// What all three resources have in common.
mod kube_metadata {
    use std::collections::BTreeMap;

    use flotilla_crds::{Cluster, Topic, User};

    pub trait Named {
        fn place(&mut self, namespace: Option<String>, labels: BTreeMap<String, String>);
        fn key(&self) -> (String, String);
    }

    macro_rules! named {
        ($($kind:ty)*) => {$(
            impl Named for $kind {
                fn place(&mut self, namespace: Option<String>, labels: BTreeMap<String, String>) {
                    self.metadata.namespace = namespace;
                    self.metadata.labels = (!labels.is_empty()).then_some(labels);
                }

                fn key(&self) -> (String, String) {
                    let namespace = flotilla_operator::namespace_of(&self.metadata).to_owned();
                    (namespace, self.metadata.name.clone().unwrap_or_default())
                }
            }
        )*};
    }
    named!(Cluster Topic User);
}

/// `namespace/name` of a resource.
pub fn key_of<T: kube_metadata::Named>(resource: &T) -> String {
    let (namespace, name) = resource.key();
    format!("{namespace}/{name}")
}

/// The documents of a file that hold anything. A line that is `---` or begins with `--- ` separates them, wherever it stands:
/// YAML allows no other meaning at the beginning of a line.
fn documents(file: &Path, text: &str) -> Vec<Source> {
    let mut documents: Vec<(u64, String)> = vec![(1, String::new())];
    for (place, line) in text.lines().enumerate() {
        let separator = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if separator.is_some() {
            // The separator's own line stays empty, and the lines before it are counted.
            documents.push((place as u64 + 1, "\n".repeat(place)));
        }
        let (_, document) = documents.last_mut().expect("it begins with one and only grows");
        document.push_str(separator.unwrap_or(line));
        document.push('\n');
    }
    documents
        .into_iter()
        .filter(|(_, text)| {
            text.lines()
                .map(str::trim)
                .any(|line| !line.is_empty() && !line.starts_with('#') && line != "...")
        })
        .map(|(from, text)| {
            let line = text
                .lines()
                .enumerate()
                .skip(from as usize - 1)
                .find(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
                .map_or(from, |(place, _)| place as u64 + 1);
            Source {
                file: file.to_owned(),
                text: text.into(),
                line,
            }
        })
        .collect()
}

fn parse<T: DeserializeOwned>(source: &Source) -> Result<T, Reported> {
    serde_saphyr::from_str(&source.text).map_err(|error| {
        let text = error.without_snippet().to_string();
        // The line stands in front of the message already.
        let message = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
        Reported {
            file: source.file.clone(),
            line: error.location().map_or(source.line, |location| location.line()),
            message: message.trim().replace('\n', "; "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Manifests {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.yaml"), text).unwrap();
        let mut manifests = read(directory.path());
        for problem in &mut manifests.problems {
            problem.file = problem.file.file_name().unwrap().into();
        }
        manifests
    }

    fn problems(text: &str) -> Vec<String> {
        read_text(text).problems.iter().map(ToString::to_string).collect()
    }

    const CLUSTER: &str = "\
apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {name: quickstart}
spec:
  replicas: 3
";

    fn topic(name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: flotilla.dev/v1alpha1\nkind: Topic\nmetadata:\n  name: {name}\nspec:\n  cluster: {{name: quickstart}}\n{spec}"
        )
    }

    #[test]
    fn the_quick_start_is_read_without_a_complaint() {
        let manifests = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart"));
        assert_eq!(manifests.problems, []);
        assert_eq!(
            (
                manifests.clusters.len(),
                manifests.topics.len(),
                manifests.users.len()
            ),
            (1, 2, 2)
        );
    }

    #[test]
    fn an_unknown_field_is_reported_with_its_line_and_the_rest_goes_on() {
        let text = format!(
            "# A comment.\n{CLUSTER}  replica: 4\n{}{}",
            topic("orders", "  partition: 3\n"),
            topic("views", "  partitions: 3\n")
        );
        let manifests = read_text(&text);
        let shown: Vec<_> = manifests.problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(
            shown[0].starts_with("a.yaml:7: unknown field `replica`"),
            "{shown:?}"
        );
        assert!(
            shown[1].starts_with("a.yaml:15: unknown field `partition`"),
            "{shown:?}"
        );
        assert_eq!(manifests.topics.len(), 1);
    }

    #[test]
    fn a_setting_that_kafka_does_not_know_is_reported_with_its_line() {
        let text = topic(
            "orders",
            "  config:\n    cleanup.policy: compact\n    retention.mss: 5\n    min.insync.replicas: two\n",
        );
        assert_eq!(
            problems(&text),
            [
                "a.yaml:11: `min.insync.replicas` cannot be `two`: a whole number from 1 to 2147483647 is expected",
                "a.yaml:10: unknown topic setting `retention.mss`; did you mean `retention.ms`?",
            ]
        );
        assert_eq!(
            problems(&format!("{CLUSTER}  config: {{log.dirs: /x}}\n")),
            ["a.yaml:6: `log.dirs` cannot be set by name: the pool's volumes decides it"]
        );
        assert_eq!(
            problems(&format!(
                "{CLUSTER}  config: {{num.io.threads: 8, num.network.threads: 4}}\n"
            )),
            [
                "a.yaml:6: `num.network.threads` cannot be `4`: listeners, requests and upkeep share one thread for each processor: \
                 there are no pools to size. Leave it out, or at Kafka's default `3`"
            ]
        );
    }

    #[test]
    fn what_is_no_manifest_is_reported() {
        assert_eq!(
            problems("a: 1\n"),
            [
                "a.yaml:1: no manifest: `apiVersion: flotilla.dev/v1alpha1` and `kind: Cluster`, `Topic` or `User` are missing"
            ]
        );
        assert_eq!(
            problems("apiVersion: flotilla.dev/v1alpha1\nkind: Topik\n"),
            [
                "a.yaml:2: there is no kind `Topik` in `flotilla.dev/v1alpha1`: flotilla.dev/v1alpha1 has Cluster, Topic and User"
            ]
        );
        let broken = problems("a: [1\nb: 2\n");
        assert!(broken[0].starts_with("a.yaml:"), "{broken:?}");
        assert_eq!(problems("# nothing\n---\n---\n# nothing\n"), Vec::<String>::new());
        let directory = read(Path::new("/nowhere"));
        assert!(
            directory.problems[0]
                .to_string()
                .starts_with("/nowhere: cannot read it: ")
        );
    }

    #[test]
    fn a_second_resource_of_a_name_and_names_kubernetes_refuses_are_taken_out() {
        let text = format!(
            "{}{}{}",
            topic("orders", ""),
            topic("orders", ""),
            topic("page_views", "")
        );
        let manifests = read_text(&text);
        assert_eq!(manifests.topics.len(), 1);
        let shown: Vec<_> = manifests.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown[0],
            "a.yaml:12: there are two resources of this kind named `orders` in namespace `default`: the first one counts"
        );
        assert!(
            shown[1].starts_with("a.yaml:19: `page_views` is no name for a resource"),
            "{shown:?}"
        );
    }

    #[test]
    fn secrets_and_namespaces_are_read_and_other_kinds_let_be() {
        let manifests = read_text(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {a: b}\ndata: {c: ZA==, e: '!'}\n\
             ---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: data}}\n\
             ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
        );
        assert_eq!(
            manifests.secrets[&("shop".to_owned(), "s".to_owned())],
            BTreeMap::from([("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())])
        );
        assert_eq!(manifests.namespaces["shop"]["team"], "data");
        assert_eq!(manifests.problems.len(), 1);
        assert_eq!(manifests.problems[0].line, 5);
    }
}
