//! Latin letters without their marks, so that a word is found however it was typed.
//!
//! Only letters that fold to ASCII change: elsewhere a mark makes another letter (й, が, हि), not another spelling.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// `word`, lower-cased before, with `é` as `e` and `ß` as `ss`.
pub(super) fn fold(word: Cow<'_, str>) -> Cow<'_, str> {
    if word.is_ascii() {
        return word;
    }
    let mut after_latin = false;
    let bare = word.nfd().filter(|&letter| {
        let mark = ('\u{300}'..='\u{36f}').contains(&letter);
        if !mark {
            after_latin = letter.is_ascii_alphabetic() || spelled_out(letter).is_some();
        }
        !(mark && after_latin)
    });
    let mut folded = String::with_capacity(word.len());
    for letter in bare.nfc() {
        match spelled_out(letter) {
            Some(ascii) => folded.push_str(ascii),
            None => folded.push(letter),
        }
    }
    Cow::Owned(folded)
}

/// Latin letters that no decomposition turns into ASCII.
fn spelled_out(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'ŋ' => "n",
        'ŧ' => "t",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn marks_and_ligatures_of_latin_letters_go() {
        for (word, folded) in [
            ("café", "cafe"),
            ("cafe\u{301}", "cafe"),
            ("straße", "strasse"),
            ("smørrebrød", "smorrebrod"),
            ("łódź", "lodz"),
            ("việt", "viet"),
            ("ǿ", "o"),
            ("plain", "plain"),
        ] {
            assert_eq!(fold(word.into()), folded);
        }
    }

    #[test]
    fn marks_of_other_scripts_stay() {
        for word in ["й", "ё", "が", "हिन्दी", "한국", "ά"] {
            assert_eq!(fold(word.into()), word);
        }
    }
}
