use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{StaticEmbedder, builtin};
use crate::wordpiece;

const BUILTIN: &[u8] = include_bytes!("../assets/minilm-static-256.bin");

/// A table of two dimensions in the file's layout; each row is its token, scale and components.
fn table(rows: &[(&str, f32, [i8; 2])]) -> Vec<u8> {
    let mut bytes = b"memembed".to_vec();
    for number in [1, 2, rows.len() as u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"\x04tiny\x01t\x01l");
    bytes.extend(rows.iter().map(|(token, ..)| token.len() as u8));
    rows.iter().for_each(|(token, ..)| bytes.extend(token.as_bytes()));
    rows.iter().for_each(|(_, scale, _)| bytes.extend(scale.to_le_bytes()));
    rows.iter().for_each(|(.., row)| bytes.extend(row.map(|x| x as u8)));
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    with_sum(bytes)
}

fn with_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn opened(rows: &[(&str, f32, [i8; 2])]) -> StaticEmbedder {
    StaticEmbedder::open(table(rows)).expect("a whole table")
}

fn vector(embedder: &StaticEmbedder, text: &str) -> Option<Vec<f32>> {
    let mut out = vec![f32::NAN; embedder.dimensions()];
    embedder.embed(text, &mut out).then_some(out)
}

fn tokens(embedder: &StaticEmbedder, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    wordpiece::tokens(text, &embedder.table, |row| found.push(embedder.table.token(row)));
    found
}

fn refusal(bytes: Vec<u8>) -> String {
    StaticEmbedder::open(bytes).err().expect("a refusal").to_string()
}

fn fixtures(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../tests/fixtures/parity.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

#[test]
fn texts_are_cut_as_the_tokenizers_library_cuts_them() {
    let cases = fixtures("tokens");
    assert!(cases.len() > 200);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(Value::from(tokens(builtin(), text)), case["tokens"], "{text:?}");
    }
}

#[test]
fn vectors_are_those_of_model2vec_but_for_quantisation() {
    for case in fixtures("vectors") {
        let text = case["text"].as_str().unwrap();
        let components = case["vector"].as_array().unwrap().iter();
        let expected: Vec<f64> = components.map(|x| x.as_f64().unwrap() / 10_000.0).collect();
        let found = vector(builtin(), text).expect("a known token");
        let cosine: f64 = found.iter().zip(&expected).map(|(&a, b)| f64::from(a) * b).sum();
        assert!(cosine > 0.999, "{cosine} {text:?}");
    }
}

#[test]
fn the_builtin_table_is_the_one_its_name_says() {
    assert_eq!(builtin().dimensions(), 256);
    let (content, sums) = BUILTIN.split_at(BUILTIN.len() - 36);
    assert_eq!(Sha256::digest(content)[..], sums[..32]);
    let prefix: String = sums[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(builtin().id(), format!("static-minilm-256-v1-{prefix}"));
}

#[test]
fn a_vector_is_the_sum_of_scaled_rows_at_unit_length() {
    let embedder =
        opened(&[("cat", 0.5, [6, 0]), ("##s", 0.25, [0, 16]), ("cats", 9.0, [9, 9]), ("dog", 1.0, [3, 4])]);
    // 1 * (3, 4) is 5 long.
    assert_eq!(vector(&embedder, "Dog").unwrap(), [0.6, 0.8]);
    // cat + cat + dog: (3 + 3 + 3, 0 + 0 + 4), the square root of 97 long.
    let length = 97_f32.sqrt();
    let found = vector(&embedder, "cat, cat dog").unwrap();
    assert!((found[0] - 9.0 / length).abs() < 1e-6 && (found[1] - 4.0 / length).abs() < 1e-6);
}

#[test]
fn the_longest_token_wins_at_each_place_of_a_word() {
    let rows = ["a", "ab", "##c", "##b", "##bc", "##cd"].map(|token| (token, 1.0, [1, 1]));
    let embedder = opened(&rows);
    assert_eq!(tokens(&embedder, "abc"), ["ab", "##c"]);
    assert_eq!(tokens(&embedder, "abbc aa"), ["ab", "##bc"]);
    assert_eq!(tokens(&embedder, "abcd"), ["ab", "##cd"]);
}

#[test]
fn a_word_with_an_unknown_piece_counts_for_nothing() {
    let embedder = opened(&[("a", 1.0, [1, 0]), ("##b", 1.0, [0, 1]), ("c", 1.0, [0, 1])]);
    assert_eq!(tokens(&embedder, "abz c"), ["c"]);
    assert_eq!(tokens(&embedder, "b ##b c"), ["c"]);
}

#[test]
fn text_without_known_tokens_has_no_vector() {
    for text in ["", " \n", "\u{200b}\u{0}", "\u{e000}", "ꙮ", &"a".repeat(101)] {
        assert_eq!(vector(builtin(), text), None, "{text:?}");
    }
}

#[test]
fn rows_that_cancel_out_have_no_vector() {
    let embedder = opened(&[("plus", 1.0, [1, 2]), ("minus", 1.0, [-1, -2]), ("none", 0.0, [1, 1])]);
    assert_eq!(vector(&embedder, "plus minus"), None);
    assert_eq!(vector(&embedder, "none"), None);
    assert!(vector(&embedder, "plus minus plus").is_some());
}

#[test]
fn the_smallest_and_largest_scales_still_give_unit_length() {
    let embedder = opened(&[("tiny", 1e-44, [1, 0]), ("huge", 1e6, [0, 127])]);
    assert_eq!(vector(&embedder, "tiny").unwrap(), [1.0, 0.0]);
    assert_eq!(vector(&embedder, &"huge ".repeat(1000)).unwrap(), [0.0, 1.0]);
}

#[test]
fn case_accents_and_invisible_characters_do_not_matter() {
    let plain = vector(builtin(), "istanbul cafe resume");
    for text in ["İstanbul CAFÉ résumé", "i\u{200b}stanbul\u{a0}cafe\u{301} re\u{ad}sume"] {
        assert_eq!(vector(builtin(), text), plain, "{text:?}");
    }
}

#[test]
fn a_literal_special_token_is_plain_text() {
    assert_eq!(tokens(builtin(), "[PAD]"), ["[", "pad", "]"]);
}

/// The sum, fused or reordered, would differ in the last bits.
#[test]
fn a_vector_has_the_bits_of_the_plain_loop() {
    let text = "Grandma's recipe: 200 g flour, 3 eggs, a pinch of salt. ".repeat(40);
    let mut sum = vec![0_f32; 256];
    let table = &builtin().table;
    wordpiece::tokens(&text, table, |row| {
        for (sum, &component) in sum.iter_mut().zip(table.row(row)) {
            *sum += std::hint::black_box(table.scale(row) * f32::from(component as i8));
        }
    });
    crate::to_unit_length(&mut sum);
    assert_eq!(vector(builtin(), &text).unwrap(), sum);
}

#[test]
fn a_damaged_table_is_refused() {
    let whole = table(&[("cat", 0.5, [6, 0]), ("##s", 0.25, [0, 16])]);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(StaticEmbedder::open(damaged).is_err(), "byte {at}");
        assert!(StaticEmbedder::open(whole[..at].to_vec()).is_err(), "cut to {at} bytes");
    }
    assert_eq!(refusal([whole, vec![0]].concat()), "embedding table refused: checksum differs");
}

#[test]
fn a_wrong_table_with_a_right_checksum_is_refused_with_the_reason() {
    let row = ("cat", 1.0, [1, 1]);
    let wrong = [
        (table(&[]), "number of rows out of range"),
        (table(&[row, row]), "a token is there twice"),
        (table(&[row, ("", 1.0, [1, 1])]), "a token is empty, too long or not UTF-8"),
        (table(&[(&"a".repeat(33), 1.0, [1, 1])]), "a token is empty, too long or not UTF-8"),
        (table(&[("cat", f32::NAN, [1, 1])]), "a row's scale is out of range"),
        (table(&[("cat", -1.0, [1, 1])]), "a row's scale is out of range"),
        (table(&[("cat", f32::INFINITY, [1, 1])]), "a row's scale is out of range"),
        (edited(&[row], 0, b"M"), "not an embedding table"),
        (edited(&[row], 8, &[2]), "unknown format version"),
        (edited(&[row], 12, &[0]), "dimensions out of range"),
        (edited(&[row], 12, &[3]), "its length is not what its header says"),
        (edited(&[row], 12, &[1]), "its length is not what its header says"),
        (edited(&[row], 16, &[0xff, 0xff]), "its length is not what its header says"),
    ];
    for (bytes, reason) in wrong {
        assert_eq!(refusal(bytes), format!("embedding table refused: {reason}"));
    }
}

/// The table with some bytes replaced and the checksum made right again.
fn edited(rows: &[(&str, f32, [i8; 2])], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = table(rows);
    bytes.truncate(bytes.len() - 4);
    bytes[at..at + new.len()].copy_from_slice(new);
    with_sum(bytes)
}

proptest! {
    #[test]
    fn any_text_has_a_unit_vector_or_none(text in "(\\PC|[a-zA-Z .,]|\\p{M}|\\p{Han}|\\p{C}){0,200}") {
        if let Some(found) = vector(builtin(), &text) {
            let length = found.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-5);
        } else {
            prop_assert!(tokens(builtin(), &text).is_empty());
        }
    }

    #[test]
    fn texts_side_by_side_are_cut_as_each_alone(left in "\\PC{0,50}", right in "\\PC{0,50}") {
        let both = tokens(builtin(), &format!("{left} {right}"));
        prop_assert_eq!(both, [tokens(builtin(), &left), tokens(builtin(), &right)].concat());
    }

    #[test]
    fn any_bytes_are_a_table_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = StaticEmbedder::open(with_sum([b"memembed\x01\0\0\0".to_vec(), bytes].concat()));
    }
}
