//! The structs of Parquet's footer and page headers, field by field.
//!
//! Every field that the Parquet library knows has to be here: it would be skipped otherwise, by its type, where the library
//! reads it by its number. (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>)

use super::thrift::Kind::{self, Binary, Bool, Byte, Double, I16, I32, I64, List, Struct};

const EMPTY: Kind = Struct(&[]);

/// Numbers of fields that are asked for.
pub(super) mod file {
    pub const SCHEMA: i16 = 2;
}

/// Also of a file.
pub(super) const FILE: Kind = Struct(&[
    (1, I32),
    (file::SCHEMA, List(&SCHEMA_ELEMENT)),
    (3, I64),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Binary),
    (7, List(&COLUMN_ORDER)),
    (9, Binary),
]);

pub(super) mod schema_element {
    pub const NAME: i16 = 4;
    pub const CHILD_COUNT: i16 = 5;
}

const SCHEMA_ELEMENT: Kind = Struct(&[
    (1, I32),
    (2, I32),
    (3, I32),
    (schema_element::NAME, Binary),
    (schema_element::CHILD_COUNT, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, LOGICAL_TYPE),
]);

const LOGICAL_TYPE: Kind = Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
    (19, EMPTY),
]);

const TIME: Kind = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);

const ROW_GROUP: Kind = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
]);

const COLUMN_CHUNK: Kind =
    Struct(&[(1, Binary), (2, I64), (3, COLUMN), (4, I64), (5, I32), (6, I64), (7, I32), (9, Binary)]);

const COLUMN: Kind = Struct(&[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&KEY_VALUE)),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[(1, BOUNDING_BOX), (2, List(&I32))])),
]);

const STATISTICS: Kind =
    Struct(&[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool), (9, I64)]);

const BOUNDING_BOX: Kind =
    Struct(&[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)]);

const KEY_VALUE: Kind = Struct(&[(1, Binary), (2, Binary)]);

const COLUMN_ORDER: Kind = Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]);

pub(super) mod page {
    pub const TYPE: i16 = 1;
    pub const SIZE: i16 = 2;
    pub const STORED_SIZE: i16 = 3;
    pub const DATA: i16 = 5;
    pub const DICTIONARY: i16 = 7;
    pub const DATA_V2: i16 = 8;
    /// The count of values, in all three kinds of headers.
    pub const VALUE_COUNT: i16 = 1;
    pub const ENCODING: i16 = 2;
    pub const ENCODING_V2: i16 = 4;
}

pub(super) const PAGE: Kind = Struct(&[
    (page::TYPE, I32),
    (page::SIZE, I32),
    (page::STORED_SIZE, I32),
    (4, I32),
    (page::DATA, Struct(&[(page::VALUE_COUNT, I32), (page::ENCODING, I32), (3, I32), (4, I32), (5, STATISTICS)])),
    (6, EMPTY),
    (page::DICTIONARY, Struct(&[(page::VALUE_COUNT, I32), (page::ENCODING, I32), (3, Bool)])),
    (
        page::DATA_V2,
        Struct(&[
            (page::VALUE_COUNT, I32),
            (2, I32),
            (3, I32),
            (page::ENCODING_V2, I32),
            (5, I32),
            (6, I32),
            (7, Bool),
            (8, STATISTICS),
        ]),
    ),
]);
