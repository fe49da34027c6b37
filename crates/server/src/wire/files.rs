//! Artifacts: listings, presigned URLs, multipart uploads.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Fields;
use crate::error::Result;

/// Answer of the listings.
#[derive(Debug, Serialize)]
pub(crate) struct FilesAnswer {
    /// Where the listed run's or model's artifacts are; absent when the server's own folder is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileAnswer>,
}

/// A file or folder; folders have no size.
#[derive(Debug, Serialize)]
pub(crate) struct FileAnswer {
    pub(crate) path: String,
    pub(crate) is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_size: Option<u64>,
}

/// Answer of `mlflow-artifacts/presigned/…`.
#[derive(Debug, Serialize)]
pub(crate) struct PresignedAnswer {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_size: Option<u64>,
}

/// Answer of `artifacts/presigned-download-url` and `artifacts/presigned-upload-url`.
#[derive(Debug, Serialize)]
pub(crate) struct PresignedUrlAnswer {
    pub(crate) presigned_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_size: Option<u64>,
}

/// A request for a presigned URL of a run's or model's artifact.
#[derive(Debug)]
pub(crate) struct PresignedUrl {
    pub(crate) run_id: Option<String>,
    pub(crate) model_id: Option<String>,
    pub(crate) path: String,
    /// Seconds the URL is good for.
    pub(crate) expiration: Option<i64>,
}

impl Fields {
    /// `artifacts/presigned-download-url` and `artifacts/presigned-upload-url`.
    pub(crate) fn presigned_url(&self) -> Result<PresignedUrl> {
        Ok(PresignedUrl {
            run_id: super::optional_text(self, "run_id")?,
            model_id: super::optional_text(self, "model_id")?,
            path: self.required_text("path")?,
            expiration: self.int("expiration")?,
        })
    }
}

/// Answer of `mlflow-artifacts/mpu/create/…`: where to send each part.
#[derive(Debug, Serialize)]
pub(crate) struct MultipartAnswer {
    pub(crate) upload_id: String,
    pub(crate) credentials: Vec<PartAnswer>,
}

/// Where to send one part, by PUT.
#[derive(Debug, Serialize)]
pub(crate) struct PartAnswer {
    pub(crate) url: String,
    pub(crate) part_number: i64,
    pub(crate) headers: BTreeMap<String, String>,
}
