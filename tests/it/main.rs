//! Tests of the whole crate in one binary: walls between rooms, and the real application in process against small real servers.

mod walls;
