//! The registry of the demonstration: models with versions, stages, aliases, and changes that wait for approval.

use runlake_registry::{Change, CreateModel, CreateVersion, Decision, Policy, Registry};
use runlake_tracking::{CreateLoggedModel, LogOutputs, LoggedModelStatus};

use crate::files;
use crate::fill::{Error, Services, refused, upload};
use crate::runs::Made;

/// A registered model, made of the best runs of an experiment.
struct Plan {
    name: &'static str,
    about: &'static str,
    versions: usize,
}

const PLANS: [Plan; 3] = [
    Plan { name: "birds-classifier", about: "Which bird is it? A **ResNet** on `birds-v3`.", versions: 5 },
    Plan { name: "churn-score", about: "How likely a customer is to leave within a month.", versions: 3 },
    Plan { name: "small-lm", about: "A small language model, for tests.", versions: 1 },
];

/// Registers the best runs, the very best last.
pub(crate) async fn register(services: &Services, ids: &[String], best: &[Vec<Made>]) -> Result<(), Error> {
    for (plan, best) in PLANS.iter().zip(best) {
        let registry = services.registry.acting(Some("ada"));
        let tags =
            vec![("team".to_owned(), crate::EXPERIMENTS[best.first().map_or(0, |run| run.experiment)].team.to_owned())];
        let model = CreateModel { name: plan.name.to_owned(), description: Some(plan.about.to_owned()), tags };
        registry.create_model(model).await.map_err(refused)?;
        for run in best.iter().take(plan.versions).rev() {
            version(services, ids, plan, run).await?;
        }
        promote(&services.registry, plan.name, best.len().min(plan.versions)).await?;
    }
    Ok(())
}

/// A version that is a logged model, which a run has put out.
async fn version(services: &Services, ids: &[String], plan: &Plan, run: &Made) -> Result<(), Error> {
    let tracking = &services.tracking;
    let logged = CreateLoggedModel {
        experiment_id: ids[run.experiment].clone(),
        name: Some(format!("{}-{}", plan.name, run.name)),
        model_type: Some("classifier".to_owned()),
        source_run_id: Some(run.run_id.clone()),
        params: run.params.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        tags: Vec::new(),
    };
    let logged = tracking.create_logged_model(logged).await.map_err(refused)?;
    let model_id = logged.model.model_id.to_string();
    tracking.finalize_logged_model(&model_id, LoggedModelStatus::Ready).await.map_err(refused)?;
    let outputs = LogOutputs { run_id: run.run_id.clone(), models: vec![(model_id.clone(), 0)] };
    tracking.log_outputs(outputs).await.map_err(refused)?;
    upload(services, ids, run, files::model(run)).await?;
    let version = CreateVersion {
        name: plan.name.to_owned(),
        source: format!("models:/{model_id}"),
        run_id: Some(run.run_id.clone()),
        model_id: Some(model_id),
        run_link: None,
        description: Some(format!("Made by *{}* ({}), score {:.4}.", run.name, run.user, run.score)),
        tags: vec![("validated".to_owned(), "yes".to_owned())],
    };
    services.registry.acting(Some(run.user)).create_version(version).await.map_err(refused)?;
    Ok(())
}

/// Stages and aliases; and for the model with most versions a policy, one change that was approved and one that waits.
async fn promote(registry: &Registry, name: &str, versions: usize) -> Result<(), Error> {
    if versions == 0 {
        return Ok(());
    }
    let (ada, last) = (registry.acting(Some("ada")), versions.to_string());
    let before = versions.saturating_sub(1).max(1).to_string();
    ada.set_alias(name, "champion", &before).await.map_err(refused)?;
    ada.transition(name, &before, "Production", false).await.map_err(refused)?;
    if versions < 5 {
        return Ok(());
    }
    let policy = Policy {
        required_approvals: 1,
        approvers: Vec::new(),
        stages: Vec::new(),
        aliases: vec!["champion".to_owned()],
    };
    ada.set_policy(name, &policy).await.map_err(refused)?;
    let champion = Change::SetAlias { alias: "champion".to_owned() };
    let comment = |text: &str| Some(text.to_owned());
    let grace = registry.acting(Some("grace"));
    let asked = grace
        .request_change(name, &last, &champion, comment("Better on every bird but owls."))
        .await
        .map_err(refused)?;
    let approval = Decision { approve: true, comment: comment("Owls are rare. Go.") };
    ada.decide(name, &asked.request.request_id, approval, &|_| true).await.map_err(refused)?;
    ada.set_alias(name, "challenger", &before).await.map_err(refused)?;
    let production =
        Change::Transition { stage: runlake_registry::stage("Production").map_err(refused)?, archive_existing: true };
    grace
        .request_change(name, &last, &production, comment("A week as champion without complaints."))
        .await
        .map_err(refused)?;
    Ok(())
}
