//! Whether the files a version names are there and whole.

use object_store::ObjectStoreExt as _;

use crate::file::DataFile;
use crate::{Snapshot, read};

/// What is wrong with a live file. The text goes behind the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is longer or shorter than it was written.
    #[error("has {found} bytes, the table's log says {expected}")]
    Size {
        /// What the log says.
        expected: u64,
        /// What the store says.
        found: u64,
    },
    /// The store does not give it, or its footer is no Parquet.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its footer speaks of another number of rows.
    #[error("has {found} rows, the table's log says {expected}")]
    Rows {
        /// What the log says.
        expected: u64,
        /// What the footer says.
        found: u64,
    },
}

impl Snapshot {
    /// Looks at a live file: is it there, as long as the log says, and does its footer tell as many rows? Reads the
    /// footer anew, and no rows.
    pub async fn examine(&self, file: &DataFile) -> Result<(), Damage> {
        let files = self.shared();
        let meta = match files.objects.head(file.location()).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Err(Damage::Missing),
            Err(error) => return Err(Damage::Unreadable(error.to_string())),
        };
        if meta.size != file.size() {
            return Err(Damage::Size { expected: file.size(), found: meta.size });
        }
        let found = read::footer_rows(files, file).await.map_err(|error| Damage::Unreadable(error.to_string()))?;
        match file.rows() {
            Some(expected) if expected != found => Err(Damage::Rows { expected, found }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use runlake_types::TableId;

    use super::*;
    use crate::testing::{mark, memory, open, put};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn files_that_are_not_what_was_written_are_told() {
        let store = memory().await;
        let table = open(&store, TableId::Params).await;
        table.merge(vec![put("r", "a", "1"), put("r", "b", "2")], mark(0, 1)).await.unwrap();
        let snapshot = table.snapshot();
        let file = &snapshot.files()[0];
        let place = file.location();
        let whole = store.get_opt(place).await.unwrap().unwrap();
        assert_eq!(snapshot.examine(file).await, Ok(()));

        store.objects().put(place, whole.slice(1..).into()).await.unwrap();
        let (expected, found) = (file.size(), file.size() - 1);
        assert_eq!(snapshot.examine(file).await, Err(Damage::Size { expected, found }));

        let garbage = Bytes::from(vec![b'x'; whole.len()]);
        store.objects().put(place, garbage.into()).await.unwrap();
        assert!(matches!(snapshot.examine(file).await, Err(Damage::Unreadable(_))));

        store.objects().delete(place).await.unwrap();
        assert_eq!(snapshot.examine(file).await, Err(Damage::Missing));
        store.objects().put(place, whole.into()).await.unwrap();
        assert_eq!(snapshot.examine(file).await, Ok(()));
    }
}
