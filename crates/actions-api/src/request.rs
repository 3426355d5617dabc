//! Around every request: its id, the path form `x:verb`, a time limit, the written problem, and
//! the headers of every answer.

use std::sync::Arc;

use actions_domain::id::EventId;
use actions_domain::limits::REQUEST_MAX;
use actions_domain::trace::TraceParent;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use crate::problem::{HOST_FORBIDDEN, Problem, REQUEST_TIMEOUT};
use crate::routes::Api;
use crate::sites::harmless;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What one request is called.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) request_id: String,
    /// From `traceparent`.
    pub(crate) trace_id: Option<String>,
    /// As the caller wrote it, without the query.
    pub(crate) path: String,
}

/// Said of requests at the door for everybody, where operators have one of their own.
#[derive(Clone)]
pub(crate) struct Public;

/// Whether a path is for operators only.
fn is_for_operators(path: &str) -> bool {
    let is_below = |base: &str| {
        path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ["/v1/admin", "/v1/internal", "/metrics"].into_iter().any(is_below)
}

/// The outermost layer.
pub(crate) async fn accompany(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = Arc::new(context_of(&api, &request));
    request.extensions_mut().insert(context.clone());
    if let Some(uri) = plain_form(request.uri()) {
        *request.uri_mut() = uri;
    }
    let method = method_label(request.method());
    let origin = api.sites.welcome(request.headers()).cloned();
    let mut response = if !api.sites.answers(request.uri(), request.headers()) {
        let detail = "the request names another host; ACTIONS_HOSTS lists the server's own names";
        Problem::new(&HOST_FORBIDDEN, detail).into_response()
    } else if request.extensions().get::<Public>().is_some()
        && is_for_operators(request.uri().path())
    {
        Problem::not_found("path").into_response()
    } else if let Some(answer) = api.sites.preflight(&request) {
        answer
    } else {
        answer(&api, request, next).await
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log(&context, &problem, response.status().is_server_error());
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = problem.into_answer(&context);
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
    }
    let status = response.status().as_u16().to_string();
    metrics::counter!("actions_http_requests_total", "method" => method, "status" => status)
        .increment(1);
    api.sites.mark(origin, response.headers_mut());
    finish(response, &context)
}

async fn answer(api: &Api, request: Request, next: Next) -> Response {
    tokio::select! {
        response = next.run(request) => response,
        () = api.app.ports.clock.sleep(REQUEST_MAX) => {
            let seconds = REQUEST_MAX.as_secs();
            Problem::new(&REQUEST_TIMEOUT, format!("no answer within {seconds} s")).into_response()
        }
    }
}

/// A label's values have to be few, and a caller may invent methods.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn context_of(api: &Api, request: &Request) -> RequestContext {
    let text =
        |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_usable = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    let request_id = text(&REQUEST_ID).filter(is_usable).map_or_else(
        || EventId::mint(api.app.ports.clock.now(), api.app.ports.dice.bytes()).to_string(),
        str::to_owned,
    );
    let parent = text(&HeaderName::from_static("traceparent")).and_then(TraceParent::parse);
    let trace_id = parent.map(|parent| parent.trace().to_owned());
    RequestContext { request_id, trace_id, path: request.uri().path().to_owned() }
}

/// Turns a last segment `x:verb` into `x/~verb`, because the router matches whole segments. No
/// name holds a `~`, so nothing else has that form.
fn plain_form(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let (head, last) = path.rsplit_once('/')?;
    let (name, verb) = last.rsplit_once(':')?;
    let is_verb = !verb.is_empty() && verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if name.is_empty() || !is_verb {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let rewritten: PathAndQuery = format!("{head}/{name}/~{verb}{query}").parse().ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rewritten);
    Uri::from_parts(parts).ok()
}

fn log(context: &RequestContext, problem: &Problem, is_ours: bool) {
    let (code, cause) = (problem.code(), problem.cause().unwrap_or_default());
    let RequestContext { request_id, path, .. } = context;
    if code == "internal" {
        error!(request_id, path, code, cause, "a request failed by our own mistake");
    } else if is_ours {
        warn!(request_id, path, code, cause, "a request was not served");
    }
}

fn finish(mut response: Response, context: &RequestContext) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    harmless(headers);
    response
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::plain_form;

    #[test]
    fn only_a_verb_behind_a_colon_is_rewritten() {
        let form = |raw: &str| plain_form(&raw.parse::<Uri>().unwrap()).map(|uri| uri.to_string());
        assert_eq!(form("/v1/a/x:cancel?a=b:c").as_deref(), Some("/v1/a/x/~cancel?a=b:c"));
        assert_eq!(form("/events:explain").as_deref(), Some("/events/~explain"));
        for plain in ["/v1/x", "/v1/a:b/x", "/v1/x:", "/v1/:x", "/v1/x:Y", "/v1/x:1"] {
            assert_eq!(form(plain), None, "{plain}");
        }
    }
}
