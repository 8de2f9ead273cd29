//! The three that are measured and what they need: how each is configured, started alone on its core, and asked what it
//! has used. Nothing here is a system service: every process is a child, on a port of its own, gone with its handle.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Load and backends.
pub(crate) const LOAD_CORE: &str = "0";
const PROXY_CORE: &str = "1";
const PATIENCE: Duration = Duration::from_secs(10);

/// A child process that ends with this.
pub(crate) struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the three, running.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    process: Process,
}

impl Peer {
    /// The processor time used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        // The 14th and 15th field of all, counted behind the name that closes the second.
        let (user, system) = (ticks(11), ticks(12));
        user.zip(system).map(|(user, system)| (user + system) / 100.0).context("/proc/PID/stat has no times")
    }

    /// The resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.context("/proc/PID/status has no VmRSS")? * 1024.0)
    }
}

/// Installs what is missing, or says what to install.
pub(crate) fn have_tools() -> Result<()> {
    let there = |name: &str| {
        ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(name).exists())
    };
    let missing: Vec<&str> =
        [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("wrk", "wrk"), ("taskset", "util-linux")]
            .into_iter()
            .filter_map(|(tool, package)| (!there(tool)).then_some(package))
            .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::getuid().is_root() {
        bail!("this needs {list}: `apt-get install --no-install-recommends {list}`, then run it again");
    }
    // Debian starts a daemon when it installs one, unless its policy says no; here nothing may run but our children.
    let status = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends"])
        .args(&missing)
        .env("RUNLEVEL", "1")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!(
            "`apt-get install -y --no-install-recommends {list}` failed ({status}): is the package list up to date?"
        );
    }
    Ok(())
}

/// Both backends; the first gets nine of ten requests.
pub(crate) fn backends(body_bytes: usize) -> Result<(Process, [SocketAddr; 2])> {
    let mut command = pinned(LOAD_CORE, &ourselves()?);
    let (process, lines) = talk(command.arg("backend").arg(body_bytes.to_string()), 2)?;
    Ok((process, [lines[0], lines[1]]))
}

/// Our gateway.
pub(crate) fn gateway(backends: [SocketAddr; 2]) -> Result<Peer> {
    let mut command = pinned(PROXY_CORE, &ourselves()?);
    command.arg("server").args(backends.map(|addr| addr.to_string()));
    let (process, lines) = talk(&mut command, 1)?;
    Ok(Peer { name: "shipshape", addr: lines[0], process })
}

/// nginx with one worker.
pub(crate) fn nginx(folder: &Path, backends: [SocketAddr; 2], connections: usize) -> Result<Peer> {
    let addr = free_port()?;
    let [nine, one] = backends;
    let home = folder.display();
    let config = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {home}/nginx.pid;\nerror_log {home}/nginx.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000000000;\n\
         client_body_temp_path {home}/body;\n proxy_temp_path {home}/proxy;\n fastcgi_temp_path {home}/f;\n\
         uwsgi_temp_path {home}/u;\n scgi_temp_path {home}/s;\n\
         upstream releases {{\n  server {nine} weight=9;\n  server {one} weight=1;\n  keepalive {connections};\n\
         keepalive_requests 1000000000;\n }}\n\
         server {{\n  listen {addr} backlog=4096;\n  location / {{\n   proxy_pass http://releases;\n\
         proxy_http_version 1.1;\n   proxy_set_header Connection \"\";\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n  }}\n }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = pinned(PROXY_CORE, Path::new("nginx"));
    command.arg("-c").arg(&file).arg("-e").arg(folder.join("nginx.log"));
    wait_for("nginx", addr, command)
}

/// HAProxy with one thread.
pub(crate) fn haproxy(folder: &Path, backends: [SocketAddr; 2]) -> Result<Peer> {
    let addr = free_port()?;
    let [nine, one] = backends;
    let config = format!(
        "global\n nbthread 1\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         http-reuse always\n option forwardfor\n\
         frontend clients\n bind {addr} backlog 4096\n default_backend releases\n\
         backend releases\n balance roundrobin\n server one {nine} weight 90\n server two {one} weight 10\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let mut command = pinned(PROXY_CORE, Path::new("haproxy"));
    command.arg("-db").arg("-q").arg("-f").arg(&file);
    wait_for("haproxy", addr, command)
}

/// A command that runs on one core.
pub(crate) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).stdin(Stdio::null());
    command
}

fn ourselves() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Starts one of our own modes, which prints the addresses it listens at.
fn talk(command: &mut Command, lines: usize) -> Result<(Process, Vec<SocketAddr>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start taskset")?;
    let output = child.stdout.take().context("the child has no stdout")?;
    let process = Process { child };
    let mut addresses = Vec::new();
    for line in BufReader::new(output).lines().take(lines) {
        let line = line?;
        addresses.push(line.parse().with_context(|| format!("{line:?} is no address"))?);
    }
    if addresses.len() < lines {
        bail!("`{command:?}` ended before it listened");
    }
    Ok((process, addresses))
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(name: &'static str, addr: SocketAddr, mut command: Command) -> Result<Peer> {
    let child = command.stdout(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
    let mut process = Process { child };
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(addr).is_err() {
        if let Some(status) = process.child.try_wait()? {
            bail!("{name} did not start ({status})");
        }
        if Instant::now() > deadline {
            bail!("{name} does not listen at {addr}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Peer { name, addr, process })
}
