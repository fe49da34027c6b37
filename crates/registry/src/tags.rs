//! Tags of registered models and of their versions.

use runlake_types::rows::{ModelVersionTag, RegisteredModelTag, RegistryAction, Row as _};
use runlake_types::{TableId, WriteBatch};
use serde_json::json;

use crate::events::Told;
use crate::models::model_row;
use crate::notices;
use crate::versions::{tag_row, version_row};
use crate::{Acting, Result, names};

impl Acting<'_> {
    /// Sets a tag of a registered model.
    pub async fn set_model_tag(&self, name: &str, key: &str, value: &str) -> Result<()> {
        names::tag(key, value)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        let tag = RegisteredModelTag { name: name.to_owned(), key: key.to_owned(), value: value.to_owned() };
        let old = view.get::<RegisteredModelTag>(&tag.key()).await?.map(|tag| tag.value);
        let mut batch = WriteBatch::default();
        batch.put(&tag);
        self.tell(&mut batch, name, RegistryAction::ModelTagSet, changed(None, key, old, Some(value)));
        let told = || json!({"name": name, "key": key, "value": value});
        self.notify(&view, &mut batch, name, notices::TAG_SET, told).await?;
        self.write(batch).await
    }

    /// Deletes a tag of a registered model; one that is not there is fine.
    pub async fn delete_model_tag(&self, name: &str, key: &str) -> Result<()> {
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        let row = RegisteredModelTag { name: name.to_owned(), key: key.to_owned(), value: String::new() }.key();
        let Some(tag) = view.get::<RegisteredModelTag>(&row).await? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete(TableId::RegisteredModelTags, row);
        self.tell(&mut batch, name, RegistryAction::ModelTagDeleted, changed(None, key, Some(tag.value), None));
        let told = || json!({"name": name, "key": key});
        self.notify(&view, &mut batch, name, notices::TAG_DELETED, told).await?;
        self.write(batch).await
    }

    /// Sets a tag of a version.
    pub async fn set_version_tag(&self, name: &str, version: &str, key: &str, value: &str) -> Result<()> {
        let number = names::version(version)?;
        names::tag(key, value)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let version = version_row(&view, name, number).await?;
        let tag = tag_row(&version, key, value);
        let old = view.get::<ModelVersionTag>(&tag.key()).await?.map(|tag| tag.value);
        let mut batch = WriteBatch::default();
        batch.put(&tag);
        self.tell(&mut batch, name, RegistryAction::VersionTagSet, changed(Some(number), key, old, Some(value)));
        let told = || json!({"name": name, "version": number.to_string(), "key": key, "value": value});
        self.notify(&view, &mut batch, name, notices::VERSION_TAG_SET, told).await?;
        self.write(batch).await
    }

    /// Deletes a tag of a version; one that is not there is fine.
    pub async fn delete_version_tag(&self, name: &str, version: &str, key: &str) -> Result<()> {
        let number = names::version(version)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let version = version_row(&view, name, number).await?;
        let row = tag_row(&version, key, "").key();
        let Some(tag) = view.get::<ModelVersionTag>(&row).await? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete(TableId::ModelVersionTags, row);
        let told = changed(Some(number), key, Some(tag.value), None);
        self.tell(&mut batch, name, RegistryAction::VersionTagDeleted, told);
        let told = || json!({"name": name, "version": number.to_string(), "key": key});
        self.notify(&view, &mut batch, name, notices::VERSION_TAG_DELETED, told).await?;
        self.write(batch).await
    }
}

fn changed(version: Option<i64>, key: &str, old: Option<String>, new: Option<&str>) -> Told {
    Told { version, subject: Some(key.to_owned()), old, new: new.map(str::to_owned), comment: None }
}
