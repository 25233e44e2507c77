//! Owns the bar that shows at a glance how far an alert has come with its people.
//! Invariant: the parts add up to the whole bar; colours are never the only sign, as the numbers stand beside it.

use super::language::Language;
use crate::delivery::coverage::PeopleView;

/// Parts in the order in which they are drawn, with their people.
pub(super) struct Bar {
    parts: [(&'static str, u32); 5],
    people: PeopleView,
}

impl Bar {
    pub(super) fn of(people: PeopleView) -> Self {
        let parts = [
            ("acknowledged", people.acknowledged),
            ("reached", people.reached.saturating_sub(people.acknowledged)),
            ("pending", people.pending),
            ("failed", people.failed),
            ("unreachable", people.unreachable),
        ];
        Self { parts, people }
    }

    /// Widths as attributes: the page's policy takes no style that stands in the page.
    pub(super) fn svg(&self, language: &Language) -> String {
        let share = |people: u32| f64::from(people) * 100.0 / f64::from(self.people.targeted.max(1));
        let label = language.say("已送达", "reached");
        let mut svg = format!(
            "<svg class=\"bar\" role=\"img\" aria-label=\"{label} {}/{}\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\">",
            self.people.reached, self.people.targeted
        );
        let mut from = 0.0;
        for (class, people) in self.parts {
            if people > 0 {
                let width = share(people);
                svg.push_str(&format!("<rect class=\"{class}\" x=\"{from:.2}\" width=\"{width:.2}\" height=\"6\"/>"));
                from += width;
            }
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::http::HeaderMap;

    use super::*;

    #[test]
    fn the_parts_fill_the_bar() {
        let people = PeopleView { targeted: 7, reached: 3, acknowledged: 1, pending: 2, failed: 1, unreachable: 1 };
        let svg = Bar::of(people).svg(&Language::of(&HashMap::new(), &HeaderMap::new()));
        let widths = svg.split("width=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default().parse::<f64>().unwrap());
        assert!((widths.sum::<f64>() - 100.0).abs() < 0.1, "{svg}");
        assert!(svg.contains("已送达 3/7"), "{svg}");
        assert!(!Bar::of(PeopleView::default()).svg(&Language::of(&HashMap::new(), &HeaderMap::new())).contains("rect"));
    }
}
