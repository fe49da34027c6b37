//! Changes that one person asks for and others approve.
//!
//! A registered model may have a policy: to which stages versions go, and which aliases move, only with approval, by how
//! many, and by whom. A direct change of that kind is then refused with a sentence that says how to ask for it. The last
//! approval that was missing makes the change, in the same write. Nobody approves what they asked for themselves; one
//! rejection ends a request.

use runlake_engine::View;
use runlake_types::rows::{
    ApprovalPolicy, ApprovalRequest, ApprovalVote, ModelVersion, RegisteredModelAlias, RegistryAction, RequestStatus,
    RequestedChange, Row as _, Stage,
};
use runlake_types::{KeyBuilder, TableId, WriteBatch, unique_id};

use crate::events::Told;
use crate::models::{key_of, model_row};
use crate::versions::version_row;
use crate::{Acting, Error, Registry, Result, names, stages};

/// How many approvals a policy may ask for.
const MAX_APPROVALS: i64 = 100;
const COMMENT_CHARS: usize = 10_000;

/// Which changes of a registered model need approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How many must approve: one at least.
    pub required_approvals: i64,
    /// The users who may; none: whoever has the role.
    pub approvers: Vec<String>,
    /// The stages that need it; none: every one.
    pub stages: Vec<Stage>,
    /// The aliases that need it; none: every one.
    pub aliases: Vec<String>,
}

/// A change that may need approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The version goes to a stage.
    Transition {
        /// The stage.
        stage: Stage,
        /// Whether the other versions there go to Archived.
        archive_existing: bool,
    },
    /// An alias is given to the version.
    SetAlias {
        /// The alias.
        alias: String,
    },
    /// An alias is taken away from the version.
    DeleteAlias {
        /// The alias.
        alias: String,
    },
}

/// What somebody says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Or else it is rejected.
    pub approve: bool,
    /// Why.
    pub comment: Option<String>,
}

/// A request with what was said to it.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestInfo {
    /// The request.
    pub request: ApprovalRequest,
    /// Who said what, by user.
    pub votes: Vec<ApprovalVote>,
}

impl Change {
    fn kind(&self) -> RequestedChange {
        match self {
            Self::Transition { .. } => RequestedChange::Transition,
            Self::SetAlias { .. } => RequestedChange::SetAlias,
            Self::DeleteAlias { .. } => RequestedChange::DeleteAlias,
        }
    }

    fn target(&self) -> &str {
        match self {
            Self::Transition { stage, .. } => stage.as_str(),
            Self::SetAlias { alias } | Self::DeleteAlias { alias } => alias,
        }
    }

    fn of(request: &ApprovalRequest) -> Result<Self> {
        let alias = request.target.clone();
        Ok(match request.change {
            RequestedChange::Transition => {
                Self::Transition { stage: names::stage(&alias)?, archive_existing: request.archive_existing }
            }
            RequestedChange::SetAlias => Self::SetAlias { alias },
            RequestedChange::DeleteAlias => Self::DeleteAlias { alias },
        })
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transition { stage, .. } => write!(f, "stage {stage}"),
            Self::SetAlias { alias } => write!(f, "alias {alias}"),
            Self::DeleteAlias { alias } => write!(f, "no alias {alias}"),
        }
    }
}

impl Policy {
    fn of(row: ApprovalPolicy) -> Self {
        let keys = |map: Vec<(String, String)>| map.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        Self {
            required_approvals: row.required_approvals,
            approvers: keys(row.approvers),
            stages: keys(row.stages).iter().filter_map(|stage| Stage::parse(stage)).collect(),
            aliases: keys(row.aliases),
        }
    }

    /// As the audit tells it: JSON.
    fn told(&self) -> String {
        let stages: Vec<&str> = self.stages.iter().map(|stage| stage.as_str()).collect();
        serde_json::json!({
            "required_approvals": self.required_approvals,
            "approvers": self.approvers,
            "stages": stages,
            "aliases": self.aliases,
        })
        .to_string()
    }

    fn covers(&self, change: &Change) -> bool {
        match change {
            Change::Transition { stage, .. } => self.stages.is_empty() || self.stages.contains(stage),
            Change::SetAlias { alias } | Change::DeleteAlias { alias } => {
                self.aliases.is_empty() || self.aliases.contains(alias)
            }
        }
    }

    fn check(&self) -> Result<()> {
        if !(1..=MAX_APPROVALS).contains(&self.required_approvals) {
            return Err(Error::invalid(format!(
                "Invalid value {} for parameter 'required_approvals' supplied: it must be between 1 and {MAX_APPROVALS}.",
                self.required_approvals
            )));
        }
        let mut users = self.approvers.clone();
        users.sort_unstable();
        users.dedup();
        if users.len() != self.approvers.len() || users.iter().any(String::is_empty) {
            return Err(Error::invalid("'approvers' must name each user once, and no empty name."));
        }
        if !users.is_empty() && i64::try_from(users.len()).is_ok_and(|count| count < self.required_approvals) {
            return Err(Error::invalid(format!(
                "{} approvals can never be reached with {} approvers. Name more, or ask for fewer.",
                self.required_approvals,
                users.len()
            )));
        }
        self.aliases.iter().try_for_each(|alias| names::new_alias(alias))
    }
}

impl Registry {
    /// The policy of a registered model; `None` if nothing needs approval.
    pub async fn policy(&self, name: &str) -> Result<Option<Policy>> {
        let view = self.view();
        model_row(&view, name).await?;
        policy_row(&view, name).await.map(|row| row.map(Policy::of))
    }

    /// The requests about a registered model, the oldest first; of one status, if one is named.
    pub async fn requests(&self, name: &str, status: Option<RequestStatus>) -> Result<Vec<RequestInfo>> {
        let view = self.view();
        model_row(&view, name).await?;
        let mut votes = crate::models::grouped(view.scan::<ApprovalVote>(&key_of(name)).await?, |vote| {
            (vote.request_id.clone(), vote)
        });
        let requests = view.scan::<ApprovalRequest>(&key_of(name)).await?.into_iter();
        let wanted = requests.filter(|request| status.is_none_or(|status| request.status == status));
        Ok(wanted
            .map(|request| RequestInfo { votes: votes.remove(&request.request_id).unwrap_or_default(), request })
            .collect())
    }

    /// One request.
    pub async fn request(&self, name: &str, request_id: &str) -> Result<RequestInfo> {
        let view = self.view();
        let request = request_row(&view, name, request_id).await?;
        let votes = view.scan::<ApprovalVote>(&request.key()).await?;
        Ok(RequestInfo { request, votes })
    }
}

impl Acting<'_> {
    /// Says which changes of a model need approval. What is pending is judged by it from now on.
    pub async fn set_policy(&self, name: &str, policy: &Policy) -> Result<()> {
        let user = self.user()?;
        policy.check()?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        let old = policy_row(&view, name).await?.map(|row| Policy::of(row).told());
        let set = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect::<Vec<_>>();
        let row = ApprovalPolicy {
            name: name.to_owned(),
            required_approvals: policy.required_approvals,
            approvers: set(policy.approvers.clone()),
            stages: set(policy.stages.iter().map(ToString::to_string).collect()),
            aliases: set(policy.aliases.clone()),
            set_by: user.to_owned(),
            last_update_time: self.now(),
        };
        let mut batch = WriteBatch::default();
        batch.put(&row);
        let told = Told { old, new: Some(policy.told()), ..Told::default() };
        self.tell(&mut batch, name, RegistryAction::PolicySet, told);
        self.write(batch).await
    }

    /// From now on no change of a model needs approval. Requests that are pending can still be approved.
    pub async fn clear_policy(&self, name: &str) -> Result<()> {
        self.user()?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        model_row(&view, name).await?;
        let Some(row) = policy_row(&view, name).await? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete(TableId::ApprovalPolicies, row.key());
        let told = Told { old: Some(Policy::of(row).told()), ..Told::default() };
        self.tell(&mut batch, name, RegistryAction::PolicyCleared, told);
        self.write(batch).await
    }

    /// Asks for a change of a version.
    pub async fn request_change(
        &self,
        name: &str,
        version: &str,
        change: &Change,
        comment: Option<String>,
    ) -> Result<RequestInfo> {
        let user = self.user()?;
        let comment = checked(comment)?;
        let number = names::version(version)?;
        match change {
            Change::SetAlias { alias } => names::new_alias(alias)?,
            Change::DeleteAlias { alias } => names::alias(alias)?,
            Change::Transition { stage, archive_existing } => {
                if *archive_existing {
                    stages::check_archiving(*stage, stage.as_str())?;
                }
            }
        }
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        version_row(&view, name, number).await?;
        let policy = policy_row(&view, name).await?.map(Policy::of);
        if !is_protected(&view, policy.as_ref(), name, number, change).await? {
            return Err(Error::InvalidState(format!(
                "Nothing of the policy of '{name}' asks for approval of this ({change}): make the change directly."
            )));
        }
        let request = ApprovalRequest {
            name: name.to_owned(),
            request_id: unique_id(),
            version: number,
            change: change.kind(),
            target: change.target().to_owned(),
            archive_existing: matches!(change, Change::Transition { archive_existing: true, .. }),
            status: RequestStatus::Pending,
            requested_by: user.to_owned(),
            comment: comment.clone(),
            creation_time: self.now(),
            decided_time: None,
        };
        let mut batch = WriteBatch::default();
        batch.put(&request);
        self.tell_of_request(&mut batch, RegistryAction::ChangeRequested, &request, change, comment);
        self.write(batch).await?;
        Ok(RequestInfo { request, votes: Vec::new() })
    }

    /// Approves or rejects a request. The last approval that was missing makes the change. Earlier votes count only of
    /// users who `may_decide` still: they may have been removed, or given a lesser role. Who approves once more has the
    /// votes counted again, as a change of the policy may have made them enough.
    pub async fn decide(
        &self,
        name: &str,
        request_id: &str,
        decision: Decision,
        may_decide: &(dyn Fn(&ApprovalVote) -> bool + Sync),
    ) -> Result<RequestInfo> {
        let user = self.user()?;
        let Decision { approve, comment } = decision;
        let comment = checked(comment)?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let mut request = pending(&view, name, request_id).await?;
        if request.requested_by == user {
            return Err(Error::Denied(format!(
                "You asked for this change yourself ('{user}'): somebody else has to decide. You can withdraw it."
            )));
        }
        let policy = policy_row(&view, name).await?.map(Policy::of);
        let approvers = policy.as_ref().map_or(&[] as &[String], |policy| &policy.approvers);
        if !approvers.is_empty() && !approvers.iter().any(|approver| approver == user) {
            return Err(Error::Denied(format!(
                "The policy of '{name}' names who decides, and '{user}' is not among them: {}.",
                approvers.join(", ")
            )));
        }
        let mut votes = view.scan::<ApprovalVote>(&request.key()).await?;
        let before = votes.len();
        votes.retain(|vote| vote.user_name != user);
        let is_repeated = approve && votes.len() < before;
        let vote = ApprovalVote {
            name: name.to_owned(),
            request_id: request_id.to_owned(),
            user_name: user.to_owned(),
            approved: approve,
            comment: comment.clone(),
            time: self.now(),
        };
        let change = Change::of(&request)?;
        let mut batch = WriteBatch::default();
        batch.put(&vote);
        votes.push(vote);
        let action = if approve { RegistryAction::ChangeApproved } else { RegistryAction::ChangeRejected };
        self.tell_of_request(&mut batch, action, &request, &change, comment);
        let required = policy.as_ref().map_or(1, |policy| policy.required_approvals);
        let may_count = |vote: &&ApprovalVote| {
            let is_named = approvers.is_empty() || approvers.contains(&vote.user_name);
            vote.approved && is_named && (vote.user_name == user || may_decide(vote))
        };
        let approvals = votes.iter().filter(may_count).count();
        if !approve {
            request.status = RequestStatus::Rejected;
        } else if i64::try_from(approvals).is_ok_and(|approvals| approvals >= required) {
            request.status = RequestStatus::Approved;
            self.make(&view, &mut batch, &request, &change).await?;
        } else if is_repeated {
            return Err(Error::InvalidState(format!(
                "'{user}' has approved this request already; it has {approvals} of {required} approvals."
            )));
        }
        if request.status != RequestStatus::Pending {
            request.decided_time = Some(self.now());
            batch.put(&request);
        }
        self.write(batch).await?;
        Ok(RequestInfo { request, votes })
    }

    /// Takes a request back: for whoever made it.
    pub async fn withdraw(&self, name: &str, request_id: &str) -> Result<RequestInfo> {
        let user = self.user()?;
        let _lock = self.registry.lock([name]).await;
        let view = self.registry.view();
        let mut request = pending(&view, name, request_id).await?;
        if request.requested_by != user {
            return Err(Error::Denied(format!(
                "'{}' asked for this change; only they can withdraw it. It can be rejected.",
                request.requested_by
            )));
        }
        request.status = RequestStatus::Withdrawn;
        request.decided_time = Some(self.now());
        let mut batch = WriteBatch::default();
        batch.put(&request);
        let change = Change::of(&request)?;
        self.tell_of_request(&mut batch, RegistryAction::ChangeWithdrawn, &request, &change, None);
        self.write(batch).await?;
        let votes = view.scan::<ApprovalVote>(&request.key()).await?;
        Ok(RequestInfo { request, votes })
    }

    /// The rows of the change that was approved.
    async fn make(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        request: &ApprovalRequest,
        change: &Change,
    ) -> Result<()> {
        let comment = format!("approved request {} of {}", request.request_id, request.requested_by);
        match change {
            Change::Transition { stage, archive_existing } => {
                let version = version_row(view, &request.name, request.version).await?;
                self.plan_transition(view, batch, version, *stage, *archive_existing, Some(&comment)).await?;
            }
            Change::SetAlias { alias } => {
                self.plan_alias(view, batch, &request.name, alias, request.version, Some(&comment)).await?;
            }
            Change::DeleteAlias { alias } => {
                let meant = self.plan_alias_removal(view, batch, &request.name, alias, Some(&comment)).await?;
                if meant != Some(request.version) {
                    return Err(Error::InvalidState(format!(
                        "The alias {alias} does not mean version {} any more: reject this request or withdraw it.",
                        request.version
                    )));
                }
            }
        }
        Ok(())
    }

    fn tell_of_request(
        &self,
        batch: &mut WriteBatch,
        action: RegistryAction,
        request: &ApprovalRequest,
        change: &Change,
        comment: Option<String>,
    ) {
        let told = Told {
            version: Some(request.version),
            subject: Some(request.request_id.clone()),
            new: Some(change.to_string()),
            comment,
            ..Told::default()
        };
        self.tell(batch, &request.name, action, told);
    }

    /// Who acts: approvals mean nothing where that is not known.
    fn user(&self) -> Result<&str> {
        self.actor.ok_or_else(|| {
            Error::Denied(
                "Approvals need to know who asks and who approves, and this server asks nobody who they are. Start it \
                 with --auth required."
                    .into(),
            )
        })
    }
}

/// Refuses a change that the model's policy wants to be approved.
pub(crate) async fn check(view: &View, name: &str, change: &Change, version: i64) -> Result<()> {
    let Some(policy) = policy_row(view, name).await?.map(Policy::of) else { return Ok(()) };
    if !is_protected(view, Some(&policy), name, version, change).await? {
        return Ok(());
    }
    let approvals = policy.required_approvals;
    let (option, more) = match change {
        Change::Transition { archive_existing: true, .. } => ("--stage", " --archive-existing"),
        Change::Transition { archive_existing: false, .. } => ("--stage", ""),
        Change::SetAlias { .. } => ("--alias", ""),
        Change::DeleteAlias { .. } => ("--delete-alias", ""),
    };
    let plural = if approvals == 1 { "approval" } else { "approvals" };
    Err(Error::Denied(format!(
        "This change of '{name}' ({change}) needs {approvals} {plural}. Ask for it with `runlake registry request {} \
         {version} {option} {}{more}`, or POST /api/runlake/registry/requests.",
        in_shell(name),
        in_shell(change.target()),
    )))
}

/// Whether a policy wants a change to be approved: of a transition also for the stage that the version leaves, and for
/// what becomes of the versions that are archived on the way.
async fn is_protected(view: &View, policy: Option<&Policy>, name: &str, version: i64, change: &Change) -> Result<bool> {
    let Some(policy) = policy else { return Ok(false) };
    let Change::Transition { stage, archive_existing } = change else { return Ok(policy.covers(change)) };
    let mut stages = vec![*stage];
    for other in view.scan::<ModelVersion>(&key_of(name)).await? {
        if other.version == version && other.current_stage != Stage::None {
            stages.push(other.current_stage);
        } else if *archive_existing && other.current_stage == *stage {
            stages.push(Stage::Archived);
        }
    }
    Ok(stages.into_iter().any(|stage| policy.covers(&Change::Transition { stage, archive_existing: false })))
}

/// Refuses to rename or delete a model that has a policy: another one could take its name, without any.
pub(crate) async fn check_unprotected(view: &View, name: &str, what: &str) -> Result<()> {
    match policy_row(view, name).await? {
        None => Ok(()),
        Some(_) => Err(Error::Denied(format!(
            "'{name}' has a policy and is not {what} while it has. An administrator can clear it: `runlake registry \
             policy clear {}`.",
            in_shell(name)
        ))),
    }
}

/// Refuses to delete a version whose stage or alias could not be taken from it without approval.
pub(crate) async fn check_deletion(view: &View, version: &ModelVersion) -> Result<()> {
    let Some(policy) = policy_row(view, &version.name).await?.map(Policy::of) else { return Ok(()) };
    let aliases = view.scan::<RegisteredModelAlias>(&key_of(&version.name)).await?;
    let held = aliases
        .into_iter()
        .find(|row| row.version == version.version && policy.covers(&Change::DeleteAlias { alias: row.alias.clone() }));
    let stage = Change::Transition { stage: version.current_stage, archive_existing: false };
    let why = match held {
        Some(row) => format!("alias {}", row.alias),
        None if version.current_stage != Stage::None && policy.covers(&stage) => stage.to_string(),
        None => return Ok(()),
    };
    Err(Error::Denied(format!(
        "Version {} of '{}' cannot be deleted while it has what changes only with approval ({why}). Ask for that to change \
         first.",
        version.version, version.name
    )))
}

/// Takes requests along to the new name of a model, which has no policy then.
pub(crate) async fn rename(view: &View, batch: &mut WriteBatch, name: &str, new_name: &str) -> Result<()> {
    for row in view.scan::<ApprovalRequest>(&key_of(name)).await? {
        batch.delete(TableId::ApprovalRequests, row.key());
        batch.put(&ApprovalRequest { name: new_name.to_owned(), ..row });
    }
    for row in view.scan::<ApprovalVote>(&key_of(name)).await? {
        batch.delete(TableId::ApprovalVotes, row.key());
        batch.put(&ApprovalVote { name: new_name.to_owned(), ..row });
    }
    Ok(())
}

/// Deletes requests with their model, which has no policy then. The audit keeps what was asked for and approved.
pub(crate) async fn forget(view: &View, batch: &mut WriteBatch, name: &str) -> Result<()> {
    for row in view.scan::<ApprovalRequest>(&key_of(name)).await? {
        batch.delete(TableId::ApprovalRequests, row.key());
    }
    for row in view.scan::<ApprovalVote>(&key_of(name)).await? {
        batch.delete(TableId::ApprovalVotes, row.key());
    }
    Ok(())
}

async fn policy_row(view: &View, name: &str) -> Result<Option<ApprovalPolicy>> {
    Ok(view.get::<ApprovalPolicy>(&key_of(name)).await?)
}

async fn request_row(view: &View, name: &str, request_id: &str) -> Result<ApprovalRequest> {
    let key = KeyBuilder::default().text(name).text(request_id).build();
    let row = view.get::<ApprovalRequest>(&key).await?;
    row.ok_or_else(|| Error::not_found(format!("There is no request '{request_id}' about '{name}'.")))
}

async fn pending(view: &View, name: &str, request_id: &str) -> Result<ApprovalRequest> {
    let request = request_row(view, name, request_id).await?;
    if request.status == RequestStatus::Pending {
        return Ok(request);
    }
    Err(Error::InvalidState(format!("This request is {} already.", request.status)))
}

/// A word for a command line.
fn in_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn checked(comment: Option<String>) -> Result<Option<String>> {
    let comment = comment.filter(|text| !text.is_empty());
    if comment.as_ref().is_some_and(|text| text.chars().count() > COMMENT_CHARS) {
        return Err(Error::invalid(format!("'comment' exceeds the maximum length of {COMMENT_CHARS} characters")));
    }
    Ok(comment)
}

#[cfg(test)]
mod tests;
