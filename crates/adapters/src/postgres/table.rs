//! What is said to Postgres, and the table of messages that are too large for a notification.

use std::time::Duration;

use socketio_proto::cluster::postgres::Outgoing;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::connection::explain;

/// The statements that need the table.
pub(super) struct Table {
    store: String,
    read: String,
    clean: String,
    /// What makes it.
    create: String,
}

impl Table {
    /// Takes the table's name as Postgres reads it: parts without quotes in any case, with a dot after
    /// the schema.
    pub(super) fn new(name: &str) -> Table {
        let parts = name.split('.').map(|part| {
            let exact = part
                .strip_prefix('"')
                .and_then(|part| part.strip_suffix('"'));
            exact.map_or_else(|| quoted(&part.to_ascii_lowercase()), quoted)
        });
        let table = parts.collect::<Vec<_>>().join(".");
        Table {
            // One statement, and so one transaction: whoever hears of the row finds it. It does not wait
            // for the disk: a row is of no use when Postgres has forgotten its notification.
            store: format!(
                "WITH stored AS (INSERT INTO {table} (payload) VALUES ($1) RETURNING id) \
                 SELECT pg_notify($2, $3 || id || $4), \
                 set_config('synchronous_commit', 'off', true) FROM stored"
            ),
            read: format!("SELECT payload FROM {table} WHERE id = $1"),
            clean: format!(
                "DELETE FROM {table} WHERE created_at < now() - $1 * interval '1 millisecond'"
            ),
            create: format!(
                "CREATE TABLE IF NOT EXISTS {table} (id bigserial UNIQUE, created_at timestamptz \
                 DEFAULT NOW(), payload bytea)"
            ),
        }
    }

    /// Publishes a message on a channel.
    pub(super) async fn publish(
        &self,
        client: &Client,
        channel: &str,
        message: &Outgoing,
    ) -> Result<(), Error> {
        // Without prepared statements, so that a pooler may be in between.
        match message {
            Outgoing::Notification(text) => {
                let values = [(&channel as _, Type::TEXT), (text as _, Type::TEXT)];
                let notify = "SELECT pg_notify($1, $2)";
                client.execute_typed(notify, &values).await?
            }
            Outgoing::Row {
                payload,
                before,
                after,
            } => {
                let values = [
                    (payload as _, Type::BYTEA),
                    (&channel as _, Type::TEXT),
                    (before as _, Type::TEXT),
                    (after as _, Type::TEXT),
                ];
                client.execute_typed(&self.store, &values).await?
            }
        };
        Ok(())
    }

    /// Reads the message of a row, unless it is gone.
    pub(super) async fn read(&self, client: &Client, id: i64) -> Result<Option<Vec<u8>>, Error> {
        let row = client
            .query_typed_opt(&self.read, &[(&id, Type::INT8)])
            .await?;
        row.map(|row| row.try_get::<_, Option<Vec<u8>>>(0))
            .transpose()
            .map(Option::flatten)
    }

    /// Removes what is older.
    pub(super) async fn clean(&self, client: &Client, age: Duration) -> Result<(), Error> {
        let millis = age.as_millis() as f64;
        let values = [(&millis as _, Type::FLOAT8)];
        client.execute_typed(&self.clean, &values).await?;
        Ok(())
    }

    /// Says what is wrong and, where that helps, what to do.
    pub(super) fn explain(&self, error: &Error) -> String {
        let text = explain(error);
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE) => format!("{text}; create it: {}", self.create),
            _ => text,
        }
    }
}

/// Writes a name so that nothing in it is taken for anything else.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_postgres_reads_them() {
        for (name, quoted) in [
            ("socket_io_attachments", r#""socket_io_attachments""#),
            ("Chat.Rows", r#""chat"."rows""#),
            (r#"chat."Rows""#, r#""chat"."Rows""#),
            ("a; DROP TABLE b", r#""a; drop table b""#),
            (r#"a"b"#, r#""a""b""#),
        ] {
            let read = format!("SELECT payload FROM {quoted} WHERE id = $1");
            assert_eq!(Table::new(name).read, read);
        }
    }
}
