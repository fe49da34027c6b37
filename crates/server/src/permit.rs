//! Whether a caller may send a request: the route's rule, applied to what the request is about.
//!
//! A role for everything decides at once. Only for other callers the request is looked into, with the same readers as
//! its handler uses, so that both see the same object. What does not exist is refused like what the caller may not see.

use runlake_artifacts::ArtifactPath;
use runlake_identity::Role::{self, Viewer};
use runlake_identity::Scope;
use runlake_tracking::ingest::Rows;
use runlake_tracking::{ArtifactPlace, uri};
use runlake_types::{ErrorKind, ExperimentId};

use crate::app::App;
use crate::call::Call;
use crate::caller::Caller;
use crate::error::{ApiError, Code, Result};
use crate::rest::{Object, Rule};
use crate::wire::{Batch, Fields};

/// Lets the call in, with its caller attached, or refuses it.
pub(crate) async fn admit(call: &mut Call, rule: Rule) -> Result<()> {
    let app = call.app.clone();
    if !app.settings().demand_credentials {
        return Ok(());
    }
    let caller = match rule {
        Rule::Open => Caller::Stranger,
        Rule::SignedIn | Rule::Needs(..) => Caller::of(call.parts(), app.identity()).await?,
    };
    if let Rule::Needs(role, object) = rule
        && !caller.may_everywhere(role)
    {
        let about = About { app, role };
        let needs = match about.of(call, object).await {
            Ok(needs) => needs,
            Err(Unclear::Request(error)) => return Err(error),
            Err(Unclear::Object) => vec![(role, Scope::All)],
        };
        if needs.iter().any(|(role, scope)| !caller.may(*role, scope)) {
            return Err(denied(&caller, role, object));
        }
    }
    call.set_caller(caller);
    Ok(())
}

/// The text depends on the route alone: whether there is such a run is not for everybody to know.
fn denied(caller: &Caller, role: Role, object: Object) -> ApiError {
    let what = match object {
        Object::Everything => "everything",
        Object::RegisteredModel | Object::Renaming | Object::ModelVersion => "this registered model, or for everything",
        _ => "this experiment, or for everything",
    };
    let name = caller.name();
    ApiError::new(
        Code::PermissionDenied,
        format!("Permission denied: {name:?} needs the role {role} for {what}. An administrator can give it."),
    )
}

/// Whether a caller has a role on the whole lake.
pub(crate) fn admit_everywhere(caller: &Caller, role: Role) -> Result<()> {
    if caller.may_everywhere(role) { Ok(()) } else { Err(denied(caller, role, Object::Everything)) }
}

/// Whether a caller may write these rows: on each run and on each logged model that they are about, as for `log-batch`; and
/// on each experiment that they make runs in; and on each registered model whose answers they tell of.
pub(crate) async fn admit_rows(app: &App, caller: &Caller, rows: &Rows) -> Result<()> {
    if caller.may_everywhere(Role::Editor) {
        return Ok(());
    }
    let refusal =
        |row: usize| denied(caller, Role::Editor, Object::Batch).about(|message| format!("row {row}: {message}"));
    let is_allowed =
        |home: std::result::Result<ExperimentId, runlake_tracking::Error>| match home.map_err(Unclear::from) {
            Ok(experiment) => Ok(caller.may(Role::Editor, &Scope::Experiment(experiment))),
            Err(Unclear::Object) => Ok(false),
            Err(Unclear::Request(error)) => Err(error),
        };
    for (experiment, row) in rows.experiments() {
        if !caller.may(Role::Editor, &Scope::Experiment(*experiment)) {
            return Err(refusal(*row));
        }
    }
    for (model, row) in rows.registered() {
        let scope = model.as_ref().map_or(Scope::All, |name| Scope::RegisteredModel(name.clone()));
        if !caller.may(Role::Editor, &scope) {
            return Err(
                denied(caller, Role::Editor, Object::RegisteredModel).about(|message| format!("row {row}: {message}"))
            );
        }
    }
    for run in rows.runs() {
        if !is_allowed(app.home_of_run(run.run_id.as_str()).await)? {
            return Err(refusal(run.row));
        }
    }
    // Collected before the first await, so that the future is `Send` for callers of any lifetime.
    let models: Vec<(String, usize)> = rows.models().map(|(model, row)| (model.to_owned(), row)).collect();
    for (model, row) in models {
        if !is_allowed(app.tracking().experiment_of_model(&model).await)? {
            return Err(refusal(row));
        }
    }
    Ok(())
}

/// Why it is not known what a request is about.
enum Unclear {
    /// The request is wrong, whoever sends it.
    Request(ApiError),
    /// There is no such thing.
    Object,
}

impl From<ApiError> for Unclear {
    fn from(error: ApiError) -> Self {
        Self::Request(error)
    }
}

impl From<runlake_tracking::Error> for Unclear {
    fn from(error: runlake_tracking::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Invalid => Self::Object,
            _ => Self::Request(error.into()),
        }
    }
}

impl From<runlake_artifacts::Error> for Unclear {
    fn from(error: runlake_artifacts::Error) -> Self {
        Self::Request(error.into())
    }
}

type Needs = Vec<(Role, Scope)>;

/// Finds what a request is about.
struct About {
    app: App,
    /// The role that the route needs on it.
    role: Role,
}

impl About {
    async fn of(&self, call: &mut Call, object: Object) -> Result<Needs, Unclear> {
        let role = self.role;
        match object {
            Object::Everything => Ok(vec![(role, Scope::All)]),
            Object::Batch => {
                let body = call.peek_json().await?;
                let batch = Batch::read(&body)?;
                let mut models: Vec<String> =
                    batch.metrics.iter().filter_map(|metric| Some(metric.model_id.as_ref()?.to_string())).collect();
                models.dedup();
                self.run_and_models(&batch.run_id, role, models).await
            }
            Object::Model => self.model(&call.param("model_id")?, role).await,
            Object::Files => self.files(&ArtifactPath::parse(&call.param("path")?)?).await,
            Object::RunInQuery => {
                // As the handler reads it, which words the error.
                let run_id = call.query().text("run_uuid")?.unwrap_or_default();
                self.run(&run_id).await
            }
            other => {
                let fields = call.peek_fields().await?;
                self.of_fields(&fields, other).await
            }
        }
    }

    async fn of_fields(&self, fields: &Fields, object: Object) -> Result<Needs, Unclear> {
        let role = self.role;
        match object {
            Object::Experiment => Ok(vec![self.experiment(&fields.required_text("experiment_id")?)?]),
            Object::NewModel => {
                let request = fields.create_logged_model()?;
                let mut needs = vec![self.experiment(&request.experiment_id)?];
                if let Some(run_id) = request.source_run_id.filter(|run_id| !run_id.is_empty()) {
                    needs.extend(self.read_run(&run_id).await?);
                }
                Ok(needs)
            }
            Object::ExperimentName => {
                let name = fields.required_text("experiment_name")?;
                let info = self.app.tracking().get_experiment_by_name(&name).await?;
                Ok(vec![(role, Scope::Experiment(info.experiment.experiment_id))])
            }
            Object::Experiments => {
                let ids = fields.texts("experiment_ids")?;
                let needs = ids.iter().map(|id| self.experiment(id)).collect::<Result<Needs, _>>()?;
                Ok(self.or_everything(needs))
            }
            Object::Run => self.run(&fields.run_id()?).await,
            Object::Runs(field) => {
                let mut needs = Needs::new();
                for run_id in fields.texts(field)? {
                    needs.extend(self.run(&run_id).await?);
                }
                Ok(self.or_everything(needs))
            }
            Object::Metric => {
                let (run_id, metric) = (fields.run_id()?, fields.metric()?);
                let models = metric.model_id.into_iter().map(std::borrow::Cow::into_owned).collect();
                self.run_and_models(&run_id, role, models).await
            }
            Object::RunInputs => {
                let request = fields.log_inputs()?;
                self.run_and_models(&request.run_id, Viewer, request.models).await
            }
            Object::RunOutputs => {
                let request = fields.log_outputs()?;
                let models = request.models.into_iter().map(|(id, _)| id).collect();
                self.run_and_models(&request.run_id, role, models).await
            }
            Object::RunOrModel => {
                let request = fields.presigned_url()?;
                match (&request.run_id, &request.model_id) {
                    (Some(run_id), None) => self.run(run_id).await,
                    (None, Some(model_id)) => self.model(model_id, role).await,
                    // Neither, or both: no handler takes that.
                    _ => Err(Unclear::Object),
                }
            }
            Object::Folder => {
                let path = fields.text("path")?.filter(|path| !path.is_empty());
                let path = path.map_or_else(|| Ok(ArtifactPath::root()), |path| ArtifactPath::parse(&path))?;
                self.files(&path).await
            }
            Object::RegisteredModel => Ok(vec![(role, Scope::RegisteredModel(fields.required_text("name")?))]),
            Object::Renaming => {
                let names = [fields.required_text("name")?, fields.required_text("new_name")?];
                Ok(names.map(|name| (role, Scope::RegisteredModel(name))).to_vec())
            }
            Object::ModelVersion => self.model_version(fields).await,
            Object::Everything | Object::Batch | Object::Model | Object::Files | Object::RunInQuery => {
                Err(Unclear::Object)
            }
        }
    }

    /// A list that names nothing is about everything.
    fn or_everything(&self, needs: Needs) -> Needs {
        if needs.is_empty() { vec![(self.role, Scope::All)] } else { needs }
    }

    fn experiment(&self, id: &str) -> Result<(Role, Scope), Unclear> {
        let id = ExperimentId::parse(id).map_err(|_| Unclear::Object)?;
        Ok((self.role, Scope::Experiment(id)))
    }

    async fn run(&self, run_id: &str) -> Result<Needs, Unclear> {
        Ok(vec![(self.role, Scope::Experiment(self.app.home_of_run(run_id).await?))])
    }

    async fn model(&self, model_id: &str, role: Role) -> Result<Needs, Unclear> {
        let id = self.app.tracking().experiment_of_model(model_id).await?;
        Ok(vec![(role, Scope::Experiment(id))])
    }

    async fn run_and_models(&self, run_id: &str, on_models: Role, models: Vec<String>) -> Result<Needs, Unclear> {
        let mut needs = self.run(run_id).await?;
        for model_id in models {
            needs.extend(self.model(&model_id, on_models).await?);
        }
        Ok(needs)
    }

    /// The experiments whose files are at or below a path, or that it is below.
    async fn files(&self, path: &ArtifactPath) -> Result<Needs, Unclear> {
        let homes = self.app.tracking().artifact_roots().await?;
        let homes = homes.iter().filter_map(|(id, place)| match place {
            ArtifactPlace::Proxied(folder) => Some((*id, folder.as_str())),
            ArtifactPlace::Foreign(_) => None,
        });
        Ok(self.experiments_at(path.as_str(), homes, self.role))
    }

    /// The nearest folder that the path is in, and every folder in the path; everything if it is in none.
    fn experiments_at<'f>(
        &self,
        path: &str,
        folders: impl Iterator<Item = (ExperimentId, &'f str)>,
        role: Role,
    ) -> Needs {
        let mut needs = Needs::new();
        let mut around: Vec<(usize, ExperimentId)> = Vec::new();
        for (id, folder) in folders {
            if is_in(path, folder) {
                around.push((folder.len(), id));
            } else if is_in(folder, path) {
                needs.push((role, Scope::Experiment(id)));
            }
        }
        let Some(nearest) = around.iter().map(|(length, _)| *length).max() else {
            return vec![(self.role, Scope::All)];
        };
        let nearest = around.iter().filter(|(length, _)| *length == nearest);
        needs.extend(nearest.map(|(_, id)| (role, Scope::Experiment(*id))));
        needs
    }

    /// A version may be read by whoever may read the registered model, so its maker must be allowed to read its source.
    async fn model_version(&self, fields: &Fields) -> Result<Needs, Unclear> {
        let request = fields.create_model_version()?;
        let mut needs = vec![(self.role, Scope::RegisteredModel(request.name))];
        if let Some(run_id) = request.run_id {
            needs.extend(self.read_run(&run_id).await?);
        }
        if let Some(model_id) = request.model_id {
            needs.extend(self.model(&model_id, Viewer).await?);
        }
        needs.extend(self.source(&request.source).await?);
        Ok(needs)
    }

    /// What must be readable for files to be taken from `source`, whose forms are those of the registry.
    async fn source(&self, source: &str) -> Result<Needs, Unclear> {
        let path = uri::path(source).trim_start_matches('/');
        if source.contains("..") || source.contains(['?', '#', '%']) {
            return Err(Unclear::Object);
        }
        // A host, which these two do not have, is taken for different things by different readers.
        let has_host = source.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'));
        match uri::scheme(source).as_str() {
            "models" | "runs" if has_host => Err(Unclear::Object),
            "models" => match path.rfind(['/', '@']) {
                Some(end) => Ok(vec![(Viewer, Scope::RegisteredModel(path[..end].to_owned()))]),
                None => self.model(path, Viewer).await,
            },
            "runs" => self.read_run(path.split('/').next().unwrap_or_default()).await,
            // A prompt has no files; for anything else the registry takes no such source.
            "" if !source.contains('/') => Ok(Needs::new()),
            _ => self.place(source).await,
        }
    }

    async fn read_run(&self, run_id: &str) -> Result<Needs, Unclear> {
        Ok(vec![(Viewer, Scope::Experiment(self.app.home_of_run(run_id).await?))])
    }

    /// What must be readable for files to be taken from an artifact URI.
    async fn place(&self, source: &str) -> Result<Needs, Unclear> {
        let homes = self.app.tracking().artifact_roots().await?;
        let place = ArtifactPlace::of_uri(source);
        let (path, is_proxied) = match &place {
            ArtifactPlace::Proxied(path) => (path.as_str(), true),
            ArtifactPlace::Foreign(uri) => (uri.as_str(), false),
        };
        let folders = homes.iter().filter_map(|(id, home)| match home {
            ArtifactPlace::Proxied(folder) if is_proxied => Some((*id, folder.as_str())),
            ArtifactPlace::Foreign(folder) if !is_proxied => Some((*id, folder.trim_end_matches('/'))),
            _ => None,
        });
        Ok(self.experiments_at(path, folders, Viewer))
    }
}

/// Whether `path` is `folder` or below it.
fn is_in(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_hold_whole_names() {
        for (path, folder, expected) in [
            ("1", "1", true),
            ("1/r/artifacts", "1", true),
            ("10", "1", false),
            ("1", "10", false),
            ("1", "", true),
            ("", "1", false),
            ("", "", true),
        ] {
            assert_eq!(is_in(path, folder), expected, "{path} in {folder}");
        }
    }
}
