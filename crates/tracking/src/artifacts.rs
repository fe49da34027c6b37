//! Where artifacts live.

use crate::{ArtifactPlace, Result, Tracking};

impl Tracking {
    /// Where the artifacts of a run are (deleted runs too).
    pub async fn run_artifacts(&self, run_id: &str) -> Result<ArtifactPlace> {
        let run = self.run_row(&self.inner.engine.view(), run_id).await?;
        Ok(ArtifactPlace::of_uri(&run.artifact_uri))
    }

    /// Where the artifacts of a logged model are (deleted ones excepted).
    pub async fn model_artifacts(&self, model_id: &str) -> Result<ArtifactPlace> {
        let model = self.model_row(&self.inner.engine.view(), model_id, false).await?;
        Ok(ArtifactPlace::of_uri(&model.artifact_uri))
    }
}
