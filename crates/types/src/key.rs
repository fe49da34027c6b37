//! Primary keys as bytes whose order is the order of the key columns.

use crate::{Cell, Record, TableId};

/// Primary key of a state row: the key columns, encoded so that byte order is column order.
///
/// Text is its UTF-8 bytes with `00` written as `00 FF`, ended by `00 00`; an integer is eight big-endian bytes with the
/// sign bit flipped. The key of the first *n* columns is therefore a prefix of every key that starts with them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Key of `record` in `table`.
    pub fn of(table: TableId, record: &Record) -> Self {
        let mut key = KeyBuilder::default();
        for cell in &record.cells()[..table.key_len()] {
            key = match cell {
                Cell::Text(text) => key.text(text),
                Cell::Int(number) => key.int(*number),
                Cell::Null => key.text(""),
                Cell::Float(_) | Cell::Bool(_) | Cell::Map(_) => {
                    unreachable!("key columns are text or integers")
                }
            };
        }
        key.build()
    }

    /// A key that was stored as [`Self::as_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the first columns of this key are those of `prefix`.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The first column, if it is text: what file statistics are kept for.
    pub fn leading_text(&self) -> String {
        self.text_column(0)
    }

    /// A text column, where all columns up to it are text.
    pub fn text_column(&self, index: usize) -> String {
        let mut columns = 0;
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut rest = self.0.iter().copied();
        while let Some(byte) = rest.next() {
            let byte = match (byte, byte == 0 && rest.next() != Some(0xFF)) {
                (_, true) if columns == index => break,
                (_, true) => {
                    columns += 1;
                    bytes.clear();
                    continue;
                }
                (byte, false) => byte,
            };
            bytes.push(byte);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// Builds a [`Key`] (or the prefix of one) column by column.
#[derive(Debug, Default, Clone)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// Adds a text column.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.0.extend([0, 0]);
        self
    }

    /// Adds an integer column.
    #[must_use]
    pub fn int(mut self, number: i64) -> Self {
        let flipped = number.cast_unsigned() ^ (1 << 63);
        self.0.extend(flipped.to_be_bytes());
        self
    }

    /// The key so far.
    pub fn build(self) -> Key {
        Key(self.0.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str, number: i64) -> Key {
        KeyBuilder::default().text(text).int(number).build()
    }

    proptest! {
        #[test]
        fn byte_order_is_column_order(a in ".{0,6}", b in ".{0,6}", x: i64, y: i64) {
            prop_assert_eq!(key(&a, x).cmp(&key(&b, y)), (a.as_str(), x).cmp(&(b.as_str(), y)));
        }

        #[test]
        fn leading_text_comes_back(text in ".{0,12}") {
            prop_assert_eq!(key(&text, 1).leading_text(), text);
        }
    }

    #[test]
    fn any_text_column_comes_back() {
        let key = KeyBuilder::default().text("run\0x").text("").text("lr").build();
        assert_eq!([0, 1, 2].map(|index| key.text_column(index)), ["run\0x", "", "lr"]);
    }

    #[test]
    fn nul_bytes_do_not_confuse_columns() {
        assert!(key("a\0", 0) > key("a", i64::MAX));
        let prefix = KeyBuilder::default().text("a").build();
        assert!(key("a", 5).starts_with(&prefix));
        assert!(!key("ab", 5).starts_with(&prefix));
    }
}
