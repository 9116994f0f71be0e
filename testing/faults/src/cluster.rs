//! Three RabbitMQ nodes on this machine, and one address that leads to any of them.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_testkit::free_port;
use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Folders in which Debian and RabbitMQ's own packages put the programs.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// Nodes; a quorum queue has a member on each.
const NODES: usize = 3;

#[derive(Debug)]
struct Node {
    name: String,
    port: u16,
    dist_port: u16,
    process: Option<Child>,
}

/// A running cluster. It ends with the value.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    mapper_port: u16,
    nodes: Vec<Node>,
    _mapper: Child,
    /// AMQP address that leads to whichever node takes a connection.
    pub url: String,
    way: JoinHandle<()>,
}

impl Cluster {
    /// Starts three nodes that form a cluster.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let folder = std::env::temp_dir().join(format!("acequia-cluster-{id}"));
        let home = folder.join("home");
        std::fs::create_dir_all(&home)?;
        let cookie = home.join(".erlang.cookie");
        std::fs::write(&cookie, &id)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&cookie, private)?;
        let mapper_port = free_port()?;
        let mapper = Command::new("epmd")
            .args(["-port", &mapper_port.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("epmd")?;
        let nodes = (0..NODES)
            .map(|number| {
                Ok(Node {
                    name: format!("faults{number}-{}@localhost", &id[20..]),
                    port: free_port()?,
                    dist_port: free_port()?,
                    process: None,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
        let (port, way) = way_to(ports).await?;
        let mut cluster = Self {
            folder,
            mapper_port,
            nodes,
            _mapper: mapper,
            url: format!("amqp://app:app_password@127.0.0.1:{port}/%2f"),
            way,
        };
        for number in 0..NODES {
            cluster.start_node(number).await?;
        }
        let status = cluster.control(&["cluster_status"]).await?;
        let names = cluster.nodes.iter().map(|node| &node.name);
        for name in names {
            anyhow::ensure!(
                status.contains(name),
                "{name} is not in the cluster: {status}"
            );
        }
        Ok(cluster)
    }

    /// Starts a node that does not run, and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not come up within two minutes.
    pub async fn start_node(&mut self, number: usize) -> anyhow::Result<()> {
        let first = self.nodes[0].name.clone();
        let Node {
            name,
            port,
            dist_port,
            ..
        } = &self.nodes[number];
        let own = self.folder.join(format!("node{number}"));
        std::fs::create_dir_all(&own)?;
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             default_user = app\ndefault_pass = app_password\nheartbeat = 10\n\
             cluster_partition_handling = pause_minority\n\
             disk_free_limit.absolute = 50MB\n\
             cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_formation.classic_config.nodes.1 = {first}\n"
        );
        std::fs::write(own.join("rabbitmq.conf"), settings)?;
        std::fs::write(own.join("enabled_plugins"), "[].")?;
        std::fs::write(own.join("rabbitmq-env.conf"), "")?;
        std::fs::write(own.join("advanced.config"), "[].")?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(own.join("output.log"))?;
        let process = Command::new(format!("{PROGRAMS}/rabbitmq-server"))
            .env("HOME", self.folder.join("home"))
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", name)
            .env("RABBITMQ_DIST_PORT", dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", own.join("data"))
            .env("RABBITMQ_LOG_BASE", own.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", own.join("enabled_plugins"))
            .env("RABBITMQ_PLUGINS_EXPAND_DIR", own.join("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", own.join("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", own.join("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", own.join("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", own.join("advanced.config"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            )
            // Makes its start script become the server instead of waiting beside it.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("rabbitmq-server")?;
        let port = *port;
        let mut process = process;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = process.try_wait()? {
                let output = std::fs::read_to_string(own.join("output.log"))?;
                bail!("a node of the cluster ended with {status}: {output}");
            }
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(120),
                "a node of the cluster does not come up, see {}",
                own.display()
            );
            sleep(Duration::from_millis(100)).await;
        }
        self.nodes[number].process = Some(process);
        Ok(())
    }

    /// Kills a node.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill_node(&mut self, number: usize) -> anyhow::Result<()> {
        let mut process = self.nodes[number].process.take().context("a node")?;
        process.kill().await?;
        Ok(())
    }

    /// The node on which the leader of a queue is, and the number of its members.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn leader(&self, queue: &str) -> anyhow::Result<(usize, usize)> {
        let columns = ["list_queues", "--quiet", "name", "leader", "members"];
        let list = self.control(&columns).await?;
        let line = list
            .lines()
            .find(|line| line.split('\t').next() == Some(queue));
        let mut fields = line.context("the queue")?.split('\t').skip(1);
        let leader = fields.next().context("a leader")?;
        let members = fields.next().context("members")?;
        let leader = self.nodes.iter().position(|node| node.name == leader);
        let all = self.nodes.iter();
        let members = all.filter(|node| members.contains(&node.name)).count();
        Ok((leader.context("the leader's node")?, members))
    }

    /// The queues as the cluster sees them, in words.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn queues(&self) -> anyhow::Result<String> {
        let counts = ["messages_ready", "messages_unacknowledged", "consumers"];
        let columns = ["list_queues", "--quiet", "name", "leader", "online"];
        self.control(&[&columns[..], &counts].concat()).await
    }

    async fn control(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let running = self.nodes.iter().find(|node| node.process.is_some());
        let output = Command::new(format!("{PROGRAMS}/rabbitmqctl"))
            .args(["-n", &running.context("a node that runs")?.name])
            .args(arguments)
            .env("HOME", self.folder.join("home"))
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .stdin(Stdio::null())
            .output()
            .await?;
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "rabbitmqctl: {words}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.way.abort();
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process {
                let _ = process.start_kill();
            }
        }
        if std::env::var_os("FAULTS_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A port that leads to one of several, the next one for each connection, leaving out those
/// that do not answer.
async fn way_to(ports: Vec<u16>) -> anyhow::Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let own = listener.local_addr()?.port();
    let ports = Arc::new(ports);
    let task = tokio::spawn(async move {
        let mut next = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            next += 1;
            let ports = ports.clone();
            tokio::spawn(async move {
                for step in 0..ports.len() {
                    let port = ports[(next + step) % ports.len()];
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        let both = tokio::io::copy_bidirectional(&mut client, &mut server);
                        let _ = both.await;
                        return;
                    }
                }
            });
        }
    });
    Ok((own, task))
}
