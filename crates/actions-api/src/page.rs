//! Lists: limits, cursors, chosen fields, and the written page.
//!
//! A cursor is the place to go on from, bound to its tenant, list and filter by a hash: one that
//! is sent with anything else is refused. It grants nothing.

use actions_app::filter::Filter;
use actions_domain::limits::{PAGE_DEFAULT, PAGE_MAX};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::members::Members;
use crate::problem::{CURSOR_INVALID, FILTER_UNKNOWN_FIELD, Problem};
use crate::request::RequestContext;
use crate::routes::Api;

/// Bytes of the hash in a cursor.
const SEAL_BYTES: usize = 8;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageView<T> {
    pub(crate) items: Vec<T>,
    /// Sent back as `cursor`, it goes on from here. Missing on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// What every list understands, for the API's description.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by ListQuery, which also takes the filter's fields")]
pub(crate) struct ListParams {
    /// Items of the page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Filter like `status:failed -action:email.* attempts>2 since:1h`. A parameter named like a
    /// field is one more term: `status=failed`.
    r#where: Option<String>,
    /// Members of the items to answer with, joined by commas.
    fields: Option<String>,
}

/// The query of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListQuery {
    pub(crate) filter: Filter,
    pub(crate) limit: u32,
    cursor: Option<String>,
    fields: Option<Vec<String>>,
    path: String,
    /// All parameters but the cursor, for the link to the next page.
    others: Vec<(String, String)>,
}

impl FromRequestParts<Api> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let context = parts.extensions.get::<std::sync::Arc<RequestContext>>();
        let path = context.map(|context| context.path.clone()).unwrap_or_default();
        Self::parse(path, parts.uri.query().unwrap_or_default())
    }
}

impl ListQuery {
    fn parse(path: String, query: &str) -> Result<Self, Problem> {
        let mut list = Self {
            filter: Filter::default(),
            limit: PAGE_DEFAULT,
            cursor: None,
            fields: None,
            path,
            others: Vec::new(),
        };
        let mut shorthand = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let (name, value) = (name.into_owned(), value.into_owned());
            match name.as_str() {
                "limit" => list.limit = limit(&value)?,
                "cursor" => {
                    list.cursor = Some(value);
                    continue;
                }
                "where" => list.filter = Filter::parse(&value)?,
                "fields" => {
                    list.fields = Some(value.split(',').map(str::to_owned).collect());
                }
                _ => shorthand.push((name.clone(), value.clone())),
            }
            list.others.push((name, value));
        }
        for (name, value) in shorthand {
            if value.is_empty() {
                return Err(Problem::parameter(&name, "has no value"));
            }
            // Filters name the thing, parameters may name its id.
            list.filter.and(name.strip_suffix("_id").unwrap_or(&name), &value);
        }
        Ok(list)
    }

    /// Refuses a filter of a list that has none.
    pub(crate) fn check_unfiltered(&self) -> Result<(), Problem> {
        if self.filter.is_empty() {
            return Ok(());
        }
        Err(Problem::new(&FILTER_UNKNOWN_FIELD, "this list has no filter"))
    }

    /// Where to go on from. `None`: from the start.
    pub(crate) fn place<T: std::str::FromStr>(&self, tenant: &str) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let refused = || {
            let detail = "it is damaged, or belongs to another tenant, list or filter";
            Problem::new(&CURSOR_INVALID, detail)
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (seal, place) = bytes.split_at_checked(SEAL_BYTES).ok_or_else(refused)?;
        if seal != self.seal(tenant, place) {
            return Err(refused());
        }
        let place = std::str::from_utf8(place).map_err(|_| refused())?;
        place.parse().map(Some).map_err(|_| refused())
    }

    /// Writes a page down, with the cursor and the link to the next one.
    pub(crate) fn answer<T: Serialize>(
        &self,
        tenant: &str,
        items: Vec<T>,
        next: Option<impl ToString>,
    ) -> Result<Response, Problem> {
        let next_cursor = next.map(|place| self.cursor_of(tenant, &place.to_string()));
        let link = next_cursor.as_deref().map(|cursor| self.link(cursor));
        let page = PageView { items: self.chosen(&items)?, next_cursor };
        let mut response = json(&page);
        if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }

    fn cursor_of(&self, tenant: &str, place: &str) -> String {
        let mut bytes = self.seal(tenant, place.as_bytes()).to_vec();
        bytes.extend_from_slice(place.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn seal(&self, tenant: &str, place: &[u8]) -> [u8; SEAL_BYTES] {
        let filter = self.filter.canonical();
        let mut hasher = blake3::Hasher::new();
        for part in [tenant.as_bytes(), self.path.as_bytes(), filter.as_bytes(), place] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL_BYTES]);
        seal
    }

    fn link(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.others).append_pair("cursor", cursor);
        format!("<{}?{}>; rel=\"next\"", self.path, query.finish())
    }

    /// The items with the chosen members only. Their values stay as they are, to the byte.
    fn chosen<T: Serialize>(&self, items: &[T]) -> Result<Vec<Box<RawValue>>, Problem> {
        let internal = |error: serde_json::Error| Problem::internal(error.to_string());
        let mut chosen = Vec::with_capacity(items.len());
        for item in items {
            let raw = serde_json::value::to_raw_value(item).map_err(internal)?;
            let Some(fields) = &self.fields else {
                chosen.push(raw);
                continue;
            };
            let members: Members<'_> = serde_json::from_str(raw.get()).map_err(internal)?;
            let kept = members.only(fields);
            chosen.push(serde_json::value::to_raw_value(&kept).map_err(internal)?);
        }
        Ok(chosen)
    }
}

/// Writes a JSON answer with status 200.
pub(crate) fn json<T: Serialize>(body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let media = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, media)], bytes).into_response()
        }
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}

fn limit(raw: &str) -> Result<u32, Problem> {
    let parsed = raw.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    parsed.ok_or_else(|| Problem::parameter("limit", format!("expected 1 to {PAGE_MAX}")))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use proptest::prelude::*;

    use super::ListQuery;

    fn list(query: &str) -> ListQuery {
        ListQuery::parse("/v1/tenants/acme/executions".to_owned(), query).unwrap()
    }

    #[test]
    fn a_cursor_belongs_to_its_tenant_list_and_filter() {
        let cursor = list("status=failed").cursor_of("acme", "17");
        let place = |query: &str, tenant: &str| {
            list(&format!("{query}&cursor={cursor}")).place::<i64>(tenant)
        };
        assert_eq!(place("status=failed&limit=7", "acme").unwrap(), Some(17));
        assert_eq!(place("where=status:failed", "acme").unwrap(), Some(17));
        assert!(place("status=failed", "other").is_err());
        assert!(place("status=completed", "acme").is_err());
        let mut damaged = list("status=failed");
        for cursor in ["", "x", "AAAA", "!!!!", &cursor[1..], &format!("{cursor}A")] {
            damaged.cursor = Some(cursor.to_owned());
            assert!(damaged.place::<i64>("acme").is_err(), "{cursor}");
        }
    }

    #[test]
    fn the_link_keeps_the_other_parameters() {
        let list = list("limit=2&where=a:b%20c:d&cursor=old");
        let link = list.link("new");
        assert_eq!(
            link,
            "</v1/tenants/acme/executions?limit=2&where=a%3Ab+c%3Ad&cursor=new>; rel=\"next\""
        );
    }

    proptest! {
        #[test]
        fn a_cursor_goes_on_where_its_page_ended(place in any::<i64>(), tenant in "[a-z]{1,9}") {
            let mut query = list("status=failed");
            query.cursor = Some(query.cursor_of(&tenant, &place.to_string()));
            prop_assert_eq!(query.place::<i64>(&tenant).ok(), Some(Some(place)));
        }

        #[test]
        fn a_cursor_that_was_tampered_with_is_refused(
            place in any::<i64>(),
            at in any::<proptest::sample::Index>(),
            put in any::<char>(),
        ) {
            let mut query = list("status=failed");
            let cursor = query.cursor_of("acme", &place.to_string());
            let mut letters: Vec<char> = cursor.chars().collect();
            let at = at.index(letters.len());
            prop_assume!(letters[at] != put);
            letters[at] = put;
            query.cursor = Some(letters.into_iter().collect());
            let refused = query.place::<i64>("acme").expect_err("it was tampered with");
            prop_assert_eq!(refused.into_response().status(), StatusCode::BAD_REQUEST);
        }

        #[test]
        fn whatever_comes_as_a_cursor_is_answered(cursor in any::<String>()) {
            let mut query = list("status=failed");
            query.cursor = Some(cursor);
            let refused = query.place::<i64>("acme").expect_err("nobody guesses a seal");
            prop_assert_eq!(refused.into_response().status(), StatusCode::BAD_REQUEST);
        }
    }
}
