//! Stages of model versions.

use runlake_engine::View;
use runlake_types::WriteBatch;
use runlake_types::rows::{ModelVersion, RegisteredModel, RegistryAction, Stage};

use crate::approvals::{self, Change};
use crate::events::Told;
use crate::models::{key_of, model_row};
use crate::versions::{version_info, version_row};
use crate::{Acting, Error, Result, VersionInfo, names};

/// Refuses to archive the other versions of a stage that is not one in use; `written` is what the caller called it.
pub(crate) fn check_archiving(stage: Stage, written: &str) -> Result<()> {
    if matches!(stage, Stage::Staging | Stage::Production) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Model version transition cannot archive existing model versions because '{written}' is not an Active stage. \
         Valid stages are ['Staging', 'Production']"
    )))
}

impl Acting<'_> {
    /// Brings a version to a stage. With `archive_existing` the other versions in that stage, which must be Staging or
    /// Production, go to Archived at the same moment.
    pub async fn transition(
        &self,
        name: &str,
        version: &str,
        stage: &str,
        archive_existing: bool,
    ) -> Result<VersionInfo> {
        let target = names::stage(stage)?;
        if archive_existing {
            check_archiving(target, stage)?;
        }
        let number = names::version(version)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let version = version_row(&view, name, number).await?;
        approvals::check(&view, name, &Change::Transition { stage: target, archive_existing }, number).await?;
        let mut batch = WriteBatch::default();
        let version = self.plan_transition(&view, &mut batch, version, target, archive_existing, None).await?;
        self.write(batch).await?;
        version_info(&self.registry.view(), version).await
    }

    /// The rows of a transition.
    pub(crate) async fn plan_transition(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        mut version: ModelVersion,
        target: Stage,
        archive_existing: bool,
        comment: Option<&str>,
    ) -> Result<ModelVersion> {
        let (name, now) = (version.name.clone(), self.now());
        batch.put(&RegisteredModel { last_update_time: now, ..model_row(view, &name).await? });
        let mut change = |version: &mut ModelVersion, stage: Stage| {
            let old = std::mem::replace(&mut version.current_stage, stage);
            version.last_update_time = now;
            batch.put(&*version);
            if old != stage {
                let told = Told {
                    version: Some(version.version),
                    old: Some(old.to_string()),
                    new: Some(stage.to_string()),
                    comment: comment.map(str::to_owned),
                    ..Told::default()
                };
                self.tell(batch, &name, RegistryAction::StageChanged, told);
            }
        };
        if archive_existing {
            for mut other in view.scan::<ModelVersion>(&key_of(&name)).await? {
                if other.current_stage == target && other.version != version.version {
                    change(&mut other, Stage::Archived);
                }
            }
        }
        change(&mut version, target);
        Ok(version)
    }
}
