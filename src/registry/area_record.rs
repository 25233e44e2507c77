//! Owns an area as files and JSON write it.
//! Invariant: its level is its code's, and its parent contains it.

use std::borrow::Cow;

use super::{
    columns::Kind,
    place::Place,
    record::{Cells, Record, SHORT_LETTERS_MAX, place_cells},
    tree::AreaNode,
};
use crate::area::{AreaCode, AreaLevel};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaRecord {
    pub code: AreaCode,
    pub name: Box<str>,
    /// The area directly above; `None` for the top of the tree, or to have it found by code.
    pub parent: Option<AreaCode>,
    pub place: Option<Place>,
}

impl AreaRecord {
    pub(crate) fn of(node: &AreaNode) -> Self {
        Self { code: node.code, name: node.name.clone(), parent: node.parent, place: node.place }
    }
}

const CODE: usize = 0;
const LEVEL: usize = 2;
const PARENT: usize = 3;

impl Record for AreaRecord {
    const KIND: Kind = Kind::Areas;

    fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let code: Option<AreaCode> = cells.area(CODE);
        let name = cells.needed_text(1, SHORT_LETTERS_MAX);
        if let Some(code) = code {
            check_level(cells, code);
        }
        let parent: Option<AreaCode> = cells.optional(PARENT, "bad-area-code");
        if let (Some(code), Some(parent)) = (code, parent)
            && (parent == code || !parent.contains(code))
        {
            cells.fault(PARENT, "wrong-parent", format!("{code} does not lie in {parent}"));
        }
        let place = cells.place(4, 5);
        cells.finish(Self { code: code?, name, parent, place })
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        let [lon, lat] = place_cells(self.place);
        let parent = self.parent.map_or_else(String::new, |parent| parent.to_string());
        vec![self.code.to_string().into(), Cow::Borrowed(&self.name), self.code.level().name().into(), parent.into(), lon, lat]
    }

    fn id(&self) -> Cow<'_, str> {
        self.code.to_string().into()
    }
}

fn check_level(cells: &mut Cells<'_>, code: AreaCode) {
    let level = match cells.raw(LEVEL) {
        "" => return,
        "province" | "省" | "省级" => AreaLevel::Province,
        "city" | "市" | "地级" | "市级" => AreaLevel::City,
        "county" | "县" | "区" | "县级" => AreaLevel::County,
        "township" | "乡" | "镇" | "街道" | "乡镇" | "乡级" => AreaLevel::Township,
        "village" | "村" | "社区" | "村级" => AreaLevel::Village,
        _ => return cells.fault(LEVEL, "bad-level", "expected province, city, county, township or village"),
    };
    if level != code.level() {
        cells.fault(LEVEL, "wrong-level", format!("{code} is the code of a {}", code.level().name()));
    }
}
