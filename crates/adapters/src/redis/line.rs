//! Connections: to one Redis, or to the nodes of a Redis Cluster.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    ProtocolVersion, RedisError,
};
use tokio::time::timeout;

use super::master::Master;

/// Where connections lead.
#[derive(Clone)]
pub(super) enum Backend {
    Single(Master),
    /// Some of the nodes.
    Cluster(Vec<ConnectionInfo>),
}

#[derive(Clone)]
pub(super) enum Line {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Redis is awaited so long.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// A connection that is lost is tried again after this, then after twice as long each time ...
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// ... up to this.
pub(super) const LAST_PAUSE: Duration = Duration::from_secs(1);
/// By then those that have lost their connections at the same time listen again.
pub(super) const SETTLED: Duration = Duration::from_secs(2);
/// A Redis Cluster refuses what is sent to the wrong node; so many times something is sent at most.
const ATTEMPTS: u32 = 4;
/// From one attempt to the next, while the nodes agree on who has what.
const PAUSE: Duration = Duration::from_millis(100);

impl Backend {
    pub(super) fn single(url: &str) -> Result<Backend, RedisError> {
        Master::at(url).map(Backend::Single)
    }

    pub(super) fn cluster(urls: &[&str]) -> Result<Backend, RedisError> {
        let nodes = urls.iter().map(|url| url.into_connection_info());
        nodes.collect::<Result<_, _>>().map(Backend::Cluster)
    }

    /// Connects, within a deadline.
    pub(super) async fn connect(&self) -> Result<Line, String> {
        let connecting = async {
            match self {
                Backend::Single(master) => {
                    let (client, config) = (master.client().await?, patient());
                    let line = client.get_multiplexed_async_connection_with_config(&config);
                    line.await.map(Line::Single)
                }
                Backend::Cluster(nodes) => {
                    // No retries: what was on its way when a connection broke would be published twice.
                    let client = cluster(nodes).retries(0).build()?;
                    client.get_async_connection().await.map(Line::Cluster)
                }
            }
        };
        in_time(connecting).await
    }

    /// Connects likewise, for subscriptions to shard channels: what comes is given to `pushes`.
    pub(super) async fn listen(&self, pushes: impl AsyncPushSender) -> Result<Line, String> {
        let connecting = async {
            match self {
                Backend::Single(master) => {
                    let client = master.client().await?;
                    let info = client.get_connection_info();
                    let settings = info.redis_settings().clone();
                    let settings = settings.set_protocol(ProtocolVersion::RESP3);
                    let client = Client::open(info.clone().set_redis_settings(settings))?;
                    let config = patient().set_push_sender(pushes);
                    let line = client.get_multiplexed_async_connection_with_config(&config);
                    line.await.map(Line::Single)
                }
                Backend::Cluster(nodes) => {
                    let builder = cluster(nodes).retries(ATTEMPTS - 1);
                    let builder = builder.use_protocol(ProtocolVersion::RESP3);
                    let client = builder.push_sender(pushes).build()?;
                    client.get_async_connection().await.map(Line::Cluster)
                }
            }
        };
        in_time(connecting).await
    }
}

/// The client's own patience is half a second: a Redis that is merely slow would count as lost.
pub(super) fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER))
}

fn cluster(nodes: &[ConnectionInfo]) -> ClusterClientBuilder {
    let pause = PAUSE.as_millis() as u64;
    ClusterClientBuilder::new(nodes.iter().cloned())
        .min_retry_wait(pause)
        .max_retry_wait(2 * pause)
        .response_timeout(ANSWER)
}

pub(super) async fn in_time<T>(
    doing: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    match timeout(ANSWER, doing).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

impl Line {
    pub(super) async fn command<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, String> {
        in_time(async {
            match self {
                Line::Single(line) => command.query_async(line).await,
                Line::Cluster(line) => command.query_async(line).await,
            }
        })
        .await
    }

    /// Publishes messages in the order of each channel; gives an error and how many are lost.
    pub(super) async fn publish(
        &mut self,
        verb: &'static str,
        messages: Vec<(String, Vec<u8>)>,
    ) -> Result<(), (String, usize)> {
        match self {
            Line::Single(line) => {
                let (mut pipe, count) = (redis::pipe(), messages.len());
                for (channel, payload) in messages {
                    pipe.cmd(verb).arg(channel).arg(payload).ignore();
                }
                let sent = in_time(pipe.query_async::<()>(line)).await;
                sent.map_err(|error| (error, count))
            }
            Line::Cluster(line) => {
                let mut by_channel: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
                for (channel, payload) in messages {
                    by_channel.entry(channel).or_default().push(payload);
                }
                let sent = by_channel
                    .into_iter()
                    .map(|(channel, payloads)| publish_to(line.clone(), verb, channel, payloads));
                let sent = join_all(sent).await;
                let failed = sent.into_iter().filter_map(Result::err);
                match failed.reduce(|(error, a), (_, b)| (error, a + b)) {
                    Some(failed) => Err(failed),
                    None => Ok(()),
                }
            }
        }
    }

    /// The number of connections that listen to a channel; `verb` is `NUMSUB` or `SHARDNUMSUB`.
    pub(super) async fn count(&mut self, verb: &str, channel: &str) -> Result<usize, String> {
        let mut command = redis::cmd("PUBSUB");
        command.arg(verb).arg(channel);
        type Counts = Vec<(String, usize)>;
        let counts = in_time(async {
            match self {
                Line::Single(line) => command.query_async::<Counts>(line).await,
                Line::Cluster(line) => {
                    // Only the owner of the channel's slot has subscribers, but nobody tells who that is
                    // when the slot has moved: the command names no key.
                    let all = (MultipleNodeRoutingInfo::AllMasters, None);
                    let answers = line.route_command(command, RoutingInfo::MultiNode(all));
                    let by_node: HashMap<String, Counts> = redis::from_redis_value(answers.await?)?;
                    Ok(by_node.into_values().flatten().collect())
                }
            }
        })
        .await?;
        Ok(counts.iter().map(|(_, count)| count).sum())
    }
}

/// Publishes on a channel, wherever it is; what a node has refused is sent again.
async fn publish_to(
    mut line: ClusterConnection,
    verb: &'static str,
    channel: String,
    mut payloads: Vec<Vec<u8>>,
) -> Result<(), (String, usize)> {
    let mut attempts = 1;
    loop {
        let mut pipe = redis::pipe();
        for payload in &payloads {
            pipe.cmd(verb).arg(&channel).arg(payload).ignore();
        }
        let error = match timeout(ANSWER, pipe.query_async::<()>(&mut line)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(("no answer".to_owned(), payloads.len())),
        };
        let text = error.to_string();
        let Some(refused) = error.into_server_errors() else {
            return Err((text, payloads.len()));
        };
        let refused: HashSet<usize> = refused.iter().map(|(place, _)| *place).collect();
        let mut places = 0..;
        payloads.retain(|_| places.next().is_some_and(|place| refused.contains(&place)));
        if attempts == ATTEMPTS {
            return Err((text, payloads.len()));
        }
        attempts += 1;
        tokio::time::sleep(PAUSE).await;
    }
}
