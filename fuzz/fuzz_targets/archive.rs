//! Any stream in any chunks in place of PostgreSQL's binary COPY: rows are cut out of it, or it is
//! refused; what was taken can be summed, written as text and as a file.
#![no_main]

use acequia_archive::row_group::{RowGroup, Checksum, Rows};
use acequia_archive::file::{Writer, encodings};
use acequia_archive::encoding::ColumnSpec;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const FORMS: [&str; 13] = [
    "bool", "int2", "int4", "int8", "float4", "float8", "uuid", "bytea", "date", "timestamp",
    "timestamptz", "decimal(10,2)", "text",
];
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

// Length of the pieces, how many columns, their forms, then the stream behind its signature.
fuzz_target!(|input: &[u8]| {
    let [chunk, columns, rest @ ..] = input else {
        return;
    };
    let Some((chosen, stream)) = rest.split_at_checked(usize::from(columns % 8) + 1) else {
        return;
    };
    let columns: Vec<ColumnSpec> = chosen
        .iter()
        .enumerate()
        .map(|(place, encoding)| ColumnSpec {
            name: format!("c{place}"),
            sql: "text".to_owned(),
            encoding: FORMS[usize::from(*encoding) % FORMS.len()].to_owned(),
        })
        .collect();
    let Ok(encodings) = encodings(&columns) else {
        return;
    };
    let stream = [SIGNATURE, stream].concat();
    let (mut rows, mut row_group) = (Rows::default(), RowGroup::new(&encodings));
    for piece in stream.chunks(usize::from(*chunk) + 1) {
        if rows.take(Bytes::copy_from_slice(piece), &mut row_group).is_err() {
            return;
        }
    }
    let _ = rows.finish();
    let _ = row_group.copy_text();
    let mut sum = Checksum::new(&columns);
    sum.add(&row_group);
    let _ = sum.finish();
    if row_group.rows() > 0 {
        let file = || {
            let mut writer = Writer::new(&columns, &[])?;
            writer.write(&row_group)?;
            writer.finish()
        };
        // This is what the target looks for: rows that were taken and become no file.
        if let Err(error) = file() {
            panic!("{} rows were taken, but make no file: {error:#}", row_group.rows());
        }
    }
});
