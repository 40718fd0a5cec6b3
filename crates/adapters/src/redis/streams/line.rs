//! A connection to Redis for questions, made when it is needed.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Pipeline};
use socketio::cluster::BusError;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub(super) use crate::redis::line::ANSWER;
use crate::redis::master::Master;

pub(super) struct Line {
    master: Master,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Line {
    pub(super) fn new(master: Master) -> Line {
        Line {
            master,
            connection: Mutex::default(),
        }
    }

    /// Sends commands and gives their answers. What they did when this fails is not known.
    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, BusError> {
        let asking = async {
            let mut connection = {
                let mut current = self.connection.lock().await;
                match &*current {
                    Some(connection) => connection.clone(),
                    None => current.insert(connect(&self.master).await?).clone(),
                }
            };
            let answer = commands.query_async(&mut connection).await;
            answer.map_err(|error| error.to_string())
        };
        let answer = timeout(ANSWER, asking).await;
        let answer = answer.unwrap_or_else(|_| Err("Redis does not answer".to_owned()));
        if answer.is_err() {
            // The next question makes another, whatever was wrong with this one.
            *self.connection.lock().await = None;
        }
        answer.map_err(BusError)
    }
}

/// Makes a connection whose user looks after deadlines.
pub(super) async fn connect(master: &Master) -> Result<MultiplexedConnection, String> {
    let client = timeout(ANSWER, master.client()).await;
    let client = client.map_err(|_| "no answer".to_owned())?;
    let client = client.map_err(|error| error.to_string())?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER))
        .set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.map_err(|error| error.to_string())
}
