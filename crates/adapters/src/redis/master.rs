//! The Redis that is written to: at an address, or wherever the sentinels say.

use std::sync::Arc;

use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
    TlsMode,
};
use tokio::sync::Mutex;

#[derive(Clone)]
pub(super) enum Master {
    Address(Box<Client>),
    Sentinels(Arc<Sentinels>),
}

pub(super) struct Sentinels {
    name: String,
    /// How the master is connected to.
    node: SentinelNodeConnectionInfo,
    sentinel: Mutex<Sentinel>,
}

impl Master {
    pub(super) fn at(url: &str) -> Result<Master, RedisError> {
        Ok(Master::Address(Box::new(Client::open(url)?)))
    }

    /// Sentinels are asked without credentials; what the addresses have is for the master.
    pub(super) fn watched(urls: &[&str], name: &str) -> Result<Master, RedisError> {
        let mut node = SentinelNodeConnectionInfo::default();
        let mut sentinels = Vec::new();
        for url in urls {
            let info = url.into_connection_info()?;
            node = node.set_redis_connection_info(info.redis_settings().clone());
            if let ConnectionAddr::TcpTls { .. } = info.addr() {
                node = node.set_tls_mode(TlsMode::Secure);
            }
            sentinels.push(info.set_redis_settings(RedisConnectionInfo::default()));
        }
        Ok(Master::Sentinels(Arc::new(Sentinels {
            name: name.to_owned(),
            node,
            sentinel: Mutex::new(Sentinel::build(sentinels)?),
        })))
    }

    /// Finds it: another one than before, perhaps. Its user looks after deadlines.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match self {
            Master::Address(client) => Ok((**client).clone()),
            Master::Sentinels(sentinels) => {
                let mut sentinel = sentinels.sentinel.lock().await;
                sentinel
                    .async_master_for(&sentinels.name, Some(&sentinels.node))
                    .await
            }
        }
    }
}
