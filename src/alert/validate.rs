//! Owns the verdict on one document alone (`lastmile alert validate`): no clock, key, registry or earlier alert.
//! Refuses to know files and terminals. Invariant: never panics, whatever the bytes.

use serde_json::{Value, json};

use super::{Limits, Vocabulary, json as alert_json, read};

/// `{file, format, valid, problems, warnings, alert}` of contract §1.
pub fn report(file: &str, body: &[u8]) -> Value {
    let reading = read(body, None, &Limits::default(), &Vocabulary::default());
    let (alert, problems) = match &reading.outcome {
        Ok(alert) => (alert_json::to_value(alert), Vec::new()),
        Err(faults) => (Value::Null, faults.clone()),
    };
    let mut report = json!({
        "file": file,
        "format": reading.format,
        "valid": problems.is_empty(),
        "problems": problems,
        "warnings": reading.warnings,
        "alert": alert,
    });
    if !reading.further.is_empty() {
        let further = reading.further.iter().map(alert_json::to_value);
        report["alerts"] = std::iter::once(report["alert"].clone()).chain(further).collect();
    }
    report
}

/// The same for people.
pub fn text(report: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("unknown format").to_owned();
    let verdict = if report["valid"] == Value::Bool(true) { "valid" } else { "NOT VALID" };
    let mut lines = format!("{}: {verdict} ({})\n", word(&report["file"]), word(&report["format"]));
    for (list, mark) in [("problems", "  fault"), ("warnings", "  warning")] {
        for fault in report[list].as_array().into_iter().flatten() {
            lines.push_str(&format!("{mark} {}: {} [{}]\n", word(&fault["path"]), word(&fault["message"]), word(&fault["rule"])));
        }
    }
    lines
}
