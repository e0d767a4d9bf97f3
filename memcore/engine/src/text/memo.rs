//! What a thread remembers about the words it has met: texts repeat them, and looking one up costs a tenth of stemming
//! or tokenizing it.

use hashbrown::HashMap;

/// Bytes of the longest word that is remembered.
const LONGEST: usize = 32;

/// Words after which everything is forgotten, so that no stream of invented ones takes memory.
const MOST: usize = 1 << 13;

/// A pure function of words, with its latest values.
pub(super) struct Memo<V>(HashMap<Box<str>, V>);

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V> Memo<V> {
    /// Shows the value of a word; `make` must give the same for the same word.
    pub(super) fn with<T>(
        &mut self,
        word: &str,
        make: impl FnOnce(&str) -> V,
        show: impl FnOnce(&V) -> T,
    ) -> T {
        if word.len() > LONGEST {
            return show(&make(word));
        }
        if let Some(known) = self.0.get(word) {
            return show(known);
        }
        if self.0.len() == MOST {
            // Not cleared, which would keep the room.
            self.0 = HashMap::new();
        }
        show(self.0.entry(word.into()).or_insert(make(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, MOST, Memo};

    #[test]
    fn a_word_is_asked_about_once_until_too_many_are_known() {
        let (mut memo, mut asked) = (Memo::default(), 0);
        let mut length = |memo: &mut Memo<usize>, word: &str| {
            memo.with(
                word,
                |word| {
                    asked += 1;
                    word.len()
                },
                |length| *length,
            )
        };
        assert_eq!((length(&mut memo, "tea"), length(&mut memo, "tea")), (3, 3));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!((length(&mut memo, &long), length(&mut memo, &long)), (LONGEST + 1, LONGEST + 1));
        (0..MOST).for_each(|number| assert!(length(&mut memo, &format!("w{number}")) > 1));
        assert_eq!(length(&mut memo, "tea"), 3);
        assert_eq!(asked, 1 + 2 + MOST + 1);
        assert!(memo.0.len() <= MOST);
    }
}
