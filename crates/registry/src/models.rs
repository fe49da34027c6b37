//! Registered models.

use std::hash::Hash;

use runlake_engine::View;
use runlake_types::rows::{
    ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelAlias, RegisteredModelTag, RegistryAction,
    RegistryEvent, Row,
};
use runlake_types::{Key, KeyBuilder, TableId, WriteBatch};
use rustc_hash::FxHashMap;
use serde_json::json;

use crate::approvals;
use crate::events::Told;
use crate::notices::{self, told_tags};
use crate::{Acting, CreateModel, Error, ModelInfo, Registry, Result, VersionInfo, names};

impl Registry {
    /// A registered model by name.
    pub async fn get_model(&self, name: &str) -> Result<ModelInfo> {
        names::model(name)?;
        let view = self.view();
        let model = model_row(&view, name).await?;
        model_info(&view, model).await
    }
}

impl Acting<'_> {
    /// Makes a registered model, or a prompt if its tags say so.
    pub async fn create_model(&self, request: CreateModel) -> Result<ModelInfo> {
        let CreateModel { name, description, tags } = request;
        names::model(&name)?;
        let tags = names::tags(&tags)?;
        let _lock = self.registry.lock([&name]).await;
        let view = self.registry.view();
        if view.get::<RegisteredModel>(&key_of(&name)).await?.is_some() {
            let taken = model_tags(&view, &name).await?;
            return Err(taken_by(&name, names::is_prompt(&tags), names::is_prompt(&taken)));
        }
        let now = self.now();
        let model = RegisteredModel {
            name: name.clone(),
            description: description.filter(|text| !text.is_empty()),
            last_version: 0,
            creation_time: now,
            last_update_time: now,
        };
        let mut batch = WriteBatch::default();
        batch.put(&model);
        for (key, value) in &tags {
            batch.put(&RegisteredModelTag { name: name.clone(), key: key.clone(), value: value.clone() });
        }
        self.tell(&mut batch, &name, RegistryAction::ModelCreated, Told::default());
        self.notify_of(
            &mut batch,
            names::is_prompt(&tags),
            notices::CREATED,
            || json!({"name": name, "tags": told_tags(&tags), "description": model.description}),
        );
        self.write(batch).await?;
        Ok(ModelInfo { model, tags, aliases: Vec::new(), latest_versions: Vec::new() })
    }

    /// Changes the description of a registered model; none clears it.
    pub async fn update_model(&self, name: &str, description: Option<&str>) -> Result<ModelInfo> {
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let mut model = model_row(&view, name).await?;
        let description = description.filter(|text| !text.is_empty()).map(str::to_owned);
        let old = std::mem::replace(&mut model.description, description.clone());
        model.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&model);
        self.tell(&mut batch, name, RegistryAction::ModelUpdated, Told { old, new: description, ..Told::default() });
        self.write(batch).await?;
        model_info(&self.registry.view(), model).await
    }

    /// Gives a registered model another name. Its versions, tags and aliases stay with it.
    pub async fn rename_model(&self, name: &str, new_name: &str) -> Result<ModelInfo> {
        names::model(new_name)?;
        let _locks = self.registry.lock([name, new_name]).await;
        let view = self.registry.view();
        let model = model_row(&view, name).await?;
        if name == new_name {
            return model_info(&view, model).await;
        }
        approvals::check_unprotected(&view, name, "renamed").await?;
        if view.get::<RegisteredModel>(&key_of(new_name)).await?.is_some() {
            return Err(Error::AlreadyExists(format!("Registered Model (name={new_name}) already exists.")));
        }
        let now = self.now();
        let mut batch = WriteBatch::default();
        let key = key_of(name);
        let model = RegisteredModel { name: new_name.to_owned(), last_update_time: now, ..model };
        batch.delete(TableId::RegisteredModels, key.clone()).put(&model);
        for row in view.scan::<RegisteredModelTag>(&key).await? {
            batch.delete(TableId::RegisteredModelTags, row.key());
            batch.put(&RegisteredModelTag { name: new_name.to_owned(), ..row });
        }
        for row in view.scan::<RegisteredModelAlias>(&key).await? {
            batch.delete(TableId::RegisteredModelAliases, row.key());
            batch.put(&RegisteredModelAlias { name: new_name.to_owned(), ..row });
        }
        for row in view.scan::<ModelVersion>(&key).await? {
            batch.delete(TableId::ModelVersions, row.key());
            batch.put(&ModelVersion { name: new_name.to_owned(), last_update_time: now, ..row });
        }
        for row in view.scan::<ModelVersionTag>(&key).await? {
            batch.delete(TableId::ModelVersionTags, row.key());
            batch.put(&ModelVersionTag { name: new_name.to_owned(), ..row });
        }
        approvals::rename(&view, &mut batch, name, new_name).await?;
        let told = Told { old: Some(name.to_owned()), new: Some(new_name.to_owned()), ..Told::default() };
        let event = self.event(name, RegistryAction::ModelRenamed, told);
        // One event, found under both names.
        batch.put(&event).put(&RegistryEvent { name: new_name.to_owned(), ..event });
        self.write(batch).await?;
        model_info(&self.registry.view(), model).await
    }

    /// Deletes a registered model with its versions, tags and aliases. Its history stays.
    pub async fn delete_model(&self, name: &str) -> Result<()> {
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        approvals::check_unprotected(&view, name, "deleted").await?;
        let key = key_of(name);
        let mut batch = WriteBatch::default();
        batch.delete(TableId::RegisteredModels, key.clone());
        for row in view.scan::<RegisteredModelTag>(&key).await? {
            batch.delete(TableId::RegisteredModelTags, row.key());
        }
        for row in view.scan::<RegisteredModelAlias>(&key).await? {
            batch.delete(TableId::RegisteredModelAliases, row.key());
        }
        for row in view.scan::<ModelVersion>(&key).await? {
            batch.delete(TableId::ModelVersions, row.key());
        }
        for row in view.scan::<ModelVersionTag>(&key).await? {
            batch.delete(TableId::ModelVersionTags, row.key());
        }
        approvals::forget(&view, &mut batch, name).await?;
        self.tell(&mut batch, name, RegistryAction::ModelDeleted, Told::default());
        self.write(batch).await
    }
}

/// Key of the model of that name, and what the keys of all that hangs on it start with.
pub(crate) fn key_of(name: &str) -> Key {
    KeyBuilder::default().text(name).build()
}

pub(crate) async fn model_row(view: &View, name: &str) -> Result<RegisteredModel> {
    let model = view.get::<RegisteredModel>(&key_of(name)).await?;
    model.ok_or_else(|| Error::not_found(format!("Registered Model with name={name} not found")))
}

pub(crate) async fn model_tags(view: &View, name: &str) -> Result<Vec<(String, String)>> {
    let rows = view.scan::<RegisteredModelTag>(&key_of(name)).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
}

pub(crate) async fn model_info(view: &View, model: RegisteredModel) -> Result<ModelInfo> {
    let tags = model_tags(view, &model.name).await?;
    let mut infos = model_infos(view, vec![(model, tags)]).await?;
    infos.pop().ok_or_else(|| Error::not_found("the model is gone"))
}

/// Models, whose tags are known, with all that hangs on them, in the order given. Each table is read once for all.
pub(crate) async fn model_infos(
    view: &View,
    models: Vec<(RegisteredModel, Vec<(String, String)>)>,
) -> Result<Vec<ModelInfo>> {
    let keys = ascending(models.iter().map(|(model, _)| key_of(&model.name)));
    let mut versions = grouped(view.scan_all::<ModelVersion>(&keys).await?, |row| (row.name.clone(), row));
    let mut aliases =
        grouped(view.scan_all::<RegisteredModelAlias>(&keys).await?, |row| (row.name, (row.alias, row.version)));
    let latest: Vec<Vec<ModelVersion>> =
        models.iter().map(|(model, _)| latest_by_stage(versions.remove(&model.name).unwrap_or_default())).collect();
    let keys = ascending(latest.iter().flatten().map(Row::key));
    let mut version_tags =
        grouped(view.scan_all::<ModelVersionTag>(&keys).await?, |row| ((row.name, row.version), (row.key, row.value)));
    let infos = models.into_iter().zip(latest).map(|((model, tags), latest)| {
        let aliases = aliases.remove(&model.name).unwrap_or_default();
        let latest_versions = latest.into_iter().map(|version| {
            let tags = version_tags.remove(&(version.name.clone(), version.version)).unwrap_or_default();
            VersionInfo { tags, aliases: aliases_of(version.version, &aliases), version }
        });
        ModelInfo { latest_versions: latest_versions.collect(), model, tags, aliases }
    });
    Ok(infos.collect())
}

pub(crate) async fn with_tags(view: &View, version: ModelVersion, aliases: &[(String, i64)]) -> Result<VersionInfo> {
    let rows = view.scan::<ModelVersionTag>(&version.key()).await?;
    let tags = rows.into_iter().map(|row| (row.key, row.value)).collect();
    Ok(VersionInfo { tags, aliases: aliases_of(version.version, aliases), version })
}

fn aliases_of(version: i64, aliases: &[(String, i64)]) -> Vec<String> {
    aliases.iter().filter(|(_, of)| *of == version).map(|(alias, _)| alias.clone()).collect()
}

fn ascending(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Rows by what they belong to.
pub(crate) fn grouped<R, K: Hash + Eq, V>(rows: Vec<R>, split: impl Fn(R) -> (K, V)) -> FxHashMap<K, Vec<V>> {
    let mut groups: FxHashMap<K, Vec<V>> = FxHashMap::default();
    for row in rows {
        let (key, value) = split(row);
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// The highest version of each stage, by rising number; `versions` ascend.
pub(crate) fn latest_by_stage(versions: Vec<ModelVersion>) -> Vec<ModelVersion> {
    let mut latest: Vec<ModelVersion> = Vec::new();
    for version in versions.into_iter().rev() {
        if !latest.iter().any(|found| found.current_stage == version.current_stage) {
            latest.push(version);
        }
    }
    latest.reverse();
    latest
}

/// Models and prompts share their names; the message says whose it is.
fn taken_by(name: &str, wanted_prompt: bool, is_prompt: bool) -> Error {
    let kind = |prompt: bool| if prompt { "prompt" } else { "registered model" };
    Error::AlreadyExists(match (wanted_prompt, is_prompt) {
        (true, true) => format!("Prompt (name={name}) already exists."),
        (false, false) => format!("Registered Model (name={name}) already exists."),
        _ => format!(
            "Tried to create a {} with name '{name}', but the name is already taken by a {}. MLflow does not allow \
             creating a model and a prompt with the same name.",
            kind(wanted_prompt),
            kind(is_prompt)
        ),
    })
}
