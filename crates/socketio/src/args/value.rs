//! A dynamic argument: JSON with bytes anywhere.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

use socketio_proto::socket::readable;

use super::DecodeError;

/// An argument of any shape: JSON with bytes anywhere. The order of keys is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// An array.
    Array(Vec<Value>),
    /// Bytes.
    Binary(Bytes),
    /// A boolean.
    Bool(bool),
    /// Nothing.
    #[default]
    Null,
    /// A number.
    Number(Number),
    /// An object.
    Object(Vec<(String, Value)>),
    /// Text.
    String(String),
}

impl Value {
    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if these are some.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Reads a JSON text and puts the attachments in their places.
    pub(super) fn parse(text: &str, attachments: &[Bytes]) -> Result<Value, DecodeError> {
        let value: Value = serde_json::from_str(text)
            .or_else(|error| match readable(text) {
                Cow::Borrowed(_) => Err(error),
                Cow::Owned(text) => serde_json::from_str(&text),
            })
            .map_err(|error| DecodeError {
                message: error.to_string(),
            })?;
        Ok(match attachments {
            [] => value,
            attachments => value.resolve(attachments),
        })
    }

    /// Puts attachments in the places of their placeholders. An object without an attachment only
    /// looks like one. JSON's depth is bounded, and so is this recursion.
    fn resolve(self, attachments: &[Bytes]) -> Value {
        if let Some(attachment) = self.attachment(attachments) {
            return Value::Binary(attachment.clone());
        }
        match self {
            Value::Array(values) => {
                let values = values.into_iter().map(|value| value.resolve(attachments));
                Value::Array(values.collect())
            }
            Value::Object(entries) => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| (key, value.resolve(attachments)));
                Value::Object(entries.collect())
            }
            value => value,
        }
    }

    /// The attachment whose placeholder this is.
    fn attachment<'a>(&self, attachments: &'a [Bytes]) -> Option<&'a Bytes> {
        match (self.get("_placeholder")?, self.get("num")?) {
            (Value::Bool(true), Value::Number(number)) => {
                attachments.get(usize::try_from(number.as_u64()?).ok()?)
            }
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident,)+) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        })+
    };
}

from! {
    bool => Bool, i32 => Number, i64 => Number, u32 => Number, u64 => Number, &str => String,
    String => String, Bytes => Binary, Vec<Value> => Array, Vec<(String, Value)> => Object,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Array(values) => values.serialize(serializer),
            Value::Binary(bytes) => serializer.serialize_bytes(bytes),
            Value::Bool(value) => serializer.serialize_bool(*value),
            // Inside of a message it is `null`; alone it would be no argument at all.
            Value::Null => serializer.serialize_none(),
            Value::Number(number) => number.serialize(serializer),
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries
                    .iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Value::String(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
                d.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::String(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value::String(text))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::Binary(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
                Ok(Value::Binary(bytes.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Object(entries))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Value {
    type Deserializer = Value;

    fn into_deserializer(self) -> Value {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Array(values) => {
                SeqDeserializer::new(values.into_iter()).deserialize_any(visitor)
            }
            Value::Binary(bytes) => visitor.visit_byte_buf(bytes.into()),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Null => visitor.visit_unit(),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::Object(entries) => {
                MapDeserializer::new(entries.into_iter()).deserialize_any(visitor)
            }
            Value::String(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            // `Vec<u8>` is a list of numbers to serde.
            Value::Binary(bytes) => {
                SeqDeserializer::new(bytes.into_iter()).deserialize_any(visitor)
            }
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Value::String(text) => {
                let text: serde::de::value::StringDeserializer<Self::Error> =
                    text.into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            Value::Object(entries) => {
                let map = MapDeserializer::new(entries.into_iter());
                MapAccessDeserializer::new(map).deserialize_enum(name, variants, visitor)
            }
            value => value.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}
