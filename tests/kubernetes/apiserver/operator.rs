//! The operator's own program, as a process against the API server.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control_plane::ControlPlane;
use crate::programs::program;

/// Nothing that is waited for here takes longer, also on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A running operator. It is killed when the value is dropped.
pub struct Operator {
    child: Child,
    log: tempfile::TempPath,
    port: u16,
}

impl Operator {
    /// Starts one that serves these namespaces as the service account that the chart makes, and waits until it works.
    pub fn serving(plane: &ControlPlane, namespaces: &[&str]) -> Self {
        Self::serving_with(plane, namespaces, &[])
    }

    /// The same with further values of the chart, such as `certManager.enabled=true`.
    pub fn serving_with(plane: &ControlPlane, namespaces: &[&str], values: &[&str]) -> Self {
        let account = install_rights(plane, namespaces, values);
        let list = format!("--namespaces={}", namespaces.join(","));
        let operator = Self::start(
            &plane.kubeconfig_of(&account, "flotilla"),
            &[&list],
            &[("POD_NAMESPACE", &account)],
        );
        operator.wait_for("/readyz", "working");
        operator
    }

    /// Starts one.
    pub fn start(kubeconfig: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let (file, log) = tempfile::NamedTempFile::new().unwrap().into_parts();
        let child = Command::new(env!("CARGO_BIN_EXE_flotilla-operator"))
            .arg("--listen-port=0")
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .env("FLOTILLA_LOG", "info,flotilla_operator=debug")
            .env("POD_IP", "127.0.0.1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut operator = Self { child, log, port: 0 };
        operator.port = eventually("the operator listens", || {
            let log = operator.log();
            assert!(operator.child.try_wait().unwrap().is_none(), "it ended:\n{log}");
            let address = log.split("address=").nth(1)?;
            let address = address.split_whitespace().next()?;
            address.rsplit(':').next()?.parse().ok()
        });
        operator
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// What it answers to a request.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until its answer holds a text.
    pub fn wait_for(&self, path: &str, text: &str) {
        eventually_or(
            || self.get(path).contains(text).then_some(()),
            || format!("{path} never said `{text}`:\n{}\n{}", self.get(path), self.log()),
        );
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.ended()
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends.
    pub fn ended(&mut self) -> ExitStatus {
        eventually_or(|| self.child.try_wait().unwrap(), || "it does not end".to_owned())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the operator's log ends:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Waits for something with a deadline.
pub fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    eventually_or(found, || format!("in vain: {what}"))
}

fn eventually_or<T>(mut found: impl FnMut() -> Option<T>, why: impl Fn() -> String) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{}", why());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Gives the chart's service account the chart's rights in these namespaces, which are made too. The answer is the namespace of the account.
fn install_rights(plane: &ControlPlane, namespaces: &[&str], values: &[&str]) -> String {
    let release = format!("{}-operator", namespaces[0]);
    for namespace in namespaces.iter().copied().chain([release.as_str()]) {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/flotilla");
    let rendered = Command::new(program("helm"))
        .args(["template", "flotilla"])
        .arg(chart)
        .args([
            "--namespace",
            &release,
            "--kube-version",
            "1.33.0",
            "--show-only",
            "templates/rbac.yaml",
        ])
        .arg("--set")
        .arg(format!("namespaces={{{}}}", namespaces.join(",")))
        .args(values.iter().map(|value| format!("--set={value}")))
        .output()
        .unwrap();
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let rights = String::from_utf8(rendered.stdout).unwrap();
    let applied = plane.kubectl_with_input(&["apply", "-f", "-"], &rights);
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    release
}

/// Applies manifests as a user does.
pub fn apply(plane: &ControlPlane, manifests: &str) {
    let applied = plane.kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifests);
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
}

/// Objects of a kind in a namespace, or nothing.
pub fn list(plane: &ControlPlane, kinds: &str, namespace: &str) -> Vec<Value> {
    let text = plane.kubectl(&["get", kinds, "-n", namespace, "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// One object, if it is there.
pub fn get(plane: &ControlPlane, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let output = plane.try_kubectl(&["get", kind, name, "-n", namespace, "-o", "json"]);
    output
        .status
        .success()
        .then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// The condition of a type.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_)
}

/// The writes of a user in the audit log so far, but for leases: verb, resource, subresource, namespace and name.
pub fn writes(plane: &ControlPlane, user: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    plane
        .audit()
        .iter()
        .filter(|entry| {
            let who = entry["impersonatedUser"]["username"]
                .as_str()
                .or(entry["user"]["username"].as_str());
            who == Some(user)
        })
        .filter(|entry| {
            ["create", "update", "patch", "delete"].contains(&entry["verb"].as_str().unwrap_or_default())
        })
        .filter(|entry| entry["objectRef"]["resource"] != "leases")
        .map(|entry| {
            let object = &entry["objectRef"];
            let fields = ["resource", "subresource", "namespace", "name"].map(|field| text(&object[field]));
            format!("{} {}", text(&entry["verb"]), fields.join(" "))
        })
        .collect()
}

/// Waits until a user has written nothing for a while.
pub fn quiet(plane: &ControlPlane, user: &str, for_: Duration) {
    let (mut before, mut since) = (writes(plane, user).len(), Instant::now());
    eventually("it falls silent", || {
        let now = writes(plane, user).len();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        (since.elapsed() >= for_).then_some(())
    });
}

/// The service account of an operator that serves these namespaces.
pub fn account(namespaces: &[&str]) -> String {
    format!("system:serviceaccount:{}-operator:flotilla", namespaces[0])
}

/// Where the three definitions are.
pub fn definitions() -> [PathBuf; 3] {
    ["cluster", "topic", "user"]
        .map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crds/{file}.yaml")))
}
