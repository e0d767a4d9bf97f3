use proptest::prelude::*;

use crate::error::ErrorKind;
use crate::index::bundle::{ALIGNMENT, Builder, Bundle, OwnedBytes};

fn bundle(sections: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::default();
    sections.iter().for_each(|(name, bytes)| builder.add(name.clone(), bytes.clone()));
    builder.finish()
}

fn sections() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    let named = prop::collection::btree_map("[a-z/.]{0,12}", bytes, 0..6);
    named.prop_map(|sections| sections.into_iter().collect())
}

#[test]
fn a_section_that_is_not_there_is_corruption() {
    let opened = Bundle::open(OwnedBytes::new(bundle(&[]))).unwrap();
    assert_eq!(opened.section("words").unwrap_err().kind, ErrorKind::Corruption);
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out_aligned(sections in sections()) {
        let file = OwnedBytes::new(bundle(&sections));
        let opened = Bundle::open(file.clone()).unwrap();
        prop_assert!(opened.names().eq(sections.iter().map(|(name, _)| name.as_str())));
        for (name, bytes) in &sections {
            let section = opened.section(name).unwrap();
            prop_assert_eq!(section.as_slice(), &bytes[..]);
            prop_assert_eq!((section.as_ptr() as usize - file.as_ptr() as usize) % ALIGNMENT, 0);
        }
    }

    #[test]
    fn any_changed_byte_is_corruption(sections in sections(), place: prop::sample::Index, flip in 1u8..) {
        let mut file = bundle(&sections);
        let place = place.index(file.len());
        file[place] ^= flip;
        let error = Bundle::open(OwnedBytes::new(file)).unwrap_err();
        prop_assert_eq!(error.kind, ErrorKind::Corruption);
    }

    #[test]
    fn a_file_cut_short_or_grown_is_corruption(sections in sections(), place: prop::sample::Index, more in 1usize..9) {
        let file = bundle(&sections);
        let cut = file[..place.index(file.len())].to_vec();
        let grown = [&file[..], &vec![0; more]].concat();
        for damaged in [cut, grown] {
            let error = Bundle::open(OwnedBytes::new(damaged)).unwrap_err();
            prop_assert_eq!(error.kind, ErrorKind::Corruption);
        }
    }

    #[test]
    fn any_bytes_behind_a_true_header_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let table = &bytes[..bytes.len().min(usize::from(bytes.first().copied().unwrap_or(0)))];
        let mut file = bundle(&[])[..8].to_vec();
        file.extend((table.len() as u32).to_le_bytes());
        file.extend(crc32fast::hash(table).to_le_bytes());
        file.extend(&bytes);
        drop(Bundle::open(OwnedBytes::new(file)));
    }
}
