//! `runlake registry`: approvals of changes of registered models, and their history, through a server.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Result;
use crate::client::Server;
use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Shows, sets or clears which changes of a model need approval.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Asks for a change that the model's policy wants to be approved.
    Request(RequestArgs),
    /// Lists the requests about a model.
    Requests(RequestsArgs),
    /// Approves a request; the last approval that was missing makes the change.
    Approve(DecisionArgs),
    /// Rejects a request.
    Reject(DecisionArgs),
    /// Takes back a request of one's own.
    Withdraw(DecisionArgs),
    /// Tells everything that was done to a model, oldest first.
    History(ModelArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Shows the policy of a model.
    Show(ModelArgs),
    /// Sets the policy of a model.
    ///
    /// From then on the stages and aliases it names change only by requests that enough others approve. Nobody approves
    /// a request of their own.
    Set(PolicyArgs),
    /// Clears the policy of a model: nothing needs approval.
    Clear(ModelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Address of the server.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    server: String,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The registered model.
    name: String,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The registered model.
    name: String,

    /// How many must approve.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    approvals: i64,

    /// Who may approve, by name, with commas; none: whoever has the role approver for the model.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    approvers: Vec<String>,

    /// Stages that versions reach only with approval, with commas; none: every one.
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    stages: Vec<String>,

    /// Aliases that move only with approval, with commas; none: every one.
    #[arg(long, value_name = "ALIASES", value_delimiter = ',')]
    aliases: Vec<String>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The registered model.
    name: String,

    /// The version.
    version: String,

    #[command(flatten)]
    change: ChangeArgs,

    /// With --stage: archive the other versions of that stage.
    #[arg(long, requires = "stage")]
    archive_existing: bool,

    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ChangeArgs {
    /// Bring the version to this stage.
    #[arg(long)]
    stage: Option<String>,

    /// Give this alias to the version.
    #[arg(long)]
    alias: Option<String>,

    /// Take this alias away.
    #[arg(long, value_name = "ALIAS")]
    delete_alias: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    /// The registered model.
    name: String,

    /// Only those: pending, approved, rejected or withdrawn.
    #[arg(long)]
    status: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DecisionArgs {
    /// The registered model.
    name: String,

    /// The request, as `runlake registry requests` lists it.
    request_id: String,

    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Deserialize)]
struct PolicyAnswer {
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
struct Policy {
    required_approvals: i64,
    approvers: Vec<String>,
    stages: Vec<String>,
    aliases: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RequestAnswer {
    request: Request,
}

#[derive(Debug, Deserialize)]
struct RequestsAnswer {
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(rename = "request_id")]
    id: String,
    name: String,
    version: String,
    stage: Option<String>,
    alias: Option<String>,
    delete_alias: Option<String>,
    status: String,
    requested_by: String,
    comment: Option<String>,
    votes: Vec<Vote>,
}

#[derive(Debug, Deserialize)]
struct Vote {
    user: String,
    approved: bool,
    comment: Option<String>,
}

#[derive(Debug, Deserialize)]
struct History {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    time: u64,
    action: String,
    actor: Option<String>,
    version: Option<String>,
    subject: Option<String>,
    old_value: Option<String>,
    new_value: Option<String>,
    comment: Option<String>,
}

pub(crate) async fn run(command: RegistryCommand) -> Result {
    match command {
        RegistryCommand::Policy(command) => policy(command).await,
        RegistryCommand::Request(args) => request(args).await,
        RegistryCommand::Requests(args) => requests(args).await,
        RegistryCommand::Approve(args) => decide(args, "approve").await,
        RegistryCommand::Reject(args) => decide(args, "reject").await,
        RegistryCommand::Withdraw(args) => decide(args, "withdraw").await,
        RegistryCommand::History(args) => history(args).await,
    }
}

async fn policy(command: PolicyCommand) -> Result {
    const ROUTE: &str = "registry/policy";
    match command {
        PolicyCommand::Show(args) => {
            let answer: PolicyAnswer = Server::at(&args.server.server)?.get(ROUTE, &[("name", &args.name)]).await?;
            say_policy(&args.name, answer.policy.as_ref());
        }
        PolicyCommand::Set(args) => {
            let body = json!({
                "name": args.name,
                "required_approvals": args.approvals,
                "approvers": args.approvers,
                "stages": args.stages,
                "aliases": args.aliases,
            });
            let answer: PolicyAnswer = Server::at(&args.server.server)?.send(Method::PUT, ROUTE, &body).await?;
            say_policy(&args.name, answer.policy.as_ref());
        }
        PolicyCommand::Clear(args) => {
            let body = json!({"name": args.name});
            let _empty: Map<String, Value> =
                Server::at(&args.server.server)?.send(Method::DELETE, ROUTE, &body).await?;
            say_policy(&args.name, None);
        }
    }
    Ok(())
}

fn say_policy(name: &str, policy: Option<&Policy>) {
    let Some(policy) = policy else {
        say(&format_args!("{name}: nothing needs approval"));
        return;
    };
    let listed = |list: &[String], none: &str| if list.is_empty() { none.to_owned() } else { list.join(", ") };
    say(&format_args!("{name}: {} to approve", policy.required_approvals));
    say(&format_args!("  approvers  {}", listed(&policy.approvers, "whoever has the role")));
    say(&format_args!("  stages     {}", listed(&policy.stages, "every one")));
    say(&format_args!("  aliases    {}", listed(&policy.aliases, "every one")));
}

async fn request(args: RequestArgs) -> Result {
    let body = json!({
        "name": args.name,
        "version": args.version,
        "stage": args.change.stage,
        "alias": args.change.alias,
        "delete_alias": args.change.delete_alias,
        "archive_existing_versions": args.archive_existing,
        "comment": args.comment,
    });
    let answer: RequestAnswer = Server::at(&args.server.server)?.send(Method::POST, "registry/requests", &body).await?;
    say_request(&answer.request);
    Ok(())
}

async fn requests(args: RequestsArgs) -> Result {
    let mut query = vec![("name", args.name.as_str())];
    query.extend(args.status.as_deref().map(|status| ("status", status)));
    let answer: RequestsAnswer = Server::at(&args.server.server)?.get("registry/requests", &query).await?;
    if answer.requests.is_empty() {
        say(&"there are none");
    }
    answer.requests.iter().for_each(say_request);
    Ok(())
}

async fn decide(args: DecisionArgs, decision: &str) -> Result {
    let body = json!({"name": args.name, "comment": args.comment});
    let id = percent_encoding::utf8_percent_encode(&args.request_id, percent_encoding::NON_ALPHANUMERIC);
    let route = format!("registry/requests/{id}/{decision}");
    let answer: RequestAnswer = Server::at(&args.server.server)?.send(Method::POST, &route, &body).await?;
    say_request(&answer.request);
    Ok(())
}

fn say_request(request: &Request) {
    let change = match (&request.stage, &request.alias, &request.delete_alias) {
        (Some(stage), _, _) => format!("to {stage}"),
        (_, Some(alias), _) => format!("to be {alias}"),
        (_, _, Some(alias)) => format!("no longer to be {alias}"),
        _ => String::new(),
    };
    say(&format_args!(
        "{}  {}  {} {} {change}, asked for by {}{}",
        request.id,
        request.status,
        request.name,
        request.version,
        request.requested_by,
        because(request.comment.as_deref())
    ));
    for vote in &request.votes {
        let verdict = if vote.approved { "approved" } else { "rejected" };
        say(&format_args!("  {verdict} by {}{}", vote.user, because(vote.comment.as_deref())));
    }
}

async fn history(args: ModelArgs) -> Result {
    let history: History = Server::at(&args.server.server)?.get("registry/history", &[("name", &args.name)]).await?;
    for event in &history.events {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(event.time);
        let mut line = format!("{}  {}", humantime::format_rfc3339_seconds(time), event.action);
        for (what, value) in [("version", &event.version), ("of", &event.subject)] {
            if let Some(value) = value {
                line = format!("{line} {what} {value}");
            }
        }
        match (&event.old_value, &event.new_value) {
            (Some(old), Some(new)) => line = format!("{line}: {old} -> {new}"),
            (Some(old), None) => line = format!("{line}: was {old}"),
            (None, Some(new)) => line = format!("{line}: {new}"),
            (None, None) => {}
        }
        let actor = event.actor.as_deref().map(|actor| format!(", by {actor}")).unwrap_or_default();
        say(&format_args!("{line}{actor}{}", because(event.comment.as_deref())));
    }
    Ok(())
}

fn because(comment: Option<&str>) -> String {
    comment.map(|comment| format!(": {}", comment.replace(char::is_control, " "))).unwrap_or_default()
}
