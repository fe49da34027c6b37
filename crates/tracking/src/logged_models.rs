//! Logged models of MLflow 3.
//!
//! A model is read, changed and written back under a lock of its own, held until the write is visible; models share few
//! locks by their id.

use std::collections::BTreeMap;

use runlake_engine::View;
use runlake_types::rows::{Lifecycle, LoggedModel, LoggedModelMetric, LoggedModelParam, LoggedModelTag, Row as _};
use runlake_types::{ExperimentId, KeyBuilder, ModelId, TableId, WriteBatch, limits};
use rustc_hash::FxHashSet;
use tokio::sync::MutexGuard;

use crate::inputs::known_ids;
use crate::search::{ModelFilter, ModelOrder, TokenScope};
use crate::{
    CreateLoggedModel, Error, LoggedModelInfo, LoggedModelStatus, Page, Result, SearchLoggedModels, Tracking, names,
    uri, validate,
};

/// Models of a page when the caller does not say.
const PAGE_MODELS: usize = 100;

impl Tracking {
    /// Makes a logged model, pending.
    pub async fn create_logged_model(&self, request: CreateLoggedModel) -> Result<LoggedModelInfo> {
        let name = request.name.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            validate::logged_model_name(name)?;
        }
        check_once(&request.params)?;
        let (home, _gate) = self.home(&request.experiment_id).await?;
        let model_id = ModelId::generate();
        let now = self.now();
        let model = LoggedModel {
            artifact_uri: uri::below(&home.experiment.artifact_location, &["models", model_id.as_str(), "artifacts"]),
            model_id,
            experiment_id: home.experiment.experiment_id,
            source_run_id: request.source_run_id.filter(|run_id| !run_id.is_empty()),
            name: name.unwrap_or_else(names::random),
            model_type: request.model_type.filter(|kind| !kind.is_empty()),
            status: LoggedModelStatus::Pending.number(),
            status_message: None,
            lifecycle_stage: Lifecycle::Active,
            creation_time: now,
            last_update_time: now,
        };
        let mut batch = WriteBatch::default();
        batch.put(&model);
        for (key, value) in &request.params {
            batch.put(&param_row(&model, key, value));
        }
        for (key, value) in &request.tags {
            batch.put(&tag_row(&model, key, value));
        }
        self.inner.engine.write(batch).await?;
        self.info(&self.inner.engine.view(), model).await
    }

    /// A logged model by id.
    pub async fn get_logged_model(&self, model_id: &str, allow_deleted: bool) -> Result<LoggedModelInfo> {
        let view = self.inner.engine.view();
        let model = self.model_row(&view, model_id, allow_deleted).await?;
        self.info(&view, model).await
    }

    /// Ends the upload of a logged model: ready or failed.
    pub async fn finalize_logged_model(&self, model_id: &str, status: LoggedModelStatus) -> Result<LoggedModelInfo> {
        let model = self.change_model(model_id, |model| model.status = status.number()).await?;
        self.info(&self.inner.engine.view(), model).await
    }

    /// Soft-deletes a logged model; a deleted one stays so.
    pub async fn delete_logged_model(&self, model_id: &str) -> Result<()> {
        self.change_model(model_id, |model| model.lifecycle_stage = Lifecycle::Deleted).await?;
        Ok(())
    }

    /// Sets tags of a logged model, deleted ones too.
    pub async fn set_logged_model_tags(&self, model_id: &str, tags: &[(String, String)]) -> Result<()> {
        let model = self.model_row(&self.inner.engine.view(), model_id, true).await?;
        let mut batch = WriteBatch::default();
        for (key, value) in tags {
            batch.put(&tag_row(&model, key, value));
        }
        self.write(batch).await
    }

    /// Deletes a tag of a logged model.
    pub async fn delete_logged_model_tag(&self, model_id: &str, key: &str) -> Result<()> {
        let _lock = self.lock_model(model_id).await;
        let view = self.inner.engine.view();
        let model = self.model_row(&view, model_id, true).await?;
        let row = tag_row(&model, key, "").key();
        if view.get::<LoggedModelTag>(&row).await?.is_none() {
            return Err(Error::not_found(format!(
                "No tag with key {} found for model with ID '{model_id}'.",
                crate::text::quoted(key)
            )));
        }
        let mut batch = WriteBatch::default();
        batch.delete(TableId::LoggedModelTags, row);
        self.write(batch).await
    }

    /// Adds params of a logged model. Like params of runs they are written once: the same value again is fine.
    pub async fn log_logged_model_params(&self, model_id: &str, params: &[(String, String)]) -> Result<()> {
        check_once(params)?;
        let _lock = self.lock_model(model_id).await;
        let view = self.inner.engine.view();
        let model = self.model_row(&view, model_id, true).await?;
        let mut batch = WriteBatch::default();
        for (key, value) in params {
            let row = param_row(&model, key, value);
            match view.get::<LoggedModelParam>(&row.key()).await? {
                Some(old) if old.value != *value => {
                    return Err(Error::invalid(format!(
                        "Changing param values is not allowed. Param with key='{key}' was already logged with \
                         value='{}' for model ID='{model_id}'. Attempted logging new value '{value}'.",
                        old.value
                    )));
                }
                Some(_) => {}
                None => {
                    batch.put(&row);
                }
            }
        }
        self.write(batch).await
    }

    /// A page of the logged models that match.
    pub async fn search_logged_models(&self, request: &SearchLoggedModels) -> Result<Page<LoggedModelInfo>> {
        if request.datasets.iter().any(|scope| scope.dataset_name.as_deref().is_none_or(str::is_empty)) {
            return Err(Error::invalid("`dataset_name` in the `datasets` clause must be specified."));
        }
        let limit = match request.max_results.filter(|count| *count != 0) {
            None => PAGE_MODELS,
            Some(count) => validate::max_results(count, limits::SEARCH_PAGE_ROWS)?,
        };
        let filter = ModelFilter::parse(request.filter.as_deref().unwrap_or_default(), &request.datasets)?;
        let order = ModelOrder::parse(&request.order_by)?;
        let scope = TokenScope::models(request);
        let after = scope.sort_key(request.page_token.as_deref(), &order.kinds())?;
        let experiments = known_ids(&request.experiment_ids)?;
        let mut models = all_models(&self.inner.engine.view(), &experiments).await?;
        models.retain(|info| filter.matches(info));
        let (items, next) = order.page(models, after.as_ref(), limit);
        Ok(Page { items, next_page_token: next.map(|key| scope.sort_token(&key)) })
    }

    pub(crate) async fn model_row(&self, view: &View, model_id: &str, allow_deleted: bool) -> Result<LoggedModel> {
        let key = KeyBuilder::default().text(model_id).build();
        let model = view.get::<LoggedModel>(&key).await?;
        model
            .filter(|model| allow_deleted || model.lifecycle_stage == Lifecycle::Active)
            .ok_or_else(|| Error::not_found(format!("Logged model with ID '{model_id}' not found.")))
    }

    async fn info(&self, view: &View, model: LoggedModel) -> Result<LoggedModelInfo> {
        let key = KeyBuilder::default().text(model.model_id.as_str()).build();
        let params = view.scan::<LoggedModelParam>(&key).await?;
        let tags = view.scan::<LoggedModelTag>(&key).await?;
        Ok(LoggedModelInfo {
            params: params.into_iter().map(|param| (param.key, param.value)).collect(),
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            metrics: view.scan::<LoggedModelMetric>(&key).await?,
            model,
        })
    }

    async fn change_model(&self, model_id: &str, change: impl FnOnce(&mut LoggedModel)) -> Result<LoggedModel> {
        let _lock = self.lock_model(model_id).await;
        let mut model = self.model_row(&self.inner.engine.view(), model_id, true).await?;
        change(&mut model);
        model.last_update_time = self.now();
        let mut batch = WriteBatch::default();
        batch.put(&model);
        self.write(batch).await?;
        Ok(model)
    }

    async fn write(&self, batch: WriteBatch) -> Result<()> {
        if !batch.is_empty() {
            self.inner.engine.write(batch).await?;
        }
        Ok(())
    }

    /// Holds a logged model while something of it is read, decided and written: its tags are changed by others, too.
    pub async fn lock_model(&self, model_id: &str) -> MutexGuard<'_, ()> {
        use std::hash::BuildHasher as _;
        let locks = &self.inner.model_locks;
        let hash = rustc_hash::FxBuildHasher.hash_one(model_id);
        let at = usize::try_from(hash % locks.len() as u64).unwrap_or_default();
        locks[at].lock().await
    }
}

/// All active models of some experiments, with what hangs on them.
async fn all_models(view: &View, experiments: &FxHashSet<ExperimentId>) -> Result<Vec<LoggedModelInfo>> {
    let everything = KeyBuilder::default().build();
    let wanted =
        |model: &LoggedModel| model.lifecycle_stage == Lifecycle::Active && experiments.contains(&model.experiment_id);
    // Key order: the tables of what hangs on models follow the models'.
    let mut models: BTreeMap<ModelId, LoggedModelInfo> = view
        .scan::<LoggedModel>(&everything)
        .await?
        .into_iter()
        .filter(wanted)
        .map(|model| {
            let info = LoggedModelInfo { params: Vec::new(), tags: Vec::new(), metrics: Vec::new(), model };
            (info.model.model_id.clone(), info)
        })
        .collect();
    if models.is_empty() {
        return Ok(Vec::new());
    }
    for param in view.scan::<LoggedModelParam>(&everything).await? {
        if let Some(info) = models.get_mut(&param.model_id) {
            info.params.push((param.key, param.value));
        }
    }
    for tag in view.scan::<LoggedModelTag>(&everything).await? {
        if let Some(info) = models.get_mut(&tag.model_id) {
            info.tags.push((tag.key, tag.value));
        }
    }
    for metric in view.scan::<LoggedModelMetric>(&everything).await? {
        if let Some(info) = models.get_mut(&metric.model_id) {
            info.metrics.push(metric);
        }
    }
    Ok(models.into_values().collect())
}

fn check_once(params: &[(String, String)]) -> Result<()> {
    let pairs: Vec<(&str, &str)> = params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    validate::params_unique(&pairs)
}

fn param_row(model: &LoggedModel, key: &str, value: &str) -> LoggedModelParam {
    LoggedModelParam {
        model_id: model.model_id.clone(),
        key: key.to_owned(),
        experiment_id: model.experiment_id,
        value: value.to_owned(),
    }
}

fn tag_row(model: &LoggedModel, key: &str, value: &str) -> LoggedModelTag {
    LoggedModelTag {
        model_id: model.model_id.clone(),
        key: key.to_owned(),
        experiment_id: model.experiment_id,
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
