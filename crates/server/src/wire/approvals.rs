//! Approvals of changes of registered models.

use runlake_registry::{Change, Policy, RequestInfo, stage};
use runlake_types::rows::{RequestStatus, RequestedChange};
use serde::Serialize;

use super::{Fields, optional_text};
use crate::error::{ApiError, Result};

impl Fields {
    /// `PUT registry/policy`.
    pub(crate) fn approval_policy(&self) -> Result<Policy> {
        Ok(Policy {
            required_approvals: self.int("required_approvals")?.unwrap_or(1),
            approvers: self.texts("approvers")?,
            stages: self.texts("stages")?.iter().map(|text| Ok(stage(text)?)).collect::<Result<_>>()?,
            aliases: self.texts("aliases")?,
        })
    }

    /// The change that `POST registry/requests` asks for: one of `stage`, `alias` and `delete_alias`.
    pub(crate) fn requested_change(&self) -> Result<Change> {
        let archive_existing = self.boolean("archive_existing_versions")?.unwrap_or(false);
        let asked =
            (optional_text(self, "stage")?, optional_text(self, "alias")?, optional_text(self, "delete_alias")?);
        match asked {
            (Some(text), None, None) => Ok(Change::Transition { stage: stage(&text)?, archive_existing }),
            (None, Some(alias), None) => Ok(Change::SetAlias { alias }),
            (None, None, Some(alias)) => Ok(Change::DeleteAlias { alias }),
            _ => Err(ApiError::invalid(
                "Say what to change: one of 'stage', 'alias' (to be given to the version) and 'delete_alias'.",
            )),
        }
    }

    /// The status that `GET registry/requests` is narrowed to.
    pub(crate) fn request_status(&self) -> Result<Option<RequestStatus>> {
        let Some(text) = optional_text(self, "status")? else { return Ok(None) };
        RequestStatus::parse(&text).map(Some).ok_or_else(|| {
            ApiError::invalid(format!("Invalid status '{text}'. It is one of pending, approved, rejected, withdrawn."))
        })
    }
}

/// Answer of `GET registry/policy`: without a policy nothing needs approval.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyTold<'a>>,
}

#[derive(Debug, Serialize)]
struct PolicyTold<'a> {
    required_approvals: i64,
    approvers: &'a [String],
    stages: Vec<&'static str>,
    aliases: &'a [String],
}

impl<'a> From<Option<&'a Policy>> for PolicyAnswer<'a> {
    fn from(policy: Option<&'a Policy>) -> Self {
        Self {
            policy: policy.map(|policy| PolicyTold {
                required_approvals: policy.required_approvals,
                approvers: &policy.approvers,
                stages: policy.stages.iter().map(|stage| stage.as_str()).collect(),
                aliases: &policy.aliases,
            }),
        }
    }
}

/// Answer of the routes of one request.
#[derive(Debug, Serialize)]
pub(crate) struct RequestAnswer<'a> {
    request: RequestTold<'a>,
}

impl<'a> From<&'a RequestInfo> for RequestAnswer<'a> {
    fn from(info: &'a RequestInfo) -> Self {
        Self { request: info.into() }
    }
}

/// Answer of `GET registry/requests`.
#[derive(Debug, Serialize)]
pub(crate) struct RequestsAnswer<'a> {
    requests: Vec<RequestTold<'a>>,
}

impl<'a> From<&'a [RequestInfo]> for RequestsAnswer<'a> {
    fn from(requests: &'a [RequestInfo]) -> Self {
        Self { requests: requests.iter().map(Into::into).collect() }
    }
}

#[derive(Debug, Serialize)]
struct RequestTold<'a> {
    request_id: &'a str,
    name: &'a str,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_existing_versions: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_alias: Option<&'a str>,
    status: &'static str,
    requested_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    creation_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_time: Option<i64>,
    votes: Vec<VoteTold<'a>>,
}

#[derive(Debug, Serialize)]
struct VoteTold<'a> {
    user: &'a str,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    time: i64,
}

impl<'a> From<&'a RequestInfo> for RequestTold<'a> {
    fn from(info: &'a RequestInfo) -> Self {
        let request = &info.request;
        let target = |change| (request.change == change).then_some(request.target.as_str());
        Self {
            request_id: &request.request_id,
            name: &request.name,
            version: request.version.to_string(),
            stage: target(RequestedChange::Transition),
            archive_existing_versions: target(RequestedChange::Transition).map(|_| request.archive_existing),
            alias: target(RequestedChange::SetAlias),
            delete_alias: target(RequestedChange::DeleteAlias),
            status: request.status.as_str(),
            requested_by: &request.requested_by,
            comment: request.comment.as_deref(),
            creation_time: request.creation_time.millis(),
            decided_time: request.decided_time.map(runlake_types::Timestamp::millis),
            votes: info
                .votes
                .iter()
                .map(|vote| VoteTold {
                    user: &vote.user_name,
                    approved: vote.approved,
                    comment: vote.comment.as_deref(),
                    time: vote.time.millis(),
                })
                .collect(),
        }
    }
}
