//! Owns reading what a broker hands on: WIS2 notification messages (WMO WNM 1, GeoJSON) and cap-composer's own payload.
//! Refuses to fetch, to judge an alert, and to remember. Invariant: a notice says exactly where its document is; every fault is named by its place.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use serde_json::Value;

use super::content::{self, Encoding, Integrity, Method};
use crate::fault::{Fault, Faults};

/// Names of data are paths below a topic; a longer one is no name, and would fill what is remembered.
const DATA_ID_BYTES_MAX: usize = 1_024;
/// The specification knows a handful; more is somebody's mistake or malice.
const LINKS_MAX: usize = 64;

/// One message, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    /// By what it is known again. An update of the same data is news, so it bears its time of publication too.
    pub(super) seen_as: String,
    /// What people know it by.
    pub(super) label: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// The document itself, decoded, inflated and verified.
    Document(Vec<u8>),
    Link(Link),
    /// The data are withdrawn from the exchange; an alert ends by a Cancel of its own, never by this.
    Deletion,
    /// A picture, a bulletin: this word is its media type.
    NoAlert(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) url: Url,
    pub(super) length: Option<u64>,
    pub(super) integrity: Option<Integrity>,
}

/// Reads a payload; a document in it may have `document_max` bytes.
pub(super) fn read(payload: &[u8], document_max: usize) -> Result<Notice, Vec<Fault>> {
    let value: Value = serde_json::from_slice(payload)
        .map_err(|error| vec![Fault::new("", "not-json", format!("line {}, column {}: no JSON message", error.line(), error.column()))])?;
    if value.get("data").is_some_and(Value::is_string) && value.get("properties").is_none() {
        return composed(&value, document_max);
    }
    let mut faults = Faults::default();
    let notice = feature(&value, document_max, &mut faults);
    match notice {
        Some(notice) => faults.into_result(notice),
        None => Err(faults.into_list()),
    }
}

/// cap-composer's `wis2box/cap/publication`: `{data, filename, metadata_id?}`.
fn composed(value: &Value, document_max: usize) -> Result<Notice, Vec<Fault>> {
    let text = value["data"].as_str().unwrap_or_default();
    let document = content::decode(Encoding::Base64, text, document_max).map_err(|refused| vec![refused.at("data")])?;
    let filename = value.get("filename").and_then(Value::as_str).unwrap_or("without a file name");
    let label: String = filename.chars().take(200).collect();
    // File names repeat when an alert is published again: the content says whether it is the same.
    let seen_as = format!("composed\n{}", content::digest_text(&document));
    Ok(Notice { seen_as, label, what: What::Document(document) })
}

fn feature(value: &Value, document_max: usize, faults: &mut Faults) -> Option<Notice> {
    if value.get("type").and_then(Value::as_str) != Some("Feature") {
        faults.add("type", "wrong-value", "must be \"Feature\"");
    }
    let Some(properties) = value.get("properties").filter(|properties| properties.is_object()) else {
        faults.add("properties", "missing", "must be given");
        return None;
    };
    let data_id = text(properties, "data_id");
    if data_id.is_none_or(|id| id.is_empty() || id.len() > DATA_ID_BYTES_MAX) {
        faults.add("properties.data_id", "missing", format!("must be a text of 1 to {DATA_ID_BYTES_MAX} bytes"));
    }
    let integrity = integrity(properties, faults);
    let link = links(value, faults);
    let content = inline(properties, integrity.as_ref(), document_max, faults);
    let (data_id, pubtime) = (data_id?, text(properties, "pubtime").unwrap_or_default());
    let (relation, what) = match (link, content) {
        (Some(Found { relation: "deletion", .. }), _) => ("deletion", What::Deletion),
        (Some(found), Some(document)) => (found.relation, What::Document(document)),
        (Some(Found { relation, media_type: Some(media_type), .. }), None) if !may_hold_an_alert(media_type) => {
            (relation, What::NoAlert(media_type.chars().take(100).collect()))
        }
        (Some(found), None) => (found.relation, What::Link(Link { url: found.url?, length: found.length, integrity })),
        (None, Some(document)) => ("canonical", What::Document(document)),
        (None, None) => {
            faults.add("links", "missing", "one link of relation canonical, update or deletion must be given");
            return None;
        }
    };
    let seen_as = if relation == "canonical" { data_id.to_owned() } else { format!("{data_id}\n{relation} {pubtime}") };
    Some(Notice { seen_as, label: data_id.to_owned(), what })
}

fn integrity(properties: &Value, faults: &mut Faults) -> Option<Integrity> {
    let integrity = properties.get("integrity").filter(|integrity| !integrity.is_null())?;
    let method = text(integrity, "method").and_then(Method::from_name);
    if method.is_none() {
        let message = format!("must be one of {}", Method::names());
        faults.add("properties.integrity.method", "unknown-word", message);
    }
    let value = text(integrity, "value").and_then(|value| STANDARD.decode(value).ok());
    if value.is_none() {
        faults.add("properties.integrity.value", "wrong-value", "must be a digest in base64");
    }
    Some(Integrity { method: method?, value: value? })
}

fn inline(properties: &Value, integrity: Option<&Integrity>, document_max: usize, faults: &mut Faults) -> Option<Vec<u8>> {
    let content = properties.get("content").filter(|content| !content.is_null())?;
    let Some(encoding) = text(content, "encoding").and_then(Encoding::from_name) else {
        faults.add("properties.content.encoding", "unknown-word", "must be one of utf-8, base64, gzip");
        return None;
    };
    let Some(value) = text(content, "value") else {
        faults.add("properties.content.value", "missing", "must be a text");
        return None;
    };
    let size = content.get("size").and_then(Value::as_u64);
    match content::unpack(encoding, value, size, integrity, document_max) {
        Ok(document) => Some(document),
        Err(refused) => {
            faults.extend([refused.at("properties.content")]);
            None
        }
    }
}

struct Found<'a> {
    relation: &'static str,
    url: Option<Url>,
    length: Option<u64>,
    media_type: Option<&'a str>,
}

/// The link that says where the data are; the others (further formats, metadata) are nothing to us.
fn links<'a>(value: &'a Value, faults: &mut Faults) -> Option<Found<'a>> {
    let list = value.get("links").and_then(Value::as_array)?;
    let known = ["canonical", "update", "deletion"];
    let named = list.iter().take(LINKS_MAX).enumerate().filter_map(|(place, link)| {
        let relation = text(link, "rel")?;
        Some((place, link, known.into_iter().find(|known| *known == relation)?))
    });
    let (place, link, relation) = named.min_by_key(|(_, _, relation)| known.iter().rposition(|known| known == relation))?;
    let url = text(link, "href").and_then(|href| href.parse::<Url>().ok()).filter(|url| matches!(url.scheme(), "http" | "https"));
    if url.is_none() && relation != "deletion" {
        faults.add(format!("links[{place}].href"), "bad-url", "must be an http or https address");
    }
    Some(Found { relation, url, length: link.get("length").and_then(Value::as_u64), media_type: text(link, "type") })
}

/// CAP is XML, ours also JSON; some centres call everything a stream of octets.
fn may_hold_an_alert(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    ["xml", "json", "octet-stream"].iter().any(|known| media_type.contains(known))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAX: usize = 10_000;

    fn message(content: Option<&str>, link: &Value) -> Value {
        let mut message = json!({
            "id": "31e9d66a-cd83-4174-9429-b932f1abe1be",
            "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
            "type": "Feature",
            "geometry": null,
            "properties": { "pubtime": "2026-07-23T02:16:00Z", "datetime": "2026-07-23T02:15:00Z", "data_id": "cn-cma/warnings/one" },
            "links": [{ "rel": "license", "href": "https://example.org/license" }, link],
        });
        if let Some(content) = content {
            message["properties"]["content"] = json!({ "encoding": "utf-8", "value": content, "size": content.len() });
        }
        message
    }

    fn link(relation: &str) -> Value {
        json!({ "rel": relation, "href": "https://cache.example/one.xml", "type": "application/cap+xml", "length": 900 })
    }

    fn notice(message: &Value) -> Result<Notice, Vec<Fault>> {
        read(message.to_string().as_bytes(), MAX)
    }

    #[test]
    fn content_within_goes_before_its_link_and_a_link_is_named_whole() {
        let within = notice(&message(Some("<alert/>"), &link("canonical"))).expect("read");
        assert_eq!(within.what, What::Document(b"<alert/>".to_vec()));
        assert_eq!((within.label.as_str(), within.seen_as.as_str()), ("cn-cma/warnings/one", "cn-cma/warnings/one"));
        let What::Link(linked) = notice(&message(None, &link("canonical"))).expect("read").what else { panic!("a link") };
        assert_eq!((linked.url.as_str(), linked.length, linked.integrity), ("https://cache.example/one.xml", Some(900), None));
    }

    #[test]
    fn an_update_is_news_of_the_same_data_and_a_deletion_is_none() {
        let update = notice(&message(None, &link("update"))).expect("read");
        assert!(update.seen_as.contains("2026-07-23T02:16:00Z"));
        let deletion = notice(&message(Some("<alert/>"), &json!({ "rel": "deletion", "href": "none" }))).expect("read");
        assert_eq!(deletion.what, What::Deletion);
        let mut picture = link("canonical");
        picture["type"] = "image/png".into();
        assert_eq!(notice(&message(None, &picture)).expect("read").what, What::NoAlert("image/png".into()));
    }

    #[test]
    fn every_fault_is_named_by_its_place() {
        let mut broken = message(Some("<alert/>"), &json!({ "rel": "canonical", "href": "ftp://cache.example/one.xml" }));
        broken["type"] = "feature".into();
        broken["properties"]["data_id"] = 7.into();
        broken["properties"]["content"]["encoding"] = "latin-1".into();
        broken["properties"]["integrity"] = json!({ "method": "md5", "value": "?" });
        let faults = notice(&broken).expect_err("faults");
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        for path in [
            "type",
            "properties.data_id",
            "properties.content.encoding",
            "properties.integrity.method",
            "properties.integrity.value",
            "links[1].href",
        ] {
            assert!(paths.contains(&path), "{path} is not in {paths:?}");
        }
        assert_eq!(notice(&json!([])).expect_err("faults")[0].path, "type");
        assert_eq!(read(b"{", MAX).expect_err("faults")[0].rule, "not-json");
        assert_eq!(notice(&message(None, &json!({ "rel": "via" }))).expect_err("faults")[0].path, "links");
    }

    #[test]
    fn content_that_is_not_what_its_digest_says_is_refused() {
        let mut changed = message(Some("<alert/>"), &link("canonical"));
        changed["properties"]["integrity"] = json!({ "method": "sha512", "value": STANDARD.encode([7; 64]) });
        assert_eq!(notice(&changed).expect_err("faults")[0].rule, "bad-integrity");
    }

    #[test]
    fn the_payload_of_cap_composer_is_known_by_its_content() {
        let payload = |name: &str| json!({ "data": STANDARD.encode("<alert/>"), "filename": name, "metadata_id": "urn:x" });
        let one = notice(&payload("Actual_20260723T101500_flood.xml")).expect("read");
        let other = notice(&payload("Actual_20260723T101501_flood.xml")).expect("read");
        assert_eq!(one.what, What::Document(b"<alert/>".to_vec()));
        assert_eq!(one.seen_as, other.seen_as);
        assert_ne!(one.label, other.label);
    }
}
