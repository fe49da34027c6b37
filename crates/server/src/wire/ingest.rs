//! Rows in bulk: what is durable, and the metadata of a batch.

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Result};
use crate::intake::Durable;

/// What of a stream is durable, counted from its start.
#[derive(Debug, Serialize)]
pub(crate) struct IngestAnswer {
    batches: u64,
    rows: u64,
}

impl From<Durable> for IngestAnswer {
    fn from(Durable { batches, rows }: Durable) -> Self {
        Self { batches, rows }
    }
}

impl IngestAnswer {
    /// As JSON, for metadata.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("two numbers write to memory")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchMetadata {
    batch_id: String,
}

/// The name of a batch in its metadata, where it has any.
pub(crate) fn batch_id(metadata: &[u8]) -> Result<Option<String>> {
    if metadata.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice::<BatchMetadata>(metadata) {
        Ok(metadata) => Ok(Some(metadata.batch_id)),
        Err(error) => Err(ApiError::invalid(format!(
            "The metadata of a batch is JSON of the form {{\"batch_id\": \"NAME\"}}: {error}"
        ))),
    }
}
