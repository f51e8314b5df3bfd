//! etcd and kube-apiserver as two processes on loopback: all of Kubernetes that a controller talks to, and nothing that runs pods.
//!
//! Needs neither root nor namespaces. Everything lives in one temporary directory. Both processes and the directory go when the value
//! is dropped, and also when this process dies without dropping it: a shell that holds the other end of a pipe then cleans up.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use serde_json::Value;

use crate::programs::program;

/// How long the two may take to answer. Two to three seconds are usual; a machine that is busy needs more.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What the API server lets in as a member of `system:masters`.
const ADMIN_TOKEN: &str = "admin-of-a-test";

/// Requests that are logged, one JSON object a line: who, which verb, which object. Not reads, which a watch makes at any time.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, userGroups: ['system:masters'], verbs: [get, list, watch]}
  - {level: Metadata}
";

/// A running API server with its etcd.
pub struct ControlPlane {
    directory: PathBuf,
    url: String,
    authority: String,
    /// Closing it lets the guard end everything.
    guard: Option<(Child, ChildStdin)>,
}

impl ControlPlane {
    /// One for all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        // A free port can be taken between finding it and listening on it: then the server ends, and other ports are tried.
        (0..3)
            .find_map(|_| Self::try_start().map_err(|log| eprintln!("{log}")).ok())
            .expect("etcd and kube-apiserver start")
    }

    fn try_start() -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("flotilla-apiserver-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let [client, peer, secure] = free_ports();
        let authority = write_credentials(&directory, secure);
        let at = |name: &str| directory.join(name).display().to_string();

        let mut etcd = Command::new("etcd");
        etcd.arg(format!("--data-dir={}", at("etcd")))
            .arg(format!("--listen-client-urls=http://127.0.0.1:{client}"))
            .arg(format!("--advertise-client-urls=http://127.0.0.1:{client}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
            .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"))
            .arg(format!("--initial-cluster=default=http://127.0.0.1:{peer}"));
        let mut server = Command::new(program("kube-apiserver"));
        server
            .arg(format!("--etcd-servers=http://127.0.0.1:{client}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={secure}"))
            .arg(format!("--tls-cert-file={}", at("server.crt")))
            .arg(format!("--tls-private-key-file={}", at("server.key")))
            .arg(format!("--token-auth-file={}", at("tokens.csv")))
            .arg(format!("--service-account-key-file={}", at("accounts.pub")))
            .arg(format!(
                "--service-account-signing-key-file={}",
                at("accounts.key")
            ))
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .args([
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
            ])
            // No controller runs that would give a namespace its ServiceAccount.
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(format!("--audit-policy-file={}", at("audit-policy.yaml")))
            .arg(format!("--audit-log-path={}", at("audit.log")))
            .args(["--profiling=false", "--endpoint-reconciler-type=none"]);

        let guard = guard(&directory, &[("etcd", etcd), ("kube-apiserver", server)]);
        let plane = Self {
            url: format!("https://127.0.0.1:{secure}"),
            authority,
            guard: Some(guard),
            directory,
        };
        let deadline = Instant::now() + READY_WITHIN;
        while !plane.answers() {
            if Instant::now() > deadline || plane.ended() {
                return Err(format!(
                    "no API server:\n{}\n{}",
                    plane.log("etcd"),
                    plane.log("kube-apiserver")
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(plane)
    }

    fn answers(&self) -> bool {
        self.try_kubectl(&["get", "--raw", "/readyz"]).status.success()
            && self
                .try_kubectl(&["get", "namespace", "default"])
                .status
                .success()
    }

    fn ended(&self) -> bool {
        self.directory.join("ended").exists()
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.directory.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The CA that its certificate is from, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// A kubeconfig of the service account `name` in `namespace`, which need not exist: it may do what RBAC grants that name.
    pub fn kubeconfig_of(&self, namespace: &str, name: &str) -> PathBuf {
        let path = self.directory.join(format!("{namespace}-{name}.kubeconfig"));
        let mut config: Value =
            serde_json::from_slice(&fs::read(self.kubeconfig()).expect("the kubeconfig is there"))
                .expect("it is JSON");
        config["users"][0]["user"]["as"] = format!("system:serviceaccount:{namespace}:{name}").into();
        fs::write(&path, config.to_string()).expect("write a kubeconfig");
        path
    }

    /// A client that may do everything. It belongs to the runtime that it was made in.
    pub async fn client(&self) -> kube::Client {
        client(&self.kubeconfig()).await
    }

    /// `kubectl` with `args`, as an administrator.
    pub fn try_kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with_input(args, "")
    }

    /// The same with something on its standard input, for `apply -f -`.
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(program("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start kubectl");
        child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(input.as_bytes())
            .ok();
        child.wait_with_output().expect("kubectl ends")
    }

    /// What a `kubectl` that must succeed printed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The audit log so far: each request that was answered, oldest first. Reads by administrators are left out.
    pub fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.directory.join("audit.log")).unwrap_or_default();
        // The last line may be half written.
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some((mut guard, stdin)) = self.guard.take() {
            drop(stdin);
            guard.wait().ok();
        }
    }
}

/// A client for a kubeconfig.
pub async fn client(kubeconfig: &Path) -> kube::Client {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).expect("read the kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
        .await
        .expect("a kubeconfig that says all");
    kube::Client::try_from(config).expect("a client")
}

/// Starts the programs under a shell that ends them and removes `directory` when its standard input closes, or tells by a file `ended`
/// when one of them ended by itself. The shell is in a process group of its own, so that Ctrl-C does not reach it before its work is done.
fn guard(directory: &Path, programs: &[(&str, Command)]) -> (Child, ChildStdin) {
    let mut script = "exec 3<&0\n".to_owned();
    for (name, command) in programs {
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        script.push_str(&format!(
            "setpriv --pdeathsig KILL {} >\"$0/{name}.log\" 2>&1 </dev/null 3<&- & started=\"$started $!\"\n",
            words.join(" ")
        ));
    }
    script.push_str(
        "(while read -r _; do :; done; kill -9 $started) <&3 &\n\
         wait -n; : >\"$0/ended\"; wait; rm -rf \"$0\"\n",
    );
    let mut child = Command::new("bash")
        .arg("-c")
        .arg(script)
        .arg(directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the guard");
    let stdin = child.stdin.take().expect("stdin is piped");
    (child, stdin)
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    std::array::from_fn(|i| listeners[i].local_addr().expect("it is bound").port())
}

/// Writes certificates, tokens, the audit policy and the administrator's kubeconfig; returns the CA.
fn write_credentials(directory: &Path, port: u16) -> String {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("write a credential");
    let ca_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).expect("a CA").pem();
    let issuer = Issuer::new(params, ca_key);

    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    write("server.crt", &certificate.pem());
    write("server.key", &key.serialize_pem());
    let accounts = KeyPair::generate().expect("a key");
    write("accounts.key", &accounts.serialize_pem());
    write("accounts.pub", &accounts.public_key_pem());
    write(
        "tokens.csv",
        &format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"),
    );
    write("audit-policy.yaml", AUDIT_POLICY);
    // YAML contains JSON.
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": directory.join("ca.crt"),
        }}],
        "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    });
    write("ca.crt", &ca);
    write("admin.kubeconfig", &kubeconfig.to_string());
    ca
}
