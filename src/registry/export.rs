//! Owns the canonical files of a snapshot: the columns' first names, rows sorted by area and id, LF, UTF-8 without mark.
//! Invariant: an export that is imported again exports to the same bytes, whatever order it was first imported in.

use std::{
    io::{self, Write as _},
    path::Path,
};

use super::{
    area_record::AreaRecord,
    columns::Kind,
    record::Record,
    shelf::{create_file, make_dir},
    snapshot::Snapshot,
};

/// One kind's file.
pub fn export(snapshot: &Snapshot, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Areas => table(snapshot.areas().iter().map(AreaRecord::of)),
        Kind::HazardPoints => {
            let code = |&at: &u32| (snapshot.hazard_point_at(at).area(), snapshot.hazard_point_at(at).code());
            table(sorted(snapshot.hazard_point_count(), code).map(|at| snapshot.hazard_point_at(at).record()))
        }
        Kind::Subscribers => {
            let id = |&at: &u32| (snapshot.subscriber_at(at).area(), snapshot.subscriber_at(at).id());
            table(sorted(snapshot.subscriber_count(), id).map(|at| snapshot.subscriber_at(at).record()))
        }
        Kind::Speakers => {
            let id = |&at: &u32| (snapshot.speaker_at(at).area(), snapshot.speaker_at(at).id());
            table(sorted(snapshot.speaker_count(), id).map(|at| snapshot.speaker_at(at).record()))
        }
        Kind::Endpoints => {
            let id = |&at: &u32| (snapshot.endpoint_at(at).area(), snapshot.endpoint_at(at).id());
            table(sorted(snapshot.endpoint_count(), id).map(|at| snapshot.endpoint_at(at).record()))
        }
    }
}

/// All files, into a directory that is made if need be.
pub fn export_dir(snapshot: &Snapshot, dir: &Path) -> io::Result<()> {
    make_dir(dir)?;
    for kind in Kind::ALL {
        create_file(&dir.join(kind.file_name()))?.write_all(&export(snapshot, kind))?;
    }
    Ok(())
}

fn sorted<K: Ord>(count: u32, key: impl Fn(&u32) -> K) -> impl Iterator<Item = u32> {
    let mut positions: Vec<u32> = (0..count).collect();
    positions.sort_unstable_by_key(key);
    positions.into_iter()
}

fn table<R: Record>(records: impl Iterator<Item = R>) -> Vec<u8> {
    let mut file = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    let mut write = |cells: &[&str]| file.write_record(cells).expect("a vector takes whatever is written, and rows are of one length");
    write(&R::KIND.columns().iter().map(|column| column.name).collect::<Vec<_>>());
    for record in records {
        write(&record.cells().iter().map(|cell| &**cell).collect::<Vec<_>>());
    }
    file.into_inner().expect("a vector takes whatever is written")
}
