//! What files say of themselves, and what is said to it.

use arrow_schema::DataType;

use super::craft::{Craft, Page, STRUCTS, Thrift};
use super::*;

/// Two columns of two rows.
fn sound() -> Craft {
    Craft::images(b"image", 2)
}

/// Looks at a file as a reader would.
fn look(bytes: &[u8]) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.parquet");
    std::fs::write(&path, bytes).unwrap();
    let vetted = Vetted::open(&path, &DataType::Utf8).map_err(|fault| fault.to_string())?;
    vetted.pages(&[0, 1]).map(|pages| pages.longest).map_err(|fault| fault.to_string())
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let message = look(bytes).expect_err("a fault");
    assert!(message.contains(expected), "{message}");
}

/// Of a sound file, but for one thing.
#[track_caller]
fn check_lie(lie: impl FnOnce(&mut Craft), expected: &str) {
    let mut craft = sound();
    lie(&mut craft);
    check(&craft.bytes(), expected);
}

#[test]
fn a_sound_file_is_read() {
    assert_eq!(look(&sound().bytes()), Ok(5));
}

/// The library makes room for all of it before it decompresses any.
#[test]
fn a_page_is_not_larger_than_its_file_could_make_it() {
    let large = |craft: &mut Craft, column: usize, page: usize| {
        craft.codec = 1;
        craft.columns[column].pages[page].size = 1 << 30;
    };
    check_lie(|craft| large(craft, 0, 0), "bytes of `img` in a file of 2");
    check_lie(|craft| large(craft, 0, 1), "bytes of `img` in a file of 2");
    let large_label = |craft: &mut Craft| {
        craft.columns[0].pages = vec![Page::plain(2, vec![0; 8])];
        large(craft, 1, 1);
    };
    check_lie(large_label, "at most 1056 bytes for 2 values of `label`, found 1073741824");
    check_lie(|craft| craft.columns[0].pages[0].size = -1, "the sizes of a page");
}

/// The library makes room for as many values as it says.
#[test]
fn a_dictionary_has_room_for_its_values() {
    for column in [0, 1] {
        check_lie(|craft| craft.columns[column].pages[0].count = 1 << 30, "found one of 1073741824 in");
    }
    check_lie(|craft| craft.columns[0].pages.swap(0, 1), "a dictionary before all else");
    check_lie(|craft| craft.columns[0].pages[0].body[0] = 9, "found values longer than all of it");
}

/// The first bytes of such values say how many there are, and how long.
#[test]
fn lengths_that_are_coded_are_refused() {
    for encoding in [6, 7] {
        check_lie(
            |craft| craft.columns[0].pages = vec![Page { encoding, ..Page::plain(2, vec![0; 8]) }],
            &format!("values of `img` that are plain or in a dictionary, found encoding {encoding}"),
        );
    }
}

#[test]
fn values_are_as_many_as_rows() {
    check_lie(|craft| craft.rows = 1 << 40, "1099511627776 values of `img`, as many as rows, found 2");
    check_lie(|craft| craft.columns[1].pages[1].count = 3, "2 values of `label`, as many as rows, found 3");
    check_lie(|craft| craft.rows = -1, "a row group of so many rows, found -1");
}

#[test]
fn chunks_are_in_the_file_and_apart() {
    check_lie(|craft| craft.columns[1].longer = 1 << 40, "the values of `label` before the footer");
    check_lie(|craft| craft.columns[1].longer = -1, "a page of at most");
    check_lie(|craft| craft.groups = 99, "that no others overlap");
}

/// The library makes room for as many children as a group says it has, and calls itself for each.
#[test]
fn a_schema_is_a_tree_of_its_elements() {
    let group = |children| Thrift::Struct(vec![(3, Thrift::I32(0)), (4, Thrift::Binary(b"g".to_vec())), (5, children)]);
    let mut schema = sound().schema();
    schema[0] = group(Thrift::I32(i32::MAX.into()));
    check(&sound().bytes_with(Thrift::structs(schema)), "a schema of 3 elements");
    let mut schema = vec![group(Thrift::I32(1)); 100_000];
    schema.extend(sound().schema());
    check(&sound().bytes_with(Thrift::structs(schema)), "at most 32 deep");
    let named =
        |name: &[u8], children| Thrift::Struct(vec![(4, Thrift::Binary(name.to_vec())), (5, Thrift::I32(children))]);
    let mut schema = vec![named(&[b'g'; 100_000], 10_000)];
    schema.extend(vec![named(b"c", 0); 10_000]);
    check(&sound().bytes_with(Thrift::structs(schema)), "long names");
    check(&sound().bytes_with(Thrift::List(STRUCTS, 1 << 30, sound().schema())), "a footer, found one that goes on");
}

/// The library skips fields that it does not know, and each boolean of a list of two thousand millions by itself.
#[test]
fn unknown_fields_are_skipped_in_no_time() {
    let more = |value| move |craft: &mut Craft| craft.more = vec![(15, value)];
    assert_eq!(look(&Craft { more: vec![(15, Thrift::I32(1))], ..sound() }.bytes()), Ok(5));
    check_lie(more(Thrift::List(1, i32::MAX as u64, Vec::new())), "a footer");
    check_lie(more(Thrift::List(1, 1, vec![Thrift::I32(0)])), "a list of booleans");
    let deep = (0..100).fold(Thrift::Struct(Vec::new()), |inner, _| Thrift::Struct(vec![(1, inner)]));
    check_lie(more(deep), "nested deeply");
}

/// The library goes by the numbers of fields alone: what it takes for one thing must not be skipped here as another.
#[test]
fn fields_have_their_types() {
    check_lie(|craft| craft.more = vec![(6, Thrift::I32(1))], "a field of another type");
    check_lie(|craft| craft.more = vec![(5, Thrift::List(5, 1, vec![Thrift::I32(1)]))], "a list of another type");
    let [mut twice, sound] = [sound(), sound()];
    twice.more = vec![(4, Thrift::structs(Vec::new()))];
    check(&twice.bytes(), "fields out of order");
    assert!(look(&sound.bytes()).is_ok());
}

#[test]
fn other_files_are_none() {
    check(b"", "byte 0: expected a Parquet file, with `PAR1` at its end, found fewer than 8 bytes");
    check(b"12345678", "byte 4: expected a Parquet file, with `PAR1` at its end, found `5678`");
    check(b"\xff\xff\xff\xffPAR1", "byte 0: expected the length of a footer, 0 bytes at most, found 4294967295");
}
