//! Versions of registered models.

use runlake_engine::View;
use runlake_types::rows::{
    LoggedModelTag, ModelVersion, ModelVersionTag, RegisteredModelAlias, RegistryAction, Row as _, Stage, VersionStatus,
};
use runlake_types::{Key, KeyBuilder, ModelId, TableId, WriteBatch};
use serde_json::{Value, json};

use crate::approvals;
use crate::events::Told;
use crate::models::{key_of, latest_by_stage, model_row, with_tags};
use crate::notices::{self, told_tags};
use crate::source::Origin;
use crate::{Acting, CreateVersion, Error, Registry, Result, VersionInfo, names};

/// Tag of a logged model: the versions that were made of it, as JSON. MLflow's web app reads it.
pub const VERSIONS_TAG: &str = "mlflow.modelVersions";
/// Entries of that tag.
const VERSIONS_TOLD: usize = 100;

impl Registry {
    /// A version by the name of its model and its number, as the caller wrote it.
    pub async fn get_version(&self, name: &str, version: &str) -> Result<VersionInfo> {
        let number = names::version(version)?;
        let view = self.view();
        let version = version_row(&view, name, number).await?;
        version_info(&view, version).await
    }

    /// The latest version of each of the stages (of every stage, if none is named), by rising number.
    pub async fn latest_versions<S: AsRef<str>>(&self, name: &str, stages: &[S]) -> Result<Vec<VersionInfo>> {
        let view = self.view();
        model_row(&view, name).await?;
        let stages = stages.iter().map(|stage| names::stage(stage.as_ref())).collect::<Result<Vec<_>>>()?;
        let mut latest = latest_by_stage(view.scan::<ModelVersion>(&key_of(name)).await?);
        latest.retain(|version| stages.is_empty() || stages.contains(&version.current_stage));
        let mut infos = Vec::with_capacity(latest.len());
        for version in latest {
            infos.push(version_info(&view, version).await?);
        }
        Ok(infos)
    }
}

impl Acting<'_> {
    /// Makes the next version of a registered model, ready for use.
    pub async fn create_version(&self, request: CreateVersion) -> Result<VersionInfo> {
        let CreateVersion { name, source, run_id, model_id, run_link, description, tags } = request;
        names::model(&name)?;
        names::prompt_text(&tags)?;
        let tags = names::tags(&tags)?;
        let is_prompt = names::is_prompt(&tags);
        let origin = self.registry.origin(&source, run_id, model_id, is_prompt).await?;
        let _lock = self.registry.lock([name.as_str()]).await;
        let _tag = match &origin.model_id {
            Some(model_id) => Some(self.registry.inner.tracking.lock_model(model_id).await),
            None => None,
        };
        let view = self.registry.view();
        let mut model = model_row(&view, &name).await?;
        let now = self.now();
        model.last_version += 1;
        model.last_update_time = now;
        let version = ModelVersion {
            name: name.clone(),
            version: model.last_version,
            experiment_id: origin.experiment_id,
            run_id: origin.run_id.clone(),
            model_id: origin.model_id.clone(),
            source: origin.source.clone(),
            storage_location: origin.storage_location.clone(),
            run_link: run_link.filter(|link| !link.is_empty()),
            status: VersionStatus::Ready,
            status_message: None,
            current_stage: Stage::None,
            user_id: self.actor.map(str::to_owned),
            description: Some(description.unwrap_or_default()),
            creation_time: now,
            last_update_time: now,
        };
        let mut batch = WriteBatch::default();
        batch.put(&model).put(&version);
        for (key, value) in &tags {
            batch.put(&tag_row(&version, key, value));
        }
        self.note_at_model(&view, &mut batch, &version, &origin).await?;
        let told = Told { version: Some(version.version), new: Some(version.source.clone()), ..Told::default() };
        self.tell(&mut batch, &name, RegistryAction::VersionCreated, told);
        self.notify_of(&mut batch, is_prompt, notices::VERSION_CREATED, || created(&version, &tags, is_prompt));
        self.write(batch).await?;
        Ok(VersionInfo { version, tags, aliases: Vec::new() })
    }

    /// Enters the version in the tag that its logged model has for that.
    async fn note_at_model(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        version: &ModelVersion,
        origin: &Origin,
    ) -> Result<()> {
        let (Some(model_id), Some(experiment_id)) = (&origin.model_id, origin.model_experiment_id) else {
            return Ok(());
        };
        let model_id = ModelId::from_stored(model_id);
        let key = KeyBuilder::default().text(model_id.as_str()).text(VERSIONS_TAG).build();
        let tag = view.get::<LoggedModelTag>(&key).await?;
        // Clients write there as well: whatever they wrote stays, and what is no list is not worth failing for.
        let mut versions: Vec<Value> = tag.and_then(|tag| serde_json::from_str(&tag.value).ok()).unwrap_or_default();
        versions.push(json!({"name": version.name, "version": version.version}));
        // The newest: a tag is not the place for thousands.
        versions.drain(..versions.len().saturating_sub(VERSIONS_TOLD));
        let value = Value::from(versions).to_string();
        batch.put(&LoggedModelTag { model_id, key: VERSIONS_TAG.into(), experiment_id, value });
        Ok(())
    }

    /// Changes the description of a version; none clears it.
    pub async fn update_version(&self, name: &str, version: &str, description: Option<&str>) -> Result<VersionInfo> {
        let number = names::version(version)?;
        let _lock = self.registry.lock([name]).await;
        let mut version = version_row(&self.registry.view(), name, number).await?;
        let description = description.map(str::to_owned);
        let old = std::mem::replace(&mut version.description, description.clone());
        version.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&version);
        let told = Told { version: Some(number), old, new: description, ..Told::default() };
        self.tell(&mut batch, name, RegistryAction::VersionUpdated, told);
        self.write(batch).await?;
        version_info(&self.registry.view(), version).await
    }

    /// Deletes a version, its tags and the aliases that mean it. Its number is not used again.
    pub async fn delete_version(&self, name: &str, version: &str) -> Result<()> {
        let number = names::version(version)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let version = version_row(&view, name, number).await?;
        approvals::check_deletion(&view, &version).await?;
        let mut model = model_row(&view, name).await?;
        model.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&model).delete(TableId::ModelVersions, version.key());
        for row in view.scan::<ModelVersionTag>(&version.key()).await? {
            batch.delete(TableId::ModelVersionTags, row.key());
        }
        for row in view.scan::<RegisteredModelAlias>(&key_of(name)).await? {
            if row.version == number {
                batch.delete(TableId::RegisteredModelAliases, row.key());
                self.notify(
                    &view,
                    &mut batch,
                    name,
                    notices::ALIAS_DELETED,
                    || json!({"name": name, "alias": row.alias}),
                )
                .await?;
                self.tell(
                    &mut batch,
                    name,
                    RegistryAction::AliasDeleted,
                    Told {
                        version: Some(number),
                        subject: Some(row.alias),
                        old: Some(number.to_string()),
                        ..Told::default()
                    },
                );
            }
        }
        let told = Told { version: Some(number), old: Some(version.current_stage.to_string()), ..Told::default() };
        self.tell(&mut batch, name, RegistryAction::VersionDeleted, told);
        self.write(batch).await
    }
}

/// What a message tells of a new version.
fn created(version: &ModelVersion, tags: &[(String, String)], is_prompt: bool) -> Value {
    let mut data = json!({
        "name": version.name,
        "version": version.version.to_string(),
        "tags": told_tags(tags),
        "description": version.description.as_deref().filter(|text| !text.is_empty()),
    });
    if is_prompt {
        data["template"] = tags.iter().find(|(key, _)| key == names::PROMPT_TEXT).map(|(_, text)| text.as_str()).into();
        if let Some(tags) = data["tags"].as_object_mut() {
            tags.remove(names::PROMPT_TEXT);
        }
    } else {
        data["source"] = version.source.as_str().into();
        data["run_id"] = version.run_id.as_deref().into();
    }
    data
}

pub(crate) fn version_key(name: &str, version: i64) -> Key {
    KeyBuilder::default().text(name).int(version).build()
}

pub(crate) async fn version_row(view: &View, name: &str, version: i64) -> Result<ModelVersion> {
    let row = view.get::<ModelVersion>(&version_key(name, version)).await?;
    row.ok_or_else(|| Error::not_found(format!("Model Version (name={name}, version={version}) not found")))
}

pub(crate) async fn version_info(view: &View, version: ModelVersion) -> Result<VersionInfo> {
    let aliases = view.scan::<RegisteredModelAlias>(&key_of(&version.name)).await?;
    let aliases: Vec<(String, i64)> = aliases.into_iter().map(|row| (row.alias, row.version)).collect();
    with_tags(view, version, &aliases).await
}

pub(crate) fn tag_row(version: &ModelVersion, key: &str, value: &str) -> ModelVersionTag {
    ModelVersionTag {
        name: version.name.clone(),
        version: version.version,
        key: key.to_owned(),
        value: value.to_owned(),
    }
}
