//! What the cipher alone costs on this machine: no pair with TLS takes less than that and its copies.

use std::hint::black_box;

use anyhow::{Context as _, Result};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use rustix::time::{ClockId, clock_gettime};

/// The plain bytes of a record of TLS.
const RECORD: usize = 16 * 1024;

/// A quarter of a GiB: long enough to be told from noise.
const RECORDS: usize = 16 * 1024;

/// CPU seconds that sealing a GiB takes, and opening it again, in full records of AES-128-GCM, as Weft's
/// gateways agree on.
pub fn per_gib() -> Result<f64> {
    let begun = cpu();
    seal_and_open().ok().context("the cipher failed")?;
    Ok((cpu() - begun) * (f64::from(1 << 30) / (RECORD * RECORDS) as f64))
}

fn seal_and_open() -> Result<(), Unspecified> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16])?);
    let mut record = Vec::with_capacity(RECORD + AES_128_GCM.tag_len());
    record.resize(RECORD, 1);
    for number in 0..RECORDS as u64 {
        let nonce = || {
            let mut nonce = [0; NONCE_LEN];
            let (_, end) = nonce.split_at_mut(4);
            end.copy_from_slice(&number.to_be_bytes());
            Nonce::assume_unique_for_key(nonce)
        };
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut record)?;
        key.open_in_place(nonce(), Aad::empty(), black_box(&mut record))?;
        record.truncate(RECORD);
    }
    Ok(())
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
