//! The Kubernetes that the scenarios run on, with the operator installed: of `tests/kubernetes/cluster`, or the user's own.

use std::path::{Path, PathBuf};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{Ran, run};
use crate::eventually::eventually;
use crate::programs::{directory, program};

/// The namespace that the operator is installed in.
pub const OPERATOR_NAMESPACE: &str = "flotilla-system";
/// What selects its pods.
pub const OPERATOR_SELECTOR: &str = "app.kubernetes.io/name=flotilla-operator";

/// One Kubernetes for all scenarios. Each works in a namespace of its own.
pub struct Cluster {
    /// Of `tests/kubernetes/cluster`; none on a user's own Kubernetes, where machines cannot be lost.
    machines: Option<PathBuf>,
    /// What stands before the names of images, on a user's own Kubernetes: `registry.example/flotilla/`.
    image_prefix: String,
    /// How long `helm install` took, until the operator was ready.
    pub installed_in: Duration,
    faults: RwLock<()>,
}

impl Cluster {
    /// The cluster of `KUBECONFIG`, with the operator installed by the first scenario that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::install)
    }

    fn install() -> Self {
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "no Kubernetes: run `just test-nodes`, or `eval \"$(tests/kubernetes/cluster up)\"` first"
        );
        let mut cluster = Self {
            machines: std::env::var_os("FLOTILLA_MACHINES").map(PathBuf::from),
            image_prefix: std::env::var("FLOTILLA_IMAGE_PREFIX").unwrap_or_default(),
            installed_in: Duration::ZERO,
            faults: RwLock::new(()),
        };
        let chart = root().join("charts/flotilla");
        let prefix = &cluster.image_prefix;
        let started = Instant::now();
        let installed = cluster.helm(&[
            "upgrade",
            "--install",
            "flotilla",
            &chart.display().to_string(),
            "--namespace",
            OPERATOR_NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout=90s",
            &format!("--set=image.repository={prefix}flotilla-operator,brokerImage.repository={prefix}flotilla-broker"),
        ]);
        if !installed.success {
            cluster.dump(OPERATOR_NAMESPACE);
        }
        installed.ok();
        cluster.installed_in = started.elapsed();
        cluster
    }

    /// Held by a scenario that needs the machines as they are.
    pub fn undisturbed(&self) -> RwLockReadGuard<'_, ()> {
        self.faults
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Held by a scenario that disturbs others: it takes machines or the operator away, or measures.
    pub fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.faults
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// `kubectl` with `args`, which must succeed within two minutes; its standard output.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).ok()
    }

    /// `kubectl` with `args`, whatever comes of it.
    pub fn try_kubectl(&self, args: &[&str]) -> Ran {
        self.kubectl_with_input(args, "")
    }

    /// The same with something on its standard input.
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Ran {
        run(&program("kubectl"), args, input.as_bytes(), 120)
    }

    /// `kubectl apply` of a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with_input(&["apply", "-f", "-"], manifest).ok()
    }

    /// `helm` with `args`.
    pub fn helm(&self, args: &[&str]) -> Ran {
        run(&program("helm"), args, b"", 120)
    }

    /// `kubectl wait --for CONDITION --timeout ..` for `what`, such as `topic/orders`. Panics with the namespace's state when it takes longer.
    #[track_caller]
    pub fn wait(&self, namespace: &str, condition: &str, what: &[&str], within: Duration) {
        let timeout = format!("--timeout={}ms", within.as_millis());
        let condition = format!("--for={condition}");
        let mut args = vec!["wait", "--namespace", namespace, &condition, &timeout];
        args.extend(what);
        self.try_kubectl(&args).ok();
    }

    /// Asks again and again until the answer is there.
    #[track_caller]
    pub fn until<T>(&self, what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
        self.until_ok(what, within, || ask().ok_or("it is not there"))
    }

    /// The same, with something to show of what was seen last.
    #[track_caller]
    pub fn until_ok<T, E: std::fmt::Debug>(
        &self,
        what: &str,
        within: Duration,
        mut ask: impl FnMut() -> Result<T, E>,
    ) -> T {
        eventually(within, what, || {
            ask().map_err(|seen| {
                // Most look by a `kubectl`, which costs the machine more than a look costs elsewhere.
                std::thread::sleep(Duration::from_millis(80));
                format!("{seen:#?}")
            })
        })
    }

    /// An object as JSON, if there is one.
    pub fn get(&self, namespace: &str, what: &str) -> Option<Value> {
        let ran = self.try_kubectl(&[
            "get",
            "--namespace",
            namespace,
            "--ignore-not-found",
            "-o",
            "json",
            what,
        ]);
        serde_json::from_str(&ran.ok()).ok()
    }

    /// The objects of a kind, as JSON, such as `pods` with the selector `app=x`, which may be empty.
    pub fn list(&self, namespace: &str, kind: &str, selector: &str) -> Vec<Value> {
        let text = self.kubectl(&[
            "get",
            "--namespace",
            namespace,
            "-o",
            "json",
            "--selector",
            selector,
            kind,
        ]);
        match serde_json::from_str::<Value>(&text).expect("kubectl prints JSON")["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// The log of a pod, or of `deployment/name`.
    pub fn logs(&self, namespace: &str, what: &str) -> String {
        self.try_kubectl(&[
            "logs",
            "--namespace",
            namespace,
            "--all-containers",
            "--tail=2000",
            what,
        ])
        .all()
    }

    /// What both of the operator's pods said.
    pub fn operator_log(&self) -> String {
        self.try_kubectl(&[
            "logs",
            "--namespace",
            OPERATOR_NAMESPACE,
            "--prefix",
            "--tail=400",
            "--selector",
            OPERATOR_SELECTOR,
        ])
        .all()
    }

    /// The zone of each node, by its name.
    pub fn zone(&self, node: &str) -> String {
        self.kubectl(&[
            "get",
            "node",
            node,
            "-o",
            r"jsonpath={.metadata.labels.topology\.kubernetes\.io/zone}",
        ])
    }

    /// The name of an image of the suite, as pods of this cluster say it.
    pub fn client_image(&self) -> String {
        let prefix = if self.image_prefix.is_empty() {
            "localhost/"
        } else {
            &self.image_prefix
        };
        format!("{prefix}flotilla-test-client:1")
    }

    /// A namespace for one scenario. It is deleted with the value; if the scenario fails, its state is printed first.
    pub fn namespace(&self, name: &str) -> Namespace<'_> {
        self.try_kubectl(&["delete", "namespace", "--ignore-not-found", name])
            .ok();
        self.kubectl(&["create", "namespace", name]);
        self.kubectl(&[
            "label",
            "namespace",
            name,
            "pod-security.kubernetes.io/enforce=restricted",
        ]);
        Namespace {
            cluster: self,
            name: name.to_owned(),
        }
    }

    /// A namespace that the scenario's own manifests create: printed on failure and deleted as the others.
    pub fn adopt(&self, name: &str) -> Namespace<'_> {
        Namespace {
            cluster: self,
            name: name.to_owned(),
        }
    }

    /// `tests/kubernetes/cluster` with `args`, such as `crash n2`; `None` on a user's own Kubernetes: the scenario cannot be played there.
    pub fn machines(&self, args: &[&str]) -> Option<Ran> {
        self.machines.as_ref()?;
        Some(run(&root().join("tests/kubernetes/cluster"), args, b"", 60))
    }

    /// Where the volume of a claim lies on this machine; `None` on a user's own Kubernetes.
    pub fn volume(&self, namespace: &str, claim: &str) -> Option<PathBuf> {
        let machines = self.machines.as_ref()?;
        let bound = self.get(namespace, &format!("pvc/{claim}"))?["spec"]["volumeName"]
            .as_str()?
            .to_owned();
        let path = self.get(namespace, &format!("pv/{bound}"))?["spec"]["hostPath"]["path"]
            .as_str()?
            .to_owned();
        Some(machines.join("pv").join(Path::new(&path).file_name()?))
    }

    /// The address of a node, as pods and the test itself reach it.
    pub fn address(&self, node: &str) -> String {
        self.kubectl(&[
            "get",
            "node",
            node,
            "-o",
            r#"jsonpath={.status.addresses[?(@.type=="InternalIP")].address}"#,
        ])
    }

    /// The API server's audit log from `position` on, and the position of its end. It has every write but those of kubelets, and no read.
    /// `None` on a user's own Kubernetes.
    pub fn audit(&self, position: u64) -> Option<(Vec<Value>, u64)> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file =
            std::fs::File::open(self.machines.as_ref()?.join("audit.log")).expect("there is an audit log");
        file.seek(SeekFrom::Start(position))
            .expect("seek in the audit log");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read the audit log");
        // The last line may be half written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let entries = text[..whole]
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Some((entries, position + whole as u64))
    }

    /// Prints what one wants to see of a namespace in which something went wrong.
    pub fn dump(&self, namespace: &str) {
        let show = |title: &str, text: String| eprintln!("--- {title}\n{text}");
        let get = |args: &[&str]| {
            self.try_kubectl(&[&["--namespace", namespace], args].concat())
                .all()
        };
        show("nodes", get(&["get", "nodes"]));
        show(
            "objects",
            get(&[
                "get",
                "clusters.flotilla.dev,topics.flotilla.dev,users.flotilla.dev,statefulsets,pods,pvc,services",
                "-o",
                "wide",
            ]),
        );
        let custom = get(&[
            "get",
            "clusters.flotilla.dev,topics.flotilla.dev,users.flotilla.dev",
            "-o",
            "yaml",
        ]);
        show("resources", custom.chars().take(20_000).collect());
        show("events", get(&["events"]));
        for pod in get(&["get", "pods", "-o", "name"]).split_whitespace() {
            show(pod, get(&["logs", "--all-containers", "--tail=40", pod]));
            let previous =
                self.try_kubectl(&["--namespace", namespace, "logs", "--previous", "--tail=20", pod]);
            if previous.success {
                show(&format!("{pod}, before it was restarted"), previous.stdout);
            }
        }
        show("operator", self.operator_log());
    }
}

/// A namespace of one scenario.
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    pub name: String,
}

impl Namespace<'_> {
    /// `kubectl apply` of a manifest, in this namespace.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.try_apply(manifest).ok()
    }

    /// The same, whatever comes of it.
    pub fn try_apply(&self, manifest: &str) -> Ran {
        self.cluster
            .kubectl_with_input(&["apply", "--namespace", &self.name, "-f", "-"], manifest)
    }

    /// `kubectl replace` of a manifest in this namespace, whatever comes of it; it prints the object as it is then.
    pub fn replace(&self, manifest: &str) -> Ran {
        let args = ["replace", "--namespace", &self.name, "-o", "json", "-f", "-"];
        self.cluster.kubectl_with_input(&args, manifest)
    }

    /// `kubectl` in this namespace; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).ok()
    }

    /// The same, whatever comes of it.
    pub fn try_kubectl(&self, args: &[&str]) -> Ran {
        self.cluster
            .try_kubectl(&[&["--namespace", self.name.as_str()], args].concat())
    }

    /// Waits until everything in `what` is Ready.
    #[track_caller]
    pub fn ready(&self, what: &[&str], within: Duration) {
        self.cluster.wait(&self.name, "condition=Ready", what, within);
    }

    /// An object in it, as JSON.
    pub fn get(&self, what: &str) -> Option<Value> {
        self.cluster.get(&self.name, what)
    }

    /// A pod with kcat and a shell, and the Secret `secret` at `/etc/flotilla`: all that an application has. Ready when this returns.
    #[track_caller]
    pub fn client(&self, name: &str, secret: &str) -> Client<'_> {
        let image = self.cluster.client_image();
        self.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {{runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: client
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [sleep, infinity]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: secret, mountPath: /etc/flotilla, readOnly: true}}]
  volumes: [{{name: secret, secret: {{secretName: {secret}}}}}]
"
        ));
        self.ready(&[&format!("pod/{name}")], Duration::from_secs(30));
        Client {
            namespace: self,
            pod: name.to_owned(),
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cluster.dump(&self.name);
        }
        self.cluster
            .try_kubectl(&["delete", "namespace", "--wait=false", &self.name]);
    }
}

/// A pod that plays an application.
pub struct Client<'a> {
    namespace: &'a Namespace<'a>,
    pub pod: String,
}

impl Client<'_> {
    /// A shell's script, run in the pod.
    pub fn sh(&self, script: &str) -> Ran {
        // Debian's containerd 1.6 can miss the end of a process that ends while it is still being started, and then waits for ever.
        let script = format!("({script}\n)\ncode=$?; sleep 0.2; exit $code");
        self.namespace
            .try_kubectl(&["exec", &self.pod, "--", "sh", "-c", &script])
    }

    /// kcat, with the configuration that the Secret holds.
    pub fn kcat(&self, args: &str) -> Ran {
        self.sh(&format!("kcat -F /etc/flotilla/librdkafka.conf {args}"))
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where archives of images are, for those who load others.
pub fn test_images() -> PathBuf {
    directory().join("images")
}
