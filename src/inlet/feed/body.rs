//! Owns reading the body of an answer, also one that comes packed, within a bound. Refuses to know what stands in it.
//! Invariant: neither what comes nor what it unpacks to is ever held beyond the bound.

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use reqwest::{Response, header};

use super::fetch::{Failure, broken};

pub(super) async fn body(mut response: Response, most: usize) -> Result<Bytes, Failure> {
    let encoding = response.headers().get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        body.extend_from_slice(&chunk);
    }
    match encoding.as_deref().map(str::trim) {
        None | Some("" | "identity") => Ok(body.freeze()),
        // Not asked for; QWeather packs every answer all the same.
        Some("gzip" | "x-gzip") => {
            let unpacked = tokio::task::spawn_blocking(move || unpacked(&body, most)).await;
            unpacked.unwrap_or_else(|error| Err(Failure::new(format!("the answer cannot be unpacked: {error}"))))
        }
        Some(other) => Err(Failure::new(format!("the answer is packed as {other:?}, which was not asked for"))),
    }
}

fn unpacked(packed: &[u8], most: usize) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = flate2::read::MultiGzDecoder::new(packed).take(limit).read_to_end(&mut body);
    read.map_err(|error| Failure::new(format!("the answer cannot be unpacked: {error}")))?;
    if body.len() > most { Err(too_large(most)) } else { Ok(body.into()) }
}

fn too_large(most: usize) -> Failure {
    Failure::new(format!("the answer is larger than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_packed_answer_is_unpacked_within_the_bound_and_a_torn_one_is_a_failure() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(&[b' '; 100_000]).expect("packed");
        let packed = writer.finish().expect("packed");
        assert_eq!(unpacked(&packed, 100_000).map(|body| body.len()).ok(), Some(100_000));
        assert!(unpacked(&packed, 99_999).is_err_and(|failure| failure.why.contains("larger than 99999")));
        assert!(unpacked(&packed[..packed.len() / 2], 100_000).is_err() && unpacked(b"plain", 100_000).is_err());
    }
}
