//! Owns whom a made-up county is made for: the towns and villages of a file, of a registry, or of the fixture county.
//! Refuses to know what is made up; see `generate`.
//! Invariant: what comes out imports into an empty registry, or the file's faults are named.

use super::{
    area_record::AreaRecord,
    columns::Kind,
    content::ImportFile,
    export::export_dir,
    fixture,
    generate::generate,
    import::{ImportOptions, read_files},
    merge::{Import, Mode, Placed, merge},
    snapshot::Snapshot,
};
use crate::{area::AreaLevel, fault::Fault};

/// A made-up county with its areas: those of `file` (as an import reads them), else of `kept`, else of the fixture county.
pub fn county(file: Option<&ImportFile<'_>>, kept: &Snapshot, households: u32, seed: u64) -> Result<Import, Vec<Fault>> {
    let areas = match file {
        Some(file) => areas_of(&read(file)?),
        None if kept.areas().is_empty() => return Ok(fixture::beichuan(households, seed)),
        None => areas_of(kept),
    };
    if areas.iter().all(|area| area.code.level() != AreaLevel::Village) {
        return Err(vec![Fault::new("areas", "no-villages", "households live in villages, and the area tree has none")]);
    }
    let mut import = generate(&areas, households, seed);
    import.areas = areas.into_iter().map(|record| Placed { file: 0, line: 0, record }).collect();
    import.kinds = Kind::ALL.to_vec();
    Ok(import)
}

/// Writes a made-up county as the files that an import reads.
pub fn write_county(import: &Import, dir: &std::path::Path) -> Result<std::io::Result<()>, Vec<Fault>> {
    Ok(export_dir(&merge(&Snapshot::default(), import, Mode::Upsert)?.snapshot, dir))
}

fn read(file: &ImportFile<'_>) -> Result<Snapshot, Vec<Fault>> {
    let empty = Snapshot::default();
    let (mut import, faults) = read_files(std::slice::from_ref(file), ImportOptions::default(), &empty, &|_| {});
    faults.into_result(())?;
    if import.kinds != [Kind::Areas] {
        return Err(vec![Fault::new(file.name, "wrong-kind", "expected a file of areas")]);
    }
    import.files = vec![file.name.to_owned()];
    Ok(merge(&empty, &import, Mode::Upsert)?.snapshot)
}

fn areas_of(snapshot: &Snapshot) -> Vec<AreaRecord> {
    snapshot.areas().iter().map(AreaRecord::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{KindCounts, Registry};

    const TOWN: &str = "code,name\n110101,东城区\n110101001,东华门街道\n110101001001,多福巷社区\n";

    fn file(text: &str) -> ImportFile<'_> {
        ImportFile::in_memory("areas.csv", text.as_bytes())
    }

    #[test]
    fn a_county_over_any_tree_is_written_as_files_that_import_to_the_same() {
        let import = county(Some(&file(TOWN)), &Snapshot::default(), 30, 5).expect("sound");
        let dir = tempfile::tempdir().expect("temporary directory");
        write_county(&import, dir.path()).expect("sound").expect("written");
        let read: Vec<(Kind, Vec<u8>)> =
            Kind::ALL.into_iter().map(|kind| (kind, std::fs::read(dir.path().join(kind.file_name())).expect("written"))).collect();
        let files: Vec<ImportFile<'_>> = read.iter().map(|(kind, bytes)| ImportFile::in_memory(kind.file_name(), bytes)).collect();
        let data = tempfile::tempdir().expect("temporary directory");
        let registry = Registry::open(data.path()).expect("empty").registry;
        let first = registry.import(&files, ImportOptions::default()).expect("sound");
        assert_eq!(
            first
                .snapshot
                .subscribers_at("110101001001".parse().expect("a code"))
                .filter(|&at| { first.snapshot.subscriber_at(at).id().starts_with('h') })
                .count(),
            30
        );
        let again = registry.import_records(&import, Mode::Upsert).expect("sound");
        assert!(
            again.counts.iter().all(|KindCounts { counts, .. }| counts.added + counts.changed + counts.removed == 0),
            "{:?}",
            again.counts
        );
        let kept = county(None, &again.snapshot, 30, 5).expect("sound");
        assert_eq!(format!("{:?}", kept.subscribers), format!("{:?}", import.subscribers), "the registry's own tree gives the same");
    }

    #[test]
    fn a_tree_without_villages_or_a_file_of_something_else_is_refused() {
        let rule = |text: &str| county(Some(&file(text)), &Snapshot::default(), 30, 5).expect_err("refused")[0].rule;
        assert_eq!(rule("code,name\n110101,东城区\n"), "no-villages");
        assert_eq!(rule("id,area,role\np,110101,household\n"), "wrong-kind");
        assert_eq!(rule("code,name\n11010,东城区\n"), "bad-area-code");
    }
}
