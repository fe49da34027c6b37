//! Aliases: names that mean a version of a registered model, and can be moved to another one.

use runlake_engine::View;
use runlake_types::rows::{ModelVersion, RegisteredModelAlias, RegistryAction, Row as _};
use runlake_types::{Key, KeyBuilder, TableId, WriteBatch};
use serde_json::json;

use crate::approvals::{self, Change};
use crate::events::Told;
use crate::models::{key_of, model_row};
use crate::notices;
use crate::versions::{version_info, version_row};
use crate::{Acting, Error, Registry, Result, VersionInfo, names};

impl Registry {
    /// The version that an alias means; `latest`, in any case, always means the highest one.
    pub async fn version_by_alias(&self, name: &str, alias: &str) -> Result<VersionInfo> {
        names::alias(alias)?;
        let view = self.view();
        model_row(&view, name).await?;
        if names::is_latest(alias) {
            let highest = view.scan::<ModelVersion>(&key_of(name)).await?.pop();
            let highest =
                highest.ok_or_else(|| Error::not_found(format!("Latest version not found for model {name}.")))?;
            return version_info(&view, highest).await;
        }
        let row = view.get::<RegisteredModelAlias>(&alias_key(name, alias)).await?;
        let row = row.ok_or_else(|| Error::invalid(format!("Registered model alias {alias} not found.")))?;
        let version = version_row(&view, name, row.version).await?;
        version_info(&view, version).await
    }
}

impl Acting<'_> {
    /// Gives an alias to a version; it may have meant another one before.
    pub async fn set_alias(&self, name: &str, alias: &str, version: &str) -> Result<()> {
        names::new_alias(alias)?;
        let number = names::version(version)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let mut batch = WriteBatch::default();
        self.plan_alias(&view, &mut batch, name, alias, number, None).await?;
        if !batch.is_empty() {
            approvals::check(&view, name, &Change::SetAlias { alias: alias.to_owned() }, number).await?;
        }
        self.write(batch).await
    }

    /// The rows that give an alias to a version: none if it means that one already.
    pub(crate) async fn plan_alias(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        name: &str,
        alias: &str,
        number: i64,
        comment: Option<&str>,
    ) -> Result<()> {
        version_row(view, name, number).await?;
        let before = view.get::<RegisteredModelAlias>(&alias_key(name, alias)).await?.map(|row| row.version);
        if before == Some(number) {
            return Ok(());
        }
        batch.put(&RegisteredModelAlias { name: name.to_owned(), alias: alias.to_owned(), version: number });
        let told = Told {
            version: Some(number),
            subject: Some(alias.to_owned()),
            old: before.map(|version| version.to_string()),
            new: Some(number.to_string()),
            comment: comment.map(str::to_owned),
        };
        self.tell(batch, name, RegistryAction::AliasSet, told);
        let told = || json!({"name": name, "alias": alias, "version": number.to_string()});
        self.notify(view, batch, name, notices::ALIAS_CREATED, told).await
    }

    /// Takes an alias away; one that is not there is fine.
    pub async fn delete_alias(&self, name: &str, alias: &str) -> Result<()> {
        names::alias(alias)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        let mut batch = WriteBatch::default();
        if let Some(number) = self.plan_alias_removal(&view, &mut batch, name, alias, None).await? {
            approvals::check(&view, name, &Change::DeleteAlias { alias: alias.to_owned() }, number).await?;
        }
        self.write(batch).await
    }

    /// The rows that take an alias away, and the version it means; nothing if there is no such alias.
    pub(crate) async fn plan_alias_removal(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        name: &str,
        alias: &str,
        comment: Option<&str>,
    ) -> Result<Option<i64>> {
        let Some(row) = view.get::<RegisteredModelAlias>(&alias_key(name, alias)).await? else { return Ok(None) };
        batch.delete(TableId::RegisteredModelAliases, row.key());
        let told = Told {
            version: Some(row.version),
            subject: Some(row.alias),
            old: Some(row.version.to_string()),
            comment: comment.map(str::to_owned),
            ..Told::default()
        };
        self.tell(batch, name, RegistryAction::AliasDeleted, told);
        let told = || json!({"name": name, "alias": alias});
        self.notify(view, batch, name, notices::ALIAS_DELETED, told).await?;
        Ok(Some(row.version))
    }
}

fn alias_key(name: &str, alias: &str) -> Key {
    KeyBuilder::default().text(name).text(alias).build()
}
