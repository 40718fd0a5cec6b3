//! Which other servers this one joins.

use socketio::ServerBuilder;
use socketio_adapters::nats::NatsBus;
use socketio_adapters::postgres::PostgresBus;
use socketio_adapters::redis::{RedisBus, ShardedBus, StreamsBus, SubscriptionMode};

use crate::args::{RedisAdapter, RedisSubscriptions, ServeArgs, without_password};

/// Gives the server the bus that the options name.
pub(super) fn join(builder: ServerBuilder, options: &ServeArgs) -> Result<ServerBuilder, String> {
    let options_of_buses = [
        ("--nats", &options.nats),
        ("--postgres", &options.postgres),
        ("--redis", &options.redis),
    ];
    for (option, url) in options_of_buses {
        if let Some(url) = url {
            // What the bus logs later names no option.
            tracing::info!(
                address = without_password(url),
                "joining the cluster of {option}; until it is reached this server is alone"
            );
        }
    }
    if let Some(urls) = &options.nats {
        // This and the other addresses may have passwords.
        let bus = NatsBus::new(urls)
            .map_err(|error| format!("--nats: {error}; it looks like nats://localhost:4222"))?;
        return Ok(builder.cluster(bus.prefix(&options.nats_prefix)));
    }
    if let Some(url) = &options.postgres {
        let bus = PostgresBus::new(url).map_err(|error| {
            format!("--postgres: {error}; it looks like postgres://user:password@localhost/name")
        })?;
        let bus = bus.prefix(&options.postgres_prefix);
        return Ok(builder.cluster(bus.table(&options.postgres_table)));
    }
    let Some(url) = &options.redis else {
        return Ok(builder);
    };
    let urls: Vec<_> = url.split(',').map(str::trim).collect();
    let master = options.redis_sentinel.as_deref();
    let wrong = |error| format!("--redis: {error}; it looks like redis://localhost:6379");
    match options.redis_adapter {
        RedisAdapter::Classic => {
            let bus = match master {
                Some(master) => RedisBus::with_sentinels(&urls, master),
                None => RedisBus::new(url),
            };
            Ok(builder.cluster(bus.map_err(wrong)?.prefix(&options.redis_prefix)))
        }
        RedisAdapter::Sharded => {
            let bus = match (master, &urls[..]) {
                (Some(master), urls) => ShardedBus::with_sentinels(urls, master),
                (None, [url]) => ShardedBus::new(url),
                (None, urls) => ShardedBus::cluster(urls),
            };
            let mode = match options.redis_subscriptions {
                RedisSubscriptions::Dynamic => SubscriptionMode::Dynamic,
                RedisSubscriptions::DynamicPrivate => SubscriptionMode::DynamicPrivate,
                RedisSubscriptions::Static => SubscriptionMode::Static,
            };
            let bus = bus.map_err(wrong)?.prefix(&options.redis_prefix);
            Ok(builder.cluster(bus.subscription_mode(mode)))
        }
        RedisAdapter::Streams => {
            let prefix = &*options.redis_prefix;
            let bus = match master {
                Some(master) => StreamsBus::builder_with_sentinels(&urls, master),
                None => StreamsBus::builder(url),
            };
            let bus = bus
                .stream_name(prefix)
                .channel_prefix(prefix)
                .stream_count(options.redis_streams);
            Ok(builder.cluster(bus.build().map_err(wrong)?))
        }
    }
}
