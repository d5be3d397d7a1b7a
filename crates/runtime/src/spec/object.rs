//! How an object of a document is read: as an object only.
//!
//! What serde derives reads a struct from a list too, field by field, so that `"linux": []` would be one in which nothing
//! is set. Each struct is derived `remote = "Self"`, which makes the reading an ordinary function of it, and that is
//! given a deserializer here which takes objects alone.

use serde::de::{Deserializer, Visitor};

/// Reads whatever is asked for as an object.
#[derive(Debug)]
pub struct Object<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Reads each of these structs, derived `remote = "Self"`, from an object only.
#[macro_export]
macro_rules! read_as_object {
    ($($name:ident)*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                $name::deserialize($crate::spec::object::Object(from))
            }
        }
    )*};
}

/// The same for those that are written too.
#[macro_export]
macro_rules! read_as_object_and_written {
    ($($name:ident)*) => {
        $crate::read_as_object! { $($name)* }
        $(
            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
                    $name::serialize(self, to)
                }
            }
        )*
    };
}
