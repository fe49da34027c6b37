//! All tables of a lake.

use std::sync::Arc;

use futures::future::try_join_all;
use runlake_storage::Store;
use runlake_types::TableId;

use crate::table::Shared;
use crate::{Error, LakeSettings, Table};

/// The tables of one lake, sharing a cache of file footers. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Lake {
    tables: Arc<[Table]>,
}

impl Lake {
    /// Opens every table of the lake in `store`, all at the same time. Nothing is written.
    pub async fn open(store: &Store, lake_id: &str, settings: &LakeSettings) -> Result<Self, Error> {
        let shared = Shared::new(store, settings);
        let opening = TableId::ALL.iter().map(|table| Table::open_with(store, *table, lake_id, settings, &shared));
        Ok(Self { tables: try_join_all(opening).await?.into() })
    }

    /// One of the tables.
    ///
    /// # Panics
    /// Never: every table was opened.
    pub fn table(&self, table: TableId) -> &Table {
        self.tables.iter().find(|opened| opened.id() == table).expect("every table was opened")
    }

    /// Every table, in the order of [`TableId::ALL`].
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }
}
