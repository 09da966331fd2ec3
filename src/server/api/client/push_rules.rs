//! Which events a user wants to be told of: `/pushrules`. The rules are evaluated by the clients.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{
    api::client::push::{
        delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_all,
        get_pushrules_global_scope, set_pushrule, set_pushrule_actions, set_pushrule_enabled,
    },
    push::{
        AnyPushRule, InsertPushRuleError, NewPushRule, PushCondition, RemovePushRuleError, RuleKind,
        RuleNotFoundError, Ruleset,
    },
};
use serde_json::{Value, json};

use crate::server::{
    accounts::default_rules::{KINDS, as_content},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    profile::check_length,
    session::Session,
};

/// The longest identifier of a rule, in bytes.
const MAX_RULE_ID: usize = 255;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for version in ["r0", "v3"] {
        let global = format!("/_matrix/client/{version}/pushrules/global");
        router = router
            .route(&format!("{global}/{{kind}}"), get(of_kind))
            .route(&format!("{global}/{{kind}}/"), get(of_kind));
    }
    router
        .ruma_route::<get_pushrules_all::v3::Request, _, _>(all)
        .route("/_matrix/client/v3/pushrules", get(all))
        .ruma_route::<get_pushrules_global_scope::v3::Request, _, _>(global)
        .route("/_matrix/client/v3/pushrules/global", get(global))
        .ruma_route::<get_pushrule::v3::Request, _, _>(one)
        .ruma_route::<set_pushrule::v3::Request, _, _>(set)
        .ruma_route::<delete_pushrule::v3::Request, _, _>(delete)
        .ruma_route::<get_pushrule_enabled::v3::Request, _, _>(enabled)
        .ruma_route::<set_pushrule_enabled::v3::Request, _, _>(set_enabled)
        .ruma_route::<get_pushrule_actions::v3::Request, _, _>(actions)
        .ruma_route::<set_pushrule_actions::v3::Request, _, _>(set_actions)
}

/// Of a kind that there is not, there is no endpoint.
fn check_kind(kind: &str) -> ApiResult<()> {
    if KINDS.contains(&kind) { Ok(()) } else { Err(ApiError::unrecognized()) }
}

fn no_such_rule() -> ApiError {
    ApiError::not_found("there is no such push rule")
}

async fn rule(app: &App, session: &Session, kind: RuleKind, id: &str) -> ApiResult<AnyPushRule> {
    check_kind(kind.as_str())?;
    let rules = app.own_data.push_rules(&session.user).await?;
    rules.get(kind, id).map(|rule| rule.to_owned()).ok_or_else(no_such_rule)
}

async fn rules(app: &App, session: &Session) -> ApiResult<Value> {
    as_content(&app.own_data.push_rules(&session.user).await?).map_err(ApiError::internal)
}

/// `GET /_matrix/client/v3/pushrules/`
async fn all(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    rules(&app, &session).await.map(Json)
}

/// `GET /_matrix/client/v3/pushrules/global/`
async fn global(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    Ok(Json(rules(&app, &session).await?["global"].take()))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/`: in the order in which they are asked.
async fn of_kind(
    State(app): State<Arc<App>>,
    session: Session,
    Path(kind): Path<String>,
) -> ApiResult<Json<Value>> {
    check_kind(&kind)?;
    Ok(Json(rules(&app, &session).await?["global"][&kind].take()))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn one(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_pushrule::v3::Request>,
) -> ApiResult<Json<Value>> {
    let rule = rule(&app, &session, request.kind, &request.rule_id).await?;
    serde_json::to_value(ruma::api::client::push::PushRule::from(rule)).map(Json).map_err(ApiError::internal)
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn set(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<set_pushrule::v3::Request>,
) -> ApiResult<Json<Value>> {
    check_length("the rule's identifier", Some(request.rule.rule_id()), MAX_RULE_ID)?;
    check_patterns(&request.rule)?;
    app.own_data
        .change_push_rules::<ApiError>(&session.user, move |rules| {
            insert(rules, request.rule, request.after.as_deref(), request.before.as_deref())
        })
        .await?;
    Ok(Json(json!({})))
}

fn check_patterns(rule: &NewPushRule) -> ApiResult<()> {
    let conditions = match rule {
        NewPushRule::Content(rule) => return Ok(check_length("pattern", Some(&rule.pattern), MAX_PATTERN)?),
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => &rule.conditions,
        _ => return Ok(()),
    };
    for condition in conditions {
        if let PushCondition::EventMatch(condition) = condition {
            check_length("pattern", Some(&condition.pattern), MAX_PATTERN)?;
        }
    }
    Ok(())
}

/// Puts a rule of a user in, right after or before another of theirs. One that is there already is taken out first: it is not
/// counted when the place is looked for.
fn insert(
    rules: &mut Ruleset,
    rule: NewPushRule,
    after: Option<&str>,
    before: Option<&str>,
) -> Result<(), ApiError> {
    let (kind, id) = (rule.kind(), rule.rule_id().to_owned());
    if [after, before].contains(&Some(id.as_str())) {
        return Err(ApiError::unknown("a rule cannot stand beside itself"));
    }
    let was_enabled = rules.get(kind.clone(), &id).map(|old| old.enabled());
    if let (Some(was_enabled), Some(_)) = (was_enabled, after.or(before)) {
        rules.remove(kind.clone(), &id)?;
        rules.insert(rule, after, before)?;
        return Ok(rules.set_enabled(kind, &id, was_enabled)?);
    }
    Ok(rules.insert(rule, after, before)?)
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn delete(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<delete_pushrule::v3::Request>,
) -> ApiResult<Json<Value>> {
    check_kind(request.kind.as_str())?;
    app.own_data
        .change_push_rules::<ApiError>(&session.user, move |rules| {
            Ok(rules.remove(request.kind, &request.rule_id)?)
        })
        .await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
async fn enabled(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_pushrule_enabled::v3::Request>,
) -> ApiResult<Json<Value>> {
    let rule = rule(&app, &session, request.kind, &request.rule_id).await?;
    Ok(Json(json!({ "enabled": rule.enabled() })))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
async fn set_enabled(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<set_pushrule_enabled::v3::Request>,
) -> ApiResult<Json<Value>> {
    check_kind(request.kind.as_str())?;
    app.own_data
        .change_push_rules::<ApiError>(&session.user, move |rules| {
            Ok(rules.set_enabled(request.kind, &request.rule_id, request.enabled)?)
        })
        .await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
async fn actions(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_pushrule_actions::v3::Request>,
) -> ApiResult<Json<Value>> {
    let rule = rule(&app, &session, request.kind, &request.rule_id).await?;
    Ok(Json(json!({ "actions": rule.actions() })))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
async fn set_actions(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<set_pushrule_actions::v3::Request>,
) -> ApiResult<Json<Value>> {
    check_kind(request.kind.as_str())?;
    app.own_data
        .change_push_rules::<ApiError>(&session.user, move |rules| {
            Ok(rules.set_actions(request.kind, &request.rule_id, request.actions)?)
        })
        .await?;
    Ok(Json(json!({})))
}

impl From<RuleNotFoundError> for ApiError {
    fn from(_: RuleNotFoundError) -> Self {
        no_such_rule()
    }
}

impl From<InsertPushRuleError> for ApiError {
    fn from(e: InsertPushRuleError) -> Self {
        match e {
            InsertPushRuleError::UnknownRuleId => Self::unknown(e.to_string()),
            e => Self::invalid_param(e.to_string()),
        }
    }
}

impl From<RemovePushRuleError> for ApiError {
    fn from(e: RemovePushRuleError) -> Self {
        match e {
            RemovePushRuleError::NotFound => no_such_rule(),
            e => Self::invalid_param(e.to_string()),
        }
    }
}
