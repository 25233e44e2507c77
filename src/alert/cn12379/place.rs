//! Owns areas of 12379: lists of codes, pairs in either order, metres, lines.
//! Refuses to know which areas exist. Invariant: a line is never taken for an area, and an order that the numbers do not tell is a warning.

use roxmltree::Node;

use crate::{
    alert::{Circle, Point, Polygon, cap::node::child_text, check::DraftArea, words},
    area::AreaCode,
    fault::{Fault, Faults},
};

pub(super) fn area(node: &Node<'_, '_>, path: String, faults: &mut Faults, warnings: &mut Vec<Fault>) -> DraftArea {
    let mut draft = DraftArea { name: child_text(node, "areaDesc").unwrap_or_default(), ..DraftArea::default() };
    let codes = child_text(node, "geocode").unwrap_or_default();
    for (place, code) in words::split_codes(&codes).enumerate() {
        match code.parse::<AreaCode>() {
            Ok(code) => draft.codes.push(code),
            Err(error) => faults.add(format!("{path}.geocode[{place}]"), "bad-code", error.to_string()),
        }
    }
    if let Some(text) = child_text(node, "polygon").filter(|text| !text.is_empty()) {
        let path = format!("{path}.polygon");
        match points(&text) {
            // What the form calls a line encloses nothing: whoever stands near it was meant, and the form does not say how near.
            Some((ring, _)) if ring.len() > 1 && ring.first() != ring.last() && !draft.codes.is_empty() => {
                let message = "an open ring is a line in this form, and encloses nothing; the codes of the area say who is told";
                warnings.push(Fault::new(path, "line-not-used", message));
            }
            Some((ring, _)) if ring.len() > 1 && ring.first() != ring.last() => {
                faults.add(path, "polygon-open", "an open ring is a line in this form; close it, or give a circle or codes");
            }
            Some((ring, order)) => {
                order.warn(&path, warnings);
                draft.polygons.push((path, Polygon { rings: vec![ring] }));
            }
            None => faults.add(path, "bad-geometry", "must be pairs of coordinates"),
        }
    }
    if let Some(text) = child_text(node, "circle").filter(|text| !text.is_empty()) {
        let path = format!("{path}.circle");
        let (pair, radius) = text.rsplit_once(char::is_whitespace).unwrap_or((&text, ""));
        match (points(pair).filter(|(points, _)| points.len() == 1), radius.parse::<f64>()) {
            // This form counts in metres, and a radius of 0 is a point.
            (Some((points, order)), Ok(metres)) => {
                order.warn(&path, warnings);
                draft.circles.push((path, Circle { center: points[0], radius_km: metres / 1_000.0 }));
            }
            _ => faults.add(path, "bad-geometry", "must be a pair of coordinates and a radius in metres"),
        }
    }
    draft.path = path;
    draft
}

/// Whether the numbers themselves say which is the latitude.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Told,
    Assumed,
}

impl Order {
    fn warn(self, path: &str, warnings: &mut Vec<Fault>) {
        if self == Self::Assumed {
            let message = "the order is not stated and the place is not in China; latitude first was assumed, as in CAP";
            warnings.push(Fault::new(path, "order-of-coordinates", message));
        }
    }
}

/// The order is not stated (domain reference 2.1). In China latitudes are 3 to 54 and longitudes 73 to 136, so that all points together tell it.
fn points(text: &str) -> Option<(Vec<Point>, Order)> {
    let pair = |text: &str| {
        let (one, other) = text.split_once([',', '\u{ff0c}'])?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        Some((number(one)?, number(other)?))
    };
    let pairs = text.split_whitespace().map(pair).collect::<Option<Vec<(f64, f64)>>>()?;
    let in_china = |lat: f64, lon: f64| (3.0..=54.0).contains(&lat) && (73.0..=136.0).contains(&lon);
    let lon_first = pairs.iter().all(|&(one, other)| in_china(other, one));
    let order = if lon_first || pairs.iter().all(|&(one, other)| in_china(one, other)) { Order::Told } else { Order::Assumed };
    let point = |(one, other)| if lon_first { Point { lon: one, lat: other } } else { Point { lat: one, lon: other } };
    Some((pairs.into_iter().map(point).collect(), order))
}
