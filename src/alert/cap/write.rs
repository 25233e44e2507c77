//! Owns writing an alert as CAP 1.2, in the schema's order. Refuses to know where it goes.
//! Invariant: valid by the schema, and read back equal.

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{
    CAP12,
    read::{AREAS_PARAMETER, GROUP_PARAMETER, PART_PARAMETER, TEXT_PARAMETER},
};
use crate::alert::{Alert, Area, Point, Resource, Translation, json};

type Out = Writer<Vec<u8>>;
type Done = std::io::Result<()>;

/// Value names of the codes that we write.
const EVENT_CODE: &str = "12379";
const AREA_CODE: &str = "CN-ADMIN-12";

pub fn write(alert: &Alert) -> String {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 1);
    document(&mut out, alert).expect("writing to memory does not fail");
    String::from_utf8(out.into_inner()).expect("the writer writes the UTF-8 that it is given")
}

fn document(out: &mut Out, alert: &Alert) -> Done {
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    out.create_element("alert").with_attribute(("xmlns", CAP12)).write_inner_content(|out| {
        text(out, "identifier", &alert.identifier)?;
        text(out, "sender", &alert.sender)?;
        text(out, "sent", &alert.sent.to_seconds_string())?;
        text(out, "status", &format!("{:?}", alert.status))?;
        text(out, "msgType", &format!("{:?}", alert.msg_type))?;
        optional(out, "source", &alert.carried.source)?;
        text(out, "scope", "Public")?;
        alert.carried.codes.iter().try_for_each(|code| text(out, "code", code))?;
        optional(out, "note", &alert.note)?;
        let references: Vec<String> =
            alert.references.iter().map(|one| format!("{},{},{}", one.sender, one.identifier, one.sent.to_seconds_string())).collect();
        optional(out, "references", &references.join(" "))?;
        optional(out, "incidents", &alert.carried.incidents)?;
        info(out, alert, None)?;
        alert.translations.iter().try_for_each(|translation| info(out, alert, Some(translation)))
    })?;
    Ok(())
}

fn info(out: &mut Out, alert: &Alert, translation: Option<&Translation>) -> Done {
    let words = |own: &'static str| match (translation, own) {
        (Some(other), "event") => other.event.clone(),
        (Some(other), "headline") => other.headline.clone(),
        (Some(other), "description") => other.description.clone(),
        (Some(other), _) => other.instruction.clone(),
        (None, "event") => alert.event_name.clone(),
        (None, "headline") => alert.headline.clone(),
        (None, "description") => alert.description.clone(),
        (None, _) => alert.instruction.clone(),
    };
    out.create_element("info").write_inner_content(|out| {
        text(out, "language", translation.map_or(&alert.language, |other| &other.language))?;
        alert.categories.iter().try_for_each(|category| text(out, "category", category))?;
        text(out, "event", &words("event"))?;
        alert.response_types.iter().try_for_each(|response| text(out, "responseType", response))?;
        text(out, "urgency", &alert.urgency)?;
        text(out, "severity", alert.level.severity())?;
        text(out, "certainty", &alert.certainty)?;
        optional(out, "audience", &alert.carried.audience)?;
        value(out, "eventCode", EVENT_CODE, alert.event.as_str())?;
        alert.carried.event_codes.iter().try_for_each(|one| value(out, "eventCode", &one.name, &one.value))?;
        text(out, "effective", &alert.effective.to_seconds_string())?;
        if let Some(onset) = alert.onset {
            text(out, "onset", &onset.to_seconds_string())?;
        }
        text(out, "expires", &alert.expires.to_seconds_string())?;
        optional(out, "senderName", &alert.sender_name)?;
        optional(out, "headline", &words("headline"))?;
        optional(out, "description", &words("description"))?;
        optional(out, "instruction", &words("instruction"))?;
        optional(out, "web", &alert.web)?;
        optional(out, "contact", &alert.contact)?;
        if translation.is_none() {
            alert.texts.iter().try_for_each(|(kind, said)| value(out, "parameter", &format!("{TEXT_PARAMETER}{kind}"), said))?;
            alert.groups.iter().try_for_each(|group| value(out, "parameter", GROUP_PARAMETER, group))?;
            if !alert.part_of.is_empty() {
                value(out, "parameter", PART_PARAMETER, &alert.part_of)?;
            }
            // CAP polygons have no holes and circles no name of their own: what it cannot say is kept beside it.
            if alert.areas.iter().any(|area| area.polygons.iter().any(|polygon| polygon.rings.len() > 1)) {
                value(out, "parameter", AREAS_PARAMETER, &json::areas_value(&alert.areas).to_string())?;
            }
        }
        alert.carried.parameters.iter().try_for_each(|one| value(out, "parameter", &one.name, &one.value))?;
        alert.carried.resources.iter().try_for_each(|file| resource(out, file))?;
        alert.areas.iter().try_for_each(|area| write_area(out, area))
    })?;
    Ok(())
}

fn resource(out: &mut Out, file: &Resource) -> Done {
    out.create_element("resource").write_inner_content(|out| {
        text(out, "resourceDesc", &file.description)?;
        text(out, "mimeType", &file.mime_type)?;
        optional(out, "size", &file.size)?;
        optional(out, "uri", &file.uri)?;
        optional(out, "digest", &file.digest)
    })?;
    Ok(())
}

fn write_area(out: &mut Out, area: &Area) -> Done {
    out.create_element("area").write_inner_content(|out| {
        text(out, "areaDesc", &area.name)?;
        for polygon in &area.polygons {
            let pairs: Vec<String> = polygon.rings.first().into_iter().flatten().map(|point| pair(*point)).collect();
            text(out, "polygon", &pairs.join(" "))?;
        }
        area.circles.iter().try_for_each(|circle| text(out, "circle", &format!("{} {}", pair(circle.center), circle.radius_km)))?;
        area.codes.iter().try_for_each(|code| value(out, "geocode", AREA_CODE, &code.padded().to_string()))
    })?;
    Ok(())
}

fn pair(point: Point) -> String {
    format!("{},{}", point.lat, point.lon)
}

fn value(out: &mut Out, name: &str, value_name: &str, said: &str) -> Done {
    out.create_element(name).write_inner_content(|out| {
        text(out, "valueName", value_name)?;
        text(out, "value", said)
    })?;
    Ok(())
}

fn optional(out: &mut Out, name: &str, said: &str) -> Done {
    if said.is_empty() { Ok(()) } else { text(out, name, said) }
}

fn text(out: &mut Out, name: &str, said: &str) -> Done {
    out.create_element(name).write_text_content(BytesText::new(said))?;
    Ok(())
}
